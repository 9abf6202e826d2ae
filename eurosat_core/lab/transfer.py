"""A transfer: what it may be asked for, its work, how long it takes, and what it found.

It computes the features of a pretrained network, keeps them for whoever asks next, and sees what a classifier makes of
them with all labels and with a few. Nothing is trained in epochs.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab.kind import Estimate, Kind, Known, Machine
from eurosat_core.lab.train import estimate_seconds, tiles_in
from eurosat_core.runs.history import RunEvent
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import FORWARD_SHARE, FeaturesDone
from eurosat_core.training.transfer import (
    ALL,
    LEARNERS,
    TRANSFER_FILE,
    TransferDone,
    TransferEvent,
    TransferPlan,
    TransferResult,
    TransferStarted,
    TrialDone,
    transfer_problem,
)
from eurosat_core.wording import count, duration, percent

if TYPE_CHECKING:
    from eurosat_core.training.few_labels import Pull
    from eurosat_core.training.few_labels import Transfer as Work

# Of both learners on all labels and on a few, for each tile: 18,000 took about ten seconds on two slow cores.
_LEARNING_SECONDS = 0.6e-3
_NAMES = {"neighbours": "nearest neighbours", "linear": "linear layer", "scratch": "from scratch"}


class Transfer(Kind):
    """Features once, then what is learned from them."""

    name = "transfer"
    is_measured: ClassVar[bool] = False

    def __init__(self, config: TrainConfig, plan: TransferPlan) -> None:
        super().__init__(config)
        self._plan = plan
        self._work: Work | None = None
        self._weights = b""

    @classmethod
    def stored(cls, config: TrainConfig, plan: dict[str, Any]) -> "Transfer":
        return cls(config, TransferPlan.from_dict(plan))

    @property
    def plan_values(self) -> dict[str, Any]:
        return self._plan.checked().to_dict()

    def problem(self, tiles: int | None) -> str:
        return transfer_problem(self.config, self._plan)

    @property
    def weights_of(self) -> str:
        return self._plan.run

    def take(self, weights: bytes) -> None:
        self._weights = weights

    def events(self, tiles: TileSet, threads: int) -> "Pull":
        from eurosat_core.lab.trained_weights import network_with
        from eurosat_core.training.few_labels import Transfer as Work

        network = None
        if run := self._plan.run:
            network = network_with(self._weights, self.config, len(tiles.class_names), run, tiles.cache.parent)
        self._work = Work(self.config, self._plan, tiles, network)
        return self._work.events()

    def note(self, event: TransferEvent | FeaturesDone) -> TransferEvent | FeaturesDone | None:
        return event  # batches are told a few times a second, and a trial takes longer than telling about it

    @property
    def _result(self) -> TransferResult | None:
        return self._work.result if self._work is not None else None

    def summary(self) -> dict[str, Any]:
        result = self._result
        if result is None:
            return {}
        found = {
            "train_tiles": result.train_tiles,
            "val_tiles": result.validation_tiles,
            "feature_tiles": result.computed,
            "feature_seconds": result.feature_seconds,
            "trials": len(result.trials),
            "seconds": result.seconds,
        }
        if linear := result.of("linear", ALL):
            found["val_accuracy"] = linear[0].accuracy
        return found

    def how_far(self) -> str:
        result = self._result
        if result is None or not result.trials:
            return "It was stopped while features were computed. Those that are done are kept for the next run."
        return f"It was stopped after {count(len(result.trials), 'trial')}. These can be looked at."

    def files(self, tiles: TileSet | None) -> dict[str, bytes]:
        result = self._result
        return {TRANSFER_FILE: result.to_json()} if result is not None and result.trials else {}

    def estimate(self, machine: Machine) -> Estimate | None:
        known = machine.known(self.config)
        if known is None:
            return None
        tiles = sum(tiles_in(known.config, known.tiles.count))
        missing = machine.missing_features(known.config, self._plan)
        missing = tiles if missing is None else missing
        beside = 0.0
        if self._plan.learns:
            beside = tiles * _LEARNING_SECONDS + (self._plan.scratch_seconds if self._plan.scratch_draws else 0.0)
        if not missing:
            return Estimate(beside, "All of its features are known already.")
        found = self._computing(known, tiles)
        if found is None:
            return None
        basis = found.basis
        if missing < tiles:
            basis += f" The features of {tiles - missing:,} of {count(tiles, 'tile')} are known already."
        return replace(found, seconds=found.seconds * missing / tiles + beside, basis=basis)

    def _computing(self, known: Known, tiles: int) -> Estimate | None:
        """What the features of all its tiles take."""
        for run in known.runs:
            computed = run.summary.get("feature_tiles", 0)
            alike = run.kind == self.name and run.plan.get("views") == self._plan.views
            if alike and computed and known.tells(run):
                seconds = run.summary["feature_seconds"] / computed * tiles
                return Estimate(seconds, f"Projected from this lab’s transfer {run.id}.")
        once = replace(known, config=replace(known.config, epochs=1), paces=())
        trainings = [each for each in known.runs if each.kind == "train"]
        found = estimate_seconds(replace(once, runs=trainings))
        if found is None:
            return None
        share = 1.0
        if known.config.source != "features":  # a training's epoch: of its tiles most are learned from, too
            train, validation = tiles_in(known.config, known.tiles.count)
            share = FORWARD_SHARE * tiles / (train + FORWARD_SHARE * validation)
        return replace(found, seconds=share * found.seconds * self._plan.views)

    def line(self, event: RunEvent) -> str:
        match event:
            case TransferStarted():
                return f"features of {count(event.missing, 'tile')} to compute, {event.features:,} numbers each"
            case FeaturesDone() if event.done == event.total:
                return f"features: {count(event.done, 'tile')} in {duration(event.seconds)}"
            case TrialDone(trial=done):
                labels = f"{done.labels} per class, draw {done.draw}" if done.labels else "all labels"
                return f"{_NAMES[done.learner]}, {labels}: {percent(done.accuracy)} in {done.fit_seconds:.2f} s"
            case TransferDone():
                return f"done after {duration(event.seconds)}"
            case _:
                return ""

    def report(self, record: RunRecord, store: RunStore) -> dict[str, Any]:
        if store.size(record.id, TRANSFER_FILE) is None:
            return {"split": record.config.split, "learners": []}
        result = TransferResult.from_json(store.load(record.id, TRANSFER_FILE))
        return {
            "split": result.split,
            "train_tiles": result.train_tiles,
            "validation_tiles": result.validation_tiles,
            "judged": result.judged,
            "features": result.features,
            "feature_tiles": result.computed,
            "feature_seconds": result.feature_seconds,
            "learners": learners_of(result),
        }


def learners_of(result: TransferResult) -> list[dict[str, Any]]:
    """Every learner with every number of labels: accuracy over its draws, and mean seconds of learning and judging."""
    found = []
    for learner in LEARNERS:
        for labels in result.labels:
            trials = result.of(learner, labels)
            spread = result.spread(learner, labels)
            if spread is None:
                continue
            found.append(
                {
                    "learner": learner,
                    "labels": labels or None,
                    "tiles": trials[0].tiles,
                    "draws": spread.draws,
                    "accuracy": spread.mean,
                    "low": spread.low,
                    "high": spread.high,
                    "seconds": sum(each.fit_seconds for each in trials) / len(trials),
                }
            )
    return found


class Transfers:
    """What was found about features, by run. May be asked from any thread."""

    def __init__(self, store: RunStore) -> None:
        self._store = store

    def result(self, run_id: str) -> TransferResult:
        """What a run found. Raises `RunError` when it found nothing (yet), or it is damaged."""
        if self._store.size(run_id, TRANSFER_FILE) is None:
            raise RunError(f"The run {run_id} has found nothing yet. Wait for its end, or start it again.")
        return TransferResult.from_json(self._store.load(run_id, TRANSFER_FILE))

    def runs(self, owner: str | None = None) -> Sequence[RunRecord]:
        """Runs that found something, newest first: a participant's, if told."""
        return [
            each
            for each in self._store.all()[0]
            if each.kind == Transfer.name
            and not each.is_active
            and (owner is None or each.owner == owner)
            and self._store.size(each.id, TRANSFER_FILE) is not None
        ]
