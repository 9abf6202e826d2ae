"""The race: models × devices, as a short measurement or as whole trainings, and what the tutorial reports of it."""

import math

import streamlit as st

from eurosat_core.analysis import guesses, race
from eurosat_core.analysis.card import card_findings
from eurosat_core.analysis.lineup import lineup_of
from eurosat_core.analysis.race import Entrants, Race
from eurosat_core.charts import comparison as charts
from eurosat_core.errors import LabError
from eurosat_core.models.catalog import model_entry
from eurosat_core.runs.history import History, progress
from eurosat_core.runs.record import RunRecord
from eurosat_core.wording import count, device_name, duration, listed, percent
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, room, run_widget, session
from pages.parts.compare import choose, curves

_EPOCHS = "compare_epochs"
_FULL_POLL_SECONDS = 2.0


def draw_runs(racing: Entrants, devices: list[str]) -> None:
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
    about = f" · about {duration(estimate.seconds)}" if estimate else ""
    group = _newest()
    active = any(each.is_active for each in group)
    st.button(
        f"Train {count(len(configs), 'network')} for {count(epochs, 'epoch')}{about}",
        icon=":material/sports_score:",
        type="primary",
        key="compare_full_start",
        on_click=_submit_run,
        args=(racing.models, tuple(devices)),
        disabled=bool(lab.runs_problem) or lab.tiles().tile_set is None or active,
        help="Every network on every device, the tutorial’s way, from the start. They queue like all runs.",
    )
    st.caption(lesson.plain(estimate.basis) if estimate else "Nothing was measured yet, so there is no estimate.")
    lesson.problem("compare_full")
    if group:
        every = _FULL_POLL_SECONDS if active else None
        st.fragment(_group, run_every=every)(tuple(each.id for each in group), _states(group))


def _newest() -> tuple[RunRecord, ...]:
    """The runs of one's newest full race; empty before the first."""
    own = [each for each in session.own_runs("train") if not each.recorded_on]
    groups = [str(each.plan["group"]) for each in own if str(each.plan.get("group", "")).startswith(race.RACE)]
    return race.group_of(own, groups[0]) if groups else ()


def _submit_run(models: tuple[str, ...], devices: tuple[str, ...]) -> None:
    lab, me = session.lab(), session.me()
    configs = race.full_race_configs(models, devices, st.session_state[_EPOCHS])
    session.submit("compare_full", lambda: race.start_full_race(lab, configs, me))


def _states(group: tuple[RunRecord, ...]) -> str:
    return ",".join(each.state for each in group)


def _group(run_ids: tuple[str, ...], drawn_as: str) -> None:
    lab = session.lab()
    try:
        group = tuple(lab.store.get(each) for each in run_ids)
    except LabError:
        st.rerun()  # one was deleted meanwhile
    if _states(group) != drawn_as:
        st.rerun()
    with st.container(border=True):
        for record in group:
            _one(record)
    done = [each.id for each in group if lineup_of(lab).has_result(each)]
    if len(done) > 1 and not any(each.is_active for each in group):
        lesson.button("Compare these runs", "compare_arrows", "compare_full_take", choose.choose, done, type="primary")


def _one(record: RunRecord) -> None:
    lab = session.lab()
    name = f"{model_entry(record.config.model).title} · {device_name(record.config.device)}"
    with st.container(horizontal=True, vertical_alignment="center"):
        history = lab.results.history(record.id)
        if record.state == "running":
            left = lab.seconds_left(record.id)
            about = f" · {duration(left)} left" if left is not None else ""
            done, epochs = len(history.epochs), record.config.epochs
            at = min(done + 1, epochs)  # after the last one it still writes its results
            st.progress(min(done / epochs, 1.0), text=f"{name}: epoch {at} of {epochs}{about}")
        else:
            seconds = history.finished.seconds if history.finished else None
            took = f" in {duration(seconds)}" if seconds is not None else ""
            accuracy = f", {percent(history.epochs[-1].val_accuracy)}" if history.epochs else ""
            st.markdown(f"{lesson.plain(name)}: {record.state}{took}{accuracy}", width="stretch")
        if record.is_active:
            st.button(
                "Stop",
                icon=":material/stop:",
                type="tertiary",
                key=f"compare_stop_{record.id}",
                on_click=run_widget.ask,
                args=(record.id, "stop"),
            )


_FORMS = {
    "short": "Short: timed steps",
    "resident": "Short: tiles in memory",
    "full": "Full: whole trainings",
}
_FORM, _FOLLOWED = "compare_form", "compare_followed"
_NAMES = {"short": race.RACE, "resident": race.RESIDENT_RACE, "full": race.RACE}


def draw_race() -> None:
    """A guess, the forms, and what the newest race of the chosen one showed."""
    words, lab = lesson.text("compare"), session.lab()
    racing = race.entrants(lab.settings.cache)
    st.markdown(words["race"])
    _follow_address()
    form = lesson.one_of("Form of the race", _FORMS, _FORM, default="short", hidden=True)
    name = _NAMES[form]
    guessed = None
    if name == race.RACE:  # which the guess is about
        guessed = lesson.guess("compare_race", words["race guess"], guesses.choices("compare_race"))
    if racing.note:
        st.caption(lesson.plain(say(racing.note)))
    devices = raced_devices()
    if form == "full":
        draw_runs(racing, devices)
    else:
        st.caption(words[f"race {form}"])
        _start(racing, devices, name)
    _missing(devices)
    record = _looked_at(name)
    found = None
    if record is not None and record.is_active:
        run_widget.follow(record, _live, key="compare_race", working="Racing")
    elif record is not None:
        found = _result(record, guessed)
    if name == race.RACE:  # what the tutorial reports is never held against another feed
        _reported(found)


def _follow_address() -> None:
    """Open the form of the race that the address names, once: another form may be chosen then."""
    state, named = st.session_state, session.current_run()
    if named is None or named == state.get(_FOLLOWED):
        return
    for form, name in _NAMES.items():
        if named in {each.id for each in _races(name)}:
            state[_FOLLOWED] = named
            if _NAMES.get(state.get(_FORM, "short")) != name:
                state[_FORM] = form
            return


def raced_devices() -> list[str]:
    """The CPU, and one other device: the chosen one, else the first there is."""
    return [each for each in ("cpu", session.chosen_gpu()) if each]


def _missing(devices: list[str]) -> None:
    """Devices that cannot race, with the reason: nothing is shown for them."""
    run_widget.missing_devices()
    for each in session.lab().devices():
        if each.available and each.id not in devices:
            st.caption(f":material/block: {lesson.plain(each.name)}: choose it in the sidebar to race on it.")


# -- the short form


def _start(racing: Entrants, devices: list[str], name: str) -> None:
    lab = session.lab()
    names = listed([device_name(each) for each in devices])
    try:
        config, plan = race.plan_race(racing.models, devices, lab.estimates.tile_seconds, name=name)
        seconds = lab.estimates.sweep(config, plan).seconds
    except LabError as error:
        st.error(lesson.plain(str(error)), icon=":material/error:")
        return
    tiles = lab.tiles().tile_set
    is_measured = lab.estimates.tile_seconds(config) is not None
    refused = room.no_runs()
    st.button(
        f"Race on {names} · {'about' if is_measured else 'at least'} {duration(seconds)}",
        icon=":material/sports_score:",
        type="primary",
        key="compare_race_start",
        on_click=_submit,
        args=(racing.models, tuple(devices), plan.seconds, name),
        disabled=refused or tiles is None or any(_own_active(each) for each in race.RACES),
        help=f"At least {plan.rounds * plan.steps} timed steps of every network on every device; warm-up does not "
        "count. From them the times of whole trainings are projected, and labelled so.",
    )
    if tiles is not None and not is_measured:
        run_widget.wait_for(
            lambda: lab.estimates.tile_seconds(config) is not None,  # an idle device is measured when the lab opens
            lambda: "This machine’s speed is not known yet: on a slow one it takes longer.",
        )
    lesson.problem("compare_race")


def _submit(models: tuple[str, ...], devices: tuple[str, ...], seconds: float, name: str) -> None:
    """seconds: of timed steps, as the button said: what was measured since then must not change them."""
    lab, me = session.lab(), session.me()
    record = session.submit(
        "compare_race",
        lambda: lab.submit_sweep(*race.plan_race(models, devices, lab.estimates.tile_seconds, seconds, name), me),
    )
    if record is not None:
        _choose(record.id, name)


def _choose(run_id: str, name: str) -> None:
    """Look at a race. An address that names one follows; one that names another run stays. For callbacks."""
    if session.current_run() in {each.id for kind in race.RACES for each in _races(kind)}:
        session.open_run(run_id)
    st.session_state[_chosen(name)] = run_id


def _chosen(name: str) -> str:
    """Where the id of the race of this name that is looked at stands in the session."""
    return f"compare_{name}"


def _own_active(name: str) -> RunRecord | None:
    return next((each for each in _races(name) if each.is_active and run_widget.is_own(each)), None)


def _races(name: str) -> list[RunRecord]:
    return [each for each in session.lab().store.all()[0] if each.kind == "sweep" and each.plan.get("name") == name]


def _looked_at(name: str) -> RunRecord | None:
    """The race on screen: one's own that runs, else that in the address, the chosen one, the newest own, a recorded."""
    if (active := _own_active(name)) is not None:
        return active
    measured = {each.id: each for each in session.lab().sweeps.runs(name=name)}
    own = [each for each in _races(name) if run_widget.is_own(each) and not each.recorded_on]
    shown = {each.id: each for each in (*own, *(each for each in measured.values() if each.recorded_on))}
    if not shown:
        return None
    state, asked = st.session_state, session.current_run()
    key = _chosen(name)
    if asked in shown:
        state[key] = asked
    elif state.get(key) not in shown:
        state[key] = next((each for each in shown if each in measured), next(iter(shown)))
    chosen: str = state[key]
    if len(shown) > 1:
        titles = {each: _title(record) for each, record in shown.items()}
        run_widget.choose("Race", titles, chosen, key="compare_race_choice", take=lambda run_id: _choose(run_id, name))
    return shown[chosen]


def _title(record: RunRecord) -> str:
    if record.recorded_on:
        return f"Recorded on {record.recorded_on}"
    state = "" if record.state == "finished" else f", {record.state}"
    return f"Mine, {run_widget.made_at(record)} UTC{state}"


def _live(record: RunRecord, history: History) -> None:
    told = history.sweep
    started = told.started
    text = "Getting ready: networks are made, loader workers start…"
    if started is not None and told.turns:
        at = max(each.round for each in told.turns)
        left = session.lab().seconds_left(record.id)
        about = f" · {duration(math.ceil(left))} left" if left is not None else ""
        if told.seconds > started.planned_seconds:
            about = " · longer than planned: this machine is slow or busy"
        text = f"Round {at} of {started.rounds}{about}" if at else "Warming up: this is not counted"
    st.progress(progress(history), text=text)


def _result(record: RunRecord, guessed: str | None) -> Race | None:
    """The sentences, and projected times as bars; the race, where it can be read."""
    lab = session.lab()
    run_widget.ended(record)
    try:
        result = lab.sweeps.result(record.id)
        found = race.read_race(record, result)
    except LabError as error:
        if record.state == "finished":
            st.error(lesson.plain(str(error)), icon=":material/broken_image:")
        return None
    run_widget.recorded(found.recorded_on)
    as_long = race.as_long(found) if result.name == race.RACE else None  # what was guessed is the tutorial's way
    judged = guesses.judge("compare_race", guessed, as_long.figures["ratio"] if as_long else None)
    sentences = say_each([*race.race_findings(found), judged and as_long, judged])
    if found.company:
        others = listed(list(found.company))
        sentences.append(f"Beside it ran {others}, so these times say little: race again on a free machine.")
    sentences += say_each(card_findings(record))
    lesson.saw_each(sentences)
    frame = charts.race_frame(found)
    if not frame.empty:
        epochs = next(each.projection.epochs for each in found.bars if each.projection is not None)
        st.markdown(f"**Seconds for {count(epochs, 'epoch')} on {record.tiles.count:,} tiles, projected**")
        about = "Projected seconds of a whole training of every network on every device, as bars"
        curves.bars(frame, "seconds", f"compare_race_{record.id}", about)
        curves.notes(frame)
    return found


def _reported(found: Race | None) -> None:
    """How many times as fast as the CPU: measured here, and, drawn otherwise, what the tutorial reports."""
    frame = charts.ratio_frame(found)
    st.markdown("**GPU against CPU**")
    about = (
        "How many times as fast a GPU is as a CPU: the tutorial’s reported figure, drawn with a dashed edge, and what "
        "was measured here, if anything"
    )
    curves.bars(frame, "speed_up", "compare_ratios", about)
    measured = len(frame) > 1
    beside = (
        "compare with yours above" if measured else "nothing was measured on a GPU here, so no other bar stands here"
    )
    words = lesson.text("compare")["reported"].format(ratio=f"{race.TUTORIAL_RATIO:g}", beside=beside)
    st.caption(words)
