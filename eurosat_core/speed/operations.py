"""What a training step computes, operation by operation, with its sizes: traced on shapes alone, nothing is computed.

Everything is seen that way, also what is no layer of its own: activations that are functions, gradients, the update.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from eurosat_core.models.catalog import build_model
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.network import make_optimizer, set_mode

__all__ = ["Operation", "step_operations"]


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
    """Notes every operation while it is open. part: of the step, set by whoever goes through it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.part = "forward"
        self.found: list[Operation] = []

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
    """All operations of one training step of `config`, in their order."""
    with torch.device("meta"):
        network = build_model(config.model, classes, config.network, stem_pool=config.stem_pool)
        tiles = torch.empty(config.batch_size, 3, 64, 64)
        labels = torch.empty(config.batch_size, dtype=torch.int64)
    set_mode(network, config, training=True)
    optimizer = make_optimizer(config, network)
    recorder = _Recorder()
    # Two steps: in the first one the optimizer makes what it keeps.
    for _ in range(2):
        recorder.found.clear()
        with recorder:
            recorder.part = "forward"
            loss = functional.cross_entropy(network(tiles), labels)
            recorder.part = "backward"
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            recorder.part = "update"
            optimizer.step()
    return recorder.found
