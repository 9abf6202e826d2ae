"""Where a GPU overtakes the CPU: the batch, or the size of a model, from which on it trains faster.

From measured cells where both devices have them; else from the limits of both, which were measured, too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

from eurosat_core.models.layers import format_network
from eurosat_core.models.presets import changed_baseline
from eurosat_core.speed.limits import Limits
from eurosat_core.speed.operations import step_operations
from eurosat_core.speed.prediction import predict_step
from eurosat_core.speed.result import CellResult, SweepResult
from eurosat_core.training.config import TrainConfig

__all__ = ["Overtaking", "overtaking", "overtaking_measured", "overtaking_predicted"]

By = Literal["batch_size", "model_size"]
_BATCHES = tuple(2**power for power in range(11))
_FILTERS = (1, 2, 4, 8, 16)  # times the baseline's


@dataclass(frozen=True)
class Overtaking:
    """From where on the second device is faster: `at` (a batch size, or operations per tile).

    kind: `at`; `always` or `never` within what was looked at; `unknown`, for the `reason`. points: (size, the second's
    tiles per second as a multiple of the first's). basis: `measured` or `predicted`.
    """

    kind: Literal["at", "always", "never", "unknown"]
    by: By
    basis: Literal["measured", "predicted"]
    at: float | None = None
    points: tuple[tuple[float, float], ...] = ()
    reason: str = ""


def overtaking(points: Sequence[tuple[float, float]]) -> tuple[Literal["at", "always", "never"], float | None]:
    """Where the ratio of (size, ratio) points rises above 1 for the last time, on logarithmic axes."""
    ordered = sorted(points)
    if ordered[-1][1] < 1:
        return "never", None
    for (small, low), (large, high) in reversed(list(pairwise(ordered))):
        if low < 1 <= high:
            share = -math.log(low) / (math.log(high) - math.log(low))
            return "at", math.exp(math.log(small) + share * math.log(large / small))
    return "always", None


def _found(
    points: Sequence[tuple[float, float]], by: By, basis: Literal["measured", "predicted"], reason: str
) -> Overtaking:
    if len(points) < 2:
        return Overtaking("unknown", by, basis, reason=reason)
    kind, at = overtaking(points)
    return Overtaking(kind, by, basis, at, tuple(sorted(points)))


def overtaking_measured(result: SweepResult, by: By, gpu: str, cpu: str = "cpu") -> Overtaking:
    """From the cells of a measurement that both devices made."""
    points = []
    for label in result.labels:
        one, other = result.cell(label, cpu), result.cell(label, gpu)
        if one is None or other is None or one.tiles_per_second is None or other.tiles_per_second is None:
            continue
        size = _size(other, by)
        if size:
            points.append((size, other.tiles_per_second.median / one.tiles_per_second.median))
    reason = "Both devices must have measured at least two sizes. Choose both, and measure again."
    return _found(points, by, "measured", reason)


def _size(cell: CellResult, by: By) -> float:
    return float(cell.config.batch_size) if by == "batch_size" else cell.operations / cell.config.batch_size


def overtaking_predicted(cpu: Limits | None, gpu: Limits | None, by: By, config: TrainConfig) -> Overtaking:
    """From the limits of both devices: batches of `config`'s model, or the baseline with ever more filters."""
    if cpu is None or gpu is None:
        missing = "the CPU" if cpu is None else "a GPU"
        reason = f"The limits of {missing} were not measured, so nothing can be said about which is faster when."
        return Overtaking("unknown", by, "predicted", reason=reason)
    sizes: list[tuple[TrainConfig, Callable[[TrainConfig], float]]] = (
        [(replace(config, batch_size=size), lambda one: float(one.batch_size)) for size in _BATCHES]
        if by == "batch_size"
        else [(_wider(config, times), _operations_per_tile) for times in _FILTERS]
    )
    points = []
    for each, size in sizes:
        one, other = predict_step(each, cpu), predict_step(each, gpu)
        if one is not None and other is not None:
            points.append((size(each), one.seconds / other.seconds))
    return _found(points, by, "predicted", "Only steps in float32 that take their tiles from memory are predicted.")


def _wider(config: TrainConfig, times: int) -> TrainConfig:
    network = format_network(changed_baseline((6 * times, 16 * times)))
    return replace(config, model="custom", network=network)


def _operations_per_tile(config: TrainConfig) -> float:
    return sum(each.operations for each in step_operations(config, 10)) / config.batch_size
