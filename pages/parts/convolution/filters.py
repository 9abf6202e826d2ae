"""The filter and the tile that the page computes with."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from eurosat_core.data import pictures
from eurosat_core.data.pictures import filter_sheet
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError
from eurosat_core.lab.inspection import AFTER, BEFORE
from eurosat_core.models.catalog import model_entry
from eurosat_core.models.convolution import FILTERS, checked_plane, over_channels
from pages.parts import lesson, run_widget, session
from pages.parts.tile_pictures import class_pills, titles_of

_OWN, _TRAINED = "Own numbers", "A trained network’s"
_ALL = "All three"
_SHEET = 64  # filters drawn at most


@dataclass(frozen=True)
class Chosen:
    """A filter [channels, side, side] with its bias, the channels it reads, and the model's preprocessing."""

    weights: pictures.Values
    bias: float
    channels: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def choose_filter(settings: DeltaGenerator) -> Chosen | None:
    """Draw the choice; None (and a sentence on screen) where what was chosen cannot be used.

    settings: where the choice of channels is drawn, for filters that leave it open.
    """
    name = lesson.one_of("Filter", [*FILTERS, _OWN, _TRAINED], "conv_filter", pills=True)
    try:
        if name == _TRAINED:
            return _trained()
        plane = _own() if name == _OWN else FILTERS[name]
    except LabError as error:
        st.warning(lesson.plain(str(error)), icon=":material/edit:")
        return None
    channel = lesson.one_of(
        "Channels",
        [_ALL, *pictures.CHANNELS],
        "conv_channel",
        help="With all three, each channel gets the same weights, and the three sums are added.",
        where=settings,
    )
    channels = (0, 1, 2) if channel == _ALL else (pictures.CHANNELS.index(channel),)
    entry = model_entry("baseline")
    return Chosen(over_channels(plane, len(channels)), 0.0, channels, entry.mean, entry.std)


def _own() -> pictures.Values:
    """Nine fields in three rows."""
    st.caption(lesson.text("convolution")["own"])
    rows = []
    for row, usual in enumerate(FILTERS["Vertical edges"].tolist()):
        with st.container(horizontal=True, wrap=False, gap="xsmall", width=330):
            rows.append(
                [
                    st.number_input(
                        f"Weight in row {row + 1}, column {column + 1}",
                        value=float(weight),
                        step=1.0,
                        format="%g",
                        key=f"conv_own_{row}_{column}",
                        label_visibility="collapsed",
                        persist_state="session",
                    )
                    for column, weight in enumerate(usual)
                ]
            )
    return checked_plane(rows)


def choose_network(key: str) -> str:
    """Draw the choice of a network: the recorded one, or one of the participant's runs that kept its weights."""
    runs = session.lab().inspector.trained(session.me())
    return run_widget.choose_network(key, runs, recorded_first=True)


def _trained() -> Chosen:
    """A network, one of its first layer's filters, before or after training. Raises `LabError`."""
    inspector = session.lab().inspector
    run_id = choose_network("conv_filter_network")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        stage = lesson.one_of(
            "Its weights",
            [AFTER, BEFORE],
            "conv_filter_stage",
            titles=lambda each: "after training" if each == AFTER else "before training",
        )
        layer = inspector.first_layer(run_id, stage)
        at = st.number_input(
            f"Filter, 1 to {len(layer.weights)}",
            min_value=1,
            max_value=len(layer.weights),
            value=1,
            key=f"conv_filter_number_{run_id}",
            persist_state="session",
            width=160,
        )
    number = int(at or 1) - 1
    shown = layer.weights[:_SHEET]
    st.image(
        pictures.png_uri(filter_sheet(shown, 12, 56, number)),
        alt=f"The first layer’s {len(shown)} filters in colour; filter {number + 1} is framed",
    )
    about = lesson.text("convolution")["trained" if stage == AFTER else "untrained"]
    st.caption(f"{about} In the network this layer has stride {layer.stride}, padding {layer.padding}.")
    entry = model_entry(inspector.config(run_id).model)
    return Chosen(layer.weights[number], float(layer.biases[number]), (0, 1, 2), entry.mean, entry.std)


_TILE = "conv_tile"  # (fingerprint, number)
_SEEN = "conv_tiles_large"  # the Tiles page's tile when that was chosen: another one there is taken over


def choose_tile(tiles: TileSet) -> int:
    """Draw the choice; the number of the chosen tile."""
    number = _number(tiles)
    name = tiles.class_names[int(tiles.labels[number])]
    key = f"conv_class_{tiles.fingerprint}"
    if st.session_state.get(key) != name:
        st.session_state[key] = name
    class_pills("Class", tiles, key, required=True, on_change=_another, args=(tiles, key))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Another tile", icon=":material/shuffle:", key="conv_another", on_click=_another, args=(tiles, key))
        st.caption(f"{titles_of(tiles)[name]}: {lesson.plain(tiles.names[number])}")
    return number


def _number(tiles: TileSet) -> int:
    """The tile chosen here, unless another one was looked at on the Tiles page since; else the first one."""
    large = st.session_state.get("tiles_large")
    if large is not None and large != st.session_state.get(_SEEN):
        st.session_state[_SEEN] = st.session_state[_TILE] = large
    fingerprint, number = st.session_state.get(_TILE, ("", 0))
    return int(number) if fingerprint == tiles.fingerprint else 0


def _another(tiles: TileSet, key: str) -> None:
    """Take the next tile of the chosen class, in an order that jumps about."""
    label = tiles.class_names.index(st.session_state[key])
    members = pictures.tiles_of_class(tiles.labels.numpy(), label, seed=1)
    _fingerprint, number = st.session_state.get(_TILE, ("", -1))
    at = np.flatnonzero(members == number)
    st.session_state[_TILE] = tiles.fingerprint, int(members[(int(at[0]) + 1) % len(members) if len(at) else 0])
