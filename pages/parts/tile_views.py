"""The views of the Tiles page: one of each class, a class to browse, one tile large, class counts."""

import base64
import secrets

import pandas as pd
import streamlit as st

from eurosat_core import charts
from eurosat_core.data import pictures
from eurosat_core.data.classes import CLASSES, EUROSAT_TILES, colours_for
from eurosat_core.data.colour import ColourTest, colour_sentence, colour_test
from eurosat_core.data.tiles import TILE_SIDE, TileSet
from eurosat_core.models.catalog import model_entry
from pages.parts import lesson

__all__ = ["browse", "class_counts", "one_of_each", "saw_colours"]

_PER_PAGE = 24
_SMALL, _LARGE, _PLANE = 4, 8, 3  # how many times enlarged; small ones are drawn at less, so that they stay crisp
_SMALL_WIDTH = 112  # three side by side on a phone, six beside the sidebar of a laptop
_ACROSS = f"the tile is 640 m wide: {TILE_SIDE} pixels of {pictures.METRES_PER_PIXEL} m."
_SCALE = {
    "eurosat": f"The bar is 200 m long; {_ACROSS}",
    "synthetic": f"If it were real: the bar is 200 m long; {_ACROSS}",
    "folder": f"{TILE_SIDE} × {TILE_SIDE} pixels.",
}
_SHOWS = {each.name: each.shows for each in CLASSES}


@st.cache_data(show_spinner=False, max_entries=4000)
def _small_png(fingerprint: str, number: int, _tiles: TileSet) -> str:
    return pictures.png_uri(pictures.enlarged(_tiles.array[number], _SMALL))


@st.cache_data(show_spinner=False, max_entries=8)
def _colours(fingerprint: str, _tiles: TileSet) -> ColourTest | None:
    return colour_test(_tiles.array, _tiles.labels.numpy(), _tiles.class_names)


def _seed() -> int:
    """Which sample of the tiles this session looks at; 0 is the set's own order."""
    seed: int = st.session_state.setdefault("tiles_seed", 0)
    return seed


def _swatch(colour: str) -> str:
    """A round spot of a class's colour, for a label."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16">'
        f'<circle cx="8" cy="8" r="7" fill="{colour}"/></svg>'
    )
    return f"![](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def _row_of(tiles: TileSet, numbers: list[int], captions: list[str], names: list[str]) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        for number, caption, name in zip(numbers, captions, names, strict=True):
            picture = _small_png(tiles.fingerprint, number, tiles)
            st.image(picture, caption=caption, alt=name, width=_SMALL_WIDTH)


def one_of_each(tiles: TileSet) -> None:
    """One example tile of each class that has any."""
    titles = pictures.class_titles(tiles.class_names)
    labels = tiles.labels.numpy()
    first = {
        name: int(found[0])
        for label, name in enumerate(tiles.class_names)
        if len(found := pictures.tiles_of_class(labels, label, _seed()))
    }
    _row_of(
        tiles,
        list(first.values()),
        [lesson.plain(titles[name]) for name in first],
        [f"A tile of {titles[name]}" for name in first],
    )


@st.fragment
def browse(tiles: TileSet, about_network: str) -> None:
    """Pills for the class, a page of its tiles, and one of them large. A fragment: only this is drawn again."""
    titles, colours = pictures.class_titles(tiles.class_names), colours_for(tiles.class_names)
    name = st.pills(
        "Class",
        tiles.class_names,
        default=tiles.class_names[0],
        required=True,
        format_func=lambda each: f"{_swatch(colours[each])} {lesson.plain(titles[each])}",
        key="tiles_class",
        persist_state="session",
        wrap=True,
    )
    if name not in tiles.class_names:  # the tiles were exchanged for others
        name = tiles.class_names[0]
    members = pictures.tiles_of_class(tiles.labels.numpy(), tiles.class_names.index(name), _seed())
    if not len(members):
        st.info("This class has no tiles in this set.")
        return
    shows = f": {_SHOWS[name]}" if name in _SHOWS else ""
    st.markdown(f"**{lesson.plain(titles[name])}**{shows}. {len(members):,} tiles.")

    slot = st.container()
    with st.container(horizontal=True, vertical_alignment="center"):
        page = st.pagination(-(-len(members) // _PER_PAGE), key=f"tiles_page_{name}", persist_state="session")
        resample = st.button(
            "Another sample",
            icon=":material/shuffle:",
            help="Draws other tiles at random, here and in the view of all classes.",
        )
    if resample:
        st.session_state["tiles_seed"] = secrets.randbelow(9999) + 1
        st.rerun()  # the whole page, for the view of all classes stands outside of this fragment
    shown = members[(page - 1) * _PER_PAGE : page * _PER_PAGE].tolist()
    with slot:
        captions = [str(at) for at in range(1, len(shown) + 1)]
        _row_of(tiles, shown, captions, [f"{titles[name]}, tile {at} of this page" for at in captions])
    at = st.number_input(
        "Look at one closely: its number on this page",
        min_value=1,
        max_value=len(shown),
        value=1,
        key=f"tiles_at_{name}_{page}_{_seed()}",
        width=320,
    )
    _one_large(tiles, shown[int(at) - 1], titles[name], about_network)


def _one_large(tiles: TileSet, number: int, title: str, about_network: str) -> None:
    tile = tiles.array[number]
    left, right = st.columns([1, 1], gap="medium")
    with left:
        # How much ground a picture of the user's own shows is not known: no scale bar then.
        scaled = tiles.source != "folder"
        draw = pictures.with_scale_bar if scaled else pictures.enlarged
        bar = ", with a scale bar of 200 m" if scaled else ""
        st.image(
            pictures.png_uri(draw(tile, _LARGE)),
            width=TILE_SIDE * _LARGE,
            alt=f"Tile {number} enlarged, {title}{bar}",
        )
        st.caption(f"{lesson.plain(tiles.names[number])}. {_SCALE[tiles.source]}")
    with right:
        st.markdown("**How bright is each colour channel?**")
        st.altair_chart(
            charts.channel_histograms(pictures.channel_histograms(tile)),
            key="tiles_histograms",
            alt="Histogram of pixel values of the red, green and blue channel",
        )
    entry = model_entry("baseline")
    values = pictures.normalised(tile, entry.mean, entry.std)
    limit = max((1 - mean) / std for mean, std in zip(entry.mean, entry.std, strict=True))
    st.markdown("**What the network gets**")
    st.markdown(about_network)
    with st.container(horizontal=True, gap="small"):
        planes = pictures.value_planes(values, _PLANE, limit)
        for channel, plane in zip(pictures.CHANNELS, planes, strict=True):
            alt = f"{channel} channel after normalisation"
            st.image(pictures.png_uri(plane), caption=channel, alt=alt, width=TILE_SIDE * _PLANE)
    before, after = pictures.channel_numbers(tile), pictures.channel_numbers(values)
    rows = {
        old.channel: {
            "lowest pixel": f"{old.lowest:.0f}",
            "mean pixel": f"{old.mean:.1f}",
            "highest pixel": f"{old.highest:.0f}",
            "lowest value": f"{new.lowest:+.2f}",
            "mean value": f"{new.mean:+.2f}",
            "highest value": f"{new.highest:+.2f}",
        }
        for old, new in zip(before, after, strict=True)
    }
    st.table(pd.DataFrame(rows), alt="Lowest, mean and highest number of each channel before and after normalisation")
    st.caption(
        f"value = (pixel / 255 − mean) / std, with mean {entry.mean[0]:g} and std {entry.std[0]:g} for each channel: "
        f"the preprocessing of the {entry.title}."
    )


def class_counts(tiles: TileSet) -> None:
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


def saw_colours(tiles: TileSet, guess: str | None) -> None:
    """The page's computed sentence: how far average colour alone gets on these tiles."""
    test = _colours(tiles.fingerprint, tiles)
    if test is None:
        lesson.saw("These classes hold too few tiles to try how far colour alone gets.")
        return
    titles = {name: lesson.plain(title) for name, title in pictures.class_titles(tiles.class_names).items()}
    kind = "synthetic tiles" if tiles.source == "synthetic" else "tiles"
    lesson.saw(colour_sentence(test, guess, titles, kind))
