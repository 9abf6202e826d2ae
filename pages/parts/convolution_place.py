"""Stepping through the places of a feature map: buttons with keys, and two sliders."""

from functools import partial

import streamlit as st

from eurosat_core.data.pictures import Values
from eurosat_core.models.convolution import moved

__all__ = ["place"]

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
