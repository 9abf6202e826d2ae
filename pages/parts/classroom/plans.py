"""The instructor's lesson plans, to read and to print."""

import streamlit as st

from pages.parts import lesson

_PARTS = {
    "90 minutes": ("plan 90",),
    "3 hours": ("plan 180",),
    "Asking the room": ("how", "wrong"),
    "Before, and without a GPU": ("before", "no GPU"),
    "When something goes wrong": ("trouble",),
}


def draw() -> None:
    """One plan at a time."""
    words = lesson.text("instructor")
    for tab, sections in zip(st.tabs(list(_PARTS)), _PARTS.values(), strict=True):
        for section in sections:
            tab.markdown(words[section])
