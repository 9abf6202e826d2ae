"""Which of two trainings is more accurate, and what neighbouring tiles do to a random split.

A difference is called one only where it is larger than luck and repeated runs explain.
"""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from eurosat_core import wording
from eurosat_core.analysis.confusion import disagreement
from eurosat_core.analysis.contenders import Contender, run_figures, same_tiles
from eurosat_core.analysis.finding import Told
from eurosat_core.data.pictures import class_titles
from eurosat_core.data.splits import make_place_split, make_split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import DEVICE_SETTINGS, SETTINGS, settings_of
from eurosat_core.training.evaluation import Evaluation

PART_NAMES = ("Training", "Validation", "Sealed test")
_RECORDED = Path(__file__).parents[2] / "assets" / "recorded" / "splits.json"
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


def in_words(found: BothSplits) -> str:
    """What the two accuracies say, for each way it can come out."""
    at_random, by_place = statistics.mean(found.random), statistics.mean(found.place)
    gap = at_random - by_place
    runs = f"{_runs(found.random)} at random: {_spread(found.random)}; {_runs(found.place)} by place: "
    figures = f"The same recipe, {wording.count(found.epochs, 'epoch')}. {runs}{_spread(found.place)}."
    if abs(gap) <= _doubt(found):
        return (
            f"{figures} That is no difference we can measure with so few runs and tiles. Train longer, or with a "
            "larger model, and compare again: the better a network remembers, the more a random split flatters it."
        )
    if gap > 0:
        return (
            f"{figures} On tiles from elsewhere it is {wording.points(gap)} worse: that much of the random split’s "
            f"figure came from having seen the neighbourhood.{_sizes(found)}"
        )
    return (
        f"{figures} By place it came out {wording.points(gap)} better, which is unusual. The validation tiles are "
        "other ones, and may be easier; look at the accuracy per class of both runs."
    )


def _sizes(found: BothSplits) -> str:
    """A word of caution where one side also had more tiles to learn from."""
    more, fewer = found.random_train_tiles, found.place_train_tiles
    if more <= 1.02 * fewer:
        return ""
    return f" (At random it also had more tiles to learn from, {more:,} against {fewer:,}: a part of the gap.)"


def _runs(values: Sequence[float]) -> str:
    return wording.count(len(values), "run")


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return wording.percent(values[0])
    low, high = min(values), max(values)
    return f"{wording.percent(statistics.mean(values))} ({wording.percent(low)} to {wording.percent(high)})"


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
    """An accuracy less another, and how much of that luck explains (two standard errors), with its reason."""

    gap: float
    luck: float
    reason: str

    @property
    def is_luck(self) -> bool:
        return abs(self.gap) <= self.luck


def _standard_error(accuracy: float, tiles: int) -> float:
    return math.sqrt(accuracy * (1 - accuracy) / max(tiles, 1))


def _gap(one: Contender, other: Contender) -> _Gap | None:
    """The first's accuracy less the second's; None where one of them is not known."""
    first, second = one.accuracy, other.accuracy
    if first is None or second is None or not one.validation_tiles or not other.validation_tiles:
        return None
    if same_tiles([one, other]).tile_by_tile and one.predictions is not None and other.predictions is not None:
        found = disagreement(one.predictions, other.predictions)
        lone = len(found.first) + len(found.second)
        # On the same tiles only those count that just one of them got right (McNemar): at equal skill they fall to
        # either side like a coin.
        luck = 2 * math.sqrt(max(lone, 1)) / max(found.tiles, 1)
        reason = f"{wording.count(lone, 'tile')} of {found.tiles:,} only one of them got right"
        return _Gap(first - second, luck, reason)
    luck = 2 * math.hypot(_standard_error(first, one.validation_tiles), _standard_error(second, other.validation_tiles))
    reason = f"judged on {one.validation_tiles:,} and {other.validation_tiles:,} tiles"
    return _Gap(first - second, luck, reason)


def accuracy_verdict(one: Contender, other: Contender) -> Told:
    """Whether one run names more tiles rightly than another: `better`, `worse`, `same`, or `not_comparable`."""
    check = same_tiles([one, other])
    found = _gap(one, other) if check.accuracy else None
    if found is None or one.accuracy is None or other.accuracy is None:
        text = "" if check.accuracy else check.text
        return Told("not_comparable", text or "One of them has no accuracy yet: let it complete an epoch.")
    figures = (
        f"{one.label}: {wording.percent(one.accuracy)}, {other.label}: {wording.percent(other.accuracy)} "
        f"({found.reason})"
    )
    if found.is_luck:
        return Told(
            "same",
            f"{figures}. That is no difference we can measure: up to {wording.points(found.luck)} may be luck.",
        )
    more = wording.points(found.gap)
    if found.gap > 0:
        return Told("better", f"{figures}. {one.label} names {more} more of the tiles correctly.")
    return Told("worse", f"{figures}. {one.label} names {more} fewer of the tiles correctly.")


def against_you(guesses: Evaluation | None, run: Contender) -> Told:
    """The participant's own guesses beside a run: `better` (the network), `worse`, `same`, or `nothing`.

    guesses: on the run's tile set, else the two say nothing about each other.
    """
    if guesses is None or run.accuracy is None or not run.validation_tiles:
        return Told("nothing", "Guess ten tiles on the Tiles page, and your own figures stand here beside it.")
    figures = (
        f"You named {wording.percent(guesses.accuracy)} of {wording.count(guesses.tiles, 'tile')} correctly, "
        f"{run.label} {wording.percent(run.accuracy)} of {wording.count(run.validation_tiles, 'tile')}"
    )
    gap = run.accuracy - guesses.accuracy
    # With few guesses, none or all of them right says little: the rule of succession keeps some doubt.
    own = (guesses.accuracy * guesses.tiles + 1) / (guesses.tiles + 2)
    luck = 2 * math.hypot(_standard_error(own, guesses.tiles), _standard_error(run.accuracy, run.validation_tiles))
    if abs(gap) <= luck:
        return Told(
            "same",
            f"{figures}. With so few guesses that is no difference we can measure (up to {wording.points(luck)} may be "
            "luck).",
        )
    if gap > 0:
        return Told("better", f"{figures}: the network does better. It has seen thousands of labelled tiles.")
    return Told("worse", f"{figures}: you do better. You know more of the world than these tiles show.")


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


def device_verdict(cpu: Contender, other: Contender, repeated: Sequence[float] = ()) -> Told:
    """The same training on two devices: `same` accuracy (as it should be), `better` or `worse` on the other device.

    repeated: accuracies of runs that repeat it (`repeated_accuracies`): from three on they say how much runs differ.
    """
    found = _gap(cpu, other)
    if found is None or cpu.accuracy is None or other.accuracy is None:
        return Told("nothing", "Let both runs complete an epoch to compare what they learned.")
    device = wording.device_name(other.record.config.device.partition(":")[0])  # which of several does not matter here
    figures = (
        f"The same training reached {wording.percent(cpu.accuracy)} on the CPU and {wording.percent(other.accuracy)} "
        f"on the {device}"
    )
    spread = max(repeated) - min(repeated) if len(repeated) > 2 else None
    if spread is not None and abs(found.gap) <= spread:
        known = f"{len(repeated)} runs with these settings differ by up to {wording.points(spread)}"
    elif found.is_luck:
        known = f"up to {wording.points(found.luck)} may be luck ({found.reason})"
    else:
        known = ""
    if known:
        return Told(
            "same",
            f"{figures}: no difference we can measure, for {known}. The {device} does not make the model smarter.",
        )
    kind, word = ("worse", "lower") if found.gap > 0 else ("better", "higher")
    seeds = "Repeat both with other seeds to see how much runs differ."
    if spread is not None:
        seeds = f"({len(repeated)} runs with these settings differ by up to {wording.points(spread)}.)"
    return Told(
        kind,
        f"{figures}: {wording.points(found.gap)} {word}. A device computes the same network, only faster or slower; "
        "but numbers are rounded in another order on it, and a training can amplify that into another network. "
        f"{seeds}",
    )


def speed_verdict(first: Contender, other: Contender) -> Told:
    """How much faster the same work was done: `faster`, `slower`, `same`, or `not_comparable` with the reason."""
    figures = run_figures([first, other])[1]
    if figures.speed_up is None:
        return Told("not_comparable", figures.speed_up_reason or "One of them has no complete epoch yet.")
    ratio = figures.speed_up
    took = f"{wording.duration(other.seconds or 0.0)} against {wording.duration(first.seconds or 0.0)}"
    if figures.within_noise:
        kind, text = "same", f"{other.label} took {took}: no difference in speed that we can measure to {first.label}."
    elif ratio >= 1:
        kind = "faster"
        text = f"{other.label} did the same work {wording.times(ratio)} as fast as {first.label}: {took}."
    else:
        kind = "slower"
        text = f"{other.label} was slower: {first.label} did the same work {wording.times(1 / ratio)} as fast ({took})."
    threads = first.record.machine.get("threads"), other.record.machine.get("threads")
    if threads[0] != threads[1]:
        text += f" They had {threads[1]} and {threads[0]} CPU threads."
    if first.record.company or other.record.company:
        text += " Other runs or programs were computing beside it, so measure again on a free machine."
    if first.record.recorded_on or other.record.recorded_on:
        text += " Not all of this was measured here: see where each was recorded."
    return Told(kind, text)


# -- the split


def split_verdict(runs: Sequence[Contender]) -> Told:
    """Random split against split by place among these runs, if one recipe was trained on both: what that says."""
    records = sorted((each.record for each in runs), key=lambda each: each.created, reverse=True)
    found = both_splits(records)
    if found is None:
        return Told(
            "nothing",
            "Train the same recipe with the random split and with the split by place to see how much of the accuracy "
            "comes from having seen the neighbourhood.",
        )
    return Told("both", in_words(found))
