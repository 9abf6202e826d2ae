"""What stands in the Train page's settings: kept in the session, filled by recipes, read as a config."""

from dataclasses import replace
from typing import Any

import streamlit as st

from eurosat_core.errors import LabError
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training import choices
from eurosat_core.training.config import AUTO, RECIPE_SETTINGS, Architecture, TrainConfig, recipes_of, workshop_config
from eurosat_core.wording import count
from pages.parts import session

_EDITED = (
    "model",
    "recipe",
    "epochs",
    "tiles",
    "batch_size",
    "optimizer",
    "learning_rate",
    "momentum",
    "weight_decay",
    "seed",
    "split",
    "stratified",
    "sealed_test",
    "source",
    "workers",
    "prefetch",
    "pin_memory",
    "channels_last",
    "precision",
    "schedule",
    "nesterov",
    "label_smoothing",
    "symmetries",
    "shift",
    "colour_jitter",
    "growing_sizes",
    "stem_pool",
    "pretrained",
    "frozen_norms",
    "network",
    "keep_epochs",
)
ALL_TILES = 0
_NONE_AS = {"tiles": ALL_TILES, "channels_last": AUTO}  # a widget's option cannot be None
_BY_LAB = "train_by_lab"  # session state: epochs and tiles as the lab has chosen them; None when somebody else did
_FITTED = "train_fitted"  # session state: these, by model, recipe and device
_WHOLE_TRAINING = "train_whole"  # session state: the recipe brought its own number of epochs


def key(name: str) -> str:
    return f"train_{name}"


def refill(config: TrainConfig) -> None:
    """Put a config's values into the settings. Call it before they are drawn, or in a callback."""
    for name in _EDITED:
        st.session_state[key(name)] = as_option(name, getattr(config, name))
    st.session_state[_WHOLE_TRAINING] = _is_whole(workshop_config(config.model, config.recipe))
    st.session_state[_BY_LAB] = None


def as_option(name: str, value: Any) -> Any:
    """A setting's value as an option of its widget, which None cannot be."""
    return _NONE_AS.get(name, value) if value is None else value


def from_option(name: str, option: Any) -> Any:
    """The value that an option of a setting's widget stands for."""
    return None if name in _NONE_AS and option == _NONE_AS[name] else option


def _is_whole(recipe: TrainConfig) -> bool:
    """Whether a recipe is a whole training, on all tiles."""
    return recipe.tiles is None


def set_up(config: TrainConfig) -> None:
    """Go to the Train page with a config's values in its settings, and no run in their place."""
    refill(config)
    session.leave_last("train")
    st.switch_page("train.py", query_params=session.url_parameters())


def lesson_config() -> TrainConfig:
    return workshop_config("baseline")


def back_to_lesson() -> None:
    refill(lesson_config())


def chosen_by_lab() -> bool:
    """Whether epochs and tiles stand as the lab has chosen them for this machine."""
    by_lab: tuple[int, int] | None = st.session_state.get(_BY_LAB)
    return by_lab is not None and _within(by_lab) == _within(_amount())


def _within(amount: tuple[int, int]) -> tuple[int, int]:
    """Epochs and tiles; more tiles than there are stand as all of them (`train_settings`)."""
    epochs, tiles = amount
    there = session.lab().tiles().tile_set
    return epochs, ALL_TILES if there is not None and tiles >= len(there) else tiles


def _amount() -> tuple[int, int]:
    state = st.session_state
    return state[key("epochs")], state[key("tiles")]


def _fit() -> None:
    """Give the lesson's training so many epochs and tiles that it is short here, and long enough to see something.

    Once for each model, recipe and device, while nobody has chosen other epochs or tiles.
    """
    state = st.session_state
    if not chosen_by_lab() or state[_WHOLE_TRAINING]:
        return
    kind = (model(), state[key("recipe")], session.chosen_device())
    fitted: dict[tuple[str, str, str], tuple[int, int]] = state.setdefault(_FITTED, {})
    if kind not in fitted:
        lab, lesson = session.lab(), workshop_config(kind[0], kind[1])
        tiles = lab.tiles().tile_set
        try:
            config = replace(draft(), epochs=lesson.epochs, tiles=lesson.tiles, stratified=True)
        except LabError:
            return
        found = choices.fitting_version(config, lab.sure_seconds, len(tiles)) if tiles is not None else None
        if found is None:
            return
        fitted[kind] = found.epochs, as_option("tiles", found.tiles)
    state[key("epochs")], state[key("tiles")] = state[_BY_LAB] = fitted[kind]
    state[key("stratified")] = True


def take_recipe() -> None:
    """A recipe sets everything that belongs to it; what to train on (epochs, tiles) stays.

    Unless it is a whole training with its own number of epochs, or one was left.
    """
    state = st.session_state
    if state[key("recipe")] not in recipes_of(model()):
        state[key("recipe")] = "fast"
    chosen = workshop_config(model(), state[key("recipe")])
    for name in RECIPE_SETTINGS:
        state[key(name)] = as_option(name, getattr(chosen, name))
    whole = _is_whole(chosen)
    if whole or state.get(_WHOLE_TRAINING):
        for name in ("epochs", "tiles", "stratified"):
            state[key(name)] = getattr(chosen, name)
        state[key("tiles")] = chosen.tiles or ALL_TILES
        state[_BY_LAB] = None if whole else _amount()
    state[_WHOLE_TRAINING] = whole


def model() -> str:
    """The model that is chosen, by its name in the catalog."""
    name: str = st.session_state[key("model")]
    return name


def architecture() -> Architecture:
    """The network that is chosen. The layers of one's own are kept in the session for when it is chosen again."""
    layers: str = st.session_state[key("network")] if model() == "custom" else ""
    return Architecture(model(), layers, bool(st.session_state[key("stem_pool")]))


def in_short() -> str:
    """The settings in a line, for when they are folded away."""
    state = st.session_state
    tiles = state[key("tiles")]
    return " · ".join(
        (
            CATALOG[model()].title,
            choices.RECIPE_NAMES[state[key("recipe")]],
            count(state[key("epochs")], "epoch"),
            f"{tiles:,} tiles" if tiles else "all tiles",
            f"batch {state[key('batch_size')]}",
        )
    )


def prepare() -> None:
    """Fill in the lesson's settings where there are none yet, as long as they fit. Call it before the others."""
    if key("epochs") not in st.session_state:
        refill(lesson_config())
        st.session_state[_BY_LAB] = _amount()
    _fit()


def draft() -> TrainConfig:
    """The settings as they stand, on the chosen device. Raises `ConfigError` with a sentence."""
    values = {name: from_option(name, st.session_state[key(name)]) for name in _EDITED}
    device = session.chosen_device()
    values["pin_memory"] = values["pin_memory"] and device != "cpu"  # it has no meaning without a GPU
    values["nesterov"] = values["nesterov"] and values["optimizer"] == "sgd"
    values["shift"] = values["shift"] if values["symmetries"] else 0
    _, values["network"], values["stem_pool"] = architecture()
    return TrainConfig.from_dict({**values, "device": device})


def draft_or_lesson() -> TrainConfig:
    """The settings as they stand; the lesson's where they cannot be used."""
    try:
        return draft()
    except LabError:
        return lesson_config()
