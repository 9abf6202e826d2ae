"""Why a network is computed in this precision on this device, and on what machine, in words."""

from typing import Any

from eurosat_core import wording
from eurosat_core.training.config import AUTO, TrainConfig
from eurosat_core.training.precision import Choice, Form, Why

__all__ = ["choice_of", "form_text", "machine_table", "precision_text"]

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
