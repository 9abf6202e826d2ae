"""What stands in the Train page's settings: kept in the session, filled by recipes, read as a config."""

from dataclasses import replace

import streamlit as st

from eurosat_core.errors import LabError
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training import choices
from eurosat_core.training.config import SETTINGS, Architecture, TrainConfig, workshop_config
from eurosat_core.training.recipes import RECIPE_NAMES, RECIPE_SETTINGS, recipes_of
from eurosat_core.wording import count
from pages.parts import forms, session

EDITED = [name for name in SETTINGS if name not in ("device", "train_fraction")]
_BY_LAB = "train_by_lab"  # session state: epochs and tiles as the lab has chosen them; None when somebody else did
_FITTED = "train_fitted"  # session state: these, by model, recipe and device
_PRESETS = "train_presets"  # session state: how many the instructor had given when these were filled in
_WHOLE_TRAINING = "train_whole"  # session state: the recipe brought its own number of epochs


def key(name: str) -> str:
    return f"train_{name}"


def refill(config: TrainConfig) -> None:
    """Put a config's values into the settings. Call it before they are drawn, or in a callback."""
    forms.fill(EDITED, key, config)
    st.session_state[_WHOLE_TRAINING] = _is_whole(workshop_config(config.model, config.recipe))
    st.session_state[_BY_LAB] = None


def _is_whole(recipe: TrainConfig) -> bool:
    """Whether a recipe is a whole training, on all tiles."""
    return recipe.tiles is None


def set_up(config: TrainConfig) -> None:
    """Go to the Train page with a config's values in its settings, and no run in their place."""
    refill(config)
    session.leave_last("train")
    st.switch_page("train.py", query_params=session.url_parameters())


def lesson_config() -> TrainConfig:
    """What everybody begins with: what the instructor gave, else the lesson's."""
    return session.lab().guide.now.preset or workshop_config("baseline")


def chosen_by_lab() -> bool:
    """Whether epochs and tiles stand as the lab has chosen them for this machine."""
    by_lab: tuple[int, int] | None = st.session_state.get(_BY_LAB)
    return by_lab is not None and _within(by_lab) == _within(_amount())


def _within(amount: tuple[int, int]) -> tuple[int, int]:
    """Epochs and tiles; more tiles than there are stand as all of them (`train_settings`)."""
    epochs, tiles = amount
    there = session.lab().tiles().tile_set
    return epochs, forms.ALL_TILES if there is not None and tiles >= len(there) else tiles


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
        found = choices.fitting_version(config, lab.estimates.sure_seconds, len(tiles)) if tiles is not None else None
        if found is None:
            return
        fitted[kind] = found.epochs, forms.as_option("tiles", found.tiles)
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
        state[key(name)] = forms.as_option(name, getattr(chosen, name))
    whole = _is_whole(chosen)
    if whole or state.get(_WHOLE_TRAINING):
        for name in ("epochs", "tiles", "stratified"):
            state[key(name)] = getattr(chosen, name)
        state[key("tiles")] = chosen.tiles or forms.ALL_TILES
        state[_BY_LAB] = None if whole else _amount()
    state[_WHOLE_TRAINING] = whole


def model() -> str:
    """The model that is chosen, by its name in the catalog."""
    name: str = st.session_state[key("model")]
    return name


def architecture() -> Architecture:
    """The network that is chosen. The layers of one's own are kept in the session for when it is chosen again."""
    return forms.without_effect_left_out(entered()).architecture


def in_short() -> str:
    """The settings in a line, for when they are folded away."""
    state = st.session_state
    tiles = state[key("tiles")]
    return " · ".join(
        (
            CATALOG[model()].title,
            RECIPE_NAMES[state[key("recipe")]],
            count(state[key("epochs")], "epoch"),
            f"{tiles:,} tiles" if tiles else "all tiles",
            f"batch {state[key('batch_size')]}",
        )
    )


def prepare() -> None:
    """Fill in what everybody begins with, where nothing stands yet or the instructor has given other settings.

    The lesson's are made to fit this machine. Call it before the others.
    """
    guide = session.lab().guide.now
    if key("epochs") not in st.session_state or st.session_state.get(_PRESETS, 0) != guide.presets:
        st.session_state[_PRESETS] = guide.presets
        refill(lesson_config())
        if guide.preset is None:
            st.session_state[_BY_LAB] = _amount()
    _fit()


def entered() -> TrainConfig:
    """The settings as they stand, whether or not they go together, on the chosen device."""
    return forms.entered(EDITED, key, session.chosen_device())


def draft() -> TrainConfig:
    """The settings as they stand, on the chosen device. Raises `ConfigError` with a sentence."""
    return forms.without_effect_left_out(entered()).checked()


def draft_or_lesson() -> TrainConfig:
    """The settings as they stand; the lesson's where they cannot be used."""
    try:
        return draft()
    except LabError:
        return lesson_config()
