"""The view "From picture to numbers": what becomes of a tile until a network gets it, step by step."""

import numpy as np
import pandas as pd
import streamlit as st

from eurosat_core.data import pictures
from eurosat_core.data.tiles import TILE_SIDE, TileSet
from eurosat_core.models.catalog import model_entry
from pages.parts import lesson

__all__ = ["draw"]

_LARGE, _PLANE, _PATCH = 6, 3, 6
_STEPS = ("1 · Picture", "2 · Tensor", "3 · Normalised")


def draw(tiles: TileSet) -> None:
    """A tile with a marked patch, and the numbers of that patch at the step that is chosen."""
    words = lesson.text("tiles")
    st.markdown(words["network"])
    tile = tiles.array[_number(tiles)]
    entry = model_entry("baseline")
    values = pictures.normalised(tile, entry.mean, entry.std)
    step = st.segmented_control("Step", _STEPS, default=_STEPS[0], key="tiles_step", required=True)
    channel = st.segmented_control("Channel", pictures.CHANNELS, default="Red", key="tiles_channel", required=True)
    at = pictures.CHANNELS.index(channel)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        top = st.slider("Patch: row", 0, TILE_SIDE - _PATCH, 29, key="tiles_patch_row")
        start = st.slider("Patch: column", 0, TILE_SIDE - _PATCH, 29, key="tiles_patch_column")
        st.image(
            pictures.png_uri(pictures.with_frame(tile, _LARGE, top, start, _PATCH)),
            width=TILE_SIDE * _LARGE,
            alt=f"The tile with a frame around {_PATCH} by {_PATCH} pixels at row {top}, column {start}",
        )
    patch = np.s_[top : top + _PATCH, start : start + _PATCH, at]
    scaled = tile.astype(np.float32) / 255
    now, form, shape, kind = {
        _STEPS[0]: (tile, "{:.0f}", f"[{TILE_SIDE}, {TILE_SIDE}, 3]", "uint8, 0 … 255"),
        _STEPS[1]: (scaled, "{:.3f}", f"[3, {TILE_SIDE}, {TILE_SIDE}]", "float32, 0 … 1"),
        _STEPS[2]: (values, "{:+.3f}", f"[3, {TILE_SIDE}, {TILE_SIDE}]", "float32, around 0"),
    }[step]
    with right:
        st.markdown(words[f"step {step[0]}"].format(mean=f"{entry.mean[at]:g}", std=f"{entry.std[at]:g}"))
        with st.container(horizontal=True):
            st.metric("Shape", shape, border=True)
            st.metric("Values", kind, border=True)
        numbers = pd.DataFrame(now[patch], index=range(top, top + _PATCH), columns=range(start, start + _PATCH))
        numbers.index, numbers.columns = numbers.index.map(str), numbers.columns.map(str)  # as text, both are shown
        st.table(
            numbers.map(form.format), alt=f"The numbers of the framed pixels, {channel.lower()} channel, {step[4:]}"
        )
        pixel = tile[top, start, at]
        st.caption(
            f"Its first pixel: {pixel} → {pixel} / 255 = {scaled[top, start, at]:.3f} → "
            f"({scaled[top, start, at]:.3f} − {entry.mean[at]:g}) / {entry.std[at]:g} = {values[top, start, at]:+.3f}"
        )
    st.markdown("**What the network gets: three tables of numbers**")
    limit = max((1 - mean) / std for mean, std in zip(entry.mean, entry.std, strict=True))
    with st.container(horizontal=True, gap="small"):
        planes = pictures.value_planes(values, _PLANE, limit)
        for name, plane in zip(pictures.CHANNELS, planes, strict=True):
            alt = f"{name} channel after normalisation"
            st.image(pictures.png_uri(plane), caption=name, alt=alt, width=TILE_SIDE * _PLANE)
    st.caption("Blue is below zero, orange above.")
    _ranges(tile, values)
    st.caption(
        f"value = (pixel / 255 − mean) / std, with mean {entry.mean[0]:g} and std {entry.std[0]:g} for each channel: "
        f"the preprocessing of the {entry.title}."
    )


def _number(tiles: TileSet) -> int:
    """The tile that was last looked at closely, else the first one."""
    fingerprint, number = st.session_state.get("tiles_large", ("", 0))
    return number if fingerprint == tiles.fingerprint else 0


def _ranges(tile: pictures.Pixels, values: pictures.Values) -> None:
    before, after = pictures.channel_numbers(tile), pictures.channel_numbers(values)
    rows = {
        old.channel: {
            "lowest pixel": f"{old.lowest:.0f}",
            "mean pixel": f"{old.mean:.1f}",
            "highest pixel": f"{old.highest:.0f}",
            "lowest value": f"{new.lowest:+.2f}",
            "mean value": f"{new.mean:+.2f}",
            "highest value": f"{new.highest:+.2f}",
        }
        for old, new in zip(before, after, strict=True)
    }
    st.table(pd.DataFrame(rows), alt="Lowest, mean and highest number of each channel before and after normalisation")
