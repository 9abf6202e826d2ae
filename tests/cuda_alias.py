"""GPUs where there are none: what is asked of CUDA is done on the CPU, so that code for GPUs runs with real numbers.

Device objects stay CUDA's, so every branch on a device's type is taken; tensors lie on the CPU. It holds in the thread
that entered it. What only a card can show (order of streams, time, memory) is made up, plainly.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from cuda_graphs import Capture, PlayedGraph
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from eurosat_core.data import batches
from eurosat_core.training import augmentation


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
    """`synchronize`, `empty_cache`, `profile` (with the cards' activities) and others, in their order."""
    current: int = 0
    broken: str = ""
    """What every call says from now on, as after a kernel that failed."""
    counted: bool = False
    """Time is counted in calls of torch, `CALL_SECONDS` each, and not taken from a clock."""
    events_drift: float = 1.0
    """How many times as long as a clock on the wall the events say that something took."""
    pinned_gain: float = 2.0
    """How many times as long a copy takes that is not asynchronous."""
    kernels_on: int | None = None
    """The card on which a profile shows a kernel for every operator; None: it shows none, as where CUPTI is blocked."""
    unmatched: float = 0.0
    """Of these kernels, the share whose launch the profile does not show."""
    leak: int = 0
    """Bytes more that are held whenever the memory that is held is asked for."""
    contexts: set[int] = field(default_factory=set)
    """Cards on which this process holds a context."""
    held: int = 2**21
    elapsed: float = 0.0
    waiting: str = "default"
    stream: Any = field(default_factory=lambda: _Stream(name="computing"))

    def number(self, device: Any = None) -> int:
        """The number of a card, of the current one where none is named."""
        named = torch.device(device).index if isinstance(device, str | torch.device) else device
        return self.current if named is None else int(named)

    def capability_of(self, device: Any = None) -> tuple[int, int]:
        return self.capabilities[self.number(device)] if self.capabilities else self.capability

    def now(self) -> float:
        """Seconds on the clock that is played."""
        return self.elapsed if self.counted else time.perf_counter()


CALL_SECONDS = 1e-4
_WAITS = ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__", "__index__")
_MAKES_ROOM = ("empty", "zeros", "ones", "full")


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
        kwargs = kwargs or {}
        self._refuse(name, args, kwargs)
        blocking = name == "to" and not kwargs.get("non_blocking")
        self._cards.elapsed += CALL_SECONDS * (self._cards.pinned_gain if blocking else 1)
        if name == "to" and any(isinstance(each, torch.device) and each.type == "cuda" for each in args[1:]):
            self._cards.calls.append(f"copy in {self._cards.stream.name}")
        try:
            return func(*tree_map(_on_the_cpu, tuple(args)), **tree_map(_on_the_cpu, kwargs))
        except IndexError:  # what the CPU refuses, a card notices in its kernel
            self._cards.broken = "CUDA error: device-side assert triggered"
            raise RuntimeError(self._cards.broken) from None

    def _refuse(self, name: str, args: Any, kwargs: Any) -> None:
        if self._cards.broken:
            raise RuntimeError(self._cards.broken)
        # PyTorch's own optimizers ask for numbers that lie on the CPU.
        if self._cards.waiting == "error" and name in _WAITS and "/torch/" not in sys._getframe(2).f_code.co_filename:
            raise RuntimeError("called a synchronizing CUDA operation")
        asked = args[0] if args and isinstance(args[0], int) else 0
        if name in _MAKES_ROOM and asked > self._cards.total_memory and "cuda" in str(kwargs.get("device")):
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {asked / 2**30:.2f} GiB.")


def _on_the_cpu(value: Any) -> Any:
    if isinstance(value, torch.device) and value.type in ("cuda", "mps"):
        return torch.device("cpu")
    if isinstance(value, str) and re.fullmatch(r"mps|cuda(:\d+)?", value):
        return "cpu"
    return value


class _Event:
    """A CUDA event: on the CPU, what was asked for before it is done when it is recorded."""

    def __init__(self, cards: Cards, enable_timing: bool = False, **_more: Any) -> None:
        self._cards = cards
        self._at = 0.0

    def record(self, _stream: Any = None) -> None:
        self._at = self._cards.now()

    def elapsed_time(self, after: "_Event") -> float:
        return (after._at - self._at) * 1000 * self._cards.events_drift

    def synchronize(self) -> None: ...

    def wait(self, _stream: Any = None) -> None: ...

    def query(self) -> bool:
        return True


class _Stream:
    """A stream by its name: `computing` is the current one, `side` any other."""

    def __init__(self, device: Any = None, cards: Cards | None = None, name: str = "side", **_more: Any) -> None:
        self.device = device
        self.cards = cards
        self.name = name

    def wait_stream(self, other: Any) -> None:
        if self.cards is not None:
            self.cards.calls.append(f"{self.name} waits for {other.name}")

    def wait_event(self, _event: Any) -> None: ...

    def synchronize(self) -> None: ...

    def is_capturing(self) -> bool:
        return False


def _add_kernels(path: Path, cards: Cards) -> None:
    """Add to a trace, for every operator, a call that launches a kernel, and the kernel."""
    trace = json.loads(path.read_text())
    operators = [each for each in trace["traceEvents"] if each.get("cat") == "cpu_op"]
    shown = round(len(operators) * (1 - cards.unmatched))
    for number, each in enumerate(operators, 1):
        common = {"ph": "X", "ts": each["ts"], "dur": each["dur"], "args": {"correlation": number}}
        launch = {**common, "cat": "cuda_runtime", "name": "cudaLaunchKernel", "pid": each["pid"], "tid": each["tid"]}
        card = {"device": cards.kernels_on, "stream": 7, "correlation": number}
        work = {**common, "cat": "kernel", "name": "played", "pid": cards.kernels_on, "tid": 7, "args": card}
        trace["traceEvents"] += [launch, work] if number <= shown else [work]
    path.write_text(json.dumps(trace))


@contextmanager
def played_cuda(cards: Cards | None = None, *, tensors: bool = True) -> Iterator[Cards]:
    """Cards in place of CUDA's; they are gone again behind it.

    tensors: put the CPU's in place of the cards'; else only what is asked of `torch.cuda` is played.
    """
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

    def held(_device: Any = None) -> int:
        cards.held += cards.leak
        return cards.held

    def export(recorded: Any, path: str) -> None:
        real_export(recorded, path)
        if cards.kernels_on is not None:
            _add_kernels(Path(path), cards)

    def watch(recorded: Any, *, activities: Any = None, **how: Any) -> None:
        # For the cards' activities, every call would print a trace of CUDA's failure, which takes 30 ms.
        if torch.profiler.ProfilerActivity.CUDA in (activities or ()):
            cards.calls.append("profile")
        real_watch(recorded, activities=[torch.profiler.ProfilerActivity.CPU] if activities else None, **how)

    real_watch, real_export = torch.profiler.profile.__init__, torch.profiler.profile.export_chrome_trace
    cards.stream.cards = cards

    @contextmanager
    def in_stream(stream: Any) -> Iterator[None]:
        before, cards.stream = cards.stream, stream
        try:
            yield
        finally:
            cards.stream = before

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
        "get_arch_list": lambda: ["sm_{}{}".format(*each) for each in cards.capabilities or (cards.capability,)],
        "Event": partial(_Event, cards),
        "Stream": lambda device=None, **_more: _Stream(device, cards),
        "stream": in_stream,
        "current_stream": lambda _device=None: cards.stream,
        "synchronize": called("synchronize"),
        "empty_cache": called("empty_cache"),
        "memory_reserved": held,
        "set_sync_debug_mode": lambda mode: setattr(cards, "waiting", mode),
        "memory_allocated": lambda _device=None: 2**20,
        "max_memory_allocated": lambda _device=None: 2**21,
        "reset_peak_memory_stats": called("reset_peak_memory_stats"),
        "mem_get_info": lambda _device=None: (cards.total_memory // 2, cards.total_memory),
        "is_current_stream_capturing": lambda: False,
        "CUDAGraph": lambda: PlayedGraph(cards),
        "graph": partial(Capture, cards),
        "default_generators": (torch.default_generator,) * cards.count,  # which what runs on the CPU draws from
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in patched.items():
            patch.setattr(torch.cuda, name, value)
        patch.setattr(torch._C, "_cuda_hasPrimaryContext", cards.contexts.__contains__)
        patch.setattr(torch.profiler.profile, "__init__", watch)
        patch.setattr(torch.profiler.profile, "export_chrome_trace", export)
        accelerator = torch.device("cuda")
        patch.setattr(torch.accelerator, "is_available", lambda: True)
        patch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: accelerator)
        patch.setattr(torch.accelerator, "synchronize", called("synchronize"))
        patch.setattr(torch.accelerator, "current_stream", lambda _device=None: cards.stream)
        patch.setattr(
            torch.Tensor, "record_stream", lambda _tensor, stream: cards.calls.append(f"record {stream.name}")
        )
        real = torch.autocast.__init__
        patch.setattr(torch.autocast, "__init__", lambda self, kind, *a, **k: real(self, "cpu", *a, **k))
        # What PyTorch chooses by the device of the parameters, it chooses as for a card.
        optimizers = import_module("torch.optim.optimizer")
        patch.setattr(optimizers, "_get_foreach_kernels_supported_devices", lambda: ["cpu"])
        _forget_tensors()
        try:
            with _OnTheCpu(cards) if tensors else nullcontext():
                yield cards
        finally:
            _forget_tensors()


def in_backward(patch: pytest.MonkeyPatch, look: Callable[[], Any]) -> list[Any]:
    """What `look` says in every backward pass from here on."""
    seen, backward = list[Any](), torch.Tensor.backward

    def noted(*arguments: Any, **named: Any) -> None:
        seen.append(look())
        backward(*arguments, **named)

    patch.setattr(torch.Tensor, "backward", noted)
    return seen


def _forget_tensors() -> None:
    """What was brought to a device once is kept by the device's name, and this card's is none of another's."""
    batches._per_channel.cache_clear()
    augmentation._lines_of_places.cache_clear()


@contextmanager
def played_mps() -> Iterator[Cards]:
    """An Apple GPU in the same way; `calls` has what was asked of it."""
    cards = Cards(count=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.mps, "_get_default_mps_generator", lambda: torch.default_generator)
        patch.setattr(torch.mps, "current_allocated_memory", lambda: 2**20)
        patch.setattr(torch.mps, "empty_cache", lambda: cards.calls.append("empty_cache"))
        patch.setattr(torch.accelerator, "is_available", lambda: True)
        patch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device("mps"))
        patch.setattr(torch.accelerator, "synchronize", lambda: cards.calls.append("synchronize"))
        real = torch.autocast.__init__
        patch.setattr(torch.autocast, "__init__", lambda self, kind, *a, **k: real(self, "cpu", *a, **k))
        _forget_tensors()
        try:
            with _OnTheCpu(cards):
                yield cards
        finally:
            _forget_tensors()
