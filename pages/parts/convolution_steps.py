"""A filter on its way over a tile: patch × weights = products, their sum, and where it lands; then ReLU and pooling."""

import numpy as np
import pandas as pd
import streamlit as st

from eurosat_core.data import pictures
from eurosat_core.data.feature_pictures import cell_colours, padded, signed
from eurosat_core.data.tiles import TileSet
from eurosat_core.lab import features
from eurosat_core.models.convolution import Step, convolve, step_at
from pages.parts import convolution_filter, convolution_pooling, lesson
from pages.parts.convolution_filter import Chosen
from pages.parts.convolution_place import place

__all__ = ["draw"]

_TIMES = 5  # the tile enlarged
_MAP = 320  # about as wide is a feature map drawn
_NUMBER = 68  # as wide is a cell of the tables
_INK = "#10202B"  # on the pale and middle colours of the cells
_VIEWS = ("1 · Convolution", "2 · ReLU", "3 · Pooling")


@st.fragment
def draw(tiles: TileSet, number: int, guess: str | None) -> None:
    """Filter, padding and stride, then one of three views: fragments within this one, so a step draws little again."""
    above = st.container()
    settings = st.container(horizontal=True)
    with above:
        chosen = convolution_filter.choose(settings)
    if chosen is None:
        return
    with settings:
        padding = st.segmented_control(
            "Padding",
            [0, 1, 2],
            default=0,
            required=True,
            key="conv_padding",
            persist_state="session",
            help="Rings of zeros around the tile, so that the filter also gets to its edge.",
        )
        stride = st.segmented_control(
            "Stride",
            [1, 2, 4],
            default=1,
            required=True,
            key="conv_stride",
            persist_state="session",
            help="How far the filter moves from place to place.",
        )
    tile = tiles.array[number]
    given = np.moveaxis(pictures.normalised(tile, chosen.mean, chosen.std), 2, 0)[list(chosen.channels)]
    values = convolve(given, chosen.weights, chosen.bias, padding, stride)
    view = st.segmented_control(
        "View", _VIEWS, default=_VIEWS[0], required=True, key="conv_view", label_visibility="collapsed"
    )
    if view == _VIEWS[1]:
        convolution_pooling.draw_relu(values)
    elif view == _VIEWS[2]:
        convolution_pooling.draw_pooling(values)
    else:
        _convolution(tile, given, values, chosen, padding, stride, guess)


@st.fragment
def _convolution(
    tile: pictures.Pixels,
    given: pictures.Values,
    values: pictures.Values,
    chosen: Chosen,
    padding: int,
    stride: int,
    guess: str | None,
) -> None:
    row, column = place("conv", values)
    step = step_at(given, chosen.weights, chosen.bias, padding, stride, row, column)
    side = chosen.weights.shape[1]
    left, right = st.columns(2, gap="medium")
    with left:
        channel = chosen.channels[0] if len(chosen.channels) == 1 else None
        picture = padded(tile, padding, chosen.mean, channel)
        top, start = step.top + padding, step.left + padding
        st.image(
            pictures.png_uri(pictures.with_frame(picture, _TIMES, top, start, side)),
            width=picture.shape[1] * _TIMES,
            alt=f"The tile; a frame marks the patch of {side} by {side} pixels from row {step.top}, column {step.left}",
        )
        name = pictures.CHANNELS[channel].lower() + " channel of the tile" if channel is not None else "tile"
        st.caption(f"The {name}; the frame is the patch under the filter.")
    with right:
        times = max(_MAP // values.shape[1], 1)
        st.image(
            pictures.png_uri(pictures.with_frame(signed(values, 1), times, row, column, 1)),
            width=values.shape[1] * times,
            alt=f"The feature map; a frame marks row {row}, column {column}: {features.number(step.value)}",
        )
        st.caption(f"Its feature map, {values.shape[0]} × {values.shape[1]}; the frame is where the sum lands.")
    _arithmetic(step, chosen)
    lesson.saw(" ".join(filter(None, (features.step_words(step, values), features.guess_words(guess)))))


def _arithmetic(step: Step, chosen: Chosen) -> None:
    """The products of one channel, the sums of all, and the value they make."""
    names = [pictures.CHANNELS[each] for each in chosen.channels]
    shown = 0
    if len(names) > 1:
        name = st.segmented_control(
            "Show the products of", names, default=names[0], required=True, key="conv_products", persist_state="session"
        )
        shown = names.index(name)
    with st.grid(3, min_column_width=_NUMBER * step.weights.shape[1]):  # below each other rather than cut off
        for title, plane in (
            (f"Patch, {names[shown].lower()}", step.patch[shown]),
            ("× weights", step.weights[shown]),
            ("= products", step.products[shown]),
        ):
            with st.container(gap="xsmall"):
                st.markdown(f"**{title}**")
                _table(plane, f"{title}, {plane.shape[0]} by {plane.shape[1]} numbers")
    sums = [f"{name.lower()} {features.number(each)}" for name, each in zip(names, step.sums, strict=True)]
    added = " &nbsp;+&nbsp; ".join([*sums, f"bias {features.number(step.bias)}"])
    st.markdown(
        f"Products added up: {added} &nbsp;=&nbsp; **{features.number(step.value)}** → row {step.row}, "
        f"column {step.column}"
    )
    st.caption(f"{lesson.text('convolution')['values']} Rounded to three decimals.")


def _table(plane: pictures.Values, alt: str) -> None:
    """Numbers in cells that have the colours of the pictures."""
    colours = cell_colours(plane, 2 * (float(np.abs(plane).max()) or 1.0))  # half as strong, for dark figures
    # As plain objects: with pandas' own type for text, a table takes 7 ms instead of 2, at every step.
    look = np.array([[f"background-color: {each}; color: {_INK}" for each in row] for row in colours], dtype=object)
    frame = pd.DataFrame([[features.number(each) for each in row] for row in plane.tolist()], dtype=object)
    st.table(frame.style.apply(lambda _: look, axis=None), hide_index=True, hide_header=True, alt=alt)
