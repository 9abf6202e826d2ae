"""Which tile the Convolution page looks at: the one looked at closely on the Tiles page, or another."""

import numpy as np
import streamlit as st

from eurosat_core.data import pictures
from eurosat_core.data.tiles import TileSet
from pages.parts import lesson
from pages.parts.tile_pictures import class_label, titles_of

__all__ = ["choose"]

_TILE = "conv_tile"  # (fingerprint, number)
_SEEN = "conv_tiles_large"  # the Tiles page's tile when that was chosen: another one there is taken over


def choose(tiles: TileSet) -> int:
    """Draw the choice; the number of the chosen tile."""
    number = _number(tiles)
    name = tiles.class_names[int(tiles.labels[number])]
    key = f"conv_class_{tiles.fingerprint}"
    if st.session_state.get(key) != name:
        st.session_state[key] = name
    st.pills(
        "Class",
        [each for each in tiles.class_names if tiles.counts[each]],
        required=True,
        format_func=lambda each: class_label(tiles, each),
        key=key,
        on_change=_another,
        args=(tiles, key),
        wrap=True,
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Another tile", icon=":material/shuffle:", key="conv_another", on_click=_another, args=(tiles, key))
        st.caption(f"{titles_of(tiles)[name]}: {lesson.plain(tiles.names[number])}")
    return number


def _number(tiles: TileSet) -> int:
    """The tile chosen here, unless another one was looked at on the Tiles page since; else the first one."""
    large = st.session_state.get("tiles_large")
    if large is not None and large != st.session_state.get(_SEEN):
        st.session_state[_SEEN] = st.session_state[_TILE] = large
    fingerprint, number = st.session_state.get(_TILE, ("", 0))
    return int(number) if fingerprint == tiles.fingerprint else 0


def _another(tiles: TileSet, key: str) -> None:
    """Take the next tile of the chosen class, in an order that jumps about."""
    label = tiles.class_names.index(st.session_state[key])
    members = pictures.tiles_of_class(tiles.labels.numpy(), label, seed=1)
    _fingerprint, number = st.session_state.get(_TILE, ("", -1))
    at = np.flatnonzero(members == number)
    st.session_state[_TILE] = tiles.fingerprint, int(members[(int(at[0]) + 1) % len(members) if len(at) else 0])
