"""How long a training will take: from runs of the same kind on this machine, else from the short measurement.

Every estimate carries its basis, since a figure on screen was measured or says what it rests on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eurosat_core.lab.calibration import Speed
from eurosat_core.lab.runs import RunRecord
from eurosat_core.training.config import TrainConfig

__all__ = ["Estimate", "estimate_seconds"]

# Validation goes forward only: about a third of the work of a training step (forward, and twice that backward).
_VALIDATION_SHARE = 1 / 3
# Until the loader workers of both parts have delivered their first batch, from the warm fork server.
_LOADER_START_SECONDS = 1.0
_SAME_KIND = ("model", "device", "source", "workers", "batch_size", "precision", "channels_last")


@dataclass(frozen=True)
class Estimate:
    """Seconds for all epochs, and a sentence that says what this rests on."""

    seconds: float
    basis: str


def _tiles_in(config: TrainConfig, available: int) -> tuple[int, int]:
    """Tiles of the training and the validation part."""
    used = min(config.tiles or available, available)
    train = int(used * config.train_fraction)
    return train, used - train


def estimate_seconds(
    config: TrainConfig,
    available: int,
    runs: Iterable[RunRecord],
    speeds: Sequence[Speed],
    macs: dict[str, int],
    threads: int,
) -> Estimate | None:
    """How long `config` takes with `available` tiles; None when nothing was measured on its device yet.

    runs: newest first. macs: multiply-accumulates per tile of each model, to go from the baseline to another.
    """
    train_tiles, validation_tiles = _tiles_in(config, available)
    work = config.epochs * (train_tiles + _VALIDATION_SHARE * validation_tiles)
    for record in runs:
        other = record.config
        epochs, seconds = record.summary.get("epochs", 0), record.summary.get("seconds", 0.0)
        same = all(getattr(other, name) == getattr(config, name) for name in _SAME_KIND)
        if not (same and epochs and seconds) or record.machine.get("threads") != threads:
            continue
        other_train, other_validation = _tiles_in(other, record.tiles.count)
        other_work = epochs * (other_train + _VALIDATION_SHARE * other_validation)
        return Estimate(seconds * work / other_work, f"From your lab's run {record.id}, which did the same work.")
    fitting = [each for each in speeds if each.device == config.device]
    if not fitting:
        return None
    speed = min(
        fitting,
        key=lambda each: (
            each.precision != config.precision,
            each.channels_last != config.channels_last,
            abs(each.batch_size - config.batch_size),
        ),
    )
    tile_seconds = speed.tile_seconds * macs.get(config.model, 1) / macs.get("baseline", 1)
    seconds = config.epochs * (train_tiles + _VALIDATION_SHARE * validation_tiles) * tile_seconds
    if config.source == "loader":
        opening = config.epochs * (train_tiles + validation_tiles) * speed.picture_seconds
        if config.workers == 0:
            seconds += opening
        elif config.device == "cpu":  # loader workers and training share the same cores
            seconds += opening / threads + _LOADER_START_SECONDS
        else:
            seconds = max(seconds, opening / config.workers) + _LOADER_START_SECONDS
    return Estimate(seconds, "Projected from a one-second measurement of this device.")
