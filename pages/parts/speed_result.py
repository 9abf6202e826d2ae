"""What a measurement showed: sentences, rates with their spread, where a step's time went, time to an accuracy."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import profiling as profile_charts
from eurosat_core.charts import speed as charts
from eurosat_core.errors import LabError
from eurosat_core.lab import experiment_frames, profile_frames, sweep_frames, sweep_words
from eurosat_core.lab.frames import axis_ceiling
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.speed.experiment_terms import Figure, home_device
from eurosat_core.speed.result import SweepResult
from pages.parts import lesson, session, speed_live

__all__ = ["draw", "rates", "result_of"]


def draw(record: RunRecord, guess: str | None) -> None:
    """All of it, for a measurement that has ended."""
    speed_live.ended(record)
    result = result_of(record)
    if result is not None:
        _sentences(record, result, guess)
        figure = sweep_words.figure_of(result)
        if figure == "work":
            st.caption(lesson.text("speed")["work"])
        rates(record, result, figure)
        _breakdown(record, result)
        _learning(record, result)
        _figures(record, result)
    speed_live.delete(record)


def result_of(record: RunRecord) -> SweepResult | None:
    """What it measured; None, and a sentence on screen, when it left nothing."""
    try:
        return session.lab().sweeps.result(record.id)
    except LabError as error:
        if record.state == "finished":
            st.error(lesson.plain(str(error)), icon=":material/broken_image:")
        else:
            st.caption("It measured nothing that could be shown.")
        return None


def _sentences(record: RunRecord, result: SweepResult, guess: str | None) -> None:
    """A verdict per device, the devices against each other, the guess, the learning, and what all that rests on."""
    several = len(result.devices) > 1
    sentences = []
    for device in result.devices:
        where = f"{wording.device_name(device)}: " if several else ""
        said = [sweep_words.experiment_finding(result, device), sweep_words.learning_finding(result, device)]
        sentences += [f"{where}{found.text}" for found in said if found is not None]
    across = (sweep_words.device_finding(result, result.focus, each) for each in result.devices if each != "cpu")
    sentences += [found.text for found in across if found is not None]
    if not record.recorded_on and (found := sweep_words.guess_finding(guess, result, home_device(result.devices))):
        sentences.append(found.text)
    lesson.saw("\n\n".join(lesson.plain(f"{each[:1].upper()}{each[1:]}") for each in sentences))
    st.caption(f"Measured on: {lesson.plain(sweep_words.measured_how(record, result))}")


def rates(record: RunRecord, result: SweepResult, figure: Figure = "tiles") -> None:
    """Rates over the setting on all devices."""
    frame = experiment_frames.rate_frame(result, figure)
    if frame.empty:
        return
    labels = tuple(each for each in result.labels if each in set(frame["label"]))
    devices = tuple(dict.fromkeys(frame["device"]))
    st.vega_lite_chart(
        frame,
        charts.rate_points(figure, labels, devices, float(frame["high"].max()), float(frame["low"].min())),
        key=f"speed_rates_{record.id}_{figure}",
        alt=f"{'Tiles' if figure == 'tiles' else 'Billion operations'} per second of every setting on every device: "
        "median, and the range of half of the rounds",
    )
    st.caption(lesson.text("speed")["points"])


def _breakdown(record: RunRecord, result: SweepResult) -> None:
    words = lesson.text("speed")
    frame = experiment_frames.breakdown_frame(result)
    if frame.empty:
        st.caption(words["breakdown none"])
        return
    per_tile = experiment_frames.is_per_tile(result)
    st.markdown(words["breakdown per tile" if per_tile else "breakdown"])
    st.vega_lite_chart(
        frame,
        profile_charts.stacked_bars(
            profile_frames.parts_in(frame), frame["row"].nunique(), "ms per 1,000 tiles" if per_tile else "ms of a step"
        ),
        key=f"speed_parts_{record.id}",
        alt="How long loading, copying, forward, backward and update took in a step of every setting",
    )


def _learning(record: RunRecord, result: SweepResult) -> None:
    frame = sweep_frames.learning_frame(result)
    if frame.empty:
        return
    target = float(frame["target"].iloc[0])
    st.markdown(lesson.text("speed")["learning"].format(target=wording.percent(target)))
    several = frame["device"].nunique() > 1
    frame["series"] = frame["label"] + " · " + frame["device"] if several else frame["label"]
    st.vega_lite_chart(
        frame,
        charts.learning_lines(
            tuple(dict.fromkeys(frame["series"])),
            axis_ceiling(float(frame["seconds"].max())),
            min(1.0, round(1.25 * max(target, float(frame["accuracy"].max())), 1)),
        ),
        key=f"speed_learning_{record.id}",
        alt=f"Validation accuracy over seconds of training of every setting; a line at {wording.percent(target)}",
    )


def _figures(record: RunRecord, result: SweepResult) -> None:
    with st.expander("All figures", icon=":material/table:"):
        st.table(
            experiment_frames.figures_table(result).map(lesson.plain).rename(columns=lesson.plain),
            border="horizontal",
            hide_index=True,
            alt="All settings with their rates, spread, step times and verdicts",
        )
        versions = {name: record.machine[name] for name in ("torch", "python", "platform") if name in record.machine}
        told = ", ".join(f"{name} {value}" for name, value in versions.items())
        st.caption(f"Run {record.id}{f' · {lesson.plain(told)}' if told else ''}")
