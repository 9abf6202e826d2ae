"""What the Speed page is about: the experiment that is chosen, the run in the address, and its lines of PyTorch.

Batch size, loader workers and network in those lines are the experiment's own, so what is shown is what is measured.
"""

from contextlib import suppress
from typing import Any

import streamlit as st

from eurosat_core.analysis.race import RACES
from eurosat_core.errors import LabError, RunError
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import EXPERIMENTS, plan_experiment
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import device_name, duration, filled, listed
from pages.parts import lesson, room, run_widget, session

CHOSEN = "speed_experiment"
DEVICES = "speed_devices"
MORE = "speed_more"
FREE, LIMITS = "free", "limits"  # names of what is no experiment
_FOLLOWED = "speed_followed"  # the run that last led to an experiment
_IN_URL = "experiment"
_FIRST = next(iter(EXPERIMENTS))


def name_of(record: RunRecord) -> str:
    return str(record.plan.get("name", ""))


def follow_address() -> tuple[bool, str]:
    """Choose what the address names: a run's experiment, else the one that a link asked for. Before any widget.

    Returns whether the run in it is a race, which another page shows, and why it cannot be shown, if so.
    """
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
        return False, ""
    try:
        name = name_of(session.lab().store.get(run_id))
    except RunError as error:
        return False, str(error)
    if name not in RACES and state.get(_FOLLOWED) != run_id:
        state[_FOLLOWED] = run_id
        if name in EXPERIMENTS:
            state[CHOSEN] = name
        elif name in (FREE, LIMITS):
            state[MORE] = name
    return name in RACES, ""


def keep_in_address(name: str, record: RunRecord | None) -> None:
    """So that a refresh finds the experiment again, and its run."""
    session.write(_IN_URL, name)
    if record is not None and session.current_run() is None:
        st.session_state[_FOLLOWED] = record.id
        session.open_run(record.id)


def choose(name: str) -> None:
    """Look at an experiment, and at the newest run of it. For callbacks, or before the widgets."""
    st.session_state[CHOSEN] = name
    runs = own_runs(name)
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
        if run_id is not None and name_of(session.lab().store.get(run_id)) in (FREE, LIMITS):
            look_at(None)


def own_runs(name: str = "") -> list[RunRecord]:
    """One's own measurements (of one name), newest first, whatever became of them; races are left out."""
    records = [each for each in session.own_runs("sweep") if name_of(each) not in RACES]
    return [each for each in records if name in ("", name_of(each))]


def shown(name: str) -> RunRecord | None:
    """The run to look at: that in the address if it is of this name, else one's own under way, else the newest."""
    run_id = session.current_run()
    with suppress(RunError):
        record = session.lab().store.get(run_id) if run_id is not None else None
        if record is not None and record.kind == "sweep" and name_of(record) == name:
            return record
    runs = own_runs(name)
    return next((each for each in runs if each.is_active), runs[0] if runs else None)


def devices() -> list[str]:
    """What to measure on: what is chosen of the available devices; all kinds of them to begin with."""
    lab = session.lab()
    there = [each.id for each in lab.devices() if each.available]
    usual = [each for each in ("cpu", session.chosen_gpu()) if each]
    if DEVICES not in st.session_state and lab.devices_known():
        st.session_state[DEVICES] = usual
    wanted = st.session_state.get(DEVICES, usual)
    return [each for each in there if each in wanted]


def submit(config: TrainConfig, plan: SweepPlan, where: str) -> None:
    """Put a measurement in the queue and look at it. where: of `session.submit`. For callbacks."""
    record = session.submit(where, lambda: session.lab().submit_sweep(config, plan, session.me()))
    if record is not None:
        look_at(record.id)


def draw() -> tuple[str, list[str]]:
    """The choice of an experiment and of devices; both as they are now."""
    words = lesson.text("speed")
    st.caption(words["tips"])
    on = devices()
    labels = {name: _label(name, on) for name in EXPERIMENTS}
    st.pills(
        "Experiment",
        list(EXPERIMENTS),
        format_func=lambda name: labels[name],
        key=CHOSEN,
        required=True,
        persist_state="session",
        on_change=lambda: choose(st.session_state[CHOSEN]),
        wrap=True,
    )
    devices_switch()
    name: str = st.session_state[CHOSEN]
    return name, devices()


def _label(name: str, on: list[str]) -> str:
    one = EXPERIMENTS[name]
    number = f"{one.tip} · " if one.tip else ""
    try:
        seconds = session.lab().estimates.sweep(*_plan(name, on)).seconds
    except LabError:
        return f"{number}{one.title}"
    return f"{number}{one.title} · {duration(seconds)}"


def _plan(name: str, on: list[str]) -> tuple[TrainConfig, SweepPlan]:
    return plan_experiment(name, on, tf32=session.tf32_devices(), here=not session.lab().settings.scheduler)


def devices_switch() -> None:
    """All devices to measure on; those that are not there are named with their reason."""
    devices = session.lab().devices()
    there = [each.id for each in devices if each.available]
    if len(there) > 1:
        st.pills(
            "Measure on",
            there,
            selection_mode="multi",
            format_func=device_name,
            key=DEVICES,
            persist_state="session",
        )
    run_widget.missing_devices()


def run_button(name: str, on: list[str]) -> None:
    """Run, with its seconds; or why it cannot be run."""
    lab = session.lab()
    try:
        config, plan = _plan(name, on)
        estimate = lab.estimates.sweep(config, plan)
    except LabError as error:
        st.button("Run", icon=":material/play_arrow:", type="primary", disabled=True, key="speed_start")
        st.info(lesson.plain(str(error)), icon=":material/block:")
        return
    refused = room.no_runs()
    help = lesson.text("speed")["how"]
    start_button(
        "Run on", config, plan, estimate.seconds, type="primary", shortcut="Mod+Enter", disabled=refused, help=help
    )
    if lab.tiles().tile_set is None:
        room.no_tiles_yet()
    else:
        st.caption(lesson.plain(estimate.basis))


def start_button(
    what: str,
    config: TrainConfig,
    plan: SweepPlan,
    seconds: float,
    where: str = "speed",
    icon: str = ":material/play_arrow:",
    disabled: bool = False,
    **own: Any,
) -> None:
    """A button that puts a measurement in the queue, with its devices and seconds, and what stands against it.

    what: its first words. where: begins its key. own: what it has of its own, such as a help.
    """
    lab = session.lab()
    names = listed([device_name(each) for each in plan.devices(config)])
    active = any(each.is_active for each in own_runs(plan.name))
    st.button(
        f"{what} {names} · about {duration(seconds)}",
        icon=icon,
        key=f"{where}_start",
        on_click=submit,
        args=(config, plan, where),
        disabled=disabled or active or bool(lab.runs_problem) or lab.tiles().tile_set is None,
        **own,
    )
    lesson.problem(where)


def earlier() -> None:
    """One's measurements so far, to be looked at again."""
    runs = own_runs()
    if not runs:
        return
    # Another list for each state of theirs, too: else a title would keep an old one.
    run_widget.choose(
        f"Your experiments ({len(runs)})",
        {each.id: _title(each) for each in runs[:40]},
        session.current_run(),
        key=f"speed_earlier_{''.join(each.state[:1] for each in runs)}",
        take=look_at,
        placeholder="Look at an earlier one",
    )


def _title(record: RunRecord) -> str:
    devices = dict.fromkeys(str(each["changes"].get("device", record.config.device)) for each in record.plan["cells"])
    on = listed([device_name(each) for each in devices]) or device_name(record.config.device)
    how = "" if record.state == "finished" else f" · {record.state}"
    recorded = f" · recorded on {record.recorded_on}" if record.recorded_on else ""
    return f"{run_widget.sweep_title(name_of(record))} · {on}{how}{recorded} · {run_widget.made_at(record)} UTC"


def code(name: str) -> tuple[str, str]:
    """The lines of an experiment on the CPU, and on a GPU."""
    return _lines(name, gpu=False), _lines(name, gpu=True)


def _lines(name: str, *, gpu: bool) -> str:
    one = EXPERIMENTS[name]
    focus, reference = (_settings(name, each, gpu) for each in (one.focus, one.reference))
    return filled("pytorch/speed.py.j2", name=name, gpu=gpu, focus=focus, reference=reference)


def _settings(name: str, label: str, gpu: bool) -> TrainConfig:
    """What is measured under this label, unchecked: the code is shown without the GPU that some need, too."""
    one = EXPERIMENTS[name]
    changes = next(each.changes for each in one.options if each.label == label)
    return TrainConfig(**{"model": one.model, **one.base, **(one.gpu_base if gpu else {}), **changes})
