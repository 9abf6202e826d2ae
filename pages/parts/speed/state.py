"""What the Speed page is about: the chosen experiment, and the run in the address that leads to it."""

from contextlib import suppress
from dataclasses import dataclass

import streamlit as st

from eurosat_core.analysis.race import RACE
from eurosat_core.errors import RunError
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import EXPERIMENTS, plan_experiment
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import TrainConfig
from pages.parts import session

CHOSEN = "speed_experiment"
DEVICES = "speed_devices"
MORE = "speed_more"
FREE, LIMITS = "free", "limits"  # names of what is no experiment
_FOLLOWED = "speed_followed"  # the run that last led to an experiment
_IN_URL = "experiment"
_FIRST = next(iter(EXPERIMENTS))


@dataclass(frozen=True)
class LedBy:
    """The run in the address: why it cannot be shown, if so; whether it is a race, which another page shows."""

    problem: str = ""
    is_race: bool = False


def name_of(record: RunRecord) -> str:
    return str(record.plan.get("name", ""))


def follow_address() -> LedBy:
    """Choose what the address names: a run's experiment, else the one that a link asked for. Before any widget."""
    state = st.session_state
    if (asked := session.asked(_IN_URL)) in EXPERIMENTS:
        session.write(_IN_URL, asked)
        state[CHOSEN] = asked
        leads = session.current_kind(gone="sweep") == "sweep"  # the page says what is wrong with one that is gone
        if state.get(_FOLLOWED) == session.current_run() or not leads:  # else the run leads: it is a refresh
            choose(asked)
    if state.get(CHOSEN) not in EXPERIMENTS:
        state[CHOSEN] = _FIRST
    run_id = session.page_run("sweep")
    if run_id is None:
        return LedBy()
    try:
        record = session.lab().run(run_id)
    except RunError as error:
        return LedBy(str(error))
    name = name_of(record)
    if name == RACE:
        return LedBy(is_race=True)
    if state.get(_FOLLOWED) != run_id:
        state[_FOLLOWED] = run_id
        if name in EXPERIMENTS:
            state[CHOSEN] = name
        elif name in (FREE, LIMITS):
            state[MORE] = name
    return LedBy()


def keep_in_address(name: str, record: RunRecord | None) -> None:
    """So that a refresh finds the experiment again, and its run."""
    session.write(_IN_URL, name)
    if record is not None and session.current_run() is None:
        st.session_state[_FOLLOWED] = record.id
        session.open_run(record.id)


def choose(name: str) -> None:
    """Look at an experiment, and at one's newest run of it. For callbacks, or before the widgets."""
    st.session_state[CHOSEN] = name
    runs = own(name)
    look_at(runs[0].id if runs else None)


def look_at(run_id: str | None) -> None:
    """Look at a run; at none, so that no other page's run leads here. For callbacks."""
    st.session_state[_FOLLOWED] = None
    session.open_run(run_id)


def take_more() -> None:
    """Something else was opened under More: leave the run that was shown there, so that its link opens it again.

    For callbacks.
    """
    run_id = session.current_run()
    with suppress(RunError):
        if run_id is not None and name_of(session.lab().run(run_id)) in (FREE, LIMITS):
            look_at(None)


def own(name: str = "") -> list[RunRecord]:
    """One's own measurements (of one name), newest first, whatever became of them; races are left out."""
    me = session.nickname()
    records = [each for each in session.lab().runs()[0] if each.kind == "sweep" and each.owner == me]
    return [each for each in records if name_of(each) != RACE and name in ("", name_of(each))]


def shown(name: str) -> RunRecord | None:
    """The run to look at: that in the address if it is of this name, else one's own under way, else the newest."""
    run_id = session.current_run()
    with suppress(RunError):
        record = session.lab().run(run_id) if run_id is not None else None
        if record is not None and record.kind == "sweep" and name_of(record) == name:
            return record
    runs = own(name)
    return next((each for each in runs if each.is_active), runs[0] if runs else None)


def devices() -> list[str]:
    """What to measure on: what is chosen of the available devices; all kinds of them to begin with."""
    lab, chosen = session.lab(), session.chosen_device()
    there = [each.id for each in lab.devices() if each.available]
    gpus = [each for each in there if each != "cpu"]
    usual = ["cpu", *([chosen] if chosen in gpus else gpus[:1])]
    if DEVICES not in st.session_state and lab.devices_known():
        st.session_state[DEVICES] = usual
    wanted = st.session_state.get(DEVICES, usual)
    return [each for each in there if each in wanted]


def planned(name: str, on: list[str]) -> tuple[TrainConfig, SweepPlan, float]:
    """What an experiment measures on these devices, and in how many seconds. Raises `ConfigError`."""
    config, plan = plan_experiment(name, on)
    return config, plan, session.lab().estimate_sweep(config, plan).seconds


def submit(config: TrainConfig, plan: SweepPlan, where: str = "speed") -> None:
    """Put a measurement in the queue and look at it. where: of `session.submit`. For callbacks."""
    record = session.submit(where, lambda: session.lab().submit_sweep(config, plan, session.nickname()))
    if record is not None:
        look_at(record.id)
