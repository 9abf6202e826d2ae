"""A network's answer, where it looked, and what a change of the picture does to it."""

from hashlib import blake2b

import streamlit as st

from eurosat_core.analysis import prediction
from eurosat_core.charts import networks
from eurosat_core.charts.networks import probability_bars
from eurosat_core.data import pictures
from eurosat_core.data.classes import colours_for
from eurosat_core.data.pictures import heat_overlay
from eurosat_core.data.uploads import STRETCHES, coarser, stretched
from pages.parts import lesson, session

_TIMES = 6
_HEAT_TIMES = 5


def draw_answer(
    run_id: str, tile: pictures.Pixels, name: str, *, scaled: bool, known: pictures.Values | None = None
) -> pictures.Values:
    """Picture and answer side by side, then where it looked. Returns the probabilities [classes]. Raises `LabError`.

    name: for who cannot see the picture. scaled: whether it shows 640 m of ground. known: the
    probabilities, where they have been asked for.
    """
    probabilities = known
    if probabilities is None:
        with st.spinner("Asking the network …", show_time=False):
            probabilities = session.lab().predictor.answer(run_id, tile)
    names = session.lab().inspector.class_names(run_id)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        large = pictures.with_scale_bar(tile, _TIMES) if scaled else pictures.enlarged(tile, _TIMES)
        bar = ", with a scale bar of 200 m" if scaled else ""
        st.image(pictures.png_uri(large), alt=f"{name}, enlarged{bar}")
    with right:
        st.markdown(f"**{lesson.plain(prediction.answer_words(probabilities, names))}**")
        bars(probabilities, names, "predict_answer")
    _looked(run_id, tile, probabilities, names)
    return probabilities


def bars(probabilities: pictures.Values, names: tuple[str, ...], key: str) -> None:
    """The probability of each class, surest first."""
    frame = networks.probability_frame(probabilities, names)
    colours = colours_for(names)
    st.vega_lite_chart(
        frame,
        probability_bars(tuple((name, colours[name]) for name in frame["name"])),
        key=key,
        alt="Probability of each class, surest first",
    )
    if len(frame) < len(names):
        st.caption(f"The {len(frame)} surest of {len(names):,} classes.")


def _looked(run_id: str, tile: pictures.Pixels, probabilities: pictures.Values, names: tuple[str, ...]) -> None:
    """Computed only when it is opened."""
    opened = st.expander("Where it looked", icon=":material/frame_inspect:", key="predict_looked", on_change="rerun")
    if not opened.open:
        return
    titles = pictures.class_titles(names)
    order = networks.probability_frame(probabilities, names)["name"].tolist()
    with opened:
        mark = blake2b(tile.tobytes() + run_id.encode(), digest_size=8).hexdigest()
        asked = st.selectbox(
            "What speaks for",
            order,
            format_func=titles.__getitem__,
            required=True,
            key=f"predict_looked_for_{mark}",
            width=320,
        )
        looked = session.lab().predictor.where(run_id, tile, names.index(asked))
        left, right = st.columns(2, gap="medium")
        left.image(pictures.png_uri(pictures.enlarged(tile, _HEAT_TIMES)), alt="The picture as the network gets it")
        right.image(
            pictures.png_uri(heat_overlay(tile, looked.heat, _HEAT_TIMES)),
            alt=f"The same picture; bright where it speaks for {titles[asked]}, dark where it does not",
        )
        st.markdown(lesson.plain(prediction.looked_words(looked, titles[asked])))
        st.caption(f"{lesson.plain(prediction.method_words(looked))} {lesson.text('predict')['looked']}")


_METRES = (10, 20, 30, 60)


def draw_change(run_id: str, tile: pictures.Pixels, before: pictures.Values) -> None:
    """Two changes and what they do to the answer. before: the probabilities without them. Raises `LabError`."""
    opened = st.expander(
        "Change the picture and ask again", icon=":material/tune:", key="predict_change", on_change="rerun"
    )
    if not opened.open:
        return
    words = lesson.text("predict")
    with opened:
        with st.container(horizontal=True):
            stretch = lesson.one_of("Colour stretch", STRETCHES, "predict_tile_stretch", default=STRETCHES[1])
            metres = lesson.one_of("Metres per pixel", _METRES, "predict_tile_metres")
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
            st.markdown(f"**{lesson.plain(prediction.changed_words(before, after, names))}**")
            bars(after, names, "predict_changed")
