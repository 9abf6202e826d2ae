"""Views of whole classes: mean tiles and histograms, typical and odd tiles."""

from collections import Counter

import numpy as np
import streamlit as st

from eurosat_core import charts
from eurosat_core.data import pictures
from eurosat_core.data.classes import EUROSAT_TILES, colours_for
from eurosat_core.data.frames import class_histogram_frame
from eurosat_core.data.statistics import UNIFORM, near_uniform, unusualness
from eurosat_core.data.tiles import TileSet
from eurosat_core.wording import count, listed
from pages.parts import lesson
from pages.parts.tile_pictures import class_label, row_of, titles_of

__all__ = ["averages", "typical_and_odd"]

_ENLARGED, _WIDTH = 4, 112
_COMPARED = 3  # classes whose histograms are drawn at first
_EACH = 6


def averages(tiles: TileSet) -> None:
    """Mean tile of every class, histograms of some, and how many tiles each has."""
    words = lesson.text("tiles")
    titles, colours = titles_of(tiles), colours_for(tiles.class_names)
    st.markdown(words["averages"])
    with st.container(horizontal=True, gap="xsmall"):
        for label, name in enumerate(tiles.class_names):
            if tiles.counts[name]:
                mean = np.round(tiles.statistics.class_tiles[label]).astype(np.uint8)
                alt = f"Mean of all tiles of {pictures.class_titles((name,))[name]}"
                picture = pictures.png_uri(pictures.enlarged(mean, _ENLARGED))
                st.image(picture, caption=titles[name], alt=alt, width=_WIDTH)
    there = [name for name in tiles.class_names if tiles.counts[name]]
    chosen = st.pills(
        "Compare the histograms of",
        there,
        selection_mode="multi",
        default=there[:_COMPARED],
        format_func=lambda each: class_label(tiles, each),
        key=f"tiles_compared_{tiles.fingerprint}",
        wrap=True,
    )
    if chosen:
        own = pictures.class_titles(tiles.class_names)
        frame = class_histogram_frame(tiles, tuple(chosen))
        shades = [(own[name], colours[name]) for name in chosen]
        with st.grid(3, min_column_width=220):
            for channel in pictures.CHANNELS:
                st.altair_chart(
                    charts.class_histogram(frame[frame["channel"] == channel], channel, shades),
                    key=f"tiles_class_histogram_{channel}",
                    alt=f"Histograms of the {channel.lower()} channel of {listed([own[name] for name in chosen])}",
                )
    else:
        st.caption("Choose one class or more to see how bright their pixels are.")
    st.markdown(f"**How many tiles per class?** {words['counts']}")
    _counts(tiles)


def _counts(tiles: TileSet) -> None:
    """Bars of tiles per class; EuroSAT's published counts are marked when these are its tiles."""
    real = tiles.source == "eurosat"
    frame = pictures.class_counts(tiles.counts, published=real)
    colours = colours_for(tiles.class_names)
    st.altair_chart(
        charts.class_counts(frame, frame["class"].tolist(), [colours[name] for name in tiles.class_names]),
        key="tiles_counts",
        alt="Bar chart of the number of tiles per class",
    )
    marks = f" The grey marks are EuroSAT's published counts ({EUROSAT_TILES:,} in all)." if real else ""
    st.caption(f"{len(tiles):,} tiles in {len(tiles.class_names)} classes.{marks}")


def typical_and_odd(tiles: TileSet) -> None:
    """The most usual and the most unusual tiles of a class, tiles that show next to nothing, and mixed ones."""
    words, titles = lesson.text("tiles"), titles_of(tiles)
    st.markdown(words["typical"])
    there = [name for name in tiles.class_names if tiles.counts[name]]
    name = st.pills(
        "Class",
        there,
        default=there[0],
        required=True,
        format_func=lambda each: class_label(tiles, each),
        key=f"tiles_odd_{tiles.fingerprint}",
        wrap=True,
    )
    members = pictures.tiles_of_class(tiles.labels.numpy(), tiles.class_names.index(name))
    distance = unusualness(tiles.statistics, members)
    order = members[np.argsort(distance, kind="stable")]
    ranked = np.sort(distance, kind="stable")
    for title, numbers, how_far in (
        ("Most typical", order[:_EACH], ranked[:_EACH]),
        ("Oddest", order[::-1][:_EACH], ranked[::-1][:_EACH]),
    ):
        st.markdown(f"**{title}**: {titles[name]}")
        row_of(
            tiles,
            numbers.tolist(),
            [f"{far:.1f}" for far in how_far],
            [f"{title} tile {at} of {pictures.class_titles((name,))[name]}" for at in range(1, len(numbers) + 1)],
        )
    st.caption(words["typical measure"])
    st.markdown(f"**Next to nothing to see.** {words['uniform'].format(limit=f'{UNIFORM:g}')}")
    _uniform(tiles)
    st.markdown(f"**Two things in one tile.** {words['mixed']}")


def _uniform(tiles: TileSet) -> None:
    """The most uniform tile of every class that has such tiles, and how many there are."""
    titles = titles_of(tiles)
    first: dict[str, int] = {}
    numbers: Counter[str] = Counter()
    uniform = near_uniform(tiles.statistics)
    for number, label in zip(uniform.tolist(), tiles.labels[uniform].tolist(), strict=True):
        name = tiles.class_names[label]
        first.setdefault(name, number)
        numbers[name] += 1
    row_of(
        tiles,
        list(first.values()),
        [f"{titles[name]}: {numbers[name]:,}" for name in first],
        [f"The most uniform tile of class {name}" for name in first],
    )
    if len(uniform):
        found = count(len(uniform), "near-uniform tile")
        st.caption(f"{found} of {len(tiles):,} in this set; the most uniform one of each class is shown.")
    else:
        st.caption("This set has no such tile.")
