"""How long a training, a profile or a measurement takes, and what that rests on."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eurosat_core.cores import usable_cores
from eurosat_core.data.splits import TEST_FRACTION
from eurosat_core.lab.calibration import Speed
from eurosat_core.models.catalog import CATALOG, model_entry
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.speed.plan import LEAST_ROUNDS, SweepPlan
from eurosat_core.training.config import Architecture, TrainConfig
from eurosat_core.training.events import FORWARD_SHARE
from eurosat_core.wording import count

# Training the last layer on features for an epoch, next to computing them all (EfficientNet-Lite0: 0.25 s to 46 s).
_HEAD_SHARE = 0.01
# An epoch on smaller pictures first, next to one on whole tiles: tilenet in bfloat16, 11.7 to 19.1 s and 10.7 to 18.7 s
# on two cores. A GPU is held up by starting kernels, however small: 0.90 to 0.95 s (H200).
_GROWING_SHARE, _GROWING_SHARE_ON_GPU = 0.6, 0.95
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
SAME_KIND = (
    "model",
    "network",
    "stem_pool",
    "device",
    "source",
    "workers",
    "prefetch",
    "pin_memory",
    "batch_size",
    "precision",
    "channels_last",
    "symmetries",
)
_SHORT = "Projected from a short measurement of this device."
_OTHER = "Projected from another network on this device, so it is rough."
_OTHER_PRECISION = "Projected from this network in another precision, so it is rough."
_BESIDE = "Other programs keep the machine busy now; that is counted in."
_NOTICEABLE = 0.8  # of the cores that a training may have: with fewer, the estimate says so
_NEAR = 10.0  # a run of a tenth to ten times the work is near enough to be scaled


@dataclass(frozen=True)
class Estimate:
    """Seconds for all epochs, and a sentence that says what this rests on.

    is_rough: it rests on another network, or another precision.
    """

    seconds: float
    basis: str
    is_rough: bool = False


@dataclass(frozen=True)
class Pace:
    """Timed steps of some settings: seconds per training tile, and per validation tile where those were timed, too."""

    config: TrainConfig
    tile_seconds: float
    validation_seconds: float | None
    run_id: str


# The published split by place: 16,200 and 5,400 of 27,000 tiles are trained and validated on.
_PLACE_TRAIN_FRACTION = 0.75


def _tiles_in(config: TrainConfig, available: int) -> tuple[int, int]:
    """Tiles of the training and the validation part."""
    by_place = config.split == "place"
    if by_place or config.sealed_test:
        available = round(available * (1 - TEST_FRACTION))
    used = min(config.tiles or available, available)
    train = int(used * (_PLACE_TRAIN_FRACTION if by_place else config.train_fraction))
    return train, used - train


def _growing_share(config: TrainConfig) -> float:
    if not config.growing_sizes:
        return 1.0
    return _GROWING_SHARE if config.device == "cpu" else _GROWING_SHARE_ON_GPU


def _work(config: TrainConfig, train_tiles: int, validation_tiles: int) -> float:
    """How much there is to do, in training tiles of this model.

    A pretrained network goes forward only, for nothing but its last layer learns. With its frozen part computed once,
    an epoch is next to nothing.
    """
    whole = train_tiles * _growing_share(config) + FORWARD_SHARE * validation_tiles
    entry = CATALOG.get(config.model)
    if entry is None or not entry.is_pretrained:
        return config.epochs * whole
    forward = FORWARD_SHARE * (train_tiles + validation_tiles)
    if config.source == "features":
        return forward * (1 + _HEAD_SHARE * config.epochs)
    return config.epochs * forward


def _work_done(record: RunRecord, config: TrainConfig, machine: dict[str, Any]) -> float:
    """How much work a run did, in training tiles; 0 when it says nothing about `config` on this machine."""
    epochs, seconds = record.summary.get("epochs", 0), record.summary.get("seconds", 0.0)
    same = all(getattr(record.config, name) == getattr(config, name) for name in SAME_KIND)
    here = all(record.machine.get(name) == value for name, value in machine.items())
    if not (same and here and epochs and seconds) or record.beside or record.recorded_on or record.features_taken:
        return 0.0
    return _work(replace(record.config, epochs=int(epochs)), *_tiles_in(record.config, record.tiles.count))


def estimate_seconds(
    config: TrainConfig,
    tiles: TilesUsed,
    runs: Iterable[RunRecord],
    speeds: Sequence[Speed],
    macs: dict[Architecture, int],
    machine: dict[str, Any],
    paces: Iterable[Pace] = (),
    cores: float | None = None,
) -> Estimate | None:
    """How long `config` takes with `tiles`; None when nothing was measured on its device yet.

    runs: newest first. macs: multiply-accumulates per tile of each network, to go from one to another.
    machine: its `threads` and the device's `device_name`, as runs note them. paces: of this machine, newest first.
    cores: that a training on the CPU would have now; None: as many as it has threads.
    """
    threads = float(machine["threads"])
    now = threads if cores is None else min(cores, threads)

    def scaled(estimate: Estimate, then: float) -> Estimate:
        if config.device != "cpu":
            return estimate
        text = f"{estimate.basis} {_BESIDE}" if now < _NOTICEABLE * threads else estimate.basis
        return replace(estimate, seconds=estimate.seconds * min(then, threads) / now, basis=text)

    train_tiles, validation_tiles = _tiles_in(config, tiles.count)
    work = _work(config, train_tiles, validation_tiles)
    alike = [
        (record, done)
        for record in runs
        if (done := _work_done(record, config, machine)) and record.tiles.source == tiles.source
    ]
    # The run whose size is nearest; what a run needs to start must not be multiplied by a hundred.
    record, done = min(alike, key=lambda each: abs(math.log(work / each[1])), default=(None, 0.0))
    if record is not None and abs(math.log(work / done)) <= math.log(_NEAR):
        used = sum(_tiles_in(record.config, record.tiles.count))
        size = f"{count(record.summary['epochs'], 'epoch')}, {count(used, 'tile')}"
        basis = f"Projected from this lab’s run {record.id} with the same settings ({size})."
        then = max(len(usable_cores()) - record.busy_elsewhere, 0.2)
        return scaled(Estimate(record.summary["seconds"] * work / done, basis), then)
    if (paced := _at_pace(config, train_tiles, validation_tiles, paces)) is not None:
        return scaled(paced, threads)
    fitting = [each for each in speeds if each.device == config.device and _tells_of(each, config.model)]
    if not fitting:
        return None
    own_macs = macs.get(config.architecture, 1)
    speed = min(
        fitting,
        key=lambda each: (
            each.architecture != config.architecture,
            abs(math.log(macs.get(each.architecture, 1) / own_macs)),
            each.precision != config.precision,
            each.channels_last != config.channels_last,
            abs(each.batch_size - config.batch_size),
        ),
    )
    other_network, other_precision = speed.architecture != config.architecture, speed.precision != config.precision
    rough = other_network or other_precision
    basis = _OTHER if other_network else _OTHER_PRECISION if other_precision else _SHORT
    speed = replace(speed, tile_seconds=speed.tile_seconds * own_macs / macs.get(speed.architecture, 1))
    if config.source == "loader":
        seconds = _from_files(config, train_tiles, validation_tiles, speed, now)
        # What a loader's pace is on fewer cores, the formula has counted in.
        return scaled(Estimate(seconds, basis, rough), now)
    found = scaled(Estimate(work * speed.tile_seconds, basis, rough), speed.cores)
    if config.device == "cpu" and config.source == "memory":
        found = replace(found, seconds=found.seconds + config.epochs * (train_tiles + validation_tiles) * _BESIDE_STEPS)
    return found


def _from_files(config: TrainConfig, train_tiles: int, validation_tiles: int, speed: Speed, cores: float) -> float:
    """Seconds of all epochs when every picture is opened again and again. cores: that there are for all of it.

    Synthetic tiles have no files, but go through the same transforms, which take most of the time.
    """
    entry = CATALOG.get(config.model)
    judging = FORWARD_SHARE * speed.tile_seconds
    training = judging if entry is not None and entry.is_pretrained else _growing_share(config) * speed.tile_seconds

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

    epoch = train_tiles * tile(training) + validation_tiles * tile(judging)
    return config.epochs * epoch + (_LOADER_START_SECONDS if config.workers else 0.0)


def _at_pace(config: TrainConfig, train_tiles: int, validation_tiles: int, paces: Iterable[Pace]) -> Estimate | None:
    """From timed steps with the same settings; None where there are none that tell."""
    for pace in paces:
        judged = pace.validation_seconds
        if judged is None and config.source == "memory":  # else opening the pictures counts, which both parts share
            judged = pace.tile_seconds * (1 if model_entry(config.model).is_pretrained else FORWARD_SHARE)
        if judged is not None and all(getattr(pace.config, name) == getattr(config, name) for name in SAME_KIND):
            epoch = _growing_share(config) * train_tiles * pace.tile_seconds + validation_tiles * judged
            basis = f"Projected from steps that were timed here with the same settings (run {pace.run_id})."
            return Estimate(config.epochs * epoch, basis)
    return None


def _tells_of(speed: Speed, model: str) -> bool:
    """A network that only goes forward tells of itself; one that is trained, of all others, too."""
    return speed.model == model or not CATALOG[speed.model].is_pretrained


# Until the first step is done, from a warm worker: loader workers deliver their first batch after about a second.
_START_SECONDS = {"loader": 1.5, "memory": 0.5}
_TRACE_SECONDS = 0.15  # to write one and to sum up its operators (baseline, two cores: 0.04 to 0.3)
_ALMOST_ALL = 0.95  # of the tiles, so that an epoch is training and hardly anything else


def estimate_profile(
    config: TrainConfig,
    plan: ProfilePlan,
    tiles: TilesUsed,
    runs: Iterable[RunRecord],
    speeds: Sequence[Speed],
    macs: dict[Architecture, int],
    machine: dict[str, Any],
) -> Estimate | None:
    """How long `plan` takes with `config`; None when nothing was measured on its device yet.

    runs: finished ones, newest first. The rest as for `estimate_seconds`.
    """
    runs = list(runs)
    steps = plan.total_steps
    for run in runs:
        done = run.summary.get("steps", 0)
        if run.kind == "profile" and done and _is_alike(run, config, machine):
            basis = f"Projected from this lab’s profile {run.id} with the same settings ({count(done, 'step')})."
            return Estimate(run.summary["seconds"] * steps / done, basis)
    epoch = replace(config, epochs=1, train_fraction=_ALMOST_ALL, split="random", sealed_test=False)
    found = estimate_seconds(epoch, tiles, (each for each in runs if each.kind == "train"), speeds, macs, machine)
    if found is None:
        return None
    tile_seconds = found.seconds / max(1, int(min(config.tiles or tiles.count, tiles.count) * _ALMOST_ALL))
    seconds = steps * min(config.batch_size, tiles.count) * tile_seconds
    start = _START_SECONDS["loader" if config.source == "loader" and config.workers else "memory"]
    return replace(found, seconds=start + seconds + plan.traces * _TRACE_SECONDS)


def _is_alike(run: RunRecord, config: TrainConfig, machine: dict[str, Any]) -> bool:
    same = all(getattr(run.config, name) == getattr(config, name) for name in SAME_KIND)
    here = all(run.machine.get(name) == value for name, value in machine.items())
    return same and here and not run.beside and not run.recorded_on


_UNTIMED = 2  # steps at the beginning of a turn
_WARM_STEPS = 3
_SWEEP_START_SECONDS = {"loader": 1.5, "memory": 0.3}  # loader workers deliver their first batch after about a second


def least_seconds(config: TrainConfig, plan: SweepPlan, tile_seconds: Callable[[TrainConfig], float | None]) -> float:
    """Seconds of the fewest steps that all cells need; a cell of which nothing is known counts as nothing.

    tile_seconds: of a training tile with some settings.
    """
    total = 0.0
    for each in plan.configs(config):
        step = each.batch_size * (tile_seconds(each) or 0.0)
        ahead = 2 * each.workers * each.prefetch if each.source == "loader" else 0
        turn = plan.steps + _UNTIMED + ahead
        turns = LEAST_ROUNDS * turn * (2 if plan.validation else 1)
        total += _SWEEP_START_SECONDS.get(each.source, 0.0) + step * (_WARM_STEPS + ahead + turns)
    return total


def estimate_sweep(
    config: TrainConfig, plan: SweepPlan, tile_seconds: Callable[[TrainConfig], float | None]
) -> Estimate:
    """How long `plan` takes with `config`, with what that rests on."""
    bounded = plan.total_seconds(config)
    needed = least_seconds(config, plan, tile_seconds)
    if needed <= plan.seconds:
        return Estimate(bounded, "As many steps are measured as fit into this time.")
    basis = "Projected from how fast this machine trains: the fewest steps of every setting that tell something."
    return Estimate(bounded + needed - plan.seconds, basis)
