"""What a device can do at most, as measured: the figures behind every predicted step. No torch here.

`speed.roofline` measures them, `speed.prediction` uses them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from eurosat_core.speed.reading import number, text, whole

__all__ = ["Limits", "between"]


@dataclass(frozen=True)
class Limits:
    """The limits of one device, each the best of several tries.

    matmul: operations per second (a multiplication and its addition are two) of large matrices, by precision.
    bandwidth: bytes per second, read and written, by the size in bytes of what is gone through. host_to_device: bytes
    per second from `pageable` and from `pinned` memory to a GPU, empty on a CPU. launch_seconds: what one operation
    costs before it computes anything. fresh_seconds: per byte of memory that the system has to give anew. load_seconds:
    to take one decoded tile from memory and normalise it. rates: for each kind of layer what was calibrated, as
    (size, operations or bytes per second) pairs; `prediction` says what the sizes are.
    """

    device: str
    threads: int
    matmul: dict[str, float] = field(default_factory=dict)
    bandwidth: tuple[tuple[float, float], ...] = ()
    host_to_device: dict[str, float] = field(default_factory=dict)
    launch_seconds: float = 0.0
    fresh_seconds: float = 0.0
    load_seconds: float = 0.0
    rates: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def memory_bandwidth(self) -> float | None:
        """Bytes per second of data too large for any cache; None where nothing was measured."""
        return self.bandwidth[-1][1] if self.bandwidth else None

    def rate(self, kind: str, size: float) -> float | None:
        """The calibrated rate of a kind of layer at this size; None where there is none."""
        return between(self.rates[kind], size) if self.rates.get(kind) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Any) -> "Limits":
        """Raises `ValueError`, `KeyError`, `TypeError` or `AttributeError` for values that are none."""
        return cls(
            device=text(values["device"]),
            threads=whole(values["threads"], 1),
            matmul=_figures(values["matmul"]),
            bandwidth=_pairs(values["bandwidth"]),
            host_to_device=_figures(values["host_to_device"]),
            launch_seconds=number(values["launch_seconds"]),
            fresh_seconds=number(values["fresh_seconds"]),
            load_seconds=number(values["load_seconds"]),
            rates={text(kind): _pairs(each) for kind, each in values["rates"].items()},
            seconds=number(values["seconds"]),
        )


def _figures(values: Mapping[str, Any]) -> dict[str, float]:
    return {text(name): number(value, above=0) for name, value in values.items()}


def _pairs(values: Sequence[Any]) -> tuple[tuple[float, float], ...]:
    return tuple((number(size, above=0), number(rate, above=0)) for size, rate in values)


def between(pairs: Sequence[tuple[float, float]], size: float) -> float:
    """The rate at a size, from rates at others: a straight line between neighbours on log axes, level beyond."""
    if size <= pairs[0][0]:
        return pairs[0][1]
    for (small, low), (large, high) in pairwise(pairs):
        if size <= large:
            share = math.log(size / small) / math.log(large / small)
            return math.exp(math.log(low) + share * math.log(high / low))
    return pairs[-1][1]
