"""GPUs where there are none: what is asked of CUDA is done on the CPU, so that code for GPUs runs with real numbers.

Device objects stay CUDA's, so every branch on a device's type is taken; tensors lie on the CPU. It holds in the thread
that entered it. What only a card can show (order of streams, time, memory) is made up, plainly.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map


@dataclass
class Cards:
    """The cards that are played, and what was asked of them."""

    count: int = 2
    name: str = "Played GPU"
    capability: tuple[int, int] = (9, 0)
    capabilities: tuple[tuple[int, int], ...] = ()
    """Of each card, where they differ."""
    total_memory: int = 80 * 2**30
    calls: list[str] = field(default_factory=list)
    """`synchronize`, `empty_cache` and others, in their order."""
    current: int = 0

    def number(self, device: Any = None) -> int:
        """The number of a card, of the current one where none is named."""
        named = torch.device(device).index if isinstance(device, str | torch.device) else device
        return self.current if named is None else int(named)

    def capability_of(self, device: Any = None) -> tuple[int, int]:
        return self.capabilities[self.number(device)] if self.capabilities else self.capability


class _OnTheCpu(TorchFunctionMode):
    def __init__(self, cards: Cards) -> None:
        super().__init__()
        self._cards = cards

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.device:  # code that asks for a device's type is to see a card
            return func(*args, **kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "pin_memory":
            return args[0]
        if name == "record_stream":
            return None
        return func(*tree_map(_on_the_cpu, tuple(args)), **tree_map(_on_the_cpu, kwargs or {}))


def _on_the_cpu(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type == "cuda":
        return torch.device("cpu")
    if isinstance(value, str) and re.fullmatch(r"cuda(:\d+)?", value):
        return "cpu"
    return value


class _Event:
    """A CUDA event: on the CPU, what was asked for before it is done when it is recorded."""

    def __init__(self, enable_timing: bool = False, **_more: Any) -> None:
        self._at = 0.0

    def record(self, _stream: Any = None) -> None:
        self._at = time.perf_counter()

    def elapsed_time(self, after: "_Event") -> float:
        return (after._at - self._at) * 1000

    def synchronize(self) -> None: ...

    def wait(self, _stream: Any = None) -> None: ...

    def query(self) -> bool:
        return True


class _Stream:
    def __init__(self, device: Any = None, **_more: Any) -> None:
        self.device = device

    def wait_stream(self, _other: Any) -> None: ...

    def wait_event(self, _event: Any) -> None: ...

    def synchronize(self) -> None: ...

    def is_capturing(self) -> bool:
        return False


@contextmanager
def played_cuda(cards: Cards | None = None) -> Iterator[Cards]:
    """Cards in place of CUDA's; they are gone again behind it."""
    cards = cards or Cards()

    def called(name: str, answer: Any = None) -> Any:
        def call(*_arguments: Any, **_named: Any) -> Any:
            cards.calls.append(name)
            return answer

        return call

    def properties(device: Any = None) -> SimpleNamespace:
        major, minor = cards.capability_of(device)
        return SimpleNamespace(
            name=cards.name,
            major=major,
            minor=minor,
            total_memory=cards.total_memory,
            multi_processor_count=132,
            warp_size=32,
        )

    @contextmanager
    def on_card(device: Any) -> Iterator[None]:
        before, cards.current = cards.current, cards.number(device)
        try:
            yield
        finally:
            cards.current = before

    patched: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "init": lambda: None,
        "device_count": lambda: cards.count,
        "current_device": lambda: cards.current,
        "set_device": called("set_device"),
        "device": on_card,
        "get_device_name": lambda _device=None: cards.name,
        "get_device_properties": properties,
        "get_device_capability": cards.capability_of,
        "get_arch_list": lambda: ["sm_{}{}".format(*cards.capability)],
        "Event": _Event,
        "Stream": _Stream,
        "stream": lambda _stream: nullcontext(),
        "current_stream": lambda _device=None: _Stream(_device),
        "synchronize": called("synchronize"),
        "empty_cache": called("empty_cache"),
        "memory_allocated": lambda _device=None: 2**20,
        "max_memory_allocated": lambda _device=None: 2**21,
        "reset_peak_memory_stats": called("reset_peak_memory_stats"),
        "mem_get_info": lambda _device=None: (cards.total_memory // 2, cards.total_memory),
        "is_current_stream_capturing": lambda: False,
        "default_generators": tuple(torch.Generator() for _ in range(cards.count)),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in patched.items():
            patch.setattr(torch.cuda, name, value)
        accelerator = torch.device("cuda")
        patch.setattr(torch.accelerator, "is_available", lambda: True)
        patch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: accelerator)
        patch.setattr(torch.accelerator, "synchronize", called("synchronize"))
        patch.setattr(torch.accelerator, "current_stream", _Stream)
        real = torch.autocast.__init__
        patch.setattr(torch.autocast, "__init__", lambda self, kind, *a, **k: real(self, "cpu", *a, **k))
        # What PyTorch chooses by the device of the parameters, it chooses as for a card.
        optimizers = import_module("torch.optim.optimizer")
        patch.setattr(optimizers, "_get_foreach_kernels_supported_devices", lambda: ["cpu"])
        with _OnTheCpu(cards):
            yield cards
