"""The network that a participant is building: its history for undo, and its place in the page's address (`?net=…`)."""

import streamlit as st

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import BASELINE
from eurosat_core.models.layers import Layer, format_network, parse_network, url_text
from pages.parts import session

MORE = "model_more"  # key of the choice of what is open under "More"

_HISTORY = "model_history"  # texts; the current one is at _AT
_AT = "model_at"
_ROW = "model_row"
_KEPT = 100
_NET = "net"


def prepare() -> str:
    """Take the network from the address, or put it there. Returns a sentence when the address holds none."""
    state = st.session_state
    state.setdefault(_HISTORY, [BASELINE])
    state.setdefault(_AT, 0)
    if asked := session.asked(_NET):
        session.write(_NET, asked)
        try:
            _push(format_network(parse_network(asked)))
            open_builder()
        except ConfigError as error:
            return str(error)
    elif _NET not in st.query_params and text() != BASELINE:  # another page was open in between
        _into_url()
    return ""


def open_builder() -> None:
    """Show the free builder under "More". Before that choice is drawn, or in a callback."""
    st.session_state[MORE] = "builder"


def classes() -> int:
    """How many scores a network has to give."""
    tiles = session.lab().tiles().tile_set
    return len(tiles.class_names) if tiles else 10


def text() -> str:
    """The network as it stands."""
    now: str = st.session_state[_HISTORY][st.session_state[_AT]]
    return now


def layers() -> tuple[Layer, ...]:
    """Its layers."""
    return parse_network(text())


def _push(now: str) -> None:
    state = st.session_state
    if now == text():
        return
    state[_HISTORY] = [*state[_HISTORY][: state[_AT] + 1], now][-_KEPT:]
    state[_AT] = len(state[_HISTORY]) - 1


def put(new: tuple[Layer, ...], select: int | None = None) -> None:
    """Make this the network; `select`: the layer that is open for changes afterwards. For callbacks."""
    _push(format_network(new))
    if select is not None:
        st.session_state[_ROW] = select
    _into_url()


def _into_url() -> None:
    session.write(_NET, url_text(layers()))


def can_move(by: int) -> bool:
    """Whether there is a network so many changes earlier (-1) or later (1) in the history."""
    at: int = st.session_state[_AT] + by
    return 0 <= at < len(st.session_state[_HISTORY])


def move(by: int) -> None:
    """Take a change back (-1), or make it again (1). For callbacks."""
    if can_move(by):
        st.session_state[_AT] += by
        _into_url()


def row() -> int | None:
    """The layer that is open for changes, counted from 0; None when all are closed."""
    chosen: int | None = st.session_state.get(_ROW)
    return chosen if chosen is not None and chosen < len(layers()) else None


def select_row(number: int) -> None:
    """Open a layer, or close it if it is open. For callbacks."""
    st.session_state[_ROW] = None if row() == number else number
