"""Which tile the Predict page asks about: by class and number, at random, or one that the network gets wrong."""

import secrets

import numpy as np
import streamlit as st

from eurosat_core.data import pictures
from eurosat_core.data.tiles import TileSet
from eurosat_core.errors import LabError
from pages.parts import lesson, session
from pages.parts.tile_pictures import class_label, titles_of

__all__ = ["choose"]

_TILE = "predict_tile"  # (fingerprint, number)
_SAID = "predict_tile_said"
_CLASS, _NUMBER = "predict_class", "predict_number"
_BY_BUTTON = "predict_tile_by_button"  # how often a button chose the tile


def choose(tiles: TileSet, run_id: str) -> int:
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
