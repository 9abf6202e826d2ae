"""Runs side by side: in what they differ, whether they were judged on the same tiles, how fast each was.

A speed-up is given only where both runs did the same work; where they did not, a sentence says why. Tables
for charts are in `lab.comparison_frames`, confusions in `lab.confusion`, sentences about accuracy in `lab.verdicts`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from eurosat_core import wording
from eurosat_core.lab.choices import SETTING_NAMES, in_words, matters
from eurosat_core.lab.contenders import Contender
from eurosat_core.lab.pace import is_same_pace, pace
from eurosat_core.lab.run_record import RunRecord

__all__ = [
    "Difference",
    "RunFigures",
    "SameTiles",
    "differences",
    "run_figures",
    "same_tiles",
]

_Judged = Literal["same", "other_part", "other_set", "other_classes", "synthetic", "unknown"]


@dataclass(frozen=True)
class Difference:
    """A setting in which runs differ: its name, its title, and each run's value in words, in the order of the runs."""

    name: str
    title: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class SameTiles:
    """Whether runs were judged on the same tiles (`kind`), and a sentence that says what may be compared."""

    kind: _Judged
    text: str

    @property
    def accuracy(self) -> bool:
        """Whether their accuracies may stand side by side."""
        return self.kind in ("same", "other_part")

    @property
    def tile_by_tile(self) -> bool:
        """Whether one may ask which tile each of them got right."""
        return self.kind == "same"


@dataclass(frozen=True)
class RunFigures:
    """One row of a comparison. Accuracies are fractions; a figure that the run does not have is None.

    seconds: of the whole training without pauses. tiles_per_second: median of its training phases with least and
    most, over `measured_epochs`; the first epoch is the warm-up and left out when there are others. speed_up: how many
    times as fast the same work was done as by the first run, in seconds; None, with the reason, where the work is not
    the same. training_speed_up: the same by `tiles_per_second`, so without warm-up and validation. within_noise: the
    speeds are no further apart than repeated measurements are, so there is no difference that we can measure.
    features_taken: outputs of its frozen part came from an earlier run, so `seconds` leaves their computing out.
    """

    run_id: str
    label: str
    owner: str
    state: str
    model: str
    device: str
    device_name: str
    threads: int | None
    epochs: int
    accuracy: float | None
    macro_f1: float | None
    seconds: float | None
    features_taken: bool
    tiles_per_second: float | None
    tiles_per_second_low: float | None
    tiles_per_second_high: float | None
    measured_epochs: int
    train_tiles: int
    validation_tiles: int
    tiles_source: str
    speed_up: float | None
    training_speed_up: float | None
    within_noise: bool
    speed_up_reason: str
    beside: tuple[str, ...]
    recorded_on: str


# -- in what they differ


def differences(runs: Sequence[Contender]) -> tuple[Difference, ...]:
    """Settings, tiles and machines in which the runs differ; what is the same for all or has no effect is left out."""
    found = []
    for name, title in SETTING_NAMES.items():
        configs = [each.record.config for each in runs]
        if len({getattr(each, name) for each in configs}) > 1 and any(matters(name, each) for each in configs):
            words = (in_words(name, getattr(each, name)) if matters(name, each) else "no effect" for each in configs)
            found.append(Difference(name, title, tuple(words)))
    for name, (title, value) in _BESIDE_SETTINGS.items():
        values = tuple(value(each.record) for each in runs)
        if len(set(values)) > 1:
            found.append(Difference(name, title, values))
    return tuple(found)


def _tile_set(record: RunRecord) -> str:
    used = record.tiles
    return f"{wording.count(used.count, 'tile')} ({used.source}, {used.fingerprint[:6]})"


def _of_machine(name: str) -> Callable[[RunRecord], str]:
    return lambda record: str(record.machine.get(name, "unknown"))


_BESIDE_SETTINGS: dict[str, tuple[str, Callable[[RunRecord], str]]] = {
    "tile_set": ("Tile set", _tile_set),
    "device_name": ("Computed on", _of_machine("device_name")),
    "threads": ("CPU threads", _of_machine("threads")),
    "torch": ("PyTorch", _of_machine("torch")),
    "recorded_on": ("Recorded", lambda record: record.recorded_on or "here"),
    "beside": (
        "Ran beside it",
        lambda record: wording.listed(list(record.company)) or "nothing",
    ),
}


# -- the same tiles?


def same_tiles(runs: Sequence[Contender]) -> SameTiles:
    """Whether all runs were judged on the same validation tiles; else what may be compared all the same."""
    if len({each.record.tiles.class_names for each in runs}) > 1:
        return SameTiles(
            "other_classes",
            "These runs know different classes, so neither their accuracies nor their mix-ups can be compared.",
        )
    if len({each.record.tiles.source == "synthetic" for each in runs}) > 1:
        return SameTiles(
            "synthetic",
            "Some of these runs learned from synthetic tiles, which are much easier than real ones: their accuracies "
            "must not stand beside the others'.",
        )
    if len({each.record.tiles.fingerprint for each in runs}) > 1:
        return SameTiles(
            "other_set",
            "These runs used different tile sets, so a difference in accuracy may come from the tiles. Judge them on "
            "the same tiles first (python -m eurosat_core evaluate RUN --data DIR).",
        )
    without = [each.label for each in runs if each.predictions is None]
    if without:
        return SameTiles(
            "unknown",
            f"{wording.listed(without)} kept no predictions (no epoch was completed), so there is no accuracy to "
            "compare.",
        )
    judged = [frozenset(each.predictions.tiles.tolist()) for each in runs if each.predictions is not None]
    if len(set(judged)) <= 1:
        return SameTiles("same", f"All were judged on the same {wording.count(_least(judged), 'validation tile')}.")
    splits = {each.record.config.split for each in runs}
    common = len(frozenset.intersection(*judged))
    if len(splits) > 1:
        text = (
            "These runs were judged on different tiles of one set: some beside their training tiles (split at "
            "random), some elsewhere (split by place). That difference is what the split by place is for."
        )
    else:
        text = (
            f"These runs were judged on different tiles of one set ({wording.count(common, 'tile')} in common), drawn "
            "by another seed, share or number of tiles. Their accuracies can be compared within the luck of the draw, "
            "but not tile by tile."
        )
    return SameTiles("other_part", text)


def _least(judged: Sequence[frozenset[int]]) -> int:
    return min((len(each) for each in judged), default=0)


# -- figures of each run


def run_figures(runs: Sequence[Contender]) -> tuple[RunFigures, ...]:
    """Accuracy, time, speed and speed-up of every run; the first one is what the others are compared with."""
    return tuple(_figures(each, runs[0]) for each in runs)


def _figures(one: Contender, first: Contender) -> RunFigures:
    record, own, reference = one.record, pace(one.history), pace(first.history)
    reason = "" if one is first else _other_work(one, first)
    threads = record.machine.get("threads")
    seconds_ratio = training_ratio = None
    if not reason:
        seconds_ratio = _ratio(first.seconds, one.seconds)
        training_ratio = _ratio(own.median if own else None, reference.median if reference else None)
    return RunFigures(
        run_id=record.id,
        label=one.label,
        owner=record.owner,
        state=record.state,
        model=record.config.model,
        device=record.config.device,
        device_name=str(record.machine.get("device_name", "")),
        threads=threads if isinstance(threads, int) else None,
        epochs=len(one.history.epochs),
        accuracy=one.accuracy,
        macro_f1=one.evaluation.macro().f1 if one.evaluation else None,
        seconds=one.seconds,
        features_taken=record.features_taken,
        tiles_per_second=own.median if own else None,
        tiles_per_second_low=own.low if own else None,
        tiles_per_second_high=own.high if own else None,
        measured_epochs=own.epochs if own else 0,
        train_tiles=one.history.started.train_tiles if one.history.started else 0,
        validation_tiles=one.validation_tiles,
        tiles_source=record.tiles.source,
        speed_up=seconds_ratio,
        training_speed_up=training_ratio,
        within_noise=one is not first and bool(training_ratio and own and reference and is_same_pace(own, reference)),
        speed_up_reason=reason,
        beside=record.company,
        recorded_on=record.recorded_on,
    )


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


# Settings that make another network, or let another part of it learn.
_NETWORK = ("model", "network", "stem_pool", "pretrained", "frozen_norms")


def _other_work(one: Contender, first: Contender) -> str:
    """Why a run's seconds cannot be put beside the first run's, as a sentence; empty when both did the same work."""
    config, base = one.record.config, first.record.config
    for each in (first, one):
        if each.record.kind != "train":
            return f"{each.label} is no whole training, so there is no time to compare."
        if each.record.state != "finished" or each.history.finished is None:
            return f"{each.label} did not get through all its epochs, so there is no time to compare."
    for each in (first, one):
        if each.record.features_taken:
            return (
                f"{each.label} took outputs of its frozen part from an earlier run: its time leaves that work out, so "
                "no speed-up is given. To compare speeds, train both with tiles from memory."
            )
    for each in (first, one):
        if each.record.config.source == "features":
            return (
                f"{each.label} computed its frozen part once and trained on the outputs: that is other work than "
                "training on tiles, so no speed-up is given."
            )
    other = []
    if any(getattr(config, name) != getattr(base, name) and matters(name, config) for name in _NETWORK):
        other.append("another model")
    if one.record.tiles.fingerprint != first.record.tiles.fingerprint:
        other.append("another tile set")
    elif _part_sizes(one) != _part_sizes(first):
        other.append("another number of tiles")
    if config.batch_size != base.batch_size:
        other.append("another batch size")
    if config.growing_sizes != base.growing_sizes:
        other.append("other sizes of pictures (smaller ones first)")
    if config.source != base.source:
        other.append("another way to the tiles (files or memory)")
    if config.epochs != base.epochs:
        other.append("another number of epochs")
    if not other:
        return ""
    return f"Not the same work as {first.label}: {wording.listed(other)}. So no speed-up is given."


def _part_sizes(one: Contender) -> tuple[int, int]:
    started = one.history.started
    return (started.train_tiles, started.validation_tiles) if started else (0, 0)
