"""What an experiment is: what it compares, what can be guessed of it, on which device it is measured. No torch here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from eurosat_core.errors import ConfigError
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.speed.verdict import Outcome

__all__ = ["GUESSES", "Experiment", "Figure", "Option", "guess_ratio", "home_device"]

Figure = Literal["tiles", "work"]

GUESSES: dict[str, tuple[float, float]] = {
    "slower": (0.0, 0.95),
    "about the same": (0.95, 1.05),
    "up to twice as fast": (1.05, 2.0),
    "more than twice as fast": (2.0, math.inf),
}
"""What can be guessed of the focus against the reference: the factors that each choice covers (from, below)."""


@dataclass(frozen=True)
class Option:
    """One value of an experiment: its label, what it changes, and whether it is also trained to an accuracy."""

    label: str
    changes: dict[str, Any]
    learns: bool = True


@dataclass(frozen=True)
class Experiment:
    """One change, measured. tip: which of the tutorial's four it is, 0 for what that leaves out.

    question: a guess about `focus` against `reference` (labels of `options`). figure: what is compared: tiles per
    second, or for networks of different sizes the arithmetic per second (`work`). base: settings that all options
    share. seconds: of timed steps per device, in so many `rounds`. outcomes: what it means if the focus is faster, the
    same, slower. misconception: what it puts right. needs_gpu: why it says nothing without one; empty where it does.
    """

    name: str
    title: str
    tip: int
    question: str
    setting: str
    options: tuple[Option, ...]
    reference: str
    focus: str
    outcomes: dict[Outcome, str]
    misconception: str
    base: dict[str, Any] = field(default_factory=dict)
    model: str = "baseline"
    figure: Figure = "tiles"
    seconds: float = 25.0
    rounds: int = SweepPlan().rounds
    target_accuracy: float | None = None
    accuracy_seconds: float = 12.0
    needs_gpu: str = ""


def home_device(devices: Sequence[str]) -> str:
    """The device whose worker measures: the GPU where there is one, for its worker can compute on the CPU as well."""
    return next((each for each in devices if each != "cpu"), "cpu")


def guess_ratio(guess: str) -> tuple[float, float]:
    """The factors that a guess covers. Raises `ConfigError` for a guess that is none."""
    if guess not in GUESSES:
        raise ConfigError(f"“{guess}” cannot be guessed. Choose one of: {', '.join(GUESSES)}.")
    return GUESSES[guess]
