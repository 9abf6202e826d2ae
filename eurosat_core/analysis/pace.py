"""How fast a run's training went, and whether that is faster than an earlier run of the same participant."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from eurosat_core.finding import Finding
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.verdict import compare_runs
from eurosat_core.training.choices import changed_speed
from eurosat_core.training.config import DEVICE_SETTINGS, SETTINGS


@dataclass(frozen=True)
class Pace:
    """Training tiles per second, a rate for every epoch that counts; at least one."""

    rates: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rates)

    @property
    def low(self) -> float:
        return min(self.rates)

    @property
    def high(self) -> float:
        return max(self.rates)

    @property
    def epochs(self) -> int:
        return len(self.rates)

    @property
    def spread(self) -> float:
        return (self.high - self.low) / self.median


def pace(history: History) -> Pace | None:
    """Tiles per second of the training phase; the first epoch is the warm-up and left out when there are others."""
    epochs = history.epochs[1:] or history.epochs
    rates = tuple(each.tiles_per_second for each in epochs if each.tiles_per_second > 0)
    return Pace(rates) if rates else None


def _same_work(one: RunRecord, other: RunRecord) -> bool:
    return one.config.architecture == other.config.architecture and one.tiles.fingerprint == other.tiles.fingerprint


def _last_layer_only(*records: RunRecord) -> bool:
    """Whether one's rate is that of its last layer on outputs computed before, which tells nothing of the network."""
    return any(each.config.source == "features" for each in records)


def changing_threads(history: History) -> str:
    """With how many CPU threads a training has computed, in words, where that changed: `1 to 2`; else empty."""
    between = history.threads_between(0.0, math.inf)
    return f"{between[0]} to {between[1]}" if between is not None and between[0] != between[1] else ""


def _threads(record: RunRecord, history: History) -> str:
    """With how many CPU threads a run computed; empty where that is not known."""
    if record.config.device == "cpu" and (changing := changing_threads(history)):
        return changing
    if record.kind == "train" and record.config.device == "cpu" and history.started is not None:
        return str(history.started.threads)
    return str(record.machine.get("threads") or "")


def comparable_run(record: RunRecord, runs: Iterable[RunRecord]) -> RunRecord | None:
    """The participant's earlier run to compare speeds with: the same work done in another way (device or recipe).

    The one that differs in the fewest settings, the newest of those, runs on a kept frozen part last; else the newest
    of another model or tile set.
    """
    earlier = [
        each
        for each in runs
        if each.owner == record.owner
        and each.id != record.id
        and each.created <= record.created
        and each.state in ("finished", "cancelled")
        and each.kind == record.kind
        and not each.recorded_on
    ]
    same = [each for each in earlier if _same_work(record, each) and changed_speed(record.config, each.config)]
    if same:
        settings = {each.id: len(changed_speed(record.config, each.config)) for each in same}
        return min(same, key=lambda each: (_last_layer_only(each), settings[each.id], -each.created))
    others = [each for each in earlier if not _same_work(record, each)]
    return max(others, key=lambda each: each.created, default=None)


def is_same_pace(now: Pace, before: Pace) -> bool:
    """Whether two paces are no further apart than what may be chance."""
    return compare_runs(now.rates, before.rates).outcome == "same"


def compare_speed(record: RunRecord, history: History, other: RunRecord, other_history: History) -> Finding | None:
    """This run's pace against an earlier one's: `faster`, `slower`, `same`, or `other_work`.

    None while one of them has no complete epoch.
    """
    now, before = pace(history), pace(other_history)
    if now is None or before is None:
        return None
    figures: dict[str, Any] = {"now": now.median, "before": before.median}
    if not _same_work(record, other):
        is_network = record.config.architecture != other.config.architecture
        return Finding(f"pace.other_work.{'network' if is_network else 'tiles'}", figures)
    if _last_layer_only(record, other):
        return Finding("pace.other_work.last_layer", figures)
    then = [_basis(now, before), _differences(record, history, other, other_history)]
    if min(len(history.epochs), len(other_history.epochs)) == 1:
        then.append(Finding("pace.warm_up"))
    if len(changed_speed(record.config, other.config)) > 1:
        then.append(Finding("pace.several"))
    if record.company or other.company:
        then.append(Finding("pace.company"))
    if is_same_pace(now, before):
        return Finding("pace.same", figures, tuple(then))
    ratio = now.median / before.median
    kind = "faster" if ratio > 1 else "slower"
    return Finding(f"pace.{kind}", {**figures, "ratio": max(ratio, 1 / ratio)}, tuple(then))


def _basis(now: Pace, before: Pace) -> Finding:
    """On how many epochs two medians rest, and how much these varied."""
    figures = {"epochs": now.epochs, "before": before.epochs, "spread": now.spread, "spread_before": before.spread}
    fewest = min(now.epochs, before.epochs)
    variant = "several" if fewest > 1 else "one_each" if now.epochs == before.epochs else "one"
    return Finding(f"pace.basis.{variant}", figures)


def _differences(record: RunRecord, history: History, other: RunRecord, other_history: History) -> Finding:
    """The settings and threads in which two runs differ."""
    values = {SETTINGS[name].title.lower(): each for name, each in changed_speed(record.config, other.config).items()}
    threads = _threads(record, history), _threads(other, other_history)
    if all(threads) and threads[0] != threads[1]:
        values["CPU threads"] = threads
    changed = [
        Finding("pace.phrase.changed", {"title": title, "now": now, "was": was}) for title, (now, was) in values.items()
    ]
    return Finding("pace.changed", {"changed": changed})


def device_ratio(
    record: RunRecord, history: History, other: RunRecord, other_history: History, model: str = "baseline"
) -> float | None:
    """How many times as fast a model is on a GPU, 1 where there is no difference to measure, by two runs of it.

    None where these two do not tell: they must be of this model and differ in their device alone.
    """
    gpu, cpu = (record, history), (other, other_history)
    if record.config.device == "cpu":
        gpu, cpu = cpu, gpu
    # Pinned memory has no meaning on a CPU, so it belongs to the device.
    devices_only = set(changed_speed(record.config, other.config)) <= DEVICE_SETTINGS
    asked = record.config.model == model and _same_work(record, other)
    if not (asked and devices_only and cpu[0].config.device == "cpu" != gpu[0].config.device):
        return None
    on_gpu, on_cpu = pace(gpu[1]), pace(cpu[1])
    if on_gpu is None or on_cpu is None:
        return None
    return 1.0 if is_same_pace(on_gpu, on_cpu) else on_gpu.median / on_cpu.median
