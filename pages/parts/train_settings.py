"""The Train page's settings: what the next run is made with."""

import streamlit as st

from eurosat_core.lab import choices, form_words
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.config import OPTIMIZERS, recipe_config
from eurosat_core.training.recipes import recipes_of
from pages.parts import lesson, session, train_more
from pages.parts.train_state import ALL_TILES, key, lesson_config, model, take_recipe

__all__ = ["draw"]

_TILE_CHOICES = (1500, 6000, 12000)


def draw() -> None:
    """All settings; Train stands below them (`train_start`)."""
    tiles = session.lab().tiles().tile_set
    there = len(tiles) if tiles else None
    _recipe()
    left, right = st.columns(2, wrap=False)
    with left:
        st.number_input(
            "Epochs", step=1, key=key("epochs"), persist_state="session", help="Passes over the training tiles."
        )
    with right:
        st.number_input(
            "Batch size",
            step=8,
            key=key("batch_size"),
            persist_state="session",
            help="Tiles per step of the optimizer.",
        )
    _tiles(there)
    _split()
    left, right = st.columns(2, wrap=False)
    with left:
        st.selectbox(
            "Optimizer",
            OPTIMIZERS,
            format_func=lambda name: choices.OPTIMIZER_NAMES[name],
            key=key("optimizer"),
            persist_state="session",
        )
    with right:
        st.number_input(
            "Learning rate",
            step=0.005,
            format="%g",
            key=key("learning_rate"),
            persist_state="session",
            help="How large a step the optimizer takes.",
        )
    train_more.draw()


def _recipe() -> None:
    st.selectbox(
        "Model",
        list(CATALOG),
        format_func=lambda name: CATALOG[name].title,
        key=key("model"),
        on_change=take_recipe,
        persist_state="session",
    )
    recipe = st.segmented_control(
        "Recipe",
        recipes_of(model()),
        format_func=lambda name: choices.RECIPE_NAMES[name],
        key=key("recipe"),
        on_change=take_recipe,
        required=True,
        persist_state="session",
        width="stretch",
    )
    config = recipe_config(model(), recipe, device=session.chosen_device())
    words = lesson.text("train")
    special = "pretrained" if CATALOG[model()].is_pretrained else model()
    text = words.get(f"recipe {recipe} {special}", words[f"recipe {recipe}"])
    st.caption(
        text.format(
            batch_size=config.batch_size,
            precision=form_words.precision_text(config, session.lab().form_choice(config)),
            optimizer=choices.OPTIMIZER_NAMES[config.optimizer],
            learning_rate=f"{config.learning_rate:g}",
        )
    )


def _tiles(there: int | None) -> None:
    """How many tiles: a few round numbers below what there is, and all."""
    state = key("tiles")
    learnt = lesson_config().train_fraction
    if there is not None and st.session_state[state] >= there:
        st.session_state[state] = ALL_TILES
    options = sorted(
        {*(each for each in _TILE_CHOICES if there is None or each < there), st.session_state[state] or 0} - {0}
    )
    st.segmented_control(
        "Tiles",
        [*options, ALL_TILES],
        format_func=lambda count: f"{count:,}" if count else "All" + (f" {there:,}" if there else ""),
        key=state,
        required=True,
        persist_state="session",
        width="stretch",
        help=f"Drawn evenly from the classes. {100 * learnt:.0f} % are for training, {100 * (1 - learnt):.0f} % for "
        "validation.",
    )


def _split() -> None:
    """How tiles are divided. A split that cannot be had is said under the Train button, with what to do."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.segmented_control(
            "Judged on",
            list(choices.SPLIT_NAMES),
            format_func=lambda name: lesson.text("train")[f"split {name}"],
            key=key("split"),
            required=True,
            persist_state="session",
            help="At random: a shuffled quarter of the tiles. By place: tiles from another longitude, as published by "
            "torchgeo for EuroSAT. The Tiles page shows both.",
        )
        st.toggle(
            "Sealed test part",
            key=key("sealed_test"),
            persist_state="session",
            help="A fifth of the tiles is kept apart. The finished network is scored on it once; you open the result "
            "when everything is decided.",
        )
