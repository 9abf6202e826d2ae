"""A free sweep: one setting with values of one's own, as words from a form turned into a plan."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from eurosat_core.errors import ConfigError
from eurosat_core.lab.choices import SETTING_NAMES, in_words
from eurosat_core.speed.experiment_terms import home_device
from eurosat_core.speed.plan import SweepPlan, free_sweep
from eurosat_core.training.config import TrainConfig, recipe_config

__all__ = ["OFFERED", "SECONDS", "is_number", "offered", "plan_free", "value_of"]

SECONDS = (5, 10, 20, 40)
"""Seconds per value that can be chosen."""

OFFERED: dict[str, tuple[Any, ...]] = {
    "batch_size": (1, 8, 16, 40, 64, 128, 256, 512, 1024),
    "workers": (0, 1, 2, 3, 4),
    "prefetch": (1, 2, 4, 8),
    "source": ("loader", "memory"),
    "optimizer": ("sgd", "adam", "adamw", "adagrad"),
    "learning_rate": (0.001, 0.003, 0.01, 0.03, 0.1),
    "model": ("baseline", "tilenet", "efficientnet_lite0"),
    "precision": ("float32", "bfloat16"),
    "channels_last": (False, True),
    "symmetries": (False, True),
    "pin_memory": (False, True),
}
"""Settings that can be varied freely, with values to start from."""

_OF_THE_LOADER = ("workers", "prefetch", "pin_memory", "source")
_LABEL = 60


def _kind(setting: str) -> str:
    declared = next(each.type for each in fields(TrainConfig) if each.name == setting)
    return str(getattr(declared, "__name__", declared))


def is_number(setting: str) -> bool:
    """Whether values of one's own can be typed for this setting."""
    return _kind(setting) in ("int", "float")


def offered(setting: str) -> dict[str, Any]:
    """Values to choose from: in words → value."""
    return {in_words(setting, value): value for value in OFFERED[setting]}


def value_of(setting: str, word: str) -> Any:
    """A chosen or typed word as the setting's value. Raises `ConfigError` for one that is none."""
    known = offered(setting)
    if word in known:
        return known[word]
    try:
        return int(word.replace(",", "")) if _kind(setting) == "int" else float(word)
    except ValueError:
        title = SETTING_NAMES[setting].lower()
        raise ConfigError(f"“{word[:30]}” cannot be used as {title}. Type a number.") from None


def plan_free(
    setting: str,
    words: Sequence[str],
    model: str,
    devices: Sequence[str],
    seconds: float = 10.0,
    target_accuracy: float | None = None,
    **base: Any,
) -> tuple[TrainConfig, SweepPlan]:
    """The config that all values share, and the plan. seconds: per value and device. base: other settings.

    The first value is the reference. Raises `ConfigError` with a sentence for what cannot be measured.
    """
    if setting not in OFFERED:
        raise ConfigError(f"'{setting}' cannot be varied here. Choose one of: {', '.join(OFFERED)}.")
    values = [value_of(setting, each) for each in words]
    if len(set(values)) < len(values):
        raise ConfigError("One value is there twice. Name every value once.")
    if len(values) < 2:
        raise ConfigError("Choose at least two values, so that there is something to compare.")
    used = [each for each in devices if setting != "pin_memory" or each.startswith("cuda")]
    if not used:
        what = "Pinned memory is for copies to a CUDA GPU" if devices else "Choose at least one device"
        raise ConfigError(f"{what}{', and none is chosen' if devices else ' to measure on'}.")
    source = {} if setting in _OF_THE_LOADER else {"source": "memory"}
    config = recipe_config(model, "tutorial", **{**source, "device": home_device(used), **base})
    labels = [in_words(setting, each)[:_LABEL] for each in values]
    plan = free_sweep(
        setting, values, labels, used, seconds=seconds * len(values) * len(used), target_accuracy=target_accuracy
    )
    plan.configs(config)
    return config, plan
