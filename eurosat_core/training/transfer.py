"""What a transfer is asked for, what it tells, and what it leaves behind: how far a pretrained network's features go.

No training loop: features once, then a classifier on them, with all labels of the training part and with a few. No
torch here, so plans and results can be read before it is loaded; the work is `training.few_labels`.
"""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta, to_builtins

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.records import Count, CountFromOne, EventRecord, Figure, Share, decoded
from eurosat_core.training.config import TrainConfig, recipe_config

Learner = Literal["neighbours", "linear", "scratch"]
"""What classifies: the nearest training tiles, a linear layer on the features, a small network from scratch."""

LEARNERS: tuple[Learner, ...] = get_args(Learner)

ALL = 0
"""In place of a number of labels per class: all labels of the training part."""

TRANSFER_FILE = "transfer.json"
SCRATCH = "baseline"
"""The network that learns from scratch beside it."""
SCRATCH_STEPS, SCRATCH_BATCH = 300, 32
"""Steps that it learns for, and tiles of each."""
_FORMAT = 1
_MOST_LABELS, _MOST_DRAWS = 1000, 20
_VIEWS = (1, 2, 4, 8)


def transfer_config(model: str = "efficientnet_lite0", **changes: Any) -> TrainConfig:
    """The settings that features are computed with unless told; `changes` go on top. Raises `ConfigError`.

    96 pixels: 2.4 times the work of 64, and the nearest neighbours agree more often (`bench/transfer.md`). The
    precision is never left to the device: features of one precision are no use to another.
    """
    return recipe_config(model, "fast", **{"input_side": 96, "precision": "float32", **changes})


@dataclass(frozen=True)
class TransferPlan:
    """What is compared. The defaults are what helped most for its time (`bench/transfer.md`).

    Attributes:
        labels: Per class, besides all of them.
        draws: How often so many are drawn, for each number.
        scratch_draws: For how many of these draws a small network learns from scratch, too; 0: for none.
        scratch_seconds: For all of these networks together, at most: those that are not done by then are left out.
        stages: Whether features hold the means of earlier stages, too.
        views: Over how many symmetries of a tile its features are averaged.
        learns: Whether anything is learned from the features; else they are computed, kept, and that is all.
        run: Whose network's own features it is about, as its last layer gets them; empty: the pretrained network's.
        weights: Names the weights of that run, so that others of the same run are not taken for these.
    """

    labels: tuple[int, ...] = (1, 5, 16, 50)
    draws: int = 5
    scratch_draws: int = 3
    scratch_seconds: float = 60.0
    stages: bool = True
    views: int = 1
    learns: bool = True
    run: str = ""
    weights: str = ""

    @property
    def trials(self) -> int:
        """How many times something is learned and judged, where every class has tiles enough."""
        return 2 + len(self.labels) * (2 * self.draws + self.scratch_draws) if self.learns else 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TransferPlan":
        """A checked plan from JSON values. Raises `ConfigError` with a sentence."""
        return decoded(cls, values, "The plan of a transfer {problem}.", ConfigError, known_only=True).checked()

    def checked(self) -> "TransferPlan":
        """This plan, if it can be carried out. Raises `ConfigError` with a sentence."""
        if len(set(self.labels)) != len(self.labels) or not all(1 <= each <= _MOST_LABELS for each in self.labels):
            raise ConfigError(f"Labels per class must be different numbers from 1 to {_MOST_LABELS:,}, such as 1,5,16.")
        if not 1 <= self.draws <= _MOST_DRAWS:
            raise ConfigError(f"{self.draws} draws cannot be made. Choose 1 to {_MOST_DRAWS}.")
        if not 0 <= self.scratch_draws <= self.draws:
            raise ConfigError(f"Networks from scratch learn from draws that are made: choose 0 to {self.draws}.")
        if not 1 <= self.scratch_seconds <= 600:
            raise ConfigError(f"{self.scratch_seconds:g} seconds for networks from scratch: choose 1 to 600.")
        if self.views not in _VIEWS:
            raise ConfigError(f"Features cannot be averaged over {self.views} views. Choose 1, 2, 4 or 8.")
        return self


def own_config(config: TrainConfig, device: str) -> TrainConfig:
    """The settings with which the own features of a run with this config are computed on a device.

    Raises `ConfigError` where it has none.
    """
    return replace(
        config,
        device=device,
        source="features" if config.source == "features" else "memory",
        precision="float32",
        channels_last=config.is_pretrained,  # convolutions of one's own may crash in it (`TrainConfig.checked`)
        pin_memory=False,
        deterministic=False,
        execution="eager",
    ).checked()


def transfer_problem(config: TrainConfig, plan: TransferPlan) -> str:
    """Why there are no features of these settings, as a sentence; empty when there are."""
    if config.source == "features" or plan.run:
        return ""
    return "A transfer looks at the features of a pretrained network. Choose one, with its recipe Fast."


# -- what it tells


class TransferStarted(EventRecord, frozen=True, tag="transfer_started"):
    """Features come next, then `trials`. features: numbers per tile; judged: validation tiles that few labels see."""

    train_tiles: CountFromOne
    validation_tiles: CountFromOne
    judged: CountFromOne
    features: CountFromOne
    missing: Count
    trials: Count


@dataclass(frozen=True)
class Trial:
    """One learner learned from one draw of labels and was judged.

    labels: per class, 0 for all. draw: counted from 1. tiles: labels in all. accuracy: on the tiles that it was judged
    on. fit_seconds: of learning and judging.
    """

    learner: Learner
    labels: Count
    draw: CountFromOne
    tiles: CountFromOne
    accuracy: Share
    fit_seconds: Figure


class TrialDone(EventRecord, frozen=True, tag="trial"):
    """A trial is done. `seconds` since the transfer began."""

    trial: Trial
    seconds: Figure


class TransferDone(EventRecord, frozen=True, tag="transfer_done"):
    """All trials are done. `seconds` is all of it."""

    seconds: Figure


TransferEvent = TransferStarted | TrialDone | TransferDone


# -- what it leaves behind


@dataclass(frozen=True)
class Spread:
    """Accuracies of several draws: their mean, the lowest and the highest, and how many there are."""

    mean: float
    low: float
    high: float
    draws: int


@dataclass(frozen=True)
class TransferResult:
    """What a transfer found.

    Attributes:
        split: `random` or `place`.
        train_tiles: With all labels, learners had so many.
        validation_tiles: With all labels they were judged on so many,
        judged: with few labels on so many of these.
        features: Numbers per tile.
        computed: Tiles whose features were computed in this run; others were known.
        feature_seconds: What that took.
        trials: In the order in which they were made.
        seconds: All of it.
        complete: Whether the plan was carried out to its end.
    """

    split: Literal["random", "place"]
    train_tiles: CountFromOne
    validation_tiles: CountFromOne
    judged: CountFromOne
    features: CountFromOne
    computed: Count = 0
    feature_seconds: Figure = 0.0
    trials: Annotated[tuple[Trial, ...], Meta(max_length=10_000)] = ()
    seconds: Figure = 0.0
    complete: bool = False

    @property
    def labels(self) -> tuple[int, ...]:
        """Labels per class that something learned from, the fewest first, `ALL` last."""
        return tuple(sorted({each.labels for each in self.trials}, key=lambda each: (each == ALL, each)))

    def of(self, learner: Learner, labels: int) -> tuple[Trial, ...]:
        """The trials of a learner with so many labels per class."""
        return tuple(each for each in self.trials if (each.learner, each.labels) == (learner, labels))

    def spread(self, learner: Learner, labels: int) -> Spread | None:
        """Its accuracy over all draws; None where it did not learn from so many."""
        return spread_of(each.accuracy for each in self.of(learner, labels))

    def to_json(self) -> bytes:
        """What is stored."""
        return json.dumps({"format": _FORMAT, **to_builtins(self)}).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "TransferResult":
        """What `to_json` wrote. Raises `RunError` with a sentence for anything else."""
        damaged = "What this run found is damaged. Start it again to see it."
        values = decoded(dict[str, Any], content, damaged)
        if values.pop("format", _FORMAT) != _FORMAT:
            raise RunError("What this run found was written by another version of the lab: it cannot be shown.")
        return decoded(cls, values, damaged, known_only=True)


def spread_of(accuracies: Iterable[float]) -> Spread | None:
    """Mean, lowest and highest of some accuracies; None of none."""
    found = list(accuracies)
    return Spread(statistics.fmean(found), min(found), max(found), len(found)) if found else None
