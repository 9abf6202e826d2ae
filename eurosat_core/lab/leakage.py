"""What the split decides: the same recipe judged on neighbours of its training tiles, and on tiles from elsewhere."""

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
from eurosat_core.data.pictures import class_titles
from eurosat_core.data.splits import make_place_split, make_split
from eurosat_core.data.tiles import TileSet
from eurosat_core.lab.run_record import RunRecord

__all__ = ["PART_NAMES", "BothSplits", "both_splits", "in_words", "parts_frame", "recorded_both_splits"]

PART_NAMES = ("Training", "Validation", "Sealed test")
_RECORDED = Path(__file__).parents[2] / "assets" / "recorded" / "splits.json"
# Settings that do not make two recipes different ones: where it ran, which tiles it drew, and the split in question.
_APART = frozenset({"split", "seed", "device", "stratified", "train_fraction", "workers", "prefetch", "pin_memory"})


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
