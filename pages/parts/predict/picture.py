"""What is asked about: a tile, or a picture of one's own."""

import secrets

import numpy as np
import streamlit as st

from eurosat_core import wording
from eurosat_core.data import pictures
from eurosat_core.data.deep_tiff import BAND_ORDERS, FIRST_THREE
from eurosat_core.data.pictures import METRES_PER_PIXEL
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.uploads import MOST_ACROSS, MOST_BYTES, MOST_PIXELS, STRETCHES, lay_out
from eurosat_core.errors import DataError, LabError
from eurosat_core.lab.predict import Prepared, Wanted
from pages.parts import lesson, session
from pages.parts.tile_pictures import class_pills, titles_of

_TILE = "predict_tile"  # (fingerprint, number)
_SAID = "predict_tile_said"
_BY_BUTTON = "predict_tile_by_button"  # how often a button chose the tile


def choose_tile(tiles: TileSet, run_id: str) -> int:
    """Draw the choice; the number of the chosen tile."""
    state = st.session_state
    if state.get(_TILE, ("",))[0] != tiles.fingerprint:
        _random(tiles, run_id)
    number: int = state[_TILE][1]
    label = int(tiles.labels[number])
    name = tiles.class_names[label]
    members = pictures.tiles_of_class(tiles.labels.numpy(), label)
    # Other widgets after each choice by a button: a browser may still report what stood in the ones before.
    times = state.get(_BY_BUTTON, 0)
    class_key, number_key = f"predict_class_{times}", f"predict_number_{times}"
    state[class_key], state[number_key] = name, int(np.searchsorted(members, number)) + 1
    class_pills("Class", tiles, class_key, required=True, on_change=_other_class, args=(tiles, run_id, class_key))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.number_input(
            f"Tile, 1 to {len(members):,}",
            min_value=1,
            max_value=len(members),
            key=number_key,
            on_change=_by_number,
            args=(tiles, members.tolist(), number_key),
            width=160,
        )
        st.button("Any tile", icon=":material/shuffle:", key="predict_random", on_click=_any, args=(tiles, run_id))
        st.button(
            "A wrong one",
            icon=":material/close:",
            key="predict_wrong",
            on_click=_wrong,
            args=(tiles, run_id),
            help="A tile that this network gets wrong; those it is surest of come first.",
        )
    about, said = state.get(_SAID, (None, ""))
    if about == (run_id, number):  # until another tile or network is chosen, however often the page is drawn meanwhile
        st.caption(lesson.plain(said))
    st.caption(f"{titles_of(tiles)[name]}: {lesson.plain(tiles.names[number])}")
    return number


def _random(tiles: TileSet, run_id: str, name: str = "") -> None:
    """Any tile (of a class), but none of a sealed test part."""
    members = np.arange(len(tiles))
    if name:
        members = pictures.tiles_of_class(tiles.labels.numpy(), tiles.class_names.index(name))
    for _ in range(100):
        number = int(secrets.choice(members.tolist()))
        if not _is_sealed(tiles, run_id, number):
            break
    st.session_state[_TILE] = tiles.fingerprint, number


def _is_sealed(tiles: TileSet, run_id: str, number: int) -> bool:
    try:
        return session.lab().predictor.is_sealed(run_id, tiles, number)
    except LabError:  # the run is gone; asking it says so
        return False


def _other_class(tiles: TileSet, run_id: str, key: str) -> None:
    _random(tiles, run_id, st.session_state[key])


def _by_number(tiles: TileSet, members: list[int], key: str) -> None:
    st.session_state[_TILE] = tiles.fingerprint, members[int(st.session_state[key]) - 1]


def _any(tiles: TileSet, run_id: str) -> None:
    _count_button()
    _random(tiles, run_id)


def _count_button() -> None:
    st.session_state[_BY_BUTTON] = st.session_state.get(_BY_BUTTON, 0) + 1


def _wrong(tiles: TileSet, run_id: str) -> None:
    """The first of the tiles it gets wrong, then the next each time; from the first again after the last.

    A tile that is wrong by chance (chosen by number or at random) is no place in that order: the surest comes first.
    """
    _count_button()
    number = st.session_state.get(_TILE, ("", -1))[1]
    try:
        wrong = session.lab().predictor.wrong(run_id, tiles)
        if wrong:
            goes_on = number in wrong and st.session_state.get(_SAID, (None, ""))[0] == (run_id, number)
            at = (wrong.index(number) + 1) % len(wrong) if goes_on else 0
            number = wrong[at]
            st.session_state[_TILE] = tiles.fingerprint, number
            said = f"Wrong answer {at + 1} of {len(wrong)} known ones."
        elif tiles.class_names == session.lab().inspector.class_names(run_id):
            said = "No wrong answer was found among the tiles it was tried on."
        else:
            said = "This network tells other classes apart than these tiles have, so none of its answers can be right."
    except LabError as error:
        said = str(error)
    st.session_state[_SAID] = (run_id, number), said


_KEPT = "predict_prepared"  # the last two, by file and settings: decoding takes a moment, and every click redraws
_USUALLY = Wanted()
_MIDDLE, _WHOLE = "its middle", "all of it, reduced"


def choose_picture() -> tuple[Prepared | None, Prepared | None]:
    """Draw the choice of a file and its settings; the picture, and how it was before these settings changed it.

    None, and a sentence on screen, without a picture to ask about; None where nothing was changed.
    """
    words = lesson.text("predict")
    file = st.file_uploader(
        "Your picture",
        type=["image/*", ".tif", ".tiff"],
        key="predict_file",
        max_upload_size=MOST_BYTES // 1024**2,
    )
    st.caption(words["own picture"].format(size=wording.bytes_text(MOST_BYTES), pixels=MOST_PIXELS // 1_000_000))
    if file is None:
        st.session_state.pop(_KEPT, None)  # the picture was taken away: nothing of it stays
        st.info(words["nothing yet"], icon=":material/add_photo_alternate:")
        return None, None
    content, mark = file.getvalue(), file.file_id
    first = None
    try:
        with st.spinner("Reading the picture …", show_time=False):
            first = _prepared(content, mark, _USUALLY)
        wanted = _settings(first)
        prepared = _prepared(content, mark, wanted)
    except DataError as error:
        title = "This cannot be used" if first is None else None
        st.error(lesson.plain(str(error)), title=title, icon=":material/broken_image:")
        return None, None
    layout, count = prepared.cut.layout, prepared.count
    tiles = "one tile" if count == 1 else f"{layout.rows} × {layout.columns} = {count:,} tiles"
    size = f"{prepared.width:,} × {prepared.height:,} pixels: {tiles} (at most {MOST_ACROSS} × {MOST_ACROSS})."
    st.caption(lesson.plain(" ".join([size, *prepared.cut.notes])))  # each of these can change the answer
    return prepared, None if wanted == _USUALLY else first


def _prepared(content: bytes, mark: str, wanted: Wanted) -> Prepared:
    """The picture as asked for: kept from the last click, or read anew. Raises `DataError`."""
    kept: dict[tuple[str, Wanted], Prepared] = st.session_state.setdefault(_KEPT, {})
    if (mark, wanted) not in kept:
        made = session.lab().predictor.prepare(content, wanted)
        usually = {key: each for key, each in kept.items() if key == (mark, _USUALLY)}
        st.session_state[_KEPT] = usually | {(mark, wanted): made}
    found: Prepared = st.session_state[_KEPT][mark, wanted]
    return found


def _settings(first: Prepared) -> Wanted:
    """What can be told about the picture. first: as it is without that."""
    words = lesson.text("predict")
    bands, whole = "", False
    # Only who made the file knows whether its fourth band is transparency.
    if first.has_alpha and st.checkbox("Ignore the fourth band", key="predict_ignore_alpha", help=words["fourth band"]):
        bands = FIRST_THREE
    with st.expander("More about this picture", icon=":material/tune:"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            metres = st.number_input(
                "Metres per pixel",
                min_value=0.05,
                max_value=100.0,
                value=float(METRES_PER_PIXEL),
                step=1.0,
                format="%g",
                key="predict_metres",
                width=180,
            )
            stretch = st.segmented_control(
                "Colour stretch", STRETCHES, default=STRETCHES[0], required=True, key="predict_stretch"
            )
            if first.bands > 3 and not first.has_alpha:
                bands = st.selectbox(
                    "Bands for red, green, blue",
                    ["", *BAND_ORDERS],
                    format_func=lambda each: each or "as usual",
                    required=True,
                    key="predict_bands",
                    width=220,
                )
            left, top, right, bottom = lay_out(first.width, first.height, metres).box
            if (right - left, bottom - top) != (first.width, first.height):  # more than the most tiles
                how = st.segmented_control(
                    "Use of this large picture", [_MIDDLE, _WHOLE], default=_MIDDLE, required=True, key="predict_large"
                )
                whole = how == _WHOLE
        st.caption(words["resolution"])
        st.caption(words["stretch"])
    return Wanted(bands, stretch, float(metres), whole)
