"""From a built network to the Train page, with everything set up there."""

import streamlit as st

from eurosat_core.training.config import workshop_config
from pages.parts import train_state

__all__ = ["button"]


def button(text: str, key: str, problem: str = "") -> None:
    """`Train this network`; disabled with the reason while it has a problem."""
    if st.button(
        "Train this network",
        icon=":material/model_training:",
        type="primary",
        key=key,
        disabled=bool(problem),
        help=problem or "Opens the Train page with this network and the lesson’s settings.",
    ):
        train_state.set_up(workshop_config("custom", network=text))
