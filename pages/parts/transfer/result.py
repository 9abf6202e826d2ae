"""A transfer while it works, and what it found: a table by split, one chart of few labels, and sentences."""

import streamlit as st

from eurosat_core.analysis import guesses, transfer
from eurosat_core.charts import transfer as charts
from eurosat_core.errors import LabError
from eurosat_core.runs.history import History, progress
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.transfer import ALL, SCRATCH_BATCH, SCRATCH_STEPS, TransferResult, Trial
from eurosat_core.wording import count, duration, percent
from eurosat_core.words.say import say_each
from pages.parts import lesson, run_widget, session

_LEARNERS = {"neighbours": "Nearest neighbours", "linear": "Linear layer", "scratch": "From scratch"}


def missing(sentence: str) -> None:
    """The run in the address cannot be shown: why, and the way on."""
    run_widget.missing("transfer", sentence)
    st.button("Start afresh", icon=":material/add:", key="transfer_none", on_click=session.open_run, args=(None,))


def draw_live(record: RunRecord) -> None:
    """A run that waits or is at work."""
    help = "Features that are computed stay known, and what was learned so far is shown."
    run_widget.follow(record, _live, key="transfer", working="At work", help=help)


def _live(record: RunRecord, told: History) -> None:
    left = session.lab().seconds_left(record.id)
    st.progress(progress(told), text=lesson.plain(_now(told) + (f" · about {duration(left)} left" if left else "")))
    if trials := told.transfer.trials:
        st.caption(lesson.plain(" · ".join(map(_in_words, trials[-3:]))))


def _now(told: History) -> str:
    features = told.features
    if told.transfer.started is None or features is None:
        return "The network is made ready"
    if features.done < features.total:
        return f"Features: {features.done:,} of {count(features.total, 'tile')}"
    done = len(told.transfer.trials)
    return f"Learning: {done} of {count(told.transfer.started.trials, 'trial')}"


def _in_words(trial: Trial) -> str:
    labels = f"{trial.labels} per class" if trial.labels else "all labels"
    return f"{_LEARNERS[trial.learner]}, {labels}: {percent(trial.accuracy)}"


def draw(record: RunRecord, guess: str | None) -> None:
    """All of it, for a run that has ended."""
    if not run_widget.is_own(record):
        st.caption(f"{lesson.plain(session.name_of(record))}’s run")
    run_widget.recorded(record.recorded_on)
    run_widget.ended(record, "So its seconds say little.")
    result = _result_of(record)
    if result is not None:
        _draw(record, result, guess)
    lost = "This deletes its figures for good; the features stay known."
    run_widget.delete(record, f"transfer_delete_{record.id}", "Delete", lost)


def _result_of(record: RunRecord) -> TransferResult | None:
    try:
        return session.lab().transfers.result(record.id)
    except LabError as error:
        if not transfer.plan_of(record).learns:
            st.info(lesson.text("transfer")["features alone"], icon=":material/join_inner:")
        elif record.state == "finished":
            st.error(lesson.plain(str(error)), icon=":material/broken_image:")
        return None


def _draw(record: RunRecord, result: TransferResult, guess: str | None) -> None:
    known = transfer.reference_of(record, session.own_runs("train"))
    results = [result, *_others(record, result)]
    chart, table = st.columns([3, 2], gap="medium")
    with chart:
        st.markdown("**Accuracy against labels per class**")
        frame = charts.learning_frame(result)
        st.vega_lite_chart(
            frame,
            charts.learning_chart(frame, 1 / len(record.tiles.class_names), known.accuracy if known else None),
            key=f"transfer_chart_{record.id}",
            alt="Accuracy against labels per class, of a frozen network and of a small one from scratch",
        )
    with table:
        _table(results)
    needed = transfer.labels_needed(result, known.accuracy) if known is not None else None
    found = [
        transfer.few_labels(result),
        transfer.beats(result, known),
        transfer.learners(result),
        transfer.by_place(results),
        guesses.judge("transfer_labels", guess, needed),
        *transfer.caveats(record, result),
    ]
    lesson.saw_each([" ".join(say_each(found))])
    _how(record, result)


def _others(record: RunRecord, result: TransferResult) -> list[TransferResult]:
    """The newest of one's own results on the same tiles with the other split, seen as these were."""
    lab = session.lab()
    for other in lab.transfers.runs(record.owner):
        same = (other.tiles.fingerprint, other.config.input_side, other.config.tiles, transfer.plan_of(other)) == (
            record.tiles.fingerprint,
            record.config.input_side,
            record.config.tiles,
            transfer.plan_of(record),
        )
        if same and other.config.split != record.config.split:
            try:
                return [lab.transfers.result(other.id)]
            except LabError:  # damaged: whoever opens it is told
                continue
    return []


def _table(results: list[TransferResult]) -> None:
    st.markdown("**With all labels**")
    about = {
        "Accuracy": st.column_config.NumberColumn(format="%.1f %%", help="On the validation tiles."),
        "Learning": st.column_config.NumberColumn(format="%.1f s", help="Learning and judging, features not counted."),
        "Labels": st.column_config.NumberColumn(format="localized"),
        "Judged on": st.column_config.NumberColumn(format="localized"),
    }
    st.dataframe(
        charts.split_table(results),
        hide_index=True,
        height="content",
        key="transfer_table",
        column_config=about,
        alt="Accuracy and seconds of both classifiers on the features, by split",
    )
    newest = results[0]
    features = f"{newest.features:,} features of each tile"
    if newest.computed:
        features += f"; {count(newest.computed, 'tile')} in {duration(newest.feature_seconds)}"
    else:
        features += ", all of them known already"
    st.caption(features)
    if len(results) < 2:
        st.caption(lesson.text("transfer")["other split"])


def _how(record: RunRecord, result: TransferResult) -> None:
    words, plan = lesson.text("transfer"), transfer.plan_of(record)
    with st.expander("How it was done", icon=":material/science:"):
        st.markdown(words["five"])
        st.markdown(words["standardised"])
        if any(result.of("scratch", each) for each in result.labels if each != ALL):
            st.markdown(
                words["scratch"].format(
                    steps=SCRATCH_STEPS,
                    batch=SCRATCH_BATCH,
                    seconds=duration(plan.scratch_seconds),
                    judged=f"{result.judged:,}",
                    validation=f"{result.validation_tiles:,}",
                )
            )
