"""A training: what it may be asked for, its work, how long it takes, and what it leaves behind."""

import io
import json
import math
import statistics
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eurosat_core.cores import usable_cores
from eurosat_core.data.splits import TEST_FRACTION
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import DataError
from eurosat_core.lab.kind import Estimate, Kind, Known, Machine, Pace, network_summary, same_speed
from eurosat_core.lab.speeds import Speed
from eurosat_core.models.catalog import CATALOG, model_entry
from eurosat_core.runs.history import HistoryReader, RunEvent
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.speed.plan import COMPILE_SECONDS
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import predictions_to_bytes
from eurosat_core.training.events import (
    FORWARD_SHARE,
    Compiled,
    EpochDone,
    Event,
    FeaturesDone,
    Finished,
    Started,
    StepDone,
)
from eurosat_core.training.problems import shared_memory_problem
from eurosat_core.wording import bytes_text, count

if TYPE_CHECKING:
    from eurosat_core.training.loop import Checkpoint, Parking, Pull

MAX_BYTES = 512 * 1024**2
"""Of one run's weights; until it ends, they lie in its worker's memory. The baseline's 200 epochs take 258 MB."""
_EPOCH_FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds", "tiles_per_second")


class Training(Kind):
    """Keeps the last checkpoint (of every epoch the weights, if asked to) and the figures.

    plan: whether it is measured with the machine `alone`, and the `group` of trainings it belongs to.
    """

    name = "train"
    is_measured = False  # but where it is asked for: a race of trainings

    def __init__(self, config: TrainConfig, plan: dict[str, Any] | None = None) -> None:
        super().__init__(config)
        self._plan = plan or {}
        self._checkpoint: Checkpoint | None = None
        self._epochs: dict[str, bytes] = {}
        self._figures: dict[str, Any] = {}
        self._rates: list[float] = []
        self._sizes: dict[str, float] = {}
        self._parking: Parking | None = None  # while it trains

    @classmethod
    def stored(cls, config: TrainConfig, plan: dict[str, Any]) -> "Training":
        return cls(config, plan)

    @property
    def plan_values(self) -> dict[str, Any]:
        return self._plan

    def problem(self, tiles: int | None) -> str:
        return kept_problem(self.config) or (shared_memory_problem(self.config, tiles) if tiles is not None else "")

    def events(self, tiles: TileSet, threads: int) -> "Pull":
        from eurosat_core.training.loop import Parking, train
        from eurosat_core.training.threads import ThreadGovernor

        # Only trainings that nobody measures change their CPU threads while they run.
        free = self.config.device == "cpu" and not self._plan.get("alone")
        self._parking = Parking()
        return train(self.config, tiles, self._keep, ThreadGovernor(threads) if free else None, self._parking)

    def park(self) -> None:
        if self._parking is not None:
            self._parking.park()

    def unpark(self) -> None:
        if self._parking is not None:
            self._parking.unpark()

    def _keep(self, checkpoint: "Checkpoint") -> None:
        """Take what stands at the end of an epoch."""
        self._checkpoint = checkpoint
        if self.config.keep_epochs:
            self._epochs[epoch_file(checkpoint.epoch)] = _weights_to_bytes(checkpoint)

    def note(self, event: Event) -> Event | None:
        if isinstance(event, StepDone):
            return event if event.reported else None
        if isinstance(event, Started):
            self._sizes = {"train_tiles": event.train_tiles, "val_tiles": event.validation_tiles}
        elif isinstance(event, FeaturesDone):
            self._sizes["feature_tiles"] = event.done
        elif isinstance(event, Compiled):
            self._sizes["compile_seconds"] = self._sizes.get("compile_seconds", 0.0) + event.compile_seconds
        elif isinstance(event, EpochDone):
            self._rates.append(event.tiles_per_second)
            self._figures = {
                "epochs": event.epoch,
                "train_loss": event.train_loss,
                "train_accuracy": event.train_accuracy,
                "val_loss": event.val_loss,
                "val_accuracy": event.val_accuracy,
                "seconds": event.elapsed_seconds,
                "tiles_per_second": statistics.median(self._rates),
                **self._sizes,
            }
        elif isinstance(event, Finished):
            self._figures["seconds"] = event.seconds
        return event

    def may_pause(self, event: Event) -> bool:
        # Between two steps only, so that one step asked for is one batch, also across the end of an epoch.
        return isinstance(event, StepDone)

    def summary(self) -> dict[str, Any]:
        return dict(self._figures)

    def how_far(self) -> str:
        done = self._figures.get("epochs", 0)
        if not done:
            return "It was stopped before its first epoch was complete, so it kept no network."
        return f"It was stopped after {done} of {self.config.epochs} epochs. The network of epoch {done} is kept."

    def files(self, tiles: TileSet | None) -> dict[str, bytes]:
        files = dict(self._epochs)
        if self._checkpoint is not None:
            files["model.pt"] = _weights_to_bytes(self._checkpoint)
            files["predictions.npz"] = predictions_to_bytes(self._checkpoint.predictions)
            if self._checkpoint.test is not None:
                files["test.npz"] = predictions_to_bytes(self._checkpoint.test)
        if tiles is not None:
            from eurosat_core.training.sources import split_for

            with suppress(DataError):  # tiles that cannot be split so: the run has failed with that sentence
                split = split_for(self.config, tiles)
                parts = {name: getattr(split, name).tolist() for name in ("train", "validation", "test")}
                files["split.json"] = json.dumps(parts).encode()
        return files

    def estimate(self, machine: Machine) -> Estimate | None:
        known = machine.known(self.config)
        return estimate_seconds(known) if known else None

    def line(self, event: RunEvent) -> str:
        if isinstance(event, Compiled):
            return f"compiled in {event.compile_seconds:.1f} s"
        if not isinstance(event, EpochDone):
            return ""
        return (
            f"epoch {event.epoch} of {self.config.epochs}: validation accuracy {event.val_accuracy:.2%}, "
            f"{event.seconds:.1f} s, {event.tiles_per_second:,.0f} tiles/s"
        )

    def report(self, record: RunRecord, store: RunStore) -> dict[str, Any]:
        epochs = HistoryReader(store.folder_of(record.id) / "events.jsonl").read().epochs
        return {
            "device": self.config.device,
            **{name: record.summary[name] for name in ("compile_seconds",) if name in record.summary},
            "epochs": [{name: getattr(each, name) for name in _EPOCH_FIGURES} for each in epochs],
            "val_accuracy": record.summary.get("val_accuracy"),
        }


# -- the weights it leaves behind


def _weights_to_bytes(checkpoint: "Checkpoint") -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(checkpoint.weights, buffer)
    return buffer.getvalue()


def epoch_file(epoch: int) -> str:
    """The name under which a run keeps the weights it had after an epoch, where it keeps them."""
    return f"model_epoch_{epoch:03d}.pt"


def kept_bytes(config: TrainConfig) -> int:
    """About how many bytes the weights of all epochs take: the trained parameters, 4 bytes each."""
    return 4 * config.epochs * network_summary(config.architecture).trainable_params


def kept_problem(config: TrainConfig) -> str:
    """Why a training cannot keep the weights of every epoch, as a sentence; empty when it can, or is not to."""
    if not config.keep_epochs or kept_bytes(config) <= MAX_BYTES:
        return ""
    one = kept_bytes(config) // config.epochs
    return (
        f"The weights of all {config.epochs} epochs would take {bytes_text(kept_bytes(config))}; a run may keep "
        f"{bytes_text(MAX_BYTES)}. Train for at most {MAX_BYTES // one} epochs, choose a smaller network, or keep "
        "the last epoch only."
    )


# -- how long it takes

# Training the last layer on features for an epoch, next to computing them all (EfficientNet-Lite0: 0.25 s to 46 s).
_HEAD_SHARE = 0.01
# An epoch on smaller pictures first, next to one on whole tiles: tilenet in bfloat16, 11.7 to 19.1 s and 10.7 to 18.7 s
# on two cores. A GPU is held up by starting kernels, however small: 0.90 to 0.95 s (H200).
_RESIZING_SHARE, _RESIZING_SHARE_ON_GPU = 0.6, 0.95
_SIZES = 3
# What a tile takes in a training beside its steps: it comes from all over memory, and is counted (37 to 39 µs
# for the baseline in either precision, batch 40 to 256, two cores). On a GPU the steps hide it.
_BESIDE_STEPS = 35e-6
# Until the loader workers of both parts have delivered their first batch, from the warm fork server.
_LOADER_START_SECONDS = 1.5
# What a tile costs a core on its way through a loader worker, next to opening and preparing its picture: batches go
# from process to process.
_HANDOVER = 1.5
# Loader workers and a training that share all cores hold each other up: 6.1 to 7.2 s where the sum of their work said
# 4.5 s (baseline on 6,000 tiles, two workers, two cores), 14.7 s where it said 13.8 s (tilenet).
_SHARING = 1.5
_SHORT = "Projected from a short measurement of this device."
_OTHER = "Projected from another network on this device, so it is rough."
_OTHER_PRECISION = "Projected from this network in another precision, so it is rough."
_BESIDE = "Other programs keep the machine busy now; that is counted in."
_NOTICEABLE = 0.8  # of the cores that a training may have: with fewer, the estimate says so
_NEAR = 10.0  # a run of a tenth to ten times the work is near enough to be scaled


# The published split by place: 16,200 and 5,400 of 27,000 tiles are trained and validated on.
_PLACE_TRAIN_FRACTION = 0.75


def tiles_in(config: TrainConfig, available: int) -> tuple[int, int]:
    """Tiles of the training and the validation part."""
    by_place = config.split == "place"
    if by_place or config.sealed_test:
        available = round(available * (1 - TEST_FRACTION))
    used = min(config.tiles or available, available)
    train = int(used * (_PLACE_TRAIN_FRACTION if by_place else config.train_fraction))
    return train, used - train


def _resizing_share(config: TrainConfig) -> float:
    if not config.progressive_resizing:
        return 1.0
    return _RESIZING_SHARE if config.device == "cpu" else _RESIZING_SHARE_ON_GPU


def _training_share(config: TrainConfig) -> float:
    """What a training tile costs, next to one that a whole network learns from: most of a pretrained one learns not."""
    entry = CATALOG.get(config.model)
    return FORWARD_SHARE if entry is not None and entry.is_pretrained else _resizing_share(config)


def _work(config: TrainConfig, train_tiles: int, validation_tiles: int) -> float:
    """How much there is to do, in training tiles; with the frozen part computed once, an epoch is next to nothing."""
    if config.source == "features":
        return FORWARD_SHARE * (train_tiles + validation_tiles) * (1 + _HEAD_SHARE * config.epochs)
    return config.epochs * (train_tiles * _training_share(config) + FORWARD_SHARE * validation_tiles)


def _work_done(known: Known, run: RunRecord) -> float:
    """How much work a run did, in training tiles; 0 when it says nothing about what is asked for."""
    epochs, seconds = run.summary.get("epochs", 0), run.summary.get("seconds", 0.0)
    if not (epochs and seconds and known.tells(run)) or run.features_taken or run.tiles.source != known.tiles.source:
        return 0.0
    return _work(replace(run.config, epochs=int(epochs)), *tiles_in(run.config, run.tiles.count))


def estimate_seconds(known: Known) -> Estimate | None:
    """How long a training takes, compiling included; None when nothing was measured on its device yet."""
    found = _seconds_of_steps(known)
    if found is None or known.config.execution != "compiled":
        return found
    sizes = _SIZES if known.config.progressive_resizing else 1  # it is compiled for each of them
    return replace(found, seconds=found.seconds + sizes * COMPILE_SECONDS)


def _seconds_of_steps(known: Known) -> Estimate | None:
    config = known.config
    threads = float(known.machine["threads"])
    now = threads if known.cores is None else min(known.cores, threads)

    def scaled(estimate: Estimate, then: float) -> Estimate:
        if config.device != "cpu":
            return estimate
        text = f"{estimate.basis} {_BESIDE}" if now < _NOTICEABLE * threads else estimate.basis
        return replace(estimate, seconds=estimate.seconds * min(then, threads) / now, basis=text)

    train_tiles, validation_tiles = tiles_in(config, known.tiles.count)
    work = _work(config, train_tiles, validation_tiles)
    alike = [(run, done) for run in known.runs if (done := _work_done(known, run))]
    # The run whose size is nearest; what a run needs to start must not be multiplied by a hundred.
    run, done = min(alike, key=lambda each: abs(math.log(work / each[1])), default=(None, 0.0))
    if run is not None and abs(math.log(work / done)) <= math.log(_NEAR):
        used = sum(tiles_in(run.config, run.tiles.count))
        size = f"{count(int(run.summary['epochs']), 'epoch')}, {count(used, 'tile')}"
        basis = f"Projected from this lab’s run {run.id} with the same settings ({size})."
        then = max(len(usable_cores()) - run.busy_elsewhere, 0.2)
        spent = run.summary["seconds"] - run.summary.get("compile_seconds", 0.0)
        return scaled(Estimate(spent * work / done, basis), then)
    if (paced := _at_pace(config, train_tiles, validation_tiles, known.paces)) is not None:
        return scaled(paced, threads)
    return _from_speeds(known, train_tiles, validation_tiles, now, scaled)


def _from_speeds(
    known: Known,
    train_tiles: int,
    validation_tiles: int,
    cores: float,
    scaled: Callable[[Estimate, float], Estimate],
) -> Estimate | None:
    """From the short measurement that fits best; None without any. scaled: from the cores it had to those there are."""
    config = known.config
    fitting = [each for each in known.speeds if each.device == config.device and _tells_of(each, config.model)]
    if not fitting:
        return None
    own_macs = known.macs(config.architecture)
    speed = min(
        fitting,
        key=lambda each: (
            each.architecture != config.architecture,
            abs(math.log(known.macs(each.architecture) / own_macs)),
            each.precision != config.precision,
            each.channels_last != config.channels_last,
            abs(each.batch_size - config.batch_size),
        ),
    )
    other_network, other_precision = speed.architecture != config.architecture, speed.precision != config.precision
    rough = other_network or other_precision
    basis = _OTHER if other_network else _OTHER_PRECISION if other_precision else _SHORT
    speed = replace(speed, tile_seconds=speed.tile_seconds * own_macs / known.macs(speed.architecture))
    if config.source == "loader":
        seconds = _from_files(config, train_tiles, validation_tiles, speed, cores)
        # What a loader's pace is on fewer cores, the formula has counted in.
        return scaled(Estimate(seconds, basis, rough), cores)
    work = _work(config, train_tiles, validation_tiles)
    found = scaled(Estimate(work * speed.tile_seconds, basis, rough), speed.cores)
    if config.device == "cpu" and config.source == "memory":
        found = replace(found, seconds=found.seconds + config.epochs * (train_tiles + validation_tiles) * _BESIDE_STEPS)
    return found


def _from_files(config: TrainConfig, train_tiles: int, validation_tiles: int, speed: Speed, cores: float) -> float:
    """Seconds of all epochs when every picture is opened again and again. cores: that there are for all of it.

    Synthetic tiles have no files, but go through the same transforms, which take most of the time.
    """
    training, forward = (share * speed.tile_seconds for share in (_training_share(config), FORWARD_SHARE))

    def tile(compute: float) -> float:
        """Seconds per tile: what takes longest of computing, of opening, and of all that the cores have to do."""
        if config.device != "cpu":
            opening = speed.picture_seconds * (_HANDOVER / config.workers if config.workers else 1.0)
            return max(compute, opening) if config.workers else compute + opening
        work = compute * speed.cores
        if config.workers == 0:
            return work / cores + speed.picture_seconds
        threads = max(1.0, cores - config.workers) if cores >= 1.0 else cores
        opening = _HANDOVER * speed.picture_seconds
        return max(work / threads, _SHARING * (work + opening) / cores, opening / config.workers)

    epoch = train_tiles * tile(training) + validation_tiles * tile(forward)
    return config.epochs * epoch + (_LOADER_START_SECONDS if config.workers else 0.0)


def _at_pace(config: TrainConfig, train_tiles: int, validation_tiles: int, paces: Iterable[Pace]) -> Estimate | None:
    """From timed steps with the same settings; None where there are none that tell."""
    for pace in paces:
        validation = pace.validation_seconds
        if validation is None and config.source == "memory":  # else opening the pictures counts, which both parts share
            validation = pace.tile_seconds * (1 if model_entry(config.model).is_pretrained else FORWARD_SHARE)
        if validation is not None and same_speed(pace.config, config):
            epoch = _resizing_share(config) * train_tiles * pace.tile_seconds + validation_tiles * validation
            basis = f"Projected from steps that were timed here with the same settings (run {pace.run_id})."
            return Estimate(config.epochs * epoch, basis)
    return None


def _tells_of(speed: Speed, model: str) -> bool:
    """A network that only goes forward tells of itself; one that is trained, of all others, too."""
    return speed.model == model or not CATALOG[speed.model].is_pretrained
