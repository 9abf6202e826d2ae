"""The same tile, changed in colour or in ground resolution, and asked about again."""

import streamlit as st

from eurosat_core.data import pictures
from eurosat_core.data.tiling import STRETCHES, coarser, stretched
from eurosat_core.lab import predict_words
from pages.parts import lesson, session
from pages.parts.predict_answer import bars

__all__ = ["draw"]

_TIMES = 6
_METRES = (10, 20, 30, 60)


def draw(run_id: str, tile: pictures.Pixels, before: pictures.Values) -> None:
    """Two changes and what they do to the answer. before: the probabilities without them. Raises `LabError`."""
    opened = st.expander(
        "Change the picture and ask again", icon=":material/tune:", key="predict_change", on_change="rerun"
    )
    if not opened.open:
        return
    words = lesson.text("predict")
    with opened:
        with st.container(horizontal=True):
            stretch = st.segmented_control(
                "Colour stretch",
                STRETCHES,
                default=STRETCHES[1],
                required=True,
                key="predict_tile_stretch",
                persist_state="session",
            )
            metres = st.segmented_control(
                "Metres per pixel",
                _METRES,
                default=_METRES[0],
                required=True,
                key="predict_tile_metres",
                persist_state="session",
            )
        st.caption(words["stretch"] if metres == _METRES[0] else words["coarser"].format(metres=metres))
        changed = coarser(stretched(tile) if stretch == STRETCHES[1] else tile, metres)
        if (changed == tile).all():
            st.caption("Nothing is changed yet.")
            return
        after = session.lab().predictor.answer(run_id, changed)
        names = session.lab().inspector.class_names(run_id)
        left, right = st.columns([2, 3], gap="medium")
        left.image(pictures.png_uri(pictures.enlarged(changed, _TIMES)), alt="The changed tile")
        with right:
            st.markdown(f"**{lesson.plain(predict_words.changed_words(before, after, names))}**")
            bars(after, names, "predict_changed")
