"""Settings of a training as widgets, on whichever page: drawn, filled and read by the one table of settings."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import streamlit as st

from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.config import AUTO, SETTINGS, TrainConfig
from eurosat_core.training.recipes import RECIPE_NAMES, recipes_of
from pages.parts import lesson, session

ALL_TILES = 0
_NONE_AS = {"tiles": ALL_TILES, "channels_last": AUTO}  # a widget's option cannot be None


def draw_setting(name: str, key: Callable[[str], str], config: TrainConfig, **own: Any) -> None:
    """A setting's widget: a switch, a choice or a number.

    Args:
        name: Of the setting.
        key: The key of a setting's widget on this page.
        config: The settings as they stand (`entered`); one that has no effect there cannot be changed.
        own: What this page's widget has of its own, such as another help.
    """
    setting = SETTINGS[name]
    about: dict[str, Any] = {
        "label": setting.label or setting.title,
        "key": key(name),
        "persist_state": "session",
        "help": setting.help or None,
        "disabled": not setting.applies(config),
        **own,
    }
    if is_switch(name):
        st.toggle(**about)
    elif setting.kind in (int, float):
        st.number_input(step=setting.step, format="%g" if setting.kind is float else None, **about)
    else:
        options: tuple[str | bool, ...] = tuple(setting.choices) or (AUTO, False, True)
        if name == "precision" and config.precision != "tf32" and not session.tf32_devices():
            options = tuple(each for each in options if each != "tf32")
        st.selectbox(**{"options": options, "format_func": setting.in_words, **about})


def is_switch(name: str) -> bool:
    """Whether a setting is on or off, and never left to the device."""
    return SETTINGS[name].kind is bool and not SETTINGS[name].is_optional


def draw_recipe(key: Callable[[str], str], on_change: Callable[[], None], help: tuple[str, str] | None = None) -> str:
    """The model, and a recipe of those it has, which is returned. help: of both."""
    about: dict[str, Any] = {"on_change": on_change, "persist_state": "session"}
    of_model, of_recipe = help or (None, None)
    model = st.selectbox(
        "Model",
        list(CATALOG),
        format_func=lambda name: CATALOG[name].title,
        key=key("model"),
        help=of_model,
        **about,
    )
    recipe: str = st.segmented_control(
        "Recipe",
        recipes_of(model),
        format_func=lambda name: RECIPE_NAMES[name],
        key=key("recipe"),
        required=True,
        width="stretch",
        help=of_recipe,
        **about,
    )
    return recipe


def draw_segments(
    name: str,
    key: Callable[[str], str],
    options: Iterable[str] = (),
    titles: Callable[[str], str] | None = None,
) -> None:
    """A setting of a few values side by side, one of which is always chosen.

    Args:
        name: Of the setting.
        key: The key of a setting's widget on this page.
        options: The values to choose from; all by default.
        titles: What a value is called here.
    """
    setting = SETTINGS[name]
    lesson.one_of(
        setting.label or setting.title,
        tuple(options or setting.choices),
        key(name),
        titles=titles or setting.in_words,
        help=setting.help or None,
    )


def fill(names: Iterable[str], key: Callable[[str], str], config: TrainConfig) -> None:
    """Put a config's values into the widgets of these settings. Before they are drawn, or in a callback."""
    for name in names:
        st.session_state[key(name)] = as_option(name, getattr(config, name))


def entered(names: Iterable[str], key: Callable[[str], str], device: str) -> TrainConfig:
    """The values in the widgets of these settings, whether or not they go together; defaults for the others."""
    values: dict[str, Any] = {}
    for name in names:
        option = st.session_state[key(name)]
        values[name] = None if name in _NONE_AS and option == _NONE_AS[name] else option
    return TrainConfig(**values | {"device": device})


def without_effect_left_out(config: TrainConfig) -> TrainConfig:
    """The same with defaults where a setting has no effect, such as layers that belong to another model."""
    return replace(
        config, **{name: setting.default for name, setting in SETTINGS.items() if not setting.applies(config)}
    )


def as_option(name: str, value: Any) -> Any:
    """A setting's value as an option of its widget, which None cannot be."""
    return _NONE_AS.get(name, value) if value is None else value
