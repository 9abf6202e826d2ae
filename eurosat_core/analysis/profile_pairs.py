"""Two profiles side by side: how long a step or a tile took, which part of it changed, and which settings differ."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from eurosat_core import wording
from eurosat_core.finding import Finding
from eurosat_core.profiling.overview import PARTS, ROLES
from eurosat_core.runs.profiles import Profile, Reading
from eurosat_core.speed.verdict import compare_runs
from eurosat_core.training.choices import changed_speed
from eurosat_core.training.config import SETTINGS

MARKED = 0.2
"""An operator's time must have changed by this share to be marked."""


@dataclass(frozen=True)
class Side:
    """One of two profiles: all its cycles, the newest last. name: what it is called in charts."""

    name: str
    profile: Profile
    readings: tuple[Reading, ...]

    @property
    def batch(self) -> int | None:
        """Tiles per step, where it is known."""
        return self.profile.config.batch_size if self.profile.config else None

    @property
    def steps_us(self) -> list[float]:
        """How long each step of all cycles took."""
        return [each.role_us["Total"] for reading in self.readings for each in reading.overview.steps]

    def mean(self, of: str) -> dict[str, float]:
        """Mean step over all cycles in µs. of: `parts` or `roles`."""
        rows: list[Mapping[str, float]] = []
        for reading in self.readings:
            overview = reading.overview
            rows += overview.parts.per_step_us if of == "parts" else [each.role_us for each in overview.steps]
        names = PARTS if of == "parts" else ROLES
        return {name: statistics.fmean(row[name] for row in rows) if rows else 0.0 for name in names}


def per_tile(one: Side, other: Side) -> bool:
    """Whether the two must be compared per tile: their batches are known and differ."""
    return one.batch is not None and other.batch is not None and one.batch != other.batch


def cautions(one: Side, other: Side) -> list[Finding]:
    """What must be said of the two beside how fast they are: other work, several changes, something else that ran."""
    found = []
    first, second = one.profile, other.profile
    if first.config is None or second.config is None:
        found.append(Finding("pairs.work.unknown"))
    elif _other_network(one, other):
        found.append(Finding("pairs.work.network"))
    elif first.tiles != second.tiles:
        found.append(Finding("pairs.work.tiles"))
    company = bool(first.company or second.company)
    if len(differences(one, other)) - company > 1:
        found.append(Finding("pairs.several"))
    if company:
        found.append(Finding("pairs.company"))
    return found


def _other_network(one: Side, other: Side) -> bool:
    first, second = one.profile.config, other.profile.config
    return first is not None and second is not None and first.architecture != second.architecture


def differences(one: Side, other: Side) -> dict[str, tuple[str, str]]:
    """In what the two differ, as far as both are known, in words: setting → (value in `one`, value in `other`)."""
    first, second = one.profile, other.profile
    found: dict[str, tuple[str, str]] = {}
    if first.config is not None and second.config is not None:
        found = {SETTINGS[name].title: values for name, values in changed_speed(first.config, second.config).items()}
    if first.tiles and second.tiles and first.tiles != second.tiles:
        found["Set of tiles"] = (first.tiles, second.tiles)
    if first.plan is not None and second.plan is not None:
        if first.plan.memory != second.plan.memory:
            found["Memory recorded"] = ("yes" if first.plan.memory else "no", "yes" if second.plan.memory else "no")
        if first.plan.active != second.plan.active:
            found["Recorded steps a cycle"] = (str(first.plan.active), str(second.plan.active))
    for name, title in (("device_name", "Machine"), ("threads", "CPU threads"), ("torch", "PyTorch")):
        values = [str(each.machine.get(name) or "") for each in (first, second)]
        if all(values) and values[0] != values[1]:
            found[title] = (values[0], values[1])
    if first.company or second.company:
        found["Ran beside it"] = (
            wording.listed(list(first.company)) or "nothing",
            wording.listed(list(second.company)) or "nothing",
        )
    return found


def scale(side: Side, by_tile: bool) -> float:
    return 1 / side.batch if by_tile and side.batch else 1.0


def verdict(one: Side, other: Side) -> Finding:
    """`faster`, `slower`, `same` or `other_work`: `one` against `other`, by the median of all their steps."""
    by_tile = per_tile(one, other)
    first, second = _times(one, by_tile), _times(other, by_tile)
    now, before = statistics.median(first), statistics.median(second)
    basis = {"now": now, "before": before, "steps": len(first), "steps_before": len(second)}
    figures = {
        "one": one.name,
        "other": other.name,
        "medians": Finding(f"pairs.phrase.{'tile' if by_tile else 'step'}", basis),
        "ratio": max(now / before, before / now) if now and before else 1.0,
    }
    rates, reference = ([1 / each for each in times if each > 0] for times in (first, second))
    outcome = compare_runs(rates, reference).outcome
    kind = "other_work" if outcome == "unknown" or _other_network(one, other) else outcome
    return Finding(f"pairs.{kind}", figures)


def _times(side: Side, by_tile: bool) -> list[float]:
    """Milliseconds of every step (or tile of it), shortest first."""
    return sorted(each * scale(side, by_tile) / 1000 for each in side.steps_us)


_TIMES = {"CPU self": "cpu_self_us", "CPU total": "cpu_total_us", "GPU self": "device_self_us"}


def operator_pairs(one: Side, other: Side, time: str) -> pd.DataFrame:
    """Operators of both, µs a step (or tile), those that differ most first.

    time: `CPU self`, `CPU total` or `GPU self`. Columns: Operator, Change (in words; empty for less than a fifth), the
    two sides' names, Difference (one less the other), Ratio (infinite where the other has none).
    """
    by_tile = per_tile(one, other)
    columns = [_operator_times(side, _TIMES[time], by_tile) for side in (one, other)]
    rows = []
    for name in columns[0] | columns[1]:
        now, before = (each.get(name, 0.0) for each in columns)
        if now or before:
            rows.append((name, _mark(now, before), now, before, now - before, now / before if before else math.inf))
    frame = pd.DataFrame(rows, columns=["Operator", "Change", one.name, other.name, "Difference", "Ratio"])
    return frame.sort_values("Difference", key=lambda each: -each.abs(), kind="stable", ignore_index=True)


def _operator_times(side: Side, figure: str, by_tile: bool) -> dict[str, float]:
    times: dict[str, float] = {}
    steps = sum(reading.steps for reading in side.readings)
    for reading in side.readings:
        for row in reading.operators:
            times[row.name] = times.get(row.name, 0.0) + getattr(row, figure) * scale(side, by_tile) / steps
    return times


def _mark(now: float, before: float) -> str:
    if not before:
        return "only here"
    if not now:
        return "gone"
    if now > before * (1 + MARKED):
        return "longer"
    return "shorter" if now < before * (1 - MARKED) else ""


def names(first: Profile, second: Profile) -> tuple[str, str]:
    """What the two are called: by device and batch, else by their titles; always told apart."""
    made = [_short(each) for each in (first, second)]
    if made[0] == made[1]:
        made = [f"{name} ({each.key[-4:]})" for name, each in zip(made, (first, second), strict=True)]
    return made[0], made[1]


def _short(profile: Profile) -> str:
    if profile.config is None:
        return "Uploaded trace"
    words = f"{wording.device_name(profile.config.device)}, batch {profile.config.batch_size}"
    return f"Example: {words}" if profile.origin == "recorded" else words


def times_told(one: Side, other: Side) -> list[str]:
    """Which times of operators at least one of the two has."""
    on_device = any(reading.device_us for side in (one, other) for reading in side.readings)
    return list(_TIMES) if on_device else [name for name in _TIMES if not name.startswith("GPU")]
