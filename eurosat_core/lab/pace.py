"""How fast a run's training went, and whether that is faster than an earlier run of the same participant."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from eurosat_core import wording
from eurosat_core.lab.choices import SETTING_NAMES, changed
from eurosat_core.lab.findings import Finding
from eurosat_core.lab.history import History
from eurosat_core.lab.runs import RunRecord
from eurosat_core.training.config import TrainConfig

__all__ = ["Pace", "comparable_run", "compare_speed", "pace"]

_SAME_PACE = 0.07  # rates closer than this (as a logarithm) are called equal whatever their spread


@dataclass(frozen=True)
class Pace:
    """Training tiles per second over the epochs: median, least, most, of how many."""

    median: float
    low: float
    high: float
    epochs: int

    @property
    def spread(self) -> float:
        return (self.high - self.low) / self.median


def pace(history: History) -> Pace | None:
    """Tiles per second of the training phase; the first epoch is the warm-up and left out when there are others."""
    epochs = history.epochs[1:] or history.epochs
    rates = sorted(each.tiles_per_second for each in epochs if each.tiles_per_second > 0)
    if not rates:
        return None
    middle = len(rates) // 2
    median = rates[middle] if len(rates) % 2 else (rates[middle - 1] + rates[middle]) / 2
    return Pace(median, rates[0], rates[-1], len(rates))


# Settings that do not change how fast tiles go through.
_NOT_SPEED = {"model", "recipe", "epochs", "tiles", "learning_rate", "momentum", "weight_decay", "seed", "split"}
_NOT_SPEED |= {"stratified", "train_fraction"}


def _speed_settings(one: TrainConfig, other: TrainConfig) -> dict[str, tuple[str, str]]:
    return changed(one, other, leave_out=_NOT_SPEED)


def _same_work(one: RunRecord, other: RunRecord) -> bool:
    return one.config.model == other.config.model and one.tiles.fingerprint == other.tiles.fingerprint


def comparable_run(record: RunRecord, runs: Iterable[RunRecord]) -> RunRecord | None:
    """The participant's earlier run to compare speeds with: the same work done in another way (device or recipe).

    The one that differs in the fewest settings, the newest of those; else the newest of another model or tile set.
    """
    earlier = [
        each
        for each in runs
        if each.owner == record.owner
        and each.id != record.id
        and each.created <= record.created
        and each.state in ("finished", "cancelled")
        and each.kind == record.kind
    ]
    same = [each for each in earlier if _same_work(record, each) and _speed_settings(record.config, each.config)]
    if same:
        return min(same, key=lambda each: (len(_speed_settings(record.config, each.config)), -each.created))
    others = [each for each in earlier if not _same_work(record, each)]
    return max(others, key=lambda each: each.created, default=None)


def compare_speed(record: RunRecord, history: History, other: RunRecord, other_history: History) -> Finding | None:
    """This run's pace against an earlier one's: faster, slower, no difference, or not the same work.

    None while one of them has no complete epoch.
    """
    now, before = pace(history), pace(other_history)
    if now is None or before is None:
        return None
    if not _same_work(record, other):
        what = "model" if record.config.model != other.config.model else "tile set"
        return Finding(
            "other_work",
            f"Your earlier run used another {what}, so its speed ({wording.rate(before.median)}) and this one’s "
            f"({wording.rate(now.median)}) are not the same work and are not compared.",
        )
    differs = _speed_settings(record.config, other.config)
    figures = (
        f"{wording.rate(now.median)} against {wording.rate(before.median)} (median of "
        f"{wording.count(now.epochs, 'epoch')} and of {before.epochs}; they varied by {100 * now.spread:.0f} % and "
        f"{100 * before.spread:.0f} %)"
    )
    how = "; ".join(
        f"{SETTING_NAMES[name].lower()}: {is_now} instead of {was}" for name, (is_now, was) in differs.items()
    )
    threads_now, threads_then = (each.machine.get("threads") for each in (record, other))
    if threads_now and threads_then and threads_now != threads_then:
        how += f"; CPU threads: {threads_now} instead of {threads_then}"
    ratio = now.median / before.median
    overlap = now.low <= before.high and before.low <= now.high
    if abs(math.log(ratio)) < _SAME_PACE or overlap:
        kind, text = "same", f"No difference in speed that we can measure to your earlier run: {figures}."
    elif ratio > 1:
        kind, text = "faster", f"{wording.times(ratio).capitalize()} as fast as your earlier run: {figures}."
    else:
        kind = "slower"
        text = f"Slower than your earlier run, which was {wording.times(1 / ratio)} as fast: {figures}."
    text += f" What differed: {how}."
    if len(differs) > 1:
        text += " Several settings differ, so none of them earned it alone: change one at a time to know."
    if record.beside or other.beside:
        text += (
            " Something else was computing during one of them, so measure again on a free machine before you trust it."
        )
    return Finding(kind, text)
