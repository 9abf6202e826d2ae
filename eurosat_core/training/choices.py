"""Settings as a participant reads them: what is offered, how each is said, and in which two runs differ."""

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from eurosat_core import wording
from eurosat_core.models.catalog import BASELINE, CATALOG
from eurosat_core.training.config import AUTO, TrainConfig
from eurosat_core.training.precision import Choice, Form, Why

LONG_SECONDS = 120.0
# How long the lesson's own training shall take. On a fast GPU that would be hundreds of epochs: there it is enough that
# the curves have points and the rates rest on some seconds.
_SHORTEST, _LONGEST = 10.0, 40.0
_AIM, _MOST_EPOCHS = 15.0, 20
_SHORTEST_ON_GPU, _FEWEST_ON_GPU, _MOST_ON_GPU = 3.0, 10, 100
RECIPE_NAMES = {"tutorial": "Tutorial’s way", "sprint": "Sprint", "fast": "Fast", "record": "Record"}
OPTIMIZER_NAMES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "adagrad": "Adagrad"}
SETTING_NAMES = {
    "model": "Model",
    "recipe": "Recipe",
    "device": "Device",
    "epochs": "Epochs",
    "tiles": "Tiles",
    "batch_size": "Batch size",
    "optimizer": "Optimizer",
    "learning_rate": "Learning rate",
    "schedule": "Learning rate over time",
    "nesterov": "Nesterov’s look ahead",
    "label_smoothing": "Label smoothing",
    "symmetries": "Tiles turned and mirrored",
    "shift": "Tiles shifted by up to (pixels)",
    "colour_jitter": "Colour jitter",
    "growing_sizes": "Smaller pictures first",
    "stem_pool": "Pooling after the stem",
    "momentum": "Momentum",
    "weight_decay": "Weight decay",
    "source": "Tiles come from",
    "workers": "Loader workers",
    "prefetch": "Prefetched batches per worker",
    "pin_memory": "Pinned memory",
    "channels_last": "Channels-last layout",
    "precision": "Precision",
    "stratified": "Same share of each class",
    "seed": "Seed",
    "split": "Split",
    "train_fraction": "Share for training",
    "sealed_test": "Sealed test part",
    "network": "Layers",
    "pretrained": "Starts from ImageNet weights",
    "frozen_norms": "BatchNorm statistics kept",
    "keep_epochs": "Weights of every epoch kept",
}
_SOURCES = {
    "loader": "picture files (DataLoader)",
    "memory": "memory, already decoded",
    "features": "the frozen part, computed once",
}
SCHEDULE_NAMES = {"constant": "constant", "cosine": "falling (cosine)", "one_cycle": "up, then down (one cycle)"}
SPLIT_NAMES = {"random": "Random", "place": "By place"}
_LEFT_OPEN = (("precision", AUTO), ("channels_last", None), ("channels_last", AUTO))  # None is no value of a widget
_LOADER_ONLY = ("workers", "prefetch", "pin_memory")
_PRETRAINED_ONLY = ("pretrained", "frozen_norms")
_RANDOM_ONLY = ("stratified", "train_fraction")


def in_words(name: str, value: Any) -> str:
    """The value of a setting as it is shown: `batch_size` 40 → `40`, `source` loader → `picture files (DataLoader)`."""
    if (name, value) in _LEFT_OPEN:
        return "automatic"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name == "tiles":
        return "all" if value is None else f"{value:,}"
    if name == "train_fraction":
        return f"{100 * value:.0f} %"
    if name == "network":
        return value or BASELINE
    if name == "device":
        return wording.device_name(value)
    words = {
        "model": {entry.name: entry.title for entry in CATALOG.values()},
        "recipe": RECIPE_NAMES,
        "optimizer": OPTIMIZER_NAMES,
        "source": _SOURCES,
        "split": SPLIT_NAMES,
        "schedule": SCHEDULE_NAMES,
    }.get(name, {})
    if value in words:
        return words[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def matters(name: str, config: TrainConfig) -> bool:
    """Whether a setting has any effect in this config: loader workers have none on tiles that lie in memory."""
    if name in _LOADER_ONLY:
        return config.source == "loader"
    if name == "network":
        return config.model == "custom"
    if name == "stem_pool":
        return config.model == "tilenet"
    if name in _PRETRAINED_ONLY:
        return CATALOG[config.model].is_pretrained
    if name in _RANDOM_ONLY:
        return config.split == "random"
    if name == "shift":
        return config.symmetries
    return name not in ("momentum", "nesterov") or config.optimizer == "sgd"


def changed(config: TrainConfig, base: TrainConfig, leave_out: Collection[str] = ()) -> dict[str, tuple[str, str]]:
    """Settings in which two configs differ, in words: name → (value in `config`, value in `base`)."""
    return {
        name: (in_words(name, getattr(config, name)), in_words(name, getattr(base, name)))
        for name in SETTING_NAMES
        if name not in leave_out
        and getattr(config, name) != getattr(base, name)
        and (matters(name, config) or matters(name, base))
    }


def settings_table(config: TrainConfig) -> dict[str, str]:
    """All settings that have an effect, in words, for showing what a run was made with."""
    return {
        title: in_words(name, getattr(config, name)) for name, title in SETTING_NAMES.items() if matters(name, config)
    }


def smaller_version(
    config: TrainConfig,
    seconds: Callable[[TrainConfig], float | None],
    tiles_there: int,
    limit: float = LONG_SECONDS,
) -> tuple[TrainConfig, float] | None:
    """The largest of a few smaller versions that is estimated to end within `limit` seconds, and its estimate.

    First fewer tiles, down to the lesson's 6,000; then fewer epochs; then fewer tiles still. None when `config`
    itself is short enough or nothing was measured yet. If none is short enough, the smallest is offered.
    """
    now = seconds(config)
    if now is None or now <= limit:
        return None
    tiles = min(config.tiles or tiles_there, tiles_there)
    epochs = config.epochs
    steps = [(12000, epochs), (6000, epochs), *((6000, fewer) for fewer in (10, 5, 3)), (3000, 3), (1500, 3), (1500, 1)]
    best: tuple[TrainConfig, float] | None = None
    for count, fewer in steps:
        smaller = replace(config, tiles=min(count, tiles), epochs=min(fewer, epochs), stratified=True)
        if smaller.tiles == tiles and smaller.epochs == epochs:
            continue
        estimate = seconds(smaller)
        if estimate is None or estimate >= now:
            continue
        if best is None or estimate < best[1]:
            best = (smaller, estimate)
        if estimate <= limit:
            return smaller, estimate
    return best


def fitting_version(
    config: TrainConfig, seconds: Callable[[TrainConfig], float | None], tiles_there: int
) -> TrainConfig | None:
    """The lesson's training with as many epochs (and tiles) as fit into 10 to 40 seconds on its device.

    On a GPU at least 10 epochs and 3 seconds. None while nothing was measured there.
    """
    now = seconds(config)
    if now is None:
        return None
    if now > _LONGEST:
        shorter = smaller_version(config, seconds, tiles_there, _LONGEST)
        return shorter[0] if shorter is not None else config
    on_gpu = config.device != "cpu"
    shortest, most = (_SHORTEST_ON_GPU, _MOST_ON_GPU) if on_gpu else (_SHORTEST, _MOST_EPOCHS)
    epochs = config.epochs
    if now < shortest:
        epochs = min(most, math.ceil(epochs * (shortest if on_gpu else _AIM) / max(now, 1e-3)))
    return replace(config, epochs=max(epochs, _FEWEST_ON_GPU) if on_gpu else epochs)


_WHY: dict[Why, str] = {
    "no_instructions": "this processor has no fast bfloat16",
    "emulated": "this GPU has no bfloat16 of its own",
    "not_tried": "bfloat16 was not tried here",
}


def form_text(choice: Choice) -> str:
    """`bfloat16: 1.5 times as fast as float32 here`, `float32: this processor has no fast bfloat16`."""
    return f"{choice.form.precision}: {_reason(choice)}"


def precision_text(config: TrainConfig, choice: Choice | None) -> str:
    """The precision of a recipe as far as it is known: `float32 (this processor has no fast bfloat16)`."""
    if config.precision != AUTO:
        return config.precision
    if choice is None:
        return "float32 or bfloat16, whichever is faster here"
    return f"{choice.form.precision} ({_reason(choice)})"


def choice_of(noted: Any) -> Choice | None:
    """The choice that a run's `machine` notes as its `form`; None when it notes none that can be read."""
    try:
        ratio = noted["ratio"]
        form = Form(str(noted["precision"]), bool(noted["channels_last"]))
        return Choice(form, noted["why"], float(ratio) if ratio is not None else None)
    except (KeyError, TypeError, ValueError):
        return None


def machine_table(machine: dict[str, Any]) -> dict[str, str]:
    """What a run notes of the machine, in words: what it is → how it is."""
    words = {name.replace("_", " ").capitalize(): str(value) for name, value in machine.items() if name not in _SPECIAL}
    if (choice := choice_of(machine.get("form"))) is not None:
        words["Chosen here"] = form_text(choice)
    busy = machine.get("busy_elsewhere")
    if isinstance(busy, int | float):
        words["Other programs"] = f"kept {busy:.1f} cores busy"
    return words


_SPECIAL = ("form", "busy_elsewhere")


def _reason(choice: Choice) -> str:
    ratio = choice.ratio
    if choice.why == "faster" and ratio is not None:
        return f"{wording.rounded(ratio, 2)} times as fast as float32 here"
    if choice.why == "slower" and ratio is not None and ratio < 0.9:
        return f"bfloat16 takes {wording.rounded(1 / ratio, 2)} times as long here"
    return _WHY.get(choice.why, "bfloat16 is no faster here")
