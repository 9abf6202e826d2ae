"""A picture of the participant's own: chosen, read safely, cut into tiles, with what can be set about that."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.data.band_tiff import BAND_ORDERS, FIRST_THREE
from eurosat_core.data.pictures import METRES_PER_PIXEL
from eurosat_core.data.tiling import MOST_ACROSS, STRETCHES, lay_out
from eurosat_core.data.uploads import MOST_BYTES, MOST_PIXELS
from eurosat_core.errors import DataError
from eurosat_core.lab.predict import Prepared, Wanted
from pages.parts import lesson, session

__all__ = ["choose", "usual"]

_KEPT = "predict_prepared"  # the last two, by file and settings: decoding takes a moment, and every click redraws
_USUAL = "predict_usual"
_USUALLY = Wanted()
_MIDDLE, _WHOLE = "its middle", "all of it, reduced"


def choose() -> Prepared | None:
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
