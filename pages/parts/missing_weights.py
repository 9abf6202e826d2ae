"""A pretrained model whose weights are not on this machine: what is missing, and the ways on."""

import streamlit as st

from eurosat_core.data.weights import WEIGHTS
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.config import TrainConfig, workshop_config
from pages.parts import get_tiles, lesson, session, train_state

__all__ = ["draw"]

_BUNDLED = "efficientnet_lite0"  # its weights come with the packages


def draw(config: TrainConfig) -> bool:
    """Whether weights are missing; then it is said, with a download, random ones and the bundled model to choose."""
    problem = session.lab().library.missing_weights(config)
    if not problem:
        return False
    with st.container(border=True):
        st.warning(lesson.plain(problem), title="Pretrained weights are missing", icon=":material/inventory_2:")
        get_tiles.weights_button(WEIGHTS[CATALOG[config.model].weights].megabytes)
        with st.container(horizontal=True):
            if config.model != _BUNDLED:
                st.button(
                    f"Take {CATALOG[_BUNDLED].title} instead",
                    icon=":material/swap_horiz:",
                    key="weights_bundled",
                    on_click=train_state.refill,
                    args=(workshop_config(_BUNDLED),),
                )
            st.button(
                "Train from random weights",
                icon=":material/casino:",
                key="weights_random",
                on_click=_take_random,
                help="The frozen part then knows nothing: see what pretraining is worth.",
            )
    return True


def _take_random() -> None:
    st.session_state["train_pretrained"] = False
