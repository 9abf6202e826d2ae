"""The full form of the race: a group of ordinary trainings, one after the other, each with the machine to itself."""

import time

import streamlit as st

from eurosat_core import wording
from eurosat_core.errors import LabError
from eurosat_core.lab import race
from eurosat_core.lab.race import Entrants
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.models.catalog import model_entry
from pages.parts import compare_state, lesson, live_run, session

__all__ = ["draw"]

_PROBLEM = "compare_full_problem"
_SUBMITTED = "compare_full_submitted"
_EPOCHS = "compare_epochs"
_POLL_SECONDS = 2.0


def draw(racing: Entrants, devices: list[str]) -> None:
    """The button with its estimate, and the runs of one's newest full race."""
    lab = session.lab()
    st.caption(lesson.text("compare")["race full"])
    if _EPOCHS not in st.session_state:
        st.session_state[_EPOCHS] = race.EPOCHS
    st.number_input(
        "Epochs of each",
        min_value=1,
        max_value=50,
        step=1,
        key=_EPOCHS,
        persist_state="session",
        help="The tutorial: 10.",
    )
    epochs: int = st.session_state[_EPOCHS]
    configs = race.full_race_configs(racing.models, devices, epochs)
    estimate = race.estimate_full_race(lab, configs)
    about = f" · about {wording.duration(estimate.seconds)}" if estimate else ""
    group = _newest()
    active = any(each.is_active for each in group)
    st.button(
        f"Train {wording.count(len(configs), 'network')} for {wording.count(epochs, 'epoch')}{about}",
        icon=":material/sports_score:",
        type="primary",
        key="compare_full_start",
        on_click=_submit,
        args=(racing.models, tuple(devices)),
        disabled=bool(lab.runs_problem) or lab.tiles().tile_set is None or active,
        help="Every network on every device, the tutorial’s way, from the start. They queue like all runs.",
    )
    st.caption(lesson.plain(estimate.basis) if estimate else "Nothing was measured yet, so there is no estimate.")
    if problem := st.session_state.get(_PROBLEM):
        st.error(lesson.plain(problem), icon=":material/error:")
    if group:
        every = _POLL_SECONDS if active else None
        st.fragment(_group, run_every=every)(tuple(each.id for each in group), _states(group))


def _newest() -> tuple[RunRecord, ...]:
    """The runs of one's newest full race; empty before the first."""
    records, me = session.lab().runs()[0], session.nickname()
    own = [each for each in records if each.owner == me and each.kind == "train" and not each.recorded_on]
    groups = [str(each.plan["group"]) for each in own if str(each.plan.get("group", "")).startswith(race.RACE)]
    return race.group_of(own, groups[0]) if groups else ()


def _submit(models: tuple[str, ...], devices: tuple[str, ...]) -> None:
    if time.monotonic() - st.session_state.get(_SUBMITTED, -9.0) < 1.0:
        return  # a double click is one wish
    try:
        race.start_full_race(
            session.lab(), race.full_race_configs(models, devices, st.session_state[_EPOCHS]), session.nickname()
        )
    except LabError as error:
        st.session_state[_PROBLEM] = str(error)
        return
    st.session_state[_SUBMITTED] = time.monotonic()
    st.session_state.pop(_PROBLEM, None)


def _states(group: tuple[RunRecord, ...]) -> str:
    return ",".join(each.state for each in group)


def _group(run_ids: tuple[str, ...], drawn_as: str) -> None:
    lab = session.lab()
    try:
        group = tuple(lab.run(each) for each in run_ids)
    except LabError:
        st.rerun()  # one was deleted meanwhile
    if _states(group) != drawn_as:
        st.rerun()
    with st.container(border=True):
        for record in group:
            _one(record)
    done = [each.id for each in group if lab.lineup.has_result(each)]
    if len(done) > 1 and not any(each.is_active for each in group):
        st.button(
            "Compare these runs",
            icon=":material/compare_arrows:",
            type="primary",
            key="compare_full_take",
            on_click=compare_state.choose,
            args=(done,),
        )


def _one(record: RunRecord) -> None:
    lab = session.lab()
    name = f"{model_entry(record.config.model).title} · {wording.device_name(record.config.device)}"
    with st.container(horizontal=True, vertical_alignment="center"):
        history = lab.history(record.id)
        if record.state == "running":
            left = lab.seconds_left(record.id)
            about = f" · {wording.duration(left)} left" if left is not None else ""
            done, epochs = len(history.epochs), record.config.epochs
            at = min(done + 1, epochs)  # after the last one it still writes its results
            st.progress(min(done / epochs, 1.0), text=f"{name}: epoch {at} of {epochs}{about}")
        else:
            seconds = history.finished.seconds if history.finished else None
            took = f" in {wording.duration(seconds)}" if seconds is not None else ""
            accuracy = f", {wording.percent(history.epochs[-1].val_accuracy)}" if history.epochs else ""
            st.markdown(f"{lesson.plain(name)}: {record.state}{took}{accuracy}", width="stretch")
        if record.is_active:
            st.button(
                "Stop",
                icon=":material/stop:",
                type="tertiary",
                key=f"compare_stop_{record.id}",
                on_click=live_run.ask,
                args=(record.id, "stop"),
            )
