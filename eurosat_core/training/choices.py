"""Settings as a participant reads them: what is offered, how each is said, and in which two runs differ."""

import math
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

from eurosat_core import wording
from eurosat_core.training.config import AUTO, SETTINGS, Setting, TrainConfig
from eurosat_core.training.forms import Choice, Form, Why

LONG_SECONDS = 120.0
# How long the lesson's own training shall take. On a fast GPU that would be hundreds of epochs: there it is enough that
# the curves have points and the rates rest on some seconds.
_SHORTEST, _LONGEST = 10.0, 40.0
_AIM, _MOST_EPOCHS = 15.0, 20
_SHORTEST_ON_GPU, _FEWEST_ON_GPU, _MOST_ON_GPU = 3.0, 10, 100


def changed(config: TrainConfig, base: TrainConfig, leave_out: Collection[str] = ()) -> dict[str, tuple[str, str]]:
    """Settings in which two configs differ, in words: name → (value in `config`, value in `base`)."""
    return {
        name: (each.in_words(getattr(config, name)), each.in_words(getattr(base, name)))
        for name, each in SETTINGS.items()
        if name not in leave_out
        and getattr(config, name) != getattr(base, name)
        and (each.applies(config) or each.applies(base))
    }


def changed_speed(config: TrainConfig, base: TrainConfig) -> dict[str, tuple[str, str]]:
    """The same for the settings that let tiles go through faster or slower."""

    def is_felt(each: Setting) -> bool:
        one, other = getattr(config, each.name), getattr(base, each.name)
        if each.speed == "little" and each.kind in (int, float):
            return bool(one) != bool(other)  # a momentum of 0.9 takes the same work as one of 0.5
        return each.speed != "none"

    return changed(config, base, leave_out=[name for name, each in SETTINGS.items() if not is_felt(each)])


def settings_table(config: TrainConfig) -> dict[str, str]:
    """All settings that have an effect, in words, for showing what a run was made with."""
    return {each.title: each.in_words(getattr(config, name)) for name, each in SETTINGS.items() if each.applies(config)}


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
        return SETTINGS["precision"].in_words(config.precision)
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
    plain = {name: value for name, value in machine.items() if not isinstance(value, dict) and name not in _SPECIAL}
    words = {_TITLES.get(name) or name.replace("_", " ").capitalize(): str(value) for name, value in plain.items()}
    if (choice := choice_of(machine.get("form"))) is not None:
        words["Chosen here"] = form_text(choice)
    if isinstance(flags := machine.get("float32"), dict):
        words["Float32 multiplied"] = ", ".join(f"{what}: {how}" for what, how in flags.items())
    if isinstance(others := machine.get("other_devices"), dict):
        words |= {wording.device_name(str(device)): str(name) for device, name in others.items()}
    if isinstance(gpu := machine.get("gpu"), dict):
        words |= _gpu_table(gpu)
    busy = machine.get("busy_elsewhere")
    if isinstance(busy, int | float):
        words["Other programs"] = f"kept {busy:.1f} cores busy"
    return words


_SPECIAL = ("form", "busy_elsewhere")
_TITLES = {"cuda": "CUDA", "cudnn": "cuDNN", "hip": "HIP", "cpu_name": "CPU"}


def _gpu_table(gpu: dict[str, Any]) -> dict[str, str]:
    """The same of what it notes of its card."""
    told = {
        "GPU driver": "{driver}",
        "The driver’s CUDA": "{driver_cuda}",
        "GPU clock after the run": "{clock_mhz} of {max_clock_mhz} MHz",
        "GPU power limit": "{power_limit_watts:g} W",
        "GPU slice": "{slice}",
        "Other programs on the GPU": "{other_processes}",
        "State of the GPU": "unknown: {unread}",
    }
    words = {}
    for name, template in told.items():
        with suppress(KeyError, ValueError):  # this was not noted, or not as this version does it
            words[name] = template.format(**gpu)
    if isinstance(throttled := gpu.get("throttled"), str):
        words["GPU clock held down"] = throttled or "no"
    return words


def _reason(choice: Choice) -> str:
    ratio = choice.ratio
    if choice.why == "faster" and ratio is not None:
        return f"{wording.rounded(ratio, 2)} times as fast as float32 here"
    if choice.why == "slower" and ratio is not None and ratio < 0.9:
        return f"bfloat16 takes {wording.rounded(1 / ratio, 2)} times as long here"
    return _WHY.get(choice.why, "bfloat16 is no faster here")
