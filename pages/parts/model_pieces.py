"""What activation functions and linear layers do, to try out."""

import streamlit as st

from eurosat_core.charts.models import activation_curves
from eurosat_core.models.activations import (
    ACTIVATION_TITLES,
    activation,
    activation_frame,
    slope,
    weighted_sum_text,
)
from pages.parts import lesson

__all__ = ["activations", "weighted_sum"]

_FOUND = ("green", "straight edge", "open water")
_TILES = {"Highway": [0.4, 0.9, 0.1], "Forest": [0.9, 0.1, 0.1], "River": [0.5, 0.7, 0.8]}


@st.fragment
def activations() -> None:
    """The curves of ReLU, sigmoid and GELU with their slopes, and all of them at one value."""
    st.markdown(lesson.text("model")["activations"])
    x = st.slider("A value that comes in", -5.0, 5.0, -1.5, 0.1, key="model_activation_x", persist_state="session")
    frame = activation_frame(x)
    with st.grid(2, min_column_width=280):
        for figure, title in (("value", "What comes out"), ("slope", "Its slope")):
            st.vega_lite_chart(
                frame,
                activation_curves(figure, title),
                key=f"model_activation_{figure}",
                alt=f"{title}: curves of ReLU, sigmoid and GELU from -5 to 5, marked at {x:.1f}",
            )
    st.markdown(
        f"At **{x:.1f}**: "
        + " · ".join(
            f"{title} gives **{activation(name, x):.2f}** (slope {slope(name, x):.2f})"
            for name, title in ACTIVATION_TITLES.items()
        )
    )
    silent = [title for name, title in ACTIVATION_TITLES.items() if slope(name, x) == 0]
    faint = [title for name, title in ACTIVATION_TITLES.items() if 0 < abs(slope(name, x)) < 0.05]
    if silent:
        st.caption(f"{', '.join(silent)}: a slope of 0, so from this value nothing is learned.")
    elif faint:
        st.caption(f"{', '.join(faint)}: a slope close to 0, so from this value little is learned.")
    else:
        st.caption("All three pass on what there is to learn here.")


@st.fragment
def weighted_sum() -> None:
    """Three inputs, three weights and a bias that the participant turns; the sums of three tiles."""
    st.markdown(lesson.text("model")["linear"])
    with st.grid(4, min_column_width=170):
        weights = [
            st.slider(f"Weight of “{name}”", -2.0, 2.0, 0.0, 0.1, key=f"model_weight_{at}", persist_state="session")
            for at, name in enumerate(_FOUND)
        ]
        bias = st.slider("Bias", -2.0, 2.0, 0.0, 0.1, key="model_bias", persist_state="session")
    sums: dict[str, float] = {}
    for tile, inputs in _TILES.items():
        text, sums[tile] = weighted_sum_text(inputs, weights, bias)
        st.markdown(f"**{tile}** {lesson.plain(text)}")
    best = max(sums.values())
    ahead = sums["Highway"] == best and sum(value == best for value in sums.values()) == 1
    if ahead:
        lead = best - max(value for tile, value in sums.items() if tile != "Highway")
        st.success(f"The highway scores highest, {lead:.2f} ahead. Training finds such weights by itself.")
    elif len(set(sums.values())) == 1:
        st.info("All three score the same: these weights tell nothing apart yet.")
    else:
        first = next(tile for tile, value in sums.items() if value == best and tile != "Highway")
        st.info(f"Not yet: {first} scores at least as high. Which weight tells it from the highway?")
