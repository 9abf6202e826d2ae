"""How many operations a card would be told to do, counted on cards that are played (`cuda_alias`).

One operation is at least one launch of a GPU kernel, or one copy to the card: cuDNN and cuBLAS may take several for
one. Views and memory that is only set aside cost no launch; what is drawn on the processor is not the card's.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_NO_LAUNCH = {"aten.empty", "aten.empty_like", "aten.empty_strided", "aten.new_empty", "aten.new_empty_strided"}
_UNCHANGED = {"aten.detach", "aten._unsafe_view", "aten.lift_fresh"}


class _Host:
    """Which tensors lie in the processor's memory, of those that were made since counting began.

    By their memory, which is held so that it is not given to others meanwhile.
    """

    def __init__(self) -> None:
        self._memory: dict[int, Any] = {}
        self.card_asked = False

    def add(self, made: Any) -> None:
        for each in _tensors(made):
            storage = each.untyped_storage()
            self._memory[storage._cdata] = storage

    def has(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._memory


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _names_a_card(values: Any) -> bool:
    return any(str(each).startswith("cuda") for each in tree_leaves(values) if isinstance(each, torch.device | str))


class _Asked(TorchFunctionMode):
    """Sees which device is asked for, before the played cards put the CPU in its place."""

    def __init__(self, host: _Host, launches: Counter[str]) -> None:
        super().__init__()
        self._host, self._launches = host, launches

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._host.card_asked = _names_a_card((args, kwargs))
        try:
            made = func(*args, **kwargs)
        finally:
            self._host.card_asked = False
        # A tensor's own device is the CPU on played cards: what is brought anywhere is brought to the card.
        brought = func is Tensor.to and any(isinstance(each, torch.device) for each in tree_leaves((args, kwargs)))
        if brought and self._host.has(args[0]):
            self._launches["copy to the card"] += 1
            with torch.utils._python_dispatch._disable_current_modes():
                return made.clone()  # memory of its own, which is the card's
        return made


class _Dispatched(TorchDispatchMode):
    def __init__(self, host: _Host, launches: Counter[str]) -> None:
        super().__init__()
        self._host, self._launches = host, launches

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = _tensors((args, kwargs))
        made = func(*args, **kwargs)
        on_host = all(self._host.has(each) for each in given) if given else not self._host.card_asked
        if on_host:
            self._host.add(made)
            return made
        name = str(func.overloadpacket)
        if not (func.is_view or name in _NO_LAUNCH or name in _UNCHANGED):
            self._launches[name] += 1
        return made


@contextmanager
def launches() -> Iterator[Counter[str]]:
    """What the played card is told inside, by operation; what was there before lies on the card."""
    host, found = _Host(), Counter[str]()
    with _Asked(host, found), _Dispatched(host, found):
        yield found
