"""CUDA graphs where there are no GPUs: the operations that are captured are noted, and made again by a replay.

As on a card, what is captured has no effect before it is replayed, a replay reads and writes the memory that was read
and written when it was captured, and numbers of the processor stay what they were then.
"""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map


class Notes(Protocol):
    """Where it is noted what was asked of the cards: `capture`, `captured`, `replay`, `register`."""

    calls: list[str]
    broken: str


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


class PlayedGraph(TorchDispatchMode):
    """A `torch.cuda.CUDAGraph`, and what captures into it."""

    def __init__(self, cards: Notes) -> None:
        super().__init__()
        self._cards = cards
        self._noted: list[tuple[Any, Any, Any, Any]] = []
        self._made: set[int] = set()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._drawn_before = torch.get_rng_state()

    def register_generator_state(self, _generator: torch.Generator) -> None:
        self._cards.calls.append("register")

    def begin(self) -> None:
        """What is computed from now on is captured."""
        self._drawn_before = torch.get_rng_state()
        self.__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if "_local_scalar_dense" in str(func) or "nonzero" in str(func):
            raise RuntimeError("operation not permitted when stream is capturing")
        for each in _tensors((args, kwargs)):
            if _memory(each) not in self._made and _memory(each) not in self._before:
                whole = each.detach().as_strided((each.untyped_storage().nbytes() // each.itemsize,), (1,), 0)
                self._before[_memory(each)] = (whole, whole.clone())
        made = func(*args, **kwargs)
        self._made |= {_memory(each) for each in _tensors(made)} - self._before.keys()
        self._noted.append((func, *tree_map(_unrecorded, (args, kwargs)), tree_map(_unrecorded, made)))
        return made

    def captured(self) -> None:
        """What was there before is as it was."""
        for there, value in self._before.values():
            there.copy_(value)
        self._before.clear()
        torch.set_rng_state(self._drawn_before)

    def replay(self) -> None:
        if self._cards.broken:
            raise RuntimeError(self._cards.broken)
        self._cards.calls.append("replay")
        with _disable_current_modes(), torch.no_grad():
            for func, args, kwargs, made in self._noted:
                given = {_memory(each) for each in _tensors((args, kwargs))}
                again = func(*args, **kwargs)
                for old, new in zip(_tensors(made), _tensors(again), strict=True):
                    if _memory(old) not in given:  # else it is a view, or was changed in place
                        old.copy_(new)


def _unrecorded(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


class Capture:
    """A `torch.cuda.graph`."""

    def __init__(self, cards: Notes, graph: PlayedGraph, stream: Any = None, capture_error_mode: str = "") -> None:
        self._cards, self._graph, self._stream = cards, graph, stream

    def __enter__(self) -> None:
        self._cards.calls.append(f"capture in {self._stream.name}")
        self._graph.begin()

    def __exit__(self, *error: Any) -> None:
        self._graph.__exit__(*error)
        self._graph.captured()
        self._cards.calls.append("captured")
