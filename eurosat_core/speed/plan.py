"""What a measurement compares, in which order and for how long, and what it tells while it runs.

Importing this module does not import torch, so a plan can be checked and shown before it is loaded.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from eurosat_core.errors import ConfigError
from eurosat_core.records import Count, CountFromOne, EventRecord, decoded
from eurosat_core.training.config import SWEPT, TrainConfig
from eurosat_core.wording import count, device_name

LEAST_ROUNDS = 6
"""Rounds that are made whatever the time: with fewer a difference cannot be told from chance (`speed.verdict`)."""
LIMITS_SECONDS = 15.0
"""What measuring the limits of one device takes, about."""
COMPILE_SECONDS = 30.0
"""What compiling a network takes, about: 19 to 26 seconds for the baseline and tilenet on one core."""
LIMITS_MODELS = ("baseline", "tilenet", "vgg11_bn")
"""Models whose steps are predicted from the limits of a device, and measured beside that."""

_MOST_CELLS = 24
_LONGEST_NAME = 60
_CHANGED = frozenset((*SWEPT, "device", "recipe"))

_BOUNDS = {
    "seconds": (1.0, 1200.0, "seconds of measuring"),
    "rounds": (LEAST_ROUNDS, 40, "rounds"),
    "steps": (1, 100, "steps of a round"),
    "accuracy_seconds": (1.0, 300.0, "seconds of training to an accuracy"),
    "target_accuracy": (0.05, 0.99, "as the accuracy to be reached"),
}


@dataclass(frozen=True)
class Cell:
    """One thing that is measured: its label (one per device), and what it changes in the run's config.

    learns: whether the time to an accuracy is measured, too, where the plan asks for it.
    """

    label: str
    changes: dict[str, Any] = field(default_factory=dict)
    learns: bool = True


@dataclass(frozen=True)
class SweepPlan:
    """A measurement. Its cells take turns in every round, so that whatever disturbs the machine disturbs all alike.

    name: the experiment's, or `free`, `limits` or a race's (`analysis.race`). setting: what varies, a name of
    `TrainConfig`; empty for several. reference, focus: labels of the cell that others are held against, and of the one
    the verdict is about.
    seconds: for all timed steps with their preparation; as many steps as fit are made, at least `steps` in a round, in
    `rounds` rounds (a few more where time is left). validation: time validation steps, too. target_accuracy: train
    every cell that learns until it names this share of the validation tiles correctly, for at most `accuracy_seconds`
    each. limits: measure the limits of every device first and predict every cell's step from them.
    """

    cells: tuple[Cell, ...] = ()
    name: str = "free"
    setting: str = ""
    reference: str = ""
    focus: str = ""
    seconds: float = 20.0
    rounds: int = 8
    steps: int = 3
    validation: bool = False
    target_accuracy: float | None = None
    accuracy_seconds: float = 10.0
    limits: bool = False

    def configs(self, config: TrainConfig) -> tuple[TrainConfig, ...]:
        """The settings of every cell, checked. Raises `ConfigError` naming the cell that cannot be measured."""
        found = []
        for cell in self.cells:
            try:
                made = TrainConfig.from_dict({**config.to_dict(), **cell.changes})
            except ConfigError as error:
                raise ConfigError(f"“{cell.label}” cannot be measured. {error}") from error
            if problem := sweep_problem(made):
                raise ConfigError(f"“{cell.label}” cannot be measured. {problem}")
            found.append(made)
        return tuple(found)

    def devices(self, config: TrainConfig) -> tuple[str, ...]:
        """The devices that are measured, in the order of the cells; without cells the config's."""
        named = (each.changes.get("device", config.device) for each in self.cells)
        return tuple(dict.fromkeys(named)) or (config.device,)

    def total_seconds(self, config: TrainConfig) -> float:
        """How long the measurement takes at most, within its tolerance: what is said before it begins."""
        learning = sum(each.learns for each in self.cells) if self.target_accuracy is not None else 0
        limits = LIMITS_SECONDS * len(self.devices(config)) if self.limits else 0.0
        executions = [each.changes.get("execution", config.execution) for each in self.cells]
        compiling = COMPILE_SECONDS * executions.count("compiled")
        return (self.seconds if self.cells else 0.0) + learning * self.accuracy_seconds + limits + compiling

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "cells": [asdict(each) for each in self.cells]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SweepPlan":
        """A checked plan from JSON values. Raises `ConfigError` with a sentence."""
        return decoded(cls, values, "The plan of a measurement {problem}.", ConfigError, known_only=True).checked()

    def checked(self) -> "SweepPlan":
        """This plan, if it can be carried out. Raises `ConfigError` with a sentence."""
        for text in (self.name, self.setting, self.reference, self.focus, *(each.label for each in self.cells)):
            if len(text) > _LONGEST_NAME or not text.isprintable():
                raise ConfigError(f"A name in a measurement must be a short text, not {text[:_LONGEST_NAME]!r}.")
        for name, (low, high, words) in _BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{value:g} {words} cannot be measured. Choose {low:g} to {high:g}.")
        if any(not set(each.changes) <= _CHANGED for each in self.cells):
            raise ConfigError(f"A cell of a measurement changes one of: {', '.join(sorted(_CHANGED))}.")
        if not self.cells and not self.limits:
            raise ConfigError("Nothing to measure: name at least one value of a setting.")
        if len(self.cells) > _MOST_CELLS:
            raise ConfigError(
                f"{count(len(self.cells), 'setting')} are too many for one measurement. Choose up to {_MOST_CELLS}: "
                "all values on all devices together."
            )
        places = [(each.label, each.changes.get("device")) for each in self.cells]
        if len(set(places)) < len(places):
            twice = next(each for each in places if places.count(each) > 1)
            where = f" on {device_name(twice[1])}" if twice[1] else ""
            raise ConfigError(f"“{twice[0]}” would be measured twice{where}. Name every value once.")
        labels = {each.label for each in self.cells}
        for name in ("reference", "focus"):
            if getattr(self, name) and getattr(self, name) not in labels:
                raise ConfigError(
                    f"“{getattr(self, name)}” is not among what is measured ({', '.join(sorted(labels))})."
                )
        return self


def sweep_problem(config: TrainConfig) -> str:
    """Why the steps of these settings cannot be measured, as a sentence; empty when they can."""
    if config.source == "features":
        return (
            "Steps are measured with the whole network at work, never with its frozen part computed once. Let the "
            "tiles come from memory or from picture files."
        )
    if config.progressive_resizing:
        return "Steps are measured on whole tiles. Switch smaller pictures first off."
    return ""


def free_sweep(
    setting: str,
    values: Sequence[Any],
    labels: Sequence[str],
    devices: Iterable[str],
    *,
    seconds: float = 30.0,
    target_accuracy: float | None = None,
) -> SweepPlan:
    """One setting with any values, on these devices; the first value is what the others are held against.

    labels: of the values, in their order. Raises `ConfigError` for a setting that cannot be varied.
    """
    if setting not in SWEPT:
        raise ConfigError(f"'{setting}' cannot be varied here. Choose one of: {', '.join(SWEPT)}.")
    if len(values) < 2:
        raise ConfigError("Name at least two values, so that there is something to compare.")
    cells = tuple(
        Cell(label, {setting: value, "device": device})
        for device in devices
        for value, label in zip(values, labels, strict=True)
    )
    plan = SweepPlan(cells, "free", setting, labels[0], labels[-1], seconds=seconds, target_accuracy=target_accuracy)
    return plan.checked()


def plan_limits(devices: Iterable[str], batch_sizes: Sequence[int] = (40, 256), *, seconds: float = 75.0) -> SweepPlan:
    """The limits of these devices, and the steps of `LIMITS_MODELS` measured beside what is predicted from them.

    Its base config must take tiles from memory, in float32. seconds: per device.
    """
    places = list(devices)
    cells = tuple(
        Cell(f"{model}, {size}", {"model": model, "batch_size": size, "device": device, "pretrained": False}, False)
        for device in places
        for model in LIMITS_MODELS
        for size in batch_sizes
    )
    return SweepPlan(cells, "limits", "", seconds=seconds * len(places), steps=1, limits=True).checked()


SweepPhase = Literal["prepare", "train", "validation"]


class SweepStarted(EventRecord, frozen=True, tag="sweep_started"):
    """The measurement begins. planned_seconds: how long it was said to take."""

    cells: Count
    rounds: Count
    planned_seconds: float
    device: str
    threads: CountFromOne


class LimitsDone(EventRecord, frozen=True, tag="limits"):
    """The limits of a device were measured."""

    device: str
    seconds: float


class TurnDone(EventRecord, frozen=True, tag="turn"):
    """A cell (its number in the plan, from 0) had its turn in a round (from 1; round 0 prepares).

    tiles_per_second: of this turn alone. seconds: since the measurement began.
    """

    phase: SweepPhase
    cell: Count
    round: Count
    seconds: float
    tiles_per_second: float | None = None


class Learned(EventRecord, frozen=True, tag="learned"):
    """How far a cell's short training has come: accuracy on validation tiles after so many seconds of training."""

    cell: Count
    seconds: float
    accuracy: float
    train_seconds: float


class SweepDone(EventRecord, frozen=True, tag="sweep_done"):
    """The plan was carried out to its end. `seconds` is all of it."""

    rounds: Count
    seconds: float


SweepEvent = SweepStarted | LimitsDone | TurnDone | Learned | SweepDone
