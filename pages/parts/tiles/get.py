"""The panel "Get the real tiles": one click downloads EuroSAT for everybody, with progress that all can watch."""

import streamlit as st

from eurosat_core.lab.library import Fetch, What
from eurosat_core.wording import bytes_text, duration
from pages.parts import lesson, session

_REFRESH_SECONDS = 0.7
_TILES: tuple[What, ...] = ("tiles", "lists")
_BUSY = "Another download is running. Start this one when that has finished."
_STAGES = {
    "waiting": "Waiting for another program that is getting tiles",
    "downloading": "Downloading",
    "unpacking": "Unpacking",
    "copying": "Copying",
    "decoding": "Decoding the tiles",
}


def draw() -> None:
    """The offer while the tiles are synthetic; the progress while a download runs; nothing otherwise."""
    library = session.lab().library
    fetch, tiles = _fetch_of(_TILES), library.tile_set
    active = fetch is not None and fetch.is_active
    offered = tiles is None or tiles.source == "synthetic"
    problem = fetch is not None and bool(fetch.problem)
    if not (active or offered or problem):
        return
    with st.container(border=True):
        st.markdown("**:material/satellite_alt: Get the real tiles**")
        if offered and not active:
            st.markdown(lesson.text("get_tiles")["offer"])
        st.fragment(_progress, run_every=_REFRESH_SECONDS if active else None)(active, _TILES)
        if offered and not active:
            label = "Download EuroSAT"
            if kept := library.partly_downloaded():
                label = f"Go on with the download ({bytes_text(kept)} are here)"
            elif fetch is not None and fetch.stage in ("failed", "stopped"):
                label = "Try again"
            _button(label, _TILES, primary=True)
            with st.expander("No internet here?", icon=":material/wifi_off:", type="compact"):
                st.markdown(lesson.text("get_tiles")["offline"])


def button(what: What, label: str) -> None:
    """Fetch only this, such as the pretrained weights, with what became of it."""
    own = (what,)
    fetch = _fetch_of(own)
    active = fetch is not None and fetch.is_active
    _button(label, own, disabled=active)
    if active or (fetch is not None and fetch.problem):
        st.fragment(_progress, run_every=_REFRESH_SECONDS if active else None)(active, own)


def _button(label: str, whats: tuple[What, ...], *, disabled: bool = False, primary: bool = False) -> None:
    """Starts the download of the first of these; one of something else has to end before."""
    fetch = session.lab().library.fetching()
    busy = fetch is not None and fetch.is_active and fetch.what not in whats
    st.button(
        label,
        icon=":material/download:",
        type="primary" if primary else "secondary",
        key=f"fetch_{whats[0]}",
        disabled=disabled or busy,
        help=_BUSY if busy else None,
        on_click=_fetch,
        args=(whats[0],),
    )


def _fetch_of(whats: tuple[What, ...]) -> Fetch | None:
    """The download that runs, or the last one, if it is one of these."""
    fetch = session.lab().library.fetching()
    return fetch if fetch is not None and fetch.what in whats else None


def _fetch(what: What) -> None:
    session.forget_problem("fetch")
    session.lab().library.fetch(what, session.me())


def _stop() -> None:
    with session.attempt("fetch"):
        session.lab().library.stop_fetch(session.me())


def _progress(followed: bool, whats: tuple[What, ...]) -> None:
    """How far it is. When it ends, the whole page is drawn again, with what has come."""
    fetch = _fetch_of(whats)
    if fetch is None:
        return
    if followed and not fetch.is_active:
        st.rerun()
    if fetch.is_active:
        _bar(fetch)
    elif fetch.stage == "stopped":
        st.caption("The download was stopped. What has arrived is kept.")
    if fetch.problem:
        show = st.error if fetch.stage == "failed" else st.warning
        show(lesson.plain(fetch.problem), icon=":material/cloud_off:")
    lesson.problem("fetch")


def _bar(fetch: Fetch) -> None:
    amount = bytes_text if fetch.stage == "downloading" else "{:,}".format
    text = _STAGES[fetch.stage]
    if fetch.done or fetch.total:
        text += f": {amount(fetch.done)}" + (f" of {amount(fetch.total)}" if fetch.total else "")
    if fetch.seconds_left is not None:
        text += f", about {duration(fetch.seconds_left)} left"
    share = fetch.done / fetch.total if fetch.total else 0.0
    mine = fetch.owner == session.me()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(share, 1.0), text=text, width="stretch")
        if mine:
            label = "Stopping…" if fetch.stopping else "Stop"
            st.button(label, icon=":material/stop:", key="fetch_stop", on_click=_stop, disabled=fetch.stopping)
    if not mine:
        st.caption(f"Started by {lesson.plain(session.lab().participants.name(fetch.owner))}, for everybody.")
