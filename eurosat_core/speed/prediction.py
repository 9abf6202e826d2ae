"""What a step should take by its operations and the device's limits, and where a GPU overtakes the CPU.

The operations of a step are traced on shapes alone, so nothing is computed, and also what is no layer of its own is
seen: activations that are functions, gradients, the update. An operation takes as long as its arithmetic or as its
traffic with memory, whichever is longer (the roofline), at the rates that were calibrated for its kind of layer;
besides, every one has to be launched. On a CPU that happens one after the other, and takes as long for each. A GPU
computes while the processor launches what follows, so there the slower of the two counts; and as PyTorch launches there
otherwise than operations are counted here (one kernel updates all parameters), launching was measured of whole steps.

Where a GPU overtakes the CPU is told from measured cells where both devices have them; else from the limits of both,
which were measured, too.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from eurosat_core.data.batches import Batch
from eurosat_core.models.catalog import build_model
from eurosat_core.speed.experiments import wider_baseline
from eurosat_core.speed.result import Bottleneck, CellResult, Limits, Portion, Prediction, SweepResult, between
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.step import Trainer
from eurosat_core.wording import device_name


@dataclass(frozen=True)
class Operation:
    """One operation: its kind (a key of `Limits.rates`, or `elementwise`), in which part of the step, and how large.

    size: what its rate depends on: channels of a convolution, rows of a matrix; else bytes. operations: arithmetic,
    where that can be what takes the time. read, written: bytes. largest: bytes of the largest tensor that it makes.
    """

    kind: str
    part: str
    size: float
    operations: float
    read: float
    written: float
    largest: float


class _Recorder(TorchDispatchMode):
    """Notes every operation while it is open, each for the `part` of the step that is set at that moment."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.part = "forward"
        self.found: list[Operation] = []

    def mark(self, part: str) -> AbstractContextManager[object]:
        """A part of the step begins."""
        self.part = part
        return nullcontext()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.name().partition("::")[2].partition(".")[0]
        if name not in _NOTHING:
            self.found.append(_operation(name, self.part, args, out))
        return out


# Other views of the same numbers, and what torch does for its own book-keeping.
_NOTHING = frozenset(
    (
        *("detach", "t", "view", "expand", "_unsafe_view", "unsqueeze", "squeeze", "permute", "transpose", "alias"),
        *("as_strided", "empty", "empty_like", "lift_fresh", "select", "slice", "reshape", "flatten"),
        *("_record_function_enter_new", "_record_function_exit"),
    )
)
_KINDS = {
    "max_pool2d_with_indices": "pool",
    "max_pool2d_with_indices_backward": "pool_backward",
    "avg_pool2d": "pool",
    "avg_pool2d_backward": "pool_backward",
    "native_batch_norm_backward": "norm_backward",
    "bernoulli_": "random",
}


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, list | tuple):
        for each in values:
            yield from _tensors(each)


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _operation(name: str, part: str, args: Any, out: Any) -> Operation:
    read = sum(_bytes(each) for each in _tensors(args))
    made = [_bytes(each) for each in _tensors(out)]
    written = sum(made)
    fresh = 0 if name.endswith("_") else max(made, default=0)  # in place: no memory is taken
    kind, size, operations = _KINDS.get(name, "elementwise"), float(read + written), 0.0
    if name == "convolution":
        kind, size, operations = _convolution(args[0], args[1], out, args[8])
    elif name == "convolution_backward":
        gradient, data, weight, groups, wanted = args[0], args[1], args[2], args[9], args[10]
        kind, size, once = _convolution(data, weight, gradient, groups)
        kind, operations = f"{kind}_backward", once * (int(wanted[0]) + int(wanted[1]))
    elif name in ("mm", "addmm"):
        one, other = args[-2:] if name == "mm" else args[1:3]
        kind, size = "linear", float(min(one.shape[0], one.shape[1], other.shape[1]))
        operations = 2.0 * one.shape[0] * one.shape[1] * other.shape[1]
    elif name == "native_batch_norm":
        kind = "norm" if args[5] else "norm_frozen"
    return Operation(kind, part, size, operations, float(read), float(written), float(fresh))


def _convolution(data: Tensor, weight: Tensor, out: Tensor, groups: int) -> tuple[str, float, float]:
    filters, channels, rows, columns = weight.shape
    operations = 2.0 * out.numel() * channels * rows * columns
    if groups > 1 and channels == 1:
        return "depthwise", float(groups), operations
    return "convolution", math.sqrt(channels * filters), operations


def step_operations(config: TrainConfig, classes: int) -> list[Operation]:
    """All operations of one training step of `config`, in their order, in float32 and the usual layout."""
    with torch.device("meta"):
        network = build_model(config.model, classes, config.network, stem_pool=config.stem_pool)
        tiles = torch.empty(config.batch_size, 3, config.input_side, config.input_side)
        labels = torch.empty(config.batch_size, dtype=torch.int64)
    plain = replace(config, device="cpu", precision="float32", channels_last=False, execution="eager")
    trainer = Trainer(plain, None, network)
    trainer.mode(training=True)
    recorder = _Recorder()
    # Two steps: in the first one the optimizer makes what it keeps.
    for _ in range(2):
        recorder.found.clear()
        with recorder:
            trainer.learn(Batch(tiles, labels), recorder.mark)
    return recorder.found


FRESH_FROM = 32 * 2**20
"""Bytes from which on a CPU's allocator takes memory from the system anew, and gives it back, each time.

glibc is told not to (`training.threads`); the measured `Limits.fresh_seconds` are next to nothing then.
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


def prediction_problem(config: TrainConfig, limits: Limits | None = None) -> str:
    """Why a step of these settings is not predicted (from these limits), as a sentence; empty when it is."""
    if config.source != "memory":
        return "Only steps that take their tiles from memory are predicted: how fast files are opened is another limit."
    if config.precision != "float32" or config.channels_last:
        return (
            "Only steps in float32 and in the usual memory layout are predicted: the limits are calibrated for these."
        )
    if config.execution != "eager":
        return "Only steps in eager execution are predicted: others launch their operations together, or join them."
    if limits is not None and limits.device != "cpu" and _launched_as(config) not in limits.step_launch_seconds:
        return (
            f"A step on {device_name(limits.device)} is predicted only of models whose launching was measured there. "
            "Measure the limits again."
        )
    return ""


def _launched_as(config: TrainConfig) -> str:
    """The model whose steps are launched by the same calls: more filters in a layer change none of them."""
    wider = config.model == "custom" and config.network in {wider_baseline(each)["network"] for each in _FILTERS}
    return "baseline" if wider else config.model


def predict_step(config: TrainConfig, limits: Limits, classes: int = 10) -> Prediction | None:
    """The step of `config` on the device of `limits`; None where it cannot be predicted (`prediction_problem`)."""
    if prediction_problem(config, limits) or not limits.rates:
        return None
    return _predicted(step_operations(config, classes), limits, config)


def _predicted(operations: list[Operation], limits: Limits, config: TrainConfig) -> Prediction:
    launching = None if limits.device == "cpu" else limits.step_launch_seconds[_launched_as(config)]
    return predict_operations(operations, limits, config.batch_size, launching)


def predict_operations(
    operations: list[Operation], limits: Limits, tiles: int, launching: float | None = None
) -> Prediction:
    """The same from the operations of a step with so many tiles.

    launching: seconds to launch all of them; by default each takes the limits' `launch_seconds`, as on a CPU.
    """
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
    launching = len(operations) * limits.launch_seconds if launching is None else launching
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
    of_batches = [{"batch_size": size} for size in _BATCHES]
    sizes = of_batches if by == "batch_size" else [wider_baseline(times) for times in _FILTERS]
    points = []
    configs = [replace(config, **changes) for changes in sizes]
    if problem := next(filter(None, (prediction_problem(each, gpu) for each in configs)), ""):
        return Overtaking("unknown", by, "predicted", reason=problem)
    for each in configs if cpu.rates and gpu.rates else ():
        operations = step_operations(each, 10)
        one, other = (_predicted(operations, limits, each) for limits in (cpu, gpu))
        size = each.batch_size if by == "batch_size" else sum(x.operations for x in operations) / each.batch_size
        points.append((float(size), one.seconds / other.seconds))
    return _found(points, by, "predicted", "The limits of both devices must have been measured to their end.")
