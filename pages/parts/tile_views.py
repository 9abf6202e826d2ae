"""The Tiles page below its game: one of each class, and the views, of which only the open one is drawn."""

import secrets

import streamlit as st

from eurosat_core import charts
from eurosat_core.data import pictures
from eurosat_core.data.classes import CLASSES
from eurosat_core.data.colour import ColourTest, colour_sentence, colour_test
from eurosat_core.data.tiles import TILE_SIDE, TileSet
from pages.parts import class_views, lesson, pipeline_view, scatter_view, split_view
from pages.parts.tile_pictures import class_label, row_of, seed, titles_of

__all__ = ["one_of_each", "saw_colours", "views"]

_PER_PAGE = 24
_LARGE = 8  # times enlarged
_AT_A_GLANCE = 24  # classes of which an example is shown above the views
_ACROSS = f"the tile is 640 m wide: {TILE_SIDE} pixels of {pictures.METRES_PER_PIXEL} m."
_SCALE = {
    "eurosat": f"The bar is 200 m long; {_ACROSS}",
    "synthetic": f"If it were real: the bar is 200 m long; {_ACROSS}",
    "folder": f"{TILE_SIDE} × {TILE_SIDE} pixels.",
}
_SHOWS = {each.name: each.shows for each in CLASSES}


@st.cache_data(show_spinner=False, max_entries=8)
def _colours(fingerprint: str, _tiles: TileSet) -> ColourTest | None:
    return colour_test(_tiles.statistics.means, _tiles.labels.numpy(), _tiles.class_names)


def one_of_each(tiles: TileSet) -> None:
    """One example tile of each class that has any, of the first ones where there are many."""
    titles = titles_of(tiles)
    labels = tiles.labels.numpy()
    first = {
        name: int(found[0])
        for label, name in enumerate(tiles.class_names)
        if len(found := pictures.tiles_of_class(labels, label, seed()))
    }
    shown = list(first)[:_AT_A_GLANCE]
    row_of(
        tiles,
        [first[name] for name in shown],
        [titles[name] for name in shown],
        [f"A tile of {pictures.class_titles((name,))[name]}" for name in shown],
    )
    if len(first) > len(shown):
        st.caption(f"{len(first) - len(shown)} more classes can be chosen below, under Browse.")


@st.fragment
def views(tiles: TileSet) -> None:
    """The choice of views and the one that is open. A fragment: only this is drawn again."""
    drawn = {
        "Browse": _browse,
        "Class averages": class_views.averages,
        "All tiles in one chart": scatter_view.draw,
        "Typical and odd": class_views.typical_and_odd,
        "From picture to numbers": pipeline_view.draw,
        "Splits": split_view.draw,
    }
    chosen = st.segmented_control(
        "View",
        list(drawn),
        default="Browse",
        key="tiles_view",
        required=True,
        persist_state="session",
        label_visibility="collapsed",
    )
    drawn[chosen](tiles)


def _browse(tiles: TileSet) -> None:
    """Pills for the class, a page of its tiles, and one of them large."""
    titles = titles_of(tiles)
    name = st.pills(
        "Class",
        tiles.class_names,
        default=tiles.class_names[0],
        required=True,
        format_func=lambda each: class_label(tiles, each),
        key="tiles_class",
        persist_state="session",
        wrap=True,
    )
    if name not in tiles.class_names:  # the tiles were exchanged for others
        name = tiles.class_names[0]
    members = pictures.tiles_of_class(tiles.labels.numpy(), tiles.class_names.index(name), seed())
    if not len(members):
        st.info("This class has no tiles in this set.")
        return
    shows = f": {_SHOWS[name]}" if name in _SHOWS else ""
    st.markdown(f"**{titles[name]}**{shows}. {len(members):,} tiles.")

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
        title = pictures.class_titles((name,))[name]
        row_of(tiles, shown, captions, [f"{title}, tile {at} of this page" for at in captions])
    at = st.number_input(
        "Look at one closely: its number on this page",
        min_value=1,
        max_value=len(shown),
        value=1,
        key=f"tiles_at_{name}_{page}_{seed()}",
        width=320,
    )
    _one_large(tiles, shown[int(at) - 1], title)


def _one_large(tiles: TileSet, number: int, title: str) -> None:
    st.session_state["tiles_large"] = (tiles.fingerprint, number)  # the view of the pipeline takes it up
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


def saw_colours(tiles: TileSet, guess: str | None) -> None:
    """The page's computed sentence: how far average colour alone gets on these tiles."""
    test = _colours(tiles.fingerprint, tiles)
    if test is None:
        lesson.saw("These classes hold too few tiles to try how far colour alone gets.")
        return
    kind = "synthetic tiles" if tiles.source == "synthetic" else "tiles"
    lesson.saw(colour_sentence(test, guess, titles_of(tiles), kind))
