"""Which of two trainings is more accurate, and what neighbouring tiles do to a random split.

A difference is called one only where it is larger than luck and repeated runs explain.
"""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from eurosat_core.analysis.confusion import disagreement
from eurosat_core.analysis.contenders import Contender, may_compare_accuracy, run_figures, same_tiles
from eurosat_core.data.pictures import class_titles
from eurosat_core.data.splits import make_place_split, make_split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.finding import Finding
from eurosat_core.folders import ASSETS
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import DEVICE_SETTINGS, SETTINGS, settings_of
from eurosat_core.training.evaluation import Evaluation

PART_NAMES = ("Training", "Validation", "Sealed test")
_RECORDED = ASSETS / "recorded" / "splits.json"
_NO_RESULT = frozenset(name for name, each in SETTINGS.items() if not each.result)
# What may differ between two runs of one recipe: how the tiles were divided, and what makes no difference.
_APART = _NO_RESULT | set(settings_of("tiles")) - {"tiles"}


@dataclass(frozen=True)
class BothSplits:
    """Validation accuracies (0…1) of one recipe, a run each, and how many tiles a run of each split had."""

    random: tuple[float, ...]
    place: tuple[float, ...]
    random_train_tiles: int
    place_train_tiles: int
    random_tiles: int
    place_tiles: int
    epochs: int


def both_splits(records: Iterable[RunRecord]) -> BothSplits | None:
    """The newest recipe among finished runs that was trained on both splits of the same real tiles; None without one.

    records: newest first, of one participant.
    """
    groups: dict[str, dict[str, list[RunRecord]]] = {}
    for record in records:
        if record.state != "finished" or record.kind != "train" or record.tiles.source == "synthetic":
            continue
        if not isinstance(record.summary.get("val_accuracy"), float):
            continue
        recipe = {name: value for name, value in asdict(record.config).items() if name not in _APART}
        group = groups.setdefault(json.dumps([record.tiles.fingerprint, recipe]), {"random": [], "place": []})
        group[record.config.split].append(record)
    for group in groups.values():  # in the order of their newest runs
        if group["random"] and group["place"]:
            at_random, by_place = group["random"], group["place"]
            return BothSplits(
                random=tuple(each.summary["val_accuracy"] for each in at_random),
                place=tuple(each.summary["val_accuracy"] for each in by_place),
                random_train_tiles=int(at_random[0].summary.get("train_tiles", 0)),
                place_train_tiles=int(by_place[0].summary.get("train_tiles", 0)),
                random_tiles=int(at_random[0].summary.get("val_tiles", 0)),
                place_tiles=int(by_place[0].summary.get("val_tiles", 0)),
                epochs=at_random[0].config.epochs,
            )
    return None


def compare_splits(found: BothSplits) -> Finding:
    """What the two accuracies say: `both`, as `worse`, `better` or the `same` by place."""
    gap = statistics.mean(found.random) - statistics.mean(found.place)
    figures: dict[str, Any] = {"epochs": found.epochs, "random_runs": len(found.random), "place_runs": len(found.place)}
    figures |= {"random": _spread(found.random), "place": _spread(found.place), "gap": gap}
    if abs(gap) <= _doubt(found):
        return Finding("split.both.same", figures)
    if gap < 0:
        return Finding("split.both.better", figures)
    more, fewer = found.random_train_tiles, found.place_train_tiles
    then = (Finding("split.more_tiles", {"more": more, "fewer": fewer}),) if more > 1.02 * fewer else ()
    return Finding("split.both.worse", figures, then)


def _spread(values: Sequence[float]) -> Finding:
    figures = {"mean": statistics.mean(values), "low": min(values), "high": max(values)}
    return Finding(f"split.phrase.{'one' if len(values) == 1 else 'several'}", figures)


def _doubt(found: BothSplits) -> float:
    """Two standard errors of the difference: by the luck of the tiles drawn, and of the seeds where there are more."""
    total = 0.0
    for values, tiles in ((found.random, found.random_tiles), (found.place, found.place_tiles)):
        mean = statistics.mean(values)
        total += mean * (1 - mean) / max(tiles, 100)
        if len(values) > 1:
            total += statistics.variance(values) / len(values)
    return 2 * math.sqrt(total)


@lru_cache(maxsize=1)
def recorded_both_splits() -> tuple[BothSplits, dict[str, Any]] | None:
    """Both accuracies as recorded elsewhere on real tiles, and how; None where the record is missing."""
    try:
        values = json.loads(_RECORDED.read_text(encoding="utf-8"))
        accuracies = {name: tuple(values["result"].pop(name)) for name in ("random", "place")}
        found = BothSplits(accuracies["random"], accuracies["place"], **values["result"])
        return found, values["made"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def parts_frame(tiles: TileSet, place_parts: npt.NDArray[np.int8] | None, seed: int) -> pd.DataFrame:
    """Tiles per class and part of a split that seals a test part: class (in words), part, tiles.

    place_parts: the parts [N] of the split by place; None for the random split with this seed.
    """
    if place_parts is None:
        split = make_split(tiles.labels, seed=seed, sealed_test=True)
    else:
        split = make_place_split(tiles.labels, torch.from_numpy(place_parts), seed=seed, sealed_test=True)
    titles = class_titles(tiles.class_names)
    rows = []
    for part, numbers in zip(PART_NAMES, (split.train, split.validation, split.test), strict=True):
        counts = torch.bincount(tiles.labels[numbers], minlength=len(tiles.class_names)).tolist()
        rows += [(titles[name], part, count) for name, count in zip(tiles.class_names, counts, strict=True)]
    return pd.DataFrame(rows, columns=["class", "part", "tiles"])


# Runs that differ in nothing else are repetitions.
_REPEATED = _NO_RESULT | {"seed"}


# -- accuracy


@dataclass(frozen=True)
class _Gap:
    """An accuracy less another, and how much of that luck explains (two standard errors), and by which tiles."""

    gap: float
    luck: float
    basis: Finding

    @property
    def is_luck(self) -> bool:
        return abs(self.gap) <= self.luck

    @property
    def figures(self) -> dict[str, Any]:
        return {"gap": self.gap, "luck": self.luck, "basis": self.basis}


def _standard_error(accuracy: float, tiles: int) -> float:
    return math.sqrt(accuracy * (1 - accuracy) / max(tiles, 1))


def _gap(one: Contender, other: Contender) -> _Gap | None:
    """The first's accuracy less the second's; None where one of them is not known."""
    first, second = one.accuracy, other.accuracy
    if first is None or second is None or not one.validation_tiles or not other.validation_tiles:
        return None
    if same_tiles([one, other]).kind == "same" and one.predictions is not None and other.predictions is not None:
        found = disagreement(one.predictions, other.predictions)
        lone = len(found.first) + len(found.second)
        # On the same tiles only those count that just one of them got right (McNemar): at equal skill they fall to
        # either side like a coin.
        luck = 2 * math.sqrt(max(lone, 1)) / max(found.tiles, 1)
        basis = Finding("accuracy.phrase.same_tiles", {"lone": lone, "tiles": found.tiles})
        return _Gap(first - second, luck, basis)
    luck = 2 * math.hypot(_standard_error(first, one.validation_tiles), _standard_error(second, other.validation_tiles))
    basis = Finding("accuracy.phrase.other_tiles", {"tiles": one.validation_tiles, "other": other.validation_tiles})
    return _Gap(first - second, luck, basis)


def accuracy_verdict(one: Contender, other: Contender) -> Finding:
    """Whether one run names more tiles rightly than another: `better`, `worse`, `same`, or `not_comparable`."""
    check = same_tiles([one, other])
    if not may_compare_accuracy(check):
        return Finding("accuracy.not_comparable.tiles", {"check": check})
    found = _gap(one, other)
    if found is None:
        return Finding("accuracy.not_comparable.no_epoch")
    figures = {"run": one.label, "other": other.label, "accuracy": one.accuracy, "other_accuracy": other.accuracy}
    kind = "same" if found.is_luck else "better" if found.gap > 0 else "worse"
    return Finding(f"accuracy.{kind}", figures | found.figures)


def against_you(guesses: Evaluation | None, run: Contender) -> Finding:
    """The participant's own guesses beside a run: `better` (the network), `worse`, `same`, or `nothing`.

    guesses: on the run's tile set, else the two say nothing about each other.
    """
    if guesses is None or run.accuracy is None or not run.validation_tiles:
        return Finding("you.nothing")
    gap = run.accuracy - guesses.accuracy
    # With few guesses, none or all of them right says little: the rule of succession keeps some doubt.
    own = (guesses.accuracy * guesses.tiles + 1) / (guesses.tiles + 2)
    luck = 2 * math.hypot(_standard_error(own, guesses.tiles), _standard_error(run.accuracy, run.validation_tiles))
    figures: dict[str, Any] = {"accuracy": guesses.accuracy, "tiles": guesses.tiles, "luck": luck}
    figures |= {"run": run.label, "run_accuracy": run.accuracy, "run_tiles": run.validation_tiles}
    return Finding(f"you.{'same' if abs(gap) <= luck else 'better' if gap > 0 else 'worse'}", figures)


# -- devices


def _settings(record: RunRecord, leave_out: frozenset[str]) -> dict[str, object]:
    return {name: value for name, value in asdict(record.config).items() if name not in leave_out}


def device_pairs(runs: Sequence[Contender]) -> list[tuple[Contender, Contender]]:
    """Runs on the CPU and on another device that differ in nothing else, each pair as (CPU, other)."""
    return [
        (cpu, other)
        for cpu in runs
        for other in runs
        if cpu.record.config.device == "cpu" != other.record.config.device
        and cpu.record.kind == other.record.kind == "train"
        and cpu.record.tiles.fingerprint == other.record.tiles.fingerprint
        and _settings(cpu.record, DEVICE_SETTINGS) == _settings(other.record, DEVICE_SETTINGS)
    ]


def repeated_accuracies(record: RunRecord, records: Iterable[RunRecord]) -> tuple[float, ...]:
    """Validation accuracies of the finished runs with these settings, whatever their seed and device; itself too."""
    return tuple(
        float(each.summary["val_accuracy"])
        for each in records
        if each.state == "finished"
        and each.kind == "train"
        and "val_accuracy" in each.summary
        and each.tiles.fingerprint == record.tiles.fingerprint
        and _settings(each, _REPEATED) == _settings(record, _REPEATED)
    )


def device_verdict(cpu: Contender, other: Contender, repeated: Sequence[float] = ()) -> Finding:
    """The same training on two devices: `same` accuracy (as it should be), `better` or `worse` on the other device.

    repeated: accuracies of runs that repeat it (`repeated_accuracies`): from three on they say how much runs differ.
    """
    found = _gap(cpu, other)
    if found is None:
        return Finding("devices.nothing")
    device = other.record.config.device.partition(":")[0]  # which of several does not matter here
    figures = {"accuracy": cpu.accuracy, "other_accuracy": other.accuracy, "device": device, **found.figures}
    spread = max(repeated) - min(repeated) if len(repeated) > 2 else None
    about_spread = {"runs": len(repeated), "spread": spread}
    if spread is not None and abs(found.gap) <= spread:
        return Finding("devices.same.spread", figures | about_spread)
    if found.is_luck:
        return Finding("devices.same.luck", figures)
    advice = Finding("devices.repeat") if spread is None else Finding("devices.spread", about_spread)
    return Finding(f"devices.{'worse' if found.gap > 0 else 'better'}", figures, (advice,))


def speed_verdict(first: Contender, other: Contender) -> Finding:
    """How much faster the same work was done: `faster`, `slower`, `same`, or `not_comparable` with the reason."""
    compared = run_figures([first, other])[1]
    if compared.speed_up is None:
        why = compared.speed_up_reason
        return (
            Finding("speed_up.not_comparable.work", {"why": why})
            if why
            else Finding("speed_up.not_comparable.no_epoch")
        )
    ratio = compared.speed_up
    kind = "same" if compared.within_noise else "faster" if ratio >= 1 else "slower"
    figures = {"run": other.label, "first": first.label, "seconds": other.seconds, "first_seconds": first.seconds}
    then = []
    threads = [each.record.machine.get("threads") for each in (other, first)]
    if threads[0] != threads[1]:
        then.append(Finding("speed_up.threads", {"threads": threads[0], "first": threads[1]}))
    if first.record.company or other.record.company:
        then.append(Finding("speed_up.company"))
    if first.record.recorded_on or other.record.recorded_on:
        then.append(Finding("speed_up.recorded"))
    return Finding(f"speed_up.{kind}", figures | {"ratio": max(ratio, 1 / ratio)}, tuple(then))


# -- the split


def split_verdict(runs: Sequence[Contender]) -> Finding:
    """Random split against split by place among these runs, if one recipe was trained on both: what that says."""
    records = sorted((each.record for each in runs), key=lambda each: each.created, reverse=True)
    found = both_splits(records)
    return Finding("split.nothing") if found is None else compare_splits(found)
