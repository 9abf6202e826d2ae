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
from pages.parts.tile_pictures import class_label, titles_of

_TILE = "predict_tile"  # (fingerprint, number)
_SAID = "predict_tile_said"
_CLASS, _NUMBER = "predict_class", "predict_number"
_BY_BUTTON = "predict_tile_by_button"  # how often a button chose the tile


def choose_tile(tiles: TileSet, run_id: str) -> int:
    """Draw the choice; the number of the chosen tile."""
    number = _chosen(tiles, run_id)
    label = int(tiles.labels[number])
    name = tiles.class_names[label]
    members = pictures.tiles_of_class(tiles.labels.numpy(), label)
    # Other widgets after each choice by a button: a browser may still report what stood in the ones before.
    times = st.session_state.get(_BY_BUTTON, 0)
    class_key, number_key = f"{_CLASS}_{times}", f"{_NUMBER}_{times}"
    st.session_state[class_key] = name
    st.session_state[number_key] = int(np.searchsorted(members, number)) + 1
    st.pills(
        "Class",
        [each for each in tiles.class_names if tiles.counts[each]],
        required=True,
        format_func=lambda each: class_label(tiles, each),
        key=class_key,
        on_change=_other_class,
        args=(tiles, run_id, class_key),
        wrap=True,
    )
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
            help="A tile that this network names wrongly, the ones it is surest of first.",
        )
    about, said = st.session_state.get(_SAID, (None, ""))
    if about == (run_id, number):  # until another tile or network is chosen, however often the page is drawn meanwhile
        st.caption(lesson.plain(said))
    st.caption(f"{titles_of(tiles)[name]}: {lesson.plain(tiles.names[number])}")
    return number


def _chosen(tiles: TileSet, run_id: str) -> int:
    fingerprint, number = st.session_state.get(_TILE, ("", 0))
    if fingerprint != tiles.fingerprint:
        _random(tiles, run_id, None)
        number = st.session_state[_TILE][1]
    return int(number)


def _random(tiles: TileSet, run_id: str, name: str | None) -> None:
    """Any tile (of a class), but none of a sealed test part."""
    label = None if name is None else tiles.class_names.index(name)
    members = np.arange(len(tiles)) if label is None else pictures.tiles_of_class(tiles.labels.numpy(), label)
    number = int(secrets.choice(members.tolist()))
    for _ in range(100):
        if not _is_sealed(tiles, run_id, number):
            break
        number = int(secrets.choice(members.tolist()))
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
    _random(tiles, run_id, None)


def _count_button() -> None:
    st.session_state[_BY_BUTTON] = st.session_state.get(_BY_BUTTON, 0) + 1


def _wrong(tiles: TileSet, run_id: str) -> None:
    """The first of the tiles it gets wrong, then the next each time; from the first again after the last.

    A tile that is wrong by chance (chosen by number or at random) is no place in that order: the surest comes first.
    """
    _count_button()
    now = st.session_state.get(_TILE, ("", -1))[1]
    try:
        numbers = session.lab().predictor.wrong(run_id, tiles)
    except LabError as error:
        st.session_state[_SAID] = (run_id, now), str(error)
        return
    if not numbers:
        said = (
            "No wrong answer was found among the tiles it was tried on."
            if tiles.class_names == session.lab().inspector.class_names(run_id)
            else "This network tells other classes apart than these tiles have, so none of its answers can be right."
        )
        st.session_state[_SAID] = (run_id, now), said
        return
    goes_on = now in numbers and st.session_state.get(_SAID, (None, ""))[0] == (run_id, now)
    after = (numbers.index(now) + 1) % len(numbers) if goes_on else 0
    st.session_state[_TILE] = tiles.fingerprint, numbers[after]
    st.session_state[_SAID] = (run_id, numbers[after]), f"Wrong answer {after + 1} of {len(numbers)} that are known."


_KEPT = "predict_prepared"  # the last two, by file and settings: decoding takes a moment, and every click redraws
_USUAL = "predict_usual"
_USUALLY = Wanted()
_MIDDLE, _WHOLE = "its middle", "all of it, reduced"


def choose_picture() -> Prepared | None:
    """Draw the choice of a file and its settings; None, and a sentence on screen, without a picture to ask about."""
    words = lesson.text("predict")
    st.session_state[_USUAL] = None
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
        return None
    content, mark = file.getvalue(), file.file_id
    try:
        with st.spinner("Reading the picture …", show_time=False):
            first = _prepared(content, mark, _USUALLY)
    except DataError as error:
        st.error(lesson.plain(str(error)), title="This cannot be used", icon=":material/broken_image:")
        return None
    chosen = _settings(first, ignore_alpha=first.has_alpha and _ignore_alpha())
    try:
        prepared = first if chosen == _USUALLY else _prepared(content, mark, chosen)
    except DataError as error:
        st.error(lesson.plain(str(error)), icon=":material/broken_image:")
        return None
    if prepared is not first:
        st.session_state[_USUAL] = first
    _notes(prepared)
    return prepared


def usual() -> Prepared | None:
    """The same picture without the changes that were chosen; None when nothing is changed."""
    before: Prepared | None = st.session_state.get(_USUAL)
    return before


def _prepared(content: bytes, mark: str, wanted: Wanted) -> Prepared:
    """The picture as asked for: kept from the last click, or read anew. Raises `DataError`."""
    kept: dict[tuple[str, Wanted], Prepared] = st.session_state.setdefault(_KEPT, {})
    if (mark, wanted) not in kept:
        made = session.lab().predictor.prepare(content, wanted)
        usually = {key: each for key, each in kept.items() if key == (mark, _USUALLY)}
        st.session_state[_KEPT] = usually | {(mark, wanted): made}
    found: Prepared = st.session_state[_KEPT][mark, wanted]
    return found


def _ignore_alpha() -> bool:
    """Only who made the file knows whether its fourth band is transparency."""
    words = lesson.text("predict")
    return st.checkbox("Ignore the fourth band", key="predict_ignore_alpha", help=words["fourth band"])


def _settings(first: Prepared, *, ignore_alpha: bool) -> Wanted:
    """What can be told about the picture. first: as it is without that."""
    words = lesson.text("predict")
    bands, whole = FIRST_THREE if ignore_alpha else "", False
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
            if _is_large(first, metres):
                how = st.segmented_control(
                    "Of this large picture use", [_MIDDLE, _WHOLE], default=_MIDDLE, required=True, key="predict_large"
                )
                whole = how == _WHOLE
        st.caption(words["resolution"])
        st.caption(words["stretch"])
    return Wanted(bands, stretch, float(metres), whole)


def _is_large(first: Prepared, metres: float) -> bool:
    """Whether it does not fit into the most tiles as it is."""
    box = lay_out(first.width, first.height, metres).box
    return (box[2] - box[0], box[3] - box[1]) != (first.width, first.height)


def _notes(prepared: Prepared) -> None:
    """What was done to it, said in full: each of these can change the answer."""
    layout = prepared.cut.layout
    count = prepared.count
    tiles = "one tile" if count == 1 else f"{layout.rows} × {layout.columns} = {count:,} tiles"
    size = f"{prepared.width:,} × {prepared.height:,} pixels: {tiles} (at most {MOST_ACROSS} × {MOST_ACROSS})."
    st.caption(lesson.plain(" ".join([size, *prepared.cut.notes])))
