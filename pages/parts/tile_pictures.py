"""Rows of tiles and the choice of classes, as all views of the Tiles page draw them."""

import base64
from collections.abc import Sequence

import streamlit as st

from eurosat_core.data import pictures
from eurosat_core.data.classes import colours_for
from eurosat_core.data.tile_cache import TileSet
from pages.parts import lesson

_SMALL = 4  # times enlarged; drawn at less, so that tiles stay crisp
_SMALL_WIDTH = 112  # three side by side on a phone, six beside the sidebar of a laptop


def seed() -> int:
    """Which sample of the tiles this session looks at; 0 is the set's own order."""
    chosen: int = st.session_state.setdefault("tiles_seed", 0)
    return chosen


def titles_of(tiles: TileSet) -> dict[str, str]:
    """The classes' names in words, safe to be drawn."""
    return {name: lesson.plain(title) for name, title in pictures.class_titles(tiles.class_names).items()}


def class_label(tiles: TileSet, name: str) -> str:
    """A class's name with a round spot of its colour, for a label."""
    colour = colours_for(tiles.class_names)[name]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16">'
        f'<circle cx="8" cy="8" r="7" fill="{colour}"/></svg>'
    )
    return f"![](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}) {titles_of(tiles)[name]}"


@st.cache_data(show_spinner=False, max_entries=4000)
def small_png(fingerprint: str, number: int, _tiles: TileSet) -> str:
    """A tile as a small picture's `data:` address."""
    return pictures.png_uri(pictures.enlarged(_tiles.array[number], _SMALL))


def row_of(tiles: TileSet, numbers: Sequence[int], captions: Sequence[str], names: Sequence[str]) -> None:
    """Small tiles side by side; captions below, names for who cannot see them."""
    with st.container(horizontal=True, gap="xsmall"):
        for number, caption, name in zip(numbers, captions, names, strict=True):
            st.image(small_png(tiles.fingerprint, number, tiles), caption=caption, alt=name, width=_SMALL_WIDTH)
