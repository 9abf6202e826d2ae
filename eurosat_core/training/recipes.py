"""The recipes: which settings each of them sets, for which model, and why."""

from typing import Any

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import model_entry
from eurosat_core.wording import listed

RECIPE_NAMES = {"tutorial": "Tutorial’s way", "sprint": "Sprint", "fast": "Fast", "record": "Record"}
"""All recipes there are, in the order in which they are offered, each with its name on screen."""

# What each recipe sets; everything else keeps its default. "Fast" keeps the network and the loss and feeds them
# better: decoded tiles in memory, in the arithmetic and the layout that the device is fastest in. Adam, since the
# workshop's 3 epochs on 6,000 real tiles then end at 51–58 % instead of SGD's 31–41 % (two seeds each; batch 40 to 128
# and two learning rates tried).
RECIPES: dict[str, dict[str, Any]] = {
    "tutorial": {},
    "fast": {
        "source": "memory",
        "batch_size": 64,
        "optimizer": "adam",
        "learning_rate": 0.001,
        "channels_last": None,
        "precision": "auto",
    },
}


# The same recipe for a pretrained model: its frozen part is computed once. The cosine steadies the end: with a constant
# rate the last of 10 epochs on 24,300 real tiles was 91.7 and 92.8 % (two splits, EfficientNet-Lite0), with it 92.8 and
# 93.1 %.
_PRETRAINED_FAST: dict[str, Any] = {
    "source": "features",
    "channels_last": False,  # the features are computed channels-last in any case
    "schedule": "cosine",
}

# tilenet's own recipes, each a whole training. They differ in how long they take; the one for the record looks closer,
# too. Beside each choice: what something else made of the 98.0 % that 60 epochs reached in the same study (one seed, so
# what lies above 97.4 % is not told apart; sizes were halved by strides then). More of it is in `bench/tilenet.md`.
_TILENET: dict[str, Any] = {
    "source": "memory",
    "batch_size": 128,  # 64: 97.7 %
    "optimizer": "sgd",  # Muon: 98.0 %
    "learning_rate": 0.2,  # 0.1: 97.8 %, 0.4: 97.7 %
    "nesterov": True,  # without: 94.4 instead of 96.0 % after 12 epochs
    "weight_decay": 0.0005,  # 0.001: 97.8 %, 0.00025: 97.4 %
    "schedule": "one_cycle",  # constant: 74.2 instead of 96.0 % after 12 epochs
    "label_smoothing": 0.1,  # 0.05: 98.0 %
    "symmetries": True,  # without, nor shifts: 95.8 instead of 96.0 % after 12 epochs, which tells nothing yet
    "shift": 4,  # 8 pixels: 97.8 %
    "progressive_resizing": True,  # whole tiles throughout: 97.4 %, and half as much time again
    "colour_jitter": 0.0,  # 0.4: 93.1 instead of 95.8 % after 12 epochs; by place the same (three seeds)
    "channels_last": None,  # without, with AMX: 1.2 times as long
    "precision": "auto",  # float32 is as accurate; with AMX it takes 1.6 times as long, without bfloat16 takes 12 times
}
_OWN_RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "tilenet": {
        "sprint": {**_TILENET, "epochs": 12},
        "fast": {**_TILENET, "epochs": 60},
        # Without the pool 60 epochs end at 98.4 and 98.5 instead of 97.9 to 98.0 %, and 120 at 98.7 and 98.8 %.
        "record": {**_TILENET, "epochs": 140, "stem_pool": False},
    },
}

_ALL = (*RECIPES.values(), _PRETRAINED_FAST, *(each for own in _OWN_RECIPES.values() for each in own.values()))
RECIPE_SETTINGS = frozenset(name for settings in _ALL for name in settings) - {"epochs"}
"""Settings that recipes differ in; for how long and on which tiles is another matter."""


def recipes_of(model: str) -> tuple[str, ...]:
    """The recipes that a model can be trained with, the quickest to explain first."""
    own = _OWN_RECIPES.get(model, {})
    return tuple(name for name in RECIPE_NAMES if name in RECIPES or name in own)


def recipe_settings(model: str, recipe: str) -> dict[str, Any]:
    """What a recipe of a model sets; everything else keeps its default. Raises `ConfigError` naming those there are."""
    if recipe not in recipes_of(model):
        options = listed(list(recipes_of(model)), "or")
        raise ConfigError(f"There is no recipe '{recipe}' for {model_entry(model).title}. Choose {options}.")
    if recipe in _OWN_RECIPES.get(model, {}):
        return _OWN_RECIPES[model][recipe]
    settings = RECIPES[recipe]
    return settings | _PRETRAINED_FAST if recipe == "fast" and model_entry(model).is_pretrained else settings
