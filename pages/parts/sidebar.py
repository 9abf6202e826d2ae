"""The sidebar: nickname, device switch, dataset badge, runs, glossary, start over."""

from collections.abc import Mapping

import streamlit as st

from eurosat_core.analysis.race import RACES
from eurosat_core.classroom.participants import MAX_NICKNAME
from eurosat_core.devices import Device
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import EXPERIMENTS
from eurosat_core.wording import bytes_text, count, device_name, percent
from pages.parts import account, lesson, session
from pages.parts.turns import in_turn

_PAGES_OF = {
    "profile": ("profiler.py", "profile"),
    "sweep": ("speed.py", "Measurement"),
    "transfer": ("transfer.py", "features"),
}
_SWEEPS = {name: each.title for name, each in EXPERIMENTS.items()} | {"free": "Free sweep", "limits": "Limits"}
_SHOWN_RUNS = 5
_EARLIER_RUNS = 30
_REFRESH_SECONDS, _OTHERS_SECONDS = 2.0, 10.0  # while one's own run is active, and while only others' are
_STATE_ICONS = {
    "queued": ":material/hourglass_top:",
    "running": ":material/play_circle:",
    "paused": ":material/pause_circle:",
    "finished": ":material/check_circle:",
    "failed": ":material/error:",
    "cancelled": ":material/cancel:",
    "interrupted": ":material/power_off:",
}


def draw() -> None:
    """All of it, from top to bottom. Nothing here may fail when the page below does."""
    _nickname()
    _device_switch()
    _dataset()
    # While something is being opened or runs, a fragment follows it; else nothing polls.
    lab = session.lab()
    tiles = lab.tiles()
    if not lab.devices_known() or (tiles.tile_set is None and not tiles.problem):
        st.fragment(_opening, run_every=0.7)()
    st.space("small")
    every = _refreshed_every()
    st.fragment(_runs, run_every=every)(every)
    st.space("small")
    with st.container(horizontal=True):
        if st.button("Glossary", icon=":material/menu_book:", type="tertiary", key="glossary"):
            lesson.glossary()
        start_over = st.button(
            "Start over",
            icon=":material/restart_alt:",
            type="tertiary",
            key="start_over",
            help="Back to the first page with fresh settings. Your runs stay.",
        )
    if start_over:
        session.start_over()
        st.switch_page("start.py", query_params=session.url_parameters())


def _nickname() -> None:
    words, name = lesson.text("classroom"), session.nickname()
    key = "nickname_input"
    session.mirror(key, name)  # it may have changed in another tab
    st.text_input(
        "Nickname",
        key=key,
        persist_state="session",
        max_chars=MAX_NICKNAME,
        on_change=_rename,
        args=(key,),
        icon=":material/person:",
        help=words["nickname help"],
    )
    lesson.problem("nickname")
    if not session.keeps_cookies():
        st.caption(f":orange[:material/cookie_off:] {words['no cookies']}")
    _account(words)
    with st.expander("On another computer?", icon=":material/devices:", type="compact"):
        _recovery(words)


def _account(words: Mapping[str, str]) -> None:
    """Signing in, where a provider is set; and who that is."""
    if (signed_in := account.current()) is not None:
        with st.container(horizontal=True, vertical_alignment="center"):
            name = signed_in.email or signed_in.name or signed_in.subject
            st.caption(words["account is"].format(name=lesson.plain(name)), width="stretch")
            lesson.button("Sign out", "logout", "account_leave", st.logout, type="tertiary")
        return
    for provider in account.providers():
        label = "Sign in" if provider == "default" else f"Sign in with {lesson.plain(provider.capitalize())}"
        lesson.button(label, "login", f"account_{provider}", st.login, provider, help=words["account help"])


def _rename(key: str) -> None:
    with session.attempt("nickname"):
        session.rename(st.session_state[key])
    st.session_state[key] = session.nickname()


def _recovery(words: Mapping[str, str]) -> None:
    """The code that brings this participant back elsewhere, and where another one's is entered."""
    st.markdown(words["code"].format(code=session.recovery_code()))
    lesson.button("Make a new code", "refresh", "code_anew", session.new_recovery_code, type="tertiary")
    st.text_input("Code from your other computer", key="code_input", max_chars=20, placeholder="ABCD-EFGH")
    st.caption(words["code entered"])
    lesson.button("Enter", "login", "code_enter", _recover)
    lesson.problem("code")


def _recover() -> None:
    with session.attempt("code"):
        session.recover(st.session_state["code_input"])
        st.session_state["code_input"] = ""


def _device_switch() -> None:
    lab = session.lab()
    devices = {each.id: each for each in lab.devices()}
    available = [name for name, each in devices.items() if each.available]
    if st.session_state.get("device") not in available:
        st.session_state["device"] = session.chosen_device()
    st.radio(
        "Device",
        available,
        format_func=device_name,
        captions=[_device_caption(devices[name]) for name in available],
        key="device",
        persist_state="session",
        help="Where your next run will compute. Runs already started stay where they are.",
    )
    for device in devices.values():
        if not device.available:  # shown, so that nobody looks for it, but it cannot be chosen
            with st.container(gap="xxsmall"):
                st.radio(
                    "Not available",
                    [lesson.plain(device.name)],
                    index=None,
                    disabled=True,
                    label_visibility="collapsed",
                    key=f"missing_{device.id}",
                )
                st.caption(lesson.plain(device.reason))


def _device_caption(device: Device) -> str:
    memory = f" · {bytes_text(device.memory_bytes)}" if device.memory_bytes else ""
    return lesson.plain(f"{device.name}{memory}")


def _dataset() -> None:
    state = session.lab().tiles()
    tiles = state.tile_set
    if tiles is None:
        if state.problem:
            st.error(lesson.plain(state.problem), title="No tiles")
        return  # else `_opening` shows how far it is
    with st.container(gap="xsmall"):
        if tiles.source == "synthetic":
            st.badge("Synthetic tiles", icon=":material/science:", color="orange")
        else:
            title = "EuroSAT" if tiles.source == "eurosat" else "Own tiles"
            st.badge(title, icon=":material/satellite_alt:", color="green")
        st.caption(lesson.plain(tiles.description))
        if state.problem:
            st.caption(f":orange[:material/warning:] {lesson.plain(state.problem)}")


@in_turn
def _opening() -> None:
    """What is still being opened. When that changes, the whole page is drawn again."""
    lab = session.lab()
    state, known = lab.tiles(), lab.devices_known()
    if state.tile_set is None and not state.problem:
        share = state.done / state.total if state.total else 0.0
        count = f" {state.done:,} of {state.total:,}" if state.total else ""
        st.progress(min(share, 1.0), text=f"Opening the tiles…{count}")
    if not known:
        st.caption(":material/search: Looking for GPUs…")
    before = st.session_state.get("opening_seen")
    now = (state.tile_set is not None, known)
    st.session_state["opening_seen"] = now
    if before is not None and before != now:
        st.rerun()


def _refreshed_every() -> float | None:
    """How often the list of runs is looked at; None when nothing in it can change by itself."""
    active = {each.owner for each in session.lab().store.all()[0] if each.is_active}
    if session.me() in active:
        return _REFRESH_SECONDS
    return _OTHERS_SECONDS if active else None


@in_turn
def _runs(every: float | None) -> None:
    """My runs, newest first; others' only as a number, while they run."""
    if every != _refreshed_every():
        st.rerun()  # mine has ended, or the last one of all: draw the page once more, and look less often
    lab = session.lab()
    records, problems = lab.store.all()
    me, open_now = session.me(), session.current_run()
    mine = [each for each in records if each.owner == me]
    others = sum(each.owner != me and each.state == "running" for each in records)
    st.markdown("**My runs**")
    if not mine:
        st.caption("None yet. Train a network, and it will be listed here.")
    for record in mine[:_SHOWN_RUNS]:
        _run_link(record, record.id == open_now)
    if len(mine) > _SHOWN_RUNS:
        with st.expander(f"{len(mine) - _SHOWN_RUNS} earlier", type="compact"):
            for record in mine[_SHOWN_RUNS : _SHOWN_RUNS + _EARLIER_RUNS]:
                _run_link(record, record.id == open_now)
    if others:
        st.caption(f":material/group: {count(others, 'run')} of others in progress")
    if problems:
        with st.expander(f"{len(problems)} damaged", icon=":material/warning:", type="compact"):
            for sentence in problems[:_EARLIER_RUNS]:
                st.caption(lesson.plain(sentence))


def _run_link(record: RunRecord, is_open: bool) -> None:
    page, what = _PAGES_OF.get(record.kind, ("train.py", ""))
    device = device_name(record.config.device)
    if record.kind == "sweep":  # of several models, often
        name = str(record.plan.get("name", ""))
        page, what = ("compare.py", "Race") if name in RACES else (page, _SWEEPS.get(name, what))
        label = f"{what} · {device}"
    else:
        entry = CATALOG.get(record.config.model)
        title = entry.title if entry else record.config.model
        accuracy = record.summary.get("val_accuracy")
        outcome = percent(accuracy) if isinstance(accuracy, int | float) else record.state
        label = f"{title} · {device} · {what or outcome}"  # of others than trainings its icon tells the state
    st.page_link(
        page,
        label=f"**{label}**" if is_open else label,
        icon=_STATE_ICONS[record.state],
        help=lesson.plain(f"{record.state.capitalize()}. {record.message}"),
        query_params=session.url_parameters(record.id),
    )
