"""A run while it waits, runs or pauses: where it stands, its curves as they grow, and the buttons that steer it."""

import math
import time

import streamlit as st

from eurosat_core import wording
from eurosat_core.analysis import pace
from eurosat_core.charts import training as charts
from eurosat_core.errors import RunError
from eurosat_core.lab.jobs import Command
from eurosat_core.runs.history import History, progress
from eurosat_core.runs.record import RunRecord, State
from pages.parts import lesson, session

# Charts are to move at least once a second, and every look takes time from a training on the same cores.
_POLL_SECONDS = 0.7
_BADGES: dict[State, tuple[str, str, str]] = {
    "queued": ("Waiting", ":material/hourglass_top:", "gray"),
    "running": ("Training", ":material/play_circle:", "blue"),
    "paused": ("Paused", ":material/pause_circle:", "orange"),
    "finished": ("Finished", ":material/check_circle:", "green"),
    "failed": ("Failed", ":material/error:", "red"),
    "cancelled": ("Stopped", ":material/stop_circle:", "gray"),
    "interrupted": ("Cut off", ":material/power_off:", "orange"),
}
_ASKED_TEXT: dict[str, str] = {"pause": "Pausing…", "resume": "Going on…", "step": "One step…", "stop": "Stopping…"}
_ASKED_SECONDS = 3.0


def is_own(record: RunRecord) -> bool:
    """Whether this participant may steer and delete the run."""
    return record.owner == session.nickname()


def draw(record: RunRecord) -> None:
    """Follow the run while it is active; draw it once when it has ended."""
    every = _POLL_SECONDS if record.is_active else None
    st.fragment(_follow, run_every=every)(record.id, record.state)


def _follow(run_id: str, drawn_as: State) -> None:
    lab = session.lab()
    try:
        record = lab.run(run_id)
    except RunError:
        st.rerun()  # deleted meanwhile: the page says so
    if record.state != drawn_as and not (record.is_active and drawn_as in ("running", "paused")):
        st.rerun()  # it began or ended: other parts of the page change too
    history = lab.history(run_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        status(record)
        if record.is_active and is_own(record):
            _buttons(record)
    _bar(record, history)
    with st.container():  # always there: what comes and goes would have the charts below it drawn anew
        if record.state == "running" and (busy := _busy_text(record, history)):
            st.caption(busy)
    if record.state == "paused":
        st.caption(_pause_text(record))
    if record.state == "queued":
        waiting(record)
        return
    _figures(record, history)
    _curves(record, history)


def status(record: RunRecord, working: str = "Training") -> None:
    """State, owner and device. working: what a running run is doing."""
    label, icon, colour = _BADGES[record.state]
    label = working if record.state == "running" else label
    names = {each.id: each.name for each in session.lab().devices()}
    name = str(record.machine.get("device_name") or "") or names.get(record.config.device, "")
    owner = "" if is_own(record) else f"{record.owner}’s run · "
    st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]
    device = f"{wording.device_name(record.config.device)}{name and f' · {name}'}"
    st.caption(lesson.plain(f"{owner}{device}"), width="stretch")


def _bar(record: RunRecord, history: History) -> None:
    """How far the run is, and the time left."""
    if not record.is_active or record.state == "queued":
        return
    done = progress(history)
    if history.started is None:
        text = "Getting ready: the network goes to its device, the first tiles are fetched…"
    elif history.features is not None and history.latest is None:
        known = history.features
        done = known.done / max(known.total, 1)
        text = f"Computing the frozen part, once for every tile: {known.done:,} of {known.total:,}"
        if not known.total:
            text = "The frozen part was computed by an earlier run: its outputs are read…"
    else:
        epoch = min(len(history.epochs) + 1, record.config.epochs)
        left = session.lab().seconds_left(record.id)
        text = f"Epoch {epoch} of {record.config.epochs} · {100 * done:.0f} %"
        if record.state == "running" and left is not None:
            text += f" · {wording.duration(math.ceil(left))} left"
        if record.state == "paused" and history.latest:
            text += f" · at step {history.latest.step} of {_steps(history)} ({_phase(history)})"
    st.progress(done, text=text)


def _busy_text(record: RunRecord, history: History) -> str:
    """That it computes with fewer threads than it might have, and why; empty when it does not."""
    most = session.lab().most_threads()
    now = history.threads[-1].threads if history.threads else history.started.threads if history.started else most
    if record.config.device != "cpu" or now >= most:
        return ""
    return f"Other programs keep this machine busy, so it computes with {now} of {wording.count(most, 'CPU thread')}."


def _pause_text(record: RunRecord) -> str:
    """What a pause means for the run's place, and what it waits for."""
    lab = session.lab()
    who = "you press" if is_own(record) else "its owner presses"
    if lab.returning(record.id):
        return (
            "Its place went to others while it was paused. It goes on as soon as the device is free; beside a race or "
            "a measurement nothing runs."
        )
    if lab.parked(record.id):
        return f"Its place went to others meanwhile. It continues when {who} Resume, as soon as the device is free."
    minutes = f"{lab.settings.pause_minutes:g}"
    after = f"{minutes} minute{'' if minutes == '1' else 's'}"
    return f"Paused. After {after} its place goes to others; it continues when {who} Resume."


def _phase(history: History) -> str:
    return "validation" if history.latest and history.latest.phase == "validation" else "training"


def _steps(history: History) -> int:
    assert history.started is not None
    validating = _phase(history) == "validation"
    return history.started.validation_steps if validating else history.started.steps_per_epoch


def ask(run_id: str, command: Command) -> None:
    """Send a command; for callbacks. What stands against it is shown instead of what was asked."""
    try:
        session.lab().control(run_id, session.nickname(), command)
        st.session_state["asked"] = (run_id, command, time.monotonic())
    except RunError as error:
        st.session_state["asked"] = (run_id, str(error), time.monotonic())


def _buttons(record: RunRecord) -> None:
    paused, queued = record.state == "paused", record.state == "queued"
    lab = session.lab()
    stopping, parked = lab.stopping(record.id), lab.parked(record.id)
    resting = stopping or lab.returning(record.id)
    no_step = None if paused else "One batch forward, backward, update. Pause first."
    if parked:
        no_step = "Its place went to others. Resume it first, then pause it again."
    with st.container(horizontal=True, vertical_alignment="center", width="content"):
        if not queued:
            st.button(
                "Resume" if paused else "Pause",
                icon=":material/play_arrow:" if paused else ":material/pause:",
                key="run_pause",
                shortcut="P",
                disabled=resting,
                on_click=ask,
                args=(record.id, "resume" if paused else "pause"),
            )
            st.button(
                "One step",
                icon=":material/skip_next:",
                key="run_step",
                shortcut="N",
                disabled=no_step is not None or resting,
                on_click=ask,
                args=(record.id, "step"),
                help=no_step,
            )
        st.button(
            "Leave the queue" if queued else "Stop",
            icon=":material/stop:",
            key="run_stop",
            shortcut="Shift+S",
            disabled=stopping,
            on_click=ask,
            args=(record.id, "stop"),
        )
    if words := asked(record, stopping):
        st.caption(lesson.plain(words))


def asked(record: RunRecord, stopping: bool) -> str:
    """What was asked for and has not happened yet, or why it cannot."""
    if stopping:
        return _ASKED_TEXT["stop"]
    run_id, what, at = st.session_state.get("asked", ("", "", 0.0))
    if run_id != record.id or time.monotonic() - at > _ASKED_SECONDS:
        return ""
    done = {"pause": record.state == "paused", "resume": record.state == "running", "step": time.monotonic() - at > 0.4}
    return "" if done.get(what, False) else _ASKED_TEXT.get(what, what)


def waiting(record: RunRecord) -> None:
    """Where a waiting run stands in the queue."""
    place = session.lab().place(record.id)
    if place is None:
        st.info("This run is about to start.", icon=":material/hourglass_top:")
        return
    holds = session.lab().holds_up(place)
    seconds = place.starts_in_seconds
    if seconds is not None and seconds >= 1.0:
        holds += f" Yours starts in about {wording.duration(seconds)}."
    st.info(
        f"Place {place.position} of {place.waiting} in the queue. {lesson.plain(holds or 'It is about to start.')} You "
        "may leave this page: the run keeps its place.",
        icon=":material/hourglass_top:",
    )


def _figures(record: RunRecord, history: History) -> None:
    latest, epochs = history.latest, history.epochs
    rate = latest.tiles_per_second if record.is_active and latest else None
    paces = pace.pace(history)
    if not record.is_active and paces:
        rate = paces.median
    gain = epochs[-1].val_accuracy - epochs[-2].val_accuracy if len(epochs) > 1 else None
    with st.grid(4, min_column_width=150):
        st.metric(
            "Tiles per second",
            f"{rate:,.0f}" if rate else None,
            help="While it trains: right now. Afterwards: the median of the epochs’ training phases (without the first "
            "epoch, which warms up, if there are more).",
        )
        st.metric(
            "Training loss",
            f"{latest.loss:.2f}"
            if latest and latest.loss is not None and latest.phase == "train"
            else f"{epochs[-1].train_loss:.2f}"
            if epochs
            else None,
            help="Cross-entropy of the latest reported batch, or of the last epoch while validating.",
        )
        st.metric(
            "Memory",
            wording.bytes_text(latest.memory_bytes) if latest and latest.memory_bytes else None,
            help="Of the process that trains (CPU), or held on the GPU.",
        )
        st.metric(
            "Validation accuracy",
            wording.percent(epochs[-1].val_accuracy) if epochs else None,
            delta=f"{100 * gain:+.1f} points" if gain is not None else None,
            help="Share of right answers on tiles it was not trained on, after the last complete epoch.",
        )


def _curves(record: RunRecord, history: History) -> None:
    """Four charts. Key, spec and axes stay the same while rows are added, so that they grow without flicker."""
    classes = max(len(record.tiles.class_names), 2)
    epochs = record.config.epochs
    loss = charts.curve_frame(history, "loss", classes)
    accuracy = charts.curve_frame(history, "accuracy", classes)
    left, right = st.columns(2)
    left.vega_lite_chart(
        loss,
        charts.curves("loss", epochs, classes, charts.loss_ceiling(loss, classes)),
        key="run_loss",
        alt="Loss of training and validation over the epochs, with the line of chance",
    )
    right.vega_lite_chart(
        accuracy,
        charts.curves("accuracy", epochs, classes, 1.0),
        key="run_accuracy",
        alt="Accuracy of training and validation over the epochs, with the line of chance",
    )
    speed = charts.speed_frame(history)
    if speed.empty:
        return
    until = charts.axis_ceiling(float(speed["seconds"].max()), least=5.0)
    left, right = st.columns(2)  # a row of its own: on a phone, loss and accuracy come first
    highest = {name: float(speed[name].max()) for name in ("tiles_per_second", "memory_mb")}
    left.vega_lite_chart(
        speed,
        charts.over_time("tiles_per_second", until, charts.axis_ceiling(highest["tiles_per_second"], 100.0)),
        key="run_speed",
        alt="Tiles per second of training and validation over time",
    )
    right.vega_lite_chart(
        speed,
        charts.over_time("memory_mb", until, charts.axis_ceiling(highest["memory_mb"], 10.0)),
        key="run_memory",
        alt="Memory in use over time",
    )
