"""Settings: what is refused, recipes, settings in words, smaller versions, and that one field makes a setting known."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.errors import ConfigError
from eurosat_core.training import choices
from eurosat_core.training.choices import fitting_version
from eurosat_core.training.config import SETTINGS, TrainConfig, recipe_config, workshop_config
from eurosat_core.training.recipes import RECIPES

# Settings that cannot be used, and words of the sentence that says so.
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"model": "resnet"}, ["'resnet'", "baseline"]),
    ({"recipe": "slow"}, ["'slow'", "tutorial"]),
    ({"recipe": "sprint"}, ["'sprint'", "tutorial"]),
    ({"model": "tilenet", "recipe": "slow"}, ["'slow'", "sprint"]),
    ({"schedule": "steps"}, ["'steps'", "one_cycle"]),
    ({"label_smoothing": 1}, ["is 1", "0 to 0.9"]),
    ({"colour_jitter": -0.1}, ["is -0.1", "0 to 0.9"]),
    ({"symmetries": 8}, ["on or off"]),
    ({"symmetries": True, "shift": 17}, ["Shift is 17", "0 to 16 pixels"]),
    ({"shift": 2}, ["symmetries"]),
    ({"progressive_resizing": True}, ["64×64", "'tilenet'"]),
    ({"stem_pool": False}, ["pooling", "'tilenet'"]),
    *(({"model": each, "input_side": 96}, ["64×64", "pretrained"]) for each in ("baseline", "tilenet", "custom")),
    ({"model": "vgg11_bn", "input_side": 32}, ["Input side is 32", "64 to 224 pixels"]),
    ({"model": "vgg11_bn", "input_side": 96, "progressive_resizing": True}, ["input side"]),
    ({"nesterov": True, "optimizer": "adam"}, ["SGD"]),
    ({"nesterov": True, "momentum": 0.0}, ["SGD"]),
    ({"source": "features"}, ["pretrained"]),
    ({"model": "vgg11_bn", "source": "features", "frozen_norms": False}, ["BatchNorm"]),
    ({"model": "vgg11_bn", "source": "features", "symmetries": True}, ["from memory"]),
    ({"model": "vgg11_bn", "source": "features", "progressive_resizing": True}, ["from memory"]),
    ({"model": "vgg11_bn", "source": "features", "colour_jitter": 0.2}, ["colour jitter"]),
    (
        {"model": "custom", "network": "conv 4 3, residual 8 stride 2, flatten, linear out", "channels_last": True},
        ["16 channels", "bfloat16"],
    ),
    *(({"device": each}, [f"'{each}'", "cuda:0"]) for each in ("gpu", "cuda", "cuda:²", "cuda:00", 0)),
    *(({"device": each}, ["cuda:0"]) for each in ("cuda:99999999999", "cpu\n")),
    ({"epochs": 0}, ["Epochs is 0", "1 to 200"]),
    ({"epochs": 201}, ["Epochs is 201", "1 to 200"]),
    *(({"epochs": each}, ["whole number", repr(each)]) for each in (1.5, "3", True, None)),
    ({"batch_size": 0}, ["is 0", "1 to 4,096 tiles"]),
    ({"batch_size": 10**6}, ["is 1,000,000"]),
    ({"optimizer": "lion"}, ["'lion'", "adagrad"]),
    ({"optimizer": ["sgd"]}, ["no optimizer"]),
    ({"learning_rate": 0}, ["is 0", "more than 0 to 10"]),
    ({"learning_rate": -0.1}, ["Learning rate is -0.1"]),
    ({"learning_rate": 11}, ["is 11"]),
    ({"learning_rate": float("nan")}, ["Learning rate", "number", "nan"]),
    ({"learning_rate": float("inf")}, ["Learning rate", "inf"]),
    ({"learning_rate": 10**400}, ["is 1000", "to 10"]),
    ({"learning_rate": "fast"}, ["a number", "'fast'"]),
    ({"momentum": 1.1}, ["Momentum is 1.1", "0 to 1"]),
    ({"momentum": 1.0}, ["Momentum of 1", "below 1"]),
    ({"momentum": False}, ["a number"]),
    ({"weight_decay": -1}, ["is -1"]),
    ({"seed": -1}, ["Seed is -1"]),
    ({"seed": 2**31}, ["Seed is 2,147,483,648"]),
    ({"split": "time"}, ["'time'"]),
    ({"stratified": 1}, ["on or off"]),
    ({"train_fraction": 0.05}, ["is 0.05", "0.1 to 0.95"]),
    ({"train_fraction": 1.0}, ["is 1.0"]),
    ({"tiles": 19}, ["Tiles is 19", "empty"]),
    ({"tiles": "all"}, ["whole number"]),
    ({"source": "disk"}, ["'disk'", "features"]),
    ({"workers": -1}, ["Workers is -1", "0 to 16"]),
    ({"prefetch": 0}, ["Prefetch is 0"]),
    ({"pin_memory": "yes"}, ["on or off"]),
    ({"pin_memory": True}, ["Pinned memory", "CUDA GPU"]),
    ({"channels_last": "yes"}, ["on or off"]),
    ({"precision": "float16"}, ["'float16'", "bfloat16"]),
    ({"learnin_rate": 0.1}, ["'learnin_rate'", "learning_rate"]),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
setting_names = [each.name for each in fields(TrainConfig)]


@pytest.mark.parametrize(("changes", "words"), BAD, ids=lambda value: str(value)[:40])
def test_bad_settings_get_a_sentence(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        TrainConfig.from_dict({**TrainConfig().to_dict(), **changes})
    assert [word for word in words if word not in str(caught.value)] == []
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("values", [None, [], "baseline", 7])
def test_settings_must_have_names(values: Any) -> None:
    with pytest.raises(ConfigError, match="named values"):
        TrainConfig.from_dict(values)


@given(st.dictionaries(st.sampled_from([*setting_names, "other"]), json_values))
def test_any_json_is_a_config_or_a_sentence(values: dict[str, Any]) -> None:
    try:
        config = TrainConfig.from_dict(values)
    except ConfigError as error:
        assert str(error).endswith(".")
    else:
        assert config.to_dict() == {**TrainConfig().to_dict(), **values}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"device": "cuda:0", "pin_memory": True},
        {"device": "cuda:10"},
        {"device": "mps"},
        {"tiles": 20, "epochs": 200, "batch_size": 4096, "workers": 0, "seed": 0},
        {"momentum": 0, "learning_rate": 10, "weight_decay": 1, "train_fraction": 0.95},
        {"optimizer": "adam", "momentum": 1.0},
        {"source": "memory", "precision": "bfloat16", "channels_last": True},
    ],
)
def test_good_settings_pass_and_survive_json(changes: dict[str, Any]) -> None:
    config = TrainConfig(**changes).checked()
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_defaults_are_the_tutorials() -> None:
    config = recipe_config("baseline")
    assert config == TrainConfig()
    assert (config.epochs, config.batch_size, config.source, config.workers) == (10, 40, "loader", 2)
    assert (config.optimizer, config.learning_rate, config.momentum) == ("sgd", 0.01, 0.9)
    assert (config.train_fraction, config.split, config.precision) == (0.75, "random", "float32")


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_are_checked_and_changes_go_on_top(recipe: str) -> None:
    config = recipe_config("baseline", recipe, epochs=2, batch_size=7)
    assert (config.recipe, config.epochs, config.batch_size) == (recipe, 2, 7)


def test_fast_keeps_network_and_order() -> None:
    fast, tutorial = recipe_config("baseline", "fast"), recipe_config("baseline", "tutorial")
    assert fast.source == "memory"
    assert replace(fast, recipe="tutorial", **{name: getattr(tutorial, name) for name in RECIPES["fast"]}) == (tutorial)


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        ({"model": "baseline", "recipe": "slow"}, "'slow'"),
        ({"model": "resnet"}, "'resnet'"),
        ({"model": "baseline", "speed": 3}, "'speed'"),
    ],
)
def test_recipes_of_things_that_do_not_exist(ask: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        recipe_config(**ask)


def test_workshop_starts_small() -> None:
    config = workshop_config()
    assert (config.epochs, config.tiles, config.stratified, config.recipe) == (3, 6000, True, "fast")
    assert workshop_config(recipe="tutorial").source == "loader"
    changed = workshop_config(epochs=5, tiles=1000, device="cuda:0")
    assert (changed.epochs, changed.tiles, changed.device) == (5, 1000, "cuda:0")


@pytest.mark.parametrize(("former", "name"), [("growing_sizes", "progressive_resizing")])
def test_a_renamed_setting_is_read_by_its_former_name(former: str, name: str) -> None:
    config = TrainConfig.from_dict({"model": "tilenet", "source": "memory", former: True})
    assert getattr(config, name) and name in config.to_dict() and former not in config.to_dict()


def test_changed_settings_leave_out_what_has_no_effect() -> None:
    base = workshop_config()
    assert choices.changed(base, base) == {}
    assert choices.changed(replace(base, workers=7, batch_size=32), base) == {
        "batch_size": ("32", str(base.batch_size))
    }
    from_files = replace(base, source="loader")
    assert set(choices.changed(replace(from_files, workers=7), from_files)) == {"workers"}


def test_settings_are_worded() -> None:
    table = choices.settings_table(TrainConfig())
    assert table["Tiles"] == "all"
    assert table["Optimizer"] == "SGD"
    assert table["Device"] == "CPU"
    assert table[SETTINGS["train_fraction"].title] == "75 %" and table[SETTINGS["channels_last"].title] == "off"
    assert SETTINGS["workers"].title not in choices.settings_table(workshop_config())


def _seconds(config: TrainConfig) -> float:
    return config.epochs * min(config.tiles or 24_300, 24_300) / 200


def test_a_long_training_is_offered_smaller() -> None:
    assert choices.smaller_version(workshop_config(), _seconds, 24_300) is None
    assert choices.smaller_version(TrainConfig(), lambda _: None, 24_300) is None
    smaller = choices.smaller_version(TrainConfig(epochs=3), _seconds, 24_300)
    assert smaller is not None
    assert (smaller[0].tiles, smaller[0].epochs, smaller[1]) == (6000, 3, 90.0)
    patient = choices.smaller_version(TrainConfig(epochs=3), _seconds, 24_300, limit=200)
    assert patient is not None
    assert (patient[0].tiles, patient[0].epochs) == (12_000, 3)


def test_the_smallest_version_is_offered_when_none_is_short_enough() -> None:
    slow = choices.smaller_version(TrainConfig(), lambda config: 1000 * _seconds(config), 24_300)
    assert slow is not None
    assert (slow[0].tiles, slow[0].epochs) == (1500, 1)
    assert choices.smaller_version(TrainConfig(epochs=1, tiles=1000), lambda _: 999.0, 24_300) is None


LESSON = recipe_config("baseline", "fast", epochs=5, tiles=6000, stratified=True)


@pytest.mark.parametrize(
    ("device", "epoch_seconds", "epochs"),
    [
        ("cpu", 1.0, 15),  # 15 s are aimed at where 10 are not reached
        ("cpu", 0.1, 20),
        ("cpu", 4.0, 5),
        ("cpu", 10.0, 3),  # no more than 40 s
        ("cuda:0", 0.1, 30),
        ("cuda:0", 0.001, 100),
        ("cuda:0", 1.0, 10),  # a curve has ten points at least
        ("mps", 0.1, 30),
        ("cuda:0", 10.0, 3),
    ],
)
def test_the_lesson_takes_some_seconds_on_every_device(device: str, epoch_seconds: float, epochs: int) -> None:
    config = replace(LESSON, device=device)
    found = fitting_version(config, lambda each: each.epochs * epoch_seconds * (each.tiles or 6000) / 6000, 27000)
    assert found is not None and found == replace(config, epochs=epochs)


def test_nothing_is_fitted_before_anything_was_measured() -> None:
    assert fitting_version(LESSON, lambda _config: None, 27000) is None
