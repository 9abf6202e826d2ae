"""What follows a convolution: ReLU on its feature map, then pooling, place by place."""

import numpy as np
import streamlit as st

from eurosat_core.data import pictures
from eurosat_core.data.feature_pictures import signed
from eurosat_core.lab import features
from eurosat_core.models.convolution import POOL_SIDE, Pooling, pool, pool_window, relu
from pages.parts import lesson
from pages.parts.convolution_place import place

__all__ = ["draw_pooling", "draw_relu"]

_MAP = 320


@st.fragment
def draw_relu(values: pictures.Values) -> None:
    """A feature map [H, W] before and after ReLU, and one of its values."""
    st.markdown(lesson.text("convolution")["relu"])
    row, column = place("conv", values)
    after = relu(values)
    limit = float(np.abs(values).max()) or 1.0
    _two_maps(values, after, (row, column, 1), (row, column, 1), limit, ("Before ReLU", "After ReLU"))
    found, kept = features.number(float(values[row, column])), features.number(float(after[row, column]))
    st.markdown(f"At row {row}, column {column}: max(0, {found}) = **{kept}**")
    lesson.saw(features.relu_words(values))


@st.fragment
def draw_pooling(values: pictures.Values) -> None:
    """Pooling of what ReLU leaves of a feature map [H, W], and one of its windows."""
    st.markdown(lesson.text("convolution")["pooling"])
    kinds: list[Pooling] = ["max", "average"]
    kind = st.segmented_control(
        "Pooling", kinds, default="max", required=True, key="conv_pooling", persist_state="session"
    )
    given = relu(values)
    pooled = pool(given, kind)
    row, column = place("conv_pool", pooled)
    window = pool_window(given, kind, row, column)
    limit = float(np.abs(given).max()) or 1.0
    frames = (window.top, window.left, POOL_SIDE), (row, column, 1)
    _two_maps(given, pooled, *frames, limit, ("After ReLU", f"After {kind} pooling"))
    numbers = [features.number(each) for each in window.values.flatten().tolist()]
    sums = f"max({', '.join(numbers)})" if kind == "max" else f"({' + '.join(numbers)}) / {len(numbers)}"
    st.markdown(f"{sums} = **{features.number(window.value)}** → row {row}, column {column}")
    before, left = given.size, pooled.size
    lesson.saw(
        f"{before:,} values became {left:,}, {before / left:.1f} times fewer. So the next layer has that many fewer "
        f"places to work through. {features.pooled_words(given, pooled)}"
    )


def _two_maps(
    before: pictures.Values,
    after: pictures.Values,
    frame_before: tuple[int, int, int],
    frame_after: tuple[int, int, int],
    limit: float,
    titles: tuple[str, str],
) -> None:
    """Two feature maps on one scale side by side, each with a frame (top, left, side)."""
    places = st.columns(2, gap="medium")
    for where, values, frame, title in zip(places, (before, after), (frame_before, frame_after), titles, strict=True):
        times = max(_MAP // values.shape[1], 1)
        top, left, side = frame
        with where:
            st.image(
                pictures.png_uri(pictures.with_frame(signed(values, 1, limit), times, top, left, side)),
                width=values.shape[1] * times,
                alt=f"{title}: the feature map with a frame at row {top}, column {left}",
            )
            st.caption(f"{title}, {values.shape[0]} × {values.shape[1]}")
