"""Tiles, classes and a network's answer, as all pages draw them."""

import base64
from collections.abc import Sequence
from typing import Any

import streamlit as st

from eurosat_core.charts import networks
from eurosat_core.data import pictures
from eurosat_core.data.classes import colours_for
from eurosat_core.data.tile_cache import TileSet
from pages.parts import lesson

_SMALL = 4  # times enlarged; drawn at less, so that tiles stay crisp
SMALL_WIDTH = 112  # three side by side on a phone, six beside the sidebar of a laptop


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


def classes_there(tiles: TileSet) -> list[str]:
    """The classes that have tiles."""
    return [name for name in tiles.class_names if tiles.counts[name]]


def class_pills(label: str, tiles: TileSet, key: str, **about: Any) -> Any:
    """Pills of the classes that have tiles. about: what else `st.pills` takes."""
    options = classes_there(tiles)
    return st.pills(label, options, format_func=lambda each: class_label(tiles, each), key=key, wrap=True, **about)


@st.cache_data(show_spinner=False, max_entries=800)  # 17 KB each, and made anew in 1.3 ms
def small_png(fingerprint: str, number: int, _tiles: TileSet) -> str:
    """A tile as a small picture's `data:` address."""
    return pictures.png_uri(pictures.enlarged(_tiles.array[number], _SMALL))


def row_of(tiles: TileSet, numbers: Sequence[int], captions: Sequence[str], names: Sequence[str]) -> None:
    """Small tiles side by side; captions below, names for who cannot see them."""
    with st.container(horizontal=True, gap="xsmall"):
        for number, caption, name in zip(numbers, captions, names, strict=True):
            st.image(small_png(tiles.fingerprint, number, tiles), caption=caption, alt=name, width=SMALL_WIDTH)


def large(pixels: pictures.Pixels, times: int, name: str, *, scaled: bool) -> None:
    """A picture enlarged. name: for who cannot see it. scaled: whether it shows 640 m of ground, for a scale bar."""
    made = (pictures.with_scale_bar if scaled else pictures.enlarged)(pixels, times)
    bar = ", with a scale bar of 200 m" if scaled else ""
    st.image(pictures.png_uri(made), width=made.shape[1], alt=f"{name}, enlarged{bar}")


def framed(pixels: pictures.Pixels, times: int, frame: tuple[int, int, int], alt: str) -> None:
    """A picture enlarged, with a frame (top, left, side) around some of its pixels."""
    made = pictures.with_frame(pixels, times, *frame)
    st.image(pictures.png_uri(made), width=made.shape[1], alt=alt)


def probabilities(values: pictures.Values, names: Sequence[str], key: str, alt: str) -> None:
    """A bar for the probability [classes] of each class, surest first."""
    frame, colours = networks.probability_frame(values, names), colours_for(tuple(names))
    chart = networks.probability_bars(tuple((name, colours[name]) for name in frame["name"]))
    st.vega_lite_chart(frame, chart, key=key, alt=alt)
    if len(frame) < len(names):
        st.caption(f"The {len(frame)} surest of {len(names):,} classes.")
