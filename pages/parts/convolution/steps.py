"""One filter stepped over a tile, pooling, and the multiplications of both."""

from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from eurosat_core import wording
from eurosat_core.analysis import features, guesses
from eurosat_core.data import pictures
from eurosat_core.data.pictures import Values, cell_colours, padded, signed
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError
from eurosat_core.lab.speeds import TRAINING_SHARE, short_time, tutorials_slip
from eurosat_core.models.convolution import (
    POOL_SIDE,
    LayerWork,
    Pooling,
    Step,
    convolve,
    layer_work,
    moved,
    pool,
    pool_window,
    relu,
    step_at,
)
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, session
from pages.parts.convolution import filters
from pages.parts.convolution.filters import Chosen
from pages.parts.tile_pictures import framed

_MAP = 320  # pixels, about as wide as a feature map is drawn
_BUTTONS = (
    ("back", "Back", ":material/arrow_back:", "A"),
    ("forward", "Forward", ":material/arrow_forward:", "D"),
    ("up", "Up", ":material/arrow_upward:", "W"),
    ("down", "Down", ":material/arrow_downward:", "S"),
    ("strongest", "Strongest", ":material/my_location:", None),
)


def place(prefix: str, values: Values) -> tuple[int, int]:
    """Draw the controls over a feature map [H, W]; row and column of the place that is looked at."""
    row, column = f"{prefix}_row", f"{prefix}_column"
    shape = (values.shape[0], values.shape[1])
    for key, length in zip((row, column), shape, strict=True):
        # Another padding or stride has other places: stay within them.
        st.session_state[key] = min(int(st.session_state.get(key, length // 2)), length - 1)
    step = partial(_step, row, column, shape, values)
    with st.container(horizontal=True, gap="xsmall"):
        for move, label, icon, shortcut in _BUTTONS:
            st.button(label, icon=icon, shortcut=shortcut, key=f"{prefix}_{move}", on_click=step, args=(move,))
    with st.container(horizontal=True):
        at_row = st.slider("Row", 0, shape[0] - 1, key=row, persist_state="session", width=260)
        at_column = st.slider("Column", 0, shape[1] - 1, key=column, persist_state="session", width=260)
    return at_row, at_column


def _step(row: str, column: str, shape: tuple[int, int], values: Values, move: str) -> None:
    at = moved(shape, st.session_state[row], st.session_state[column], move, values)
    st.session_state[row], st.session_state[column] = at


@st.fragment
def draw_relu(values: pictures.Values) -> None:
    """A feature map [H, W] before and after ReLU, and one of its values."""
    st.markdown(lesson.text("convolution")["relu"])
    row, column = place("conv", values)
    after = relu(values)
    limit = float(np.abs(values).max()) or 1.0
    for where, title, each in zip(st.columns(2, gap="medium"), ("Before", "After"), (values, after), strict=True):
        with where:
            _map(each, (row, column, 1), f"{title} ReLU", limit)
    found, kept = wording.signed(float(values[row, column])), wording.signed(float(after[row, column]))
    st.markdown(f"At row {row}, column {column}: max(0, {found}) = **{kept}**")
    lesson.saw(say(features.relu_finding(values)))


@st.fragment
def draw_pooling(values: pictures.Values) -> None:
    """Pooling of what ReLU leaves of a feature map [H, W], and one of its windows."""
    st.markdown(lesson.text("convolution")["pooling"])
    kinds: list[Pooling] = ["max", "average"]
    kind = lesson.one_of("Pooling", kinds, "conv_pooling")
    given = relu(values)
    pooled = pool(given, kind)
    row, column = place("conv_pool", pooled)
    window = pool_window(given, kind, row, column)
    limit = float(np.abs(given).max()) or 1.0
    left, right = st.columns(2, gap="medium")
    with left:
        _map(given, (window.top, window.left, POOL_SIDE), "After ReLU", limit)
    with right:
        _map(pooled, (row, column, 1), f"After {kind} pooling", limit)
    numbers = [wording.signed(each) for each in window.values.flatten().tolist()]
    sums = f"max({', '.join(numbers)})" if kind == "max" else f"({' + '.join(numbers)}) / {len(numbers)}"
    st.markdown(f"{sums} = **{wording.signed(window.value)}** → row {row}, column {column}")
    lesson.saw(
        f"{given.size:,} values became {pooled.size:,}, {given.size / pooled.size:.1f} times fewer. So the next layer "
        f"has that many fewer places to work through. {say(features.pooled_finding(given, pooled))}"
    )


def _map(values: pictures.Values, frame: tuple[int, int, int], title: str, limit: float) -> None:
    """A feature map in the colours of signed numbers, full at ±limit, with a frame (top, left, side)."""
    alt = f"{title}: the feature map with a frame at row {frame[0]}, column {frame[1]}"
    framed(signed(values, 1, limit), max(_MAP // values.shape[1], 1), frame, alt)
    st.caption(f"{title}, {values.shape[0]} × {values.shape[1]}")


_TIMES = 5  # the tile enlarged
_NUMBER = 68  # as wide is a cell of the tables
_INK = "#10202B"  # on the pale and middle colours of the cells
_VIEWS = ("1 · Convolution", "2 · ReLU", "3 · Pooling")


@st.fragment
def draw_steps(tiles: TileSet, number: int, guess: str | None) -> None:
    """Filter, padding and stride, then one of three views: fragments within this one, so a step draws little again."""
    above = st.container()
    settings = st.container(horizontal=True)
    with above:
        chosen = filters.choose_filter(settings)
    if chosen is None:
        return
    with settings:
        padding = lesson.one_of(
            "Padding",
            [0, 1, 2],
            "conv_padding",
            help="Rings of zeros around the tile, so that the filter can reach its edge.",
        )
        stride = lesson.one_of("Stride", [1, 2, 4], "conv_stride", help="How many pixels the filter moves at a time.")
    tile = tiles.array[number]
    given = np.moveaxis(pictures.normalised(tile, chosen.mean, chosen.std), 2, 0)[list(chosen.channels)]
    values = convolve(given, chosen.weights, chosen.bias, padding, stride)
    view = st.segmented_control(
        "View", _VIEWS, default=_VIEWS[0], required=True, key="conv_view", label_visibility="collapsed"
    )
    if view == _VIEWS[1]:
        draw_relu(values)
    elif view == _VIEWS[2]:
        draw_pooling(values)
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
        framed(
            padded(tile, padding, chosen.mean, channel),
            _TIMES,
            (step.top + padding, step.left + padding, side),
            f"The tile; a frame marks the patch of {side} by {side} pixels from row {step.top}, column {step.left}",
        )
        name = pictures.CHANNELS[channel].lower() + " channel of the tile" if channel is not None else "tile"
        st.caption(f"The {name}; the frame is the patch under the filter.")
    with right:
        framed(
            signed(values, 1),
            max(_MAP // values.shape[1], 1),
            (row, column, 1),
            f"The feature map; a frame marks row {row}, column {column}: {wording.signed(step.value)}",
        )
        st.caption(f"Its feature map, {values.shape[0]} × {values.shape[1]}; the frame is where the sum lands.")
    _arithmetic(step, chosen)
    counted = features.multiplications()
    judged = guesses.judge("conv_multiplications", guess, counted.figures["multiplications"])
    found = [features.step_finding(step, values), judged, judged and counted]
    lesson.saw(" ".join(say_each(found)))


def _arithmetic(step: Step, chosen: Chosen) -> None:
    """The products of one channel, the sums of all, and the value they make."""
    names = [pictures.CHANNELS[each] for each in chosen.channels]
    shown = 0
    if len(names) > 1:
        name = lesson.one_of("Show the products of", names, "conv_products")
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
    sums = [f"{name.lower()} {wording.signed(each)}" for name, each in zip(names, step.sums, strict=True)]
    added = " &nbsp;+&nbsp; ".join([*sums, f"bias {wording.signed(step.bias)}"])
    st.markdown(
        f"Products added up: {added} &nbsp;=&nbsp; **{wording.signed(step.value)}** → row {step.row}, "
        f"column {step.column}"
    )
    st.caption(f"{lesson.text('convolution')['values']} Rounded to three decimals.")


def _table(plane: pictures.Values, alt: str) -> None:
    """Numbers in cells that have the colours of the pictures."""
    colours = cell_colours(plane, 2 * (float(np.abs(plane).max()) or 1.0))  # half as strong, for dark figures
    # As plain objects: with pandas' own type for text, a table takes 7 ms instead of 2, at every step.
    look = np.array([[f"background-color: {each}; color: {_INK}" for each in row] for row in colours], dtype=object)
    frame = pd.DataFrame([[wording.signed(each) for each in row] for row in plane.tolist()], dtype=object)
    st.table(frame.style.apply(lambda _: look, axis=None), hide_index=True, hide_header=True, alt=alt)


_EPOCH = 20_250  # tiles: the training part of EuroSAT
_FIELDS = {
    "side": "Picture’s side",
    "channels": "Channels",
    "filter_side": "Filter’s side",
    "filters": "Filters",
    "padding": "Padding",
    "stride": "Stride",
}


@st.fragment
def draw_work() -> None:
    """Six numbers in, multiplications and seconds out. A fragment: only this is drawn again."""
    words = lesson.text("convolution")
    st.markdown(words["work"])
    start = LayerWork()
    with st.grid(3, min_column_width=150):
        values = {
            name: st.number_input(
                title, value=getattr(start, name), step=1, key=f"conv_work_{name}", persist_state="session"
            )
            for name, title in _FIELDS.items()
        }
    layer = LayerWork(**values)
    try:
        work = layer_work(layer)
    except LabError as error:
        st.warning(lesson.plain(str(error)), icon=":material/edit:")
        return
    across, side = round(work.places**0.5), layer.filter_side
    with st.grid(4, min_column_width=170):
        for label, number, help in (
            ("Places of the filter", work.places, f"{across:,} × {across:,}"),
            ("Products per place", work.products_per_place, f"{side} × {side} pixels × {layer.channels:,} channels"),
            ("One filter", work.per_filter, "Multiplications for one picture"),
            ("All filters", work.layer, "Multiplications for one picture, forward"),
        ):
            st.metric(label, f"{number:,}", border=True, help=help)
    st.markdown(words["work after"].format(share=TRAINING_SHARE))
    if slip := tutorials_slip(layer):
        st.caption(slip)
    device = session.chosen_device()
    rate = session.lab().estimates.multiplication_rate(device)
    if rate is None:
        st.info(words["no rate"], icon=":material/timer_off:")
        return
    forward = work.layer / rate.per_second
    both = TRAINING_SHARE * forward
    epoch_help = "As many as EuroSAT’s training part has; this one layer only."
    with st.grid(3, min_column_width=200):
        st.metric(f"One picture forward, {wording.device_name(device)}", short_time(forward), border=True)
        st.metric("Forward and backward", short_time(both), border=True)
        st.metric(f"An epoch of {_EPOCH:,} pictures", short_time(_EPOCH * both), border=True, help=epoch_help)
    st.caption(lesson.plain(f"{rate.basis} {words['rate']}"))
