"""How long a step should take, from what its operations need and what the device can do at most.

An operation takes as long as its arithmetic or as its traffic with memory, whichever is longer (the roofline), at the
rates that were calibrated for its kind of layer; besides, every one has to be launched. On a CPU that happens one
after the other; a GPU computes while the processor launches what follows, so there the slower of the two counts.
"""

from collections import defaultdict

from eurosat_core.speed.limits import Limits, between
from eurosat_core.speed.operations import Operation, step_operations
from eurosat_core.speed.predicted import Bottleneck, Portion, Prediction
from eurosat_core.training.config import TrainConfig

__all__ = ["FRESH_FROM", "predict_step", "prediction_problem"]

FRESH_FROM = 32 * 2**20
"""Bytes from which on a CPU's allocator takes memory from the system anew, and gives it back, each time.

glibc is told not to (`training.allocator`); the measured `Limits.fresh_seconds` are next to nothing then.
"""
KEPT = 2 * FRESH_FROM
"""Bytes of smaller pieces that it keeps when they are free; what a step needs beyond is taken anew in every step."""

_SMALL, _LARGE = 2.0 * 2**20, 24.0 * 2**20  # bytes of outputs for which convolutions are calibrated

_TITLES = {
    "convolution": "convolution",
    "depthwise": "convolution, one channel at a time",
    "linear": "linear",
    "pool": "pooling",
    "norm": "normalisation",
    "norm_frozen": "normalisation",
    "random": "dropout",
    "elementwise": "activations and sums",
}


def prediction_problem(config: TrainConfig) -> str:
    """Why a step of these settings is not predicted, as a sentence; empty when it is."""
    if config.source != "memory":
        return "Only steps that take their tiles from memory are predicted: how fast files are opened is another limit."
    if config.precision != "float32" or config.channels_last:
        return (
            "Only steps in float32 and in the usual memory layout are predicted: the limits are calibrated for these."
        )
    return ""


def predict_step(config: TrainConfig, limits: Limits, classes: int = 10) -> Prediction | None:
    """The step of `config` on the device of `limits`; None where it cannot be predicted (`prediction_problem`)."""
    if prediction_problem(config) or not limits.rates:
        return None
    return predict_operations(step_operations(config, classes), limits, config.batch_size)


def predict_operations(operations: list[Operation], limits: Limits, tiles: int) -> Prediction:
    """The same from the operations of a step with so many tiles."""
    by: dict[str, float] = defaultdict(float)
    parts: dict[str, float] = defaultdict(float)
    seconds: dict[str, float] = defaultdict(float)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    computing = taken = 0.0
    for each in operations:
        needed, limit = _needed(each, limits)
        if each.part == "forward" and each.largest < FRESH_FROM:  # kept until the way back
            before, taken = taken, taken + each.largest
            needed += limits.fresh_seconds * (max(taken - KEPT, 0.0) - max(before - KEPT, 0.0))
        computing += needed
        by[limit] += needed
        parts[each.part] += needed + (limits.launch_seconds if limits.device == "cpu" else 0.0)
        kind = _TITLES.get(each.kind.removesuffix("_backward"), each.kind) if each.part != "update" else "update"
        seconds[kind] += needed
        for at, amount in enumerate((each.operations, each.read + each.written, 1)):
            sums[kind][at] += amount
    loading = tiles * limits.load_seconds
    launching = len(operations) * limits.launch_seconds
    if limits.device == "cpu":
        by["overhead"] += launching
        total = computing + launching + loading
    else:  # what is hidden behind the launches, or hides them, takes no time of its own
        total = max(computing, launching) + loading
        if launching > computing:
            by = defaultdict(float, {"overhead": launching})
        parts = defaultdict(float, {name: value * max(1.0, launching / computing) for name, value in parts.items()})
    by["loading"] = loading
    parts["load"] = loading
    bottleneck: Bottleneck = max(("compute", "memory", "overhead", "loading"), key=lambda name: by[name])
    portions = tuple(
        Portion(kind, seconds[kind], sums[kind][0], sums[kind][1], int(sums[kind][2]))
        for kind in sorted(seconds, key=lambda kind: -seconds[kind])
    )
    return Prediction(total, bottleneck, dict(by), dict(parts), portions)


def _needed(operation: Operation, limits: Limits) -> tuple[float, str]:
    """Seconds of an operation without its launch, and what limits it."""
    moved = operation.read + operation.written
    memory = moved / between(limits.bandwidth, max(moved, 1.0)) if limits.bandwidth else 0.0
    rate = _rate(operation, limits)
    compute = 0.0
    if rate and operation.operations:
        compute = operation.operations / rate
    elif rate:  # such as pooling: its rate is in bytes, and already says how slow it is beside its traffic
        memory = max(memory, moved / rate)
    fresh = operation.largest * limits.fresh_seconds if operation.largest >= FRESH_FROM else 0.0
    return (compute + fresh, "compute") if compute >= memory else (memory + fresh, "memory")


def _rate(operation: Operation, limits: Limits) -> float | None:
    """The calibrated rate; between what caches hold and what they do not, by the size of a convolution's output."""
    rate, large = (limits.rate(f"{operation.kind}{word}", operation.size) for word in ("", "_large"))
    if rate is None or large is None:
        return rate
    if operation.size > limits.rates[f"{operation.kind}_large"][-1][0]:  # so many channels were not calibrated twice
        return rate
    return between(((_SMALL, rate), (_LARGE, large)), max(operation.written, operation.read / 2, 1.0))
