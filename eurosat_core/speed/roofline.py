"""The limits of a device, measured: arithmetic, memory, copying and starting a kernel.

Each figure is the best of many tries, not their median: a limit is what the device can do when nothing holds it up.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from eurosat_core.data.batches import Batch, Preprocessing, normalize
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.devices import torch_device
from eurosat_core.speed.plan import LIMITS_MODELS
from eurosat_core.speed.result import Limits
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Tally, release_memory, wait_for
from eurosat_core.training.network import multiply_float32, stand_in
from eurosat_core.training.precision import multiplies_bfloat16, multiplies_tf32
from eurosat_core.training.problems import explained
from eurosat_core.training.step import Trainer
from eurosat_core.training.threads import keep_freed_memory

Pairs = tuple[tuple[float, float], ...]
"""(size, rate) pairs."""

_SECONDS = 0.06  # per figure and pass
_FEWEST = 2
_CALLS = 20  # of one try on a GPU, whose calls return before anything is done

# What is large enough to keep all of a device busy.
_MATRIX = {"cpu": 1024, "gpu": 4096}
_BATCH = {"cpu": 32, "gpu": 128}
_LARGE_BATCH = {"cpu": 256, "gpu": 1024}
_BANDWIDTH_MB = {"cpu": (0.25, 2, 12, 96), "gpu": (1, 32, 512)}


class _Bench:
    """Times calls on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_cpu = device.type == "cpu"
        self.kind = "cpu" if self.is_cpu else "gpu"

    def best(self, call: Callable[[], object], times: int = 1) -> float:
        """Seconds of one call, the best of as many tries as fit into so many `times` the usual time."""
        calls = 1 if self.is_cpu else _CALLS
        call()
        best, began, tries = float("inf"), time.perf_counter(), 0
        while tries < _FEWEST or time.perf_counter() - began < times * _SECONDS:
            wait_for(self.device)
            at = time.perf_counter()
            for _ in range(calls):
                call()
            wait_for(self.device)
            best, tries = min(best, (time.perf_counter() - at) / calls), tries + 1
        return best

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, device=self.device)


def measure_limits(device: str) -> Limits:
    """The limits of a device, measured in this process with as many threads as torch uses now.

    Everything is measured several times over, so that what holds the machine up for a moment spoils no figure.

    Raises `TrainingError` with a sentence when the device's memory is full, or it fails.
    """
    began = time.perf_counter()
    keep_freed_memory()  # as trainings do, whose steps are predicted
    bench = _Bench(torch_device(device))
    if bench.device.type == "cuda":
        multiply_float32("float32")
    full = (
        f"The memory of {device} has no room for what its limits are measured with. Wait until other runs on this "
        "device have ended, then measure again."
    )
    try:
        with explained(TrainConfig(device=device), full), torch.random.fork_rng(devices=[]), torch.no_grad():
            found = [_once(bench) for _ in range(_PASSES)]
            launching = {} if bench.is_cpu else {each: _step_launch(bench, device, each) for each in LIMITS_MODELS}
    finally:
        release_memory(bench.device)
    best = {name: (min if name.endswith("seconds") else _best)([each[name] for each in found]) for name in found[0]}
    spent = time.perf_counter() - began
    return Limits(device, torch.get_num_threads(), **best, seconds=spent, step_launch_seconds=launching)


_PASSES = 3


def _once(bench: _Bench) -> dict[str, Any]:
    """The figures of `Limits`."""
    with torch.enable_grad():
        rates = {**_convolutions(bench), **_with_gradients(bench)}
    return {
        "matmul": {name: _matmul(bench, name) for name in _precisions(bench.device)},
        "bandwidth": tuple((mb * 2**20, _bandwidth(bench, mb)) for mb in _BANDWIDTH_MB[bench.kind]),
        "host_to_device": {} if bench.is_cpu else _copies(bench),
        "launch_seconds": _launch(bench),
        "fresh_seconds": _fresh(bench) if bench.is_cpu else 0.0,
        "load_seconds": _load(bench),
        "rates": {**_linear(bench), **_elementwise(bench), **rates},
    }


def _best(values: Sequence[Any]) -> Any:
    """The highest of several rates, however they are packed: in a dictionary, as (size, rate) pairs."""
    if isinstance(values[0], dict):
        return {name: _best([each[name] for each in values]) for name in values[0]}
    if isinstance(values[0], tuple):
        return tuple((pairs[0][0], max(rate for _, rate in pairs)) for pairs in zip(*values, strict=True))
    return max(values)


def _precisions(device: torch.device) -> list[str]:
    """What is multiplied in: of a card's only those that it has, for what is emulated is no limit of its own."""
    if device.type != "cuda":
        return ["float32", "bfloat16"]
    has = {"tf32": multiplies_tf32(device), "bfloat16": multiplies_bfloat16(device)}
    return ["float32", *(name for name, there in has.items() if there)]


def _matmul(bench: _Bench, precision: str) -> float:
    side = _MATRIX[bench.kind]
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    one, other = (bench.normal(side, side).to(kind) for _ in range(2))
    if bench.device.type != "cuda":
        return 2 * side**3 / bench.best(lambda: one @ other, 2)
    try:
        multiply_float32(precision)
        return 2 * side**3 / bench.best(lambda: one @ other, 2)
    finally:
        multiply_float32("float32")


def _bandwidth(bench: _Bench, megabytes: float) -> float:
    """Bytes read and written per second by adding two vectors; megabytes: of all three of them together."""
    one, other, result = (torch.zeros(int(megabytes * 2**20 / 12), device=bench.device) for _ in range(3))
    return one.numel() * 12 / bench.best(lambda: torch.add(one, other, out=result))


def _launch(bench: _Bench) -> float:
    """Seconds until an operation on next to nothing is launched, the next one right behind it."""
    small = bench.normal(8)

    def many() -> None:
        for _ in range(100):
            small.add_(1.0)

    return bench.best(many) / 100


def _step_launch(bench: _Bench, device: str, model: str) -> float:
    """Seconds that the processor takes to launch a training step of this model on an idle GPU: the least of several.

    As trainings do it, from the batch on the GPU to the update: PyTorch may launch many operations by one call, or
    several kernels for one operation, so nothing is counted.
    """
    config = TrainConfig(model=model, device=device, source="memory", batch_size=_FEW_TILES, pretrained=False)
    trainer = Trainer(config, None, stand_in(config, bench.device))
    tiles = torch.zeros(_FEW_TILES, 3, TILE_SIDE, TILE_SIDE, device=bench.device)
    batch = Batch(tiles, torch.zeros(_FEW_TILES, dtype=torch.int64, device=bench.device))
    tally, least = Tally.on(bench.device), float("inf")
    trainer.mode(training=True)
    with torch.enable_grad():
        for step in range(_LAUNCHED_STEPS):
            wait_for(bench.device)
            at = time.perf_counter()
            trainer.learn(batch, tally=tally)
            if step >= _UNTIMED_STEPS:  # kernels are chosen, and the optimizer makes what it keeps
                least = min(least, time.perf_counter() - at)
    wait_for(bench.device)
    return least


_FEW_TILES = 2  # BatchNorm compares them
_UNTIMED_STEPS, _LAUNCHED_STEPS = 5, 30


def _fresh(bench: _Bench) -> float:
    """Seconds per byte that memory from the system costs on top of writing to it."""
    size = 64 * 2**20
    kept = torch.empty(size, dtype=torch.uint8)
    anew = bench.best(lambda: torch.empty(size, dtype=torch.uint8).zero_(), 3)
    return max(anew - bench.best(kept.zero_), 0.0) / size


def _load(bench: _Bench) -> float:
    """Seconds to take a tile from many and normalise it, as tiles in memory are."""
    pixels = torch.randint(0, 256, (2048, 64, 64, 3), dtype=torch.uint8, device=bench.device)
    chosen = torch.randint(0, len(pixels), (64,), device=bench.device)
    preprocessing = Preprocessing((0.5,) * 3, (0.5,) * 3)
    return bench.best(lambda: normalize(pixels[chosen], preprocessing)) / len(chosen)


def _copies(bench: _Bench) -> dict[str, float]:
    """Bytes per second from the processor's memory to the device."""
    size = 64 * 2**20
    usual = torch.zeros(size, dtype=torch.uint8)
    found = {"pageable": size / bench.best(lambda: usual.to(bench.device))}
    if bench.device.type == "cuda":
        pinned = usual.pin_memory()
        found["pinned"] = size / bench.best(lambda: pinned.to(bench.device, non_blocking=True))
    return found


def _linear(bench: _Bench) -> dict[str, Pairs]:
    """Operations per second of linear layers by the rows of their input."""
    width = 1024
    weight, found = bench.normal(width, width), []
    for rows in (8, 40, 256):
        data = bench.normal(rows, width)
        spent = bench.best(lambda data=data: functional.linear(data, weight))  # type: ignore[misc]
        found.append((float(rows), 2 * rows * width**2 / spent))
    return {"linear": tuple(found)}


# Convolutions by channels (in, out), filter size and side of the picture: few, some, many and very many channels.
_CONVOLUTIONS = ((3, 8, 5, 64), (8, 16, 5, 32), (32, 64, 3, 32), (128, 128, 3, 8), (512, 512, 3, 4))
_LARGE_CONVOLUTIONS = _CONVOLUTIONS[:3]  # with more channels arithmetic outweighs what is moved


def _convolutions(bench: _Bench) -> dict[str, Pairs]:
    """Operations per second of convolutions, forward and backward, by the mean (geometric) of their channels.

    Twice: with outputs that caches hold, and (`_large`) with outputs that they do not.
    """
    few, many = _BATCH[bench.kind], _LARGE_BATCH[bench.kind]
    deep = nn.Conv2d(64, 64, 3, padding=1, groups=64, device=bench.device)
    there, back, operations = _both_ways(bench, deep, 64, 16, few)
    return {
        **_by_channels(bench, "convolution", "", _CONVOLUTIONS, few),
        **_by_channels(bench, "convolution", "_large", _LARGE_CONVOLUTIONS, many),
        "depthwise": ((64.0, operations / there),),
        "depthwise_backward": ((64.0, 2 * operations / back),),
    }


def _by_channels(
    bench: _Bench, kind: str, size_word: str, layers: Sequence[tuple[int, int, int, int]], batch: int
) -> dict[str, Pairs]:
    forward, backward = [], []
    for channels, filters, size, side in layers:
        layer = nn.Conv2d(channels, filters, size, padding=size // 2, device=bench.device)
        there, back, operations = _both_ways(bench, layer, channels, side, batch)
        mean = (channels * filters) ** 0.5
        forward.append((mean, operations / there))
        backward.append((mean, 2 * operations / back))
    return {f"{kind}{size_word}": tuple(forward), f"{kind}_backward{size_word}": tuple(backward)}


def _both_ways(bench: _Bench, layer: nn.Conv2d, channels: int, side: int, batch: int) -> tuple[float, float, float]:
    """Seconds forward and backward (both gradients), and the operations of one of them."""
    data = bench.normal(batch, channels, side, side).requires_grad_()
    out = layer(data)
    gradient = torch.ones_like(out)
    operations = 2.0 * out.numel() * layer.weight[0].numel()
    wanted = [data, layer.weight]
    back = bench.best(lambda: torch.autograd.grad(out, wanted, gradient, retain_graph=True))
    return bench.best(lambda: _forward(layer, data)), back, operations


def _forward(layer: nn.Module, data: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = layer(data)
    return result


def _elementwise(bench: _Bench) -> dict[str, Pairs]:
    """Bytes per second of drawing dropout's choices."""
    drawn = torch.empty(_BATCH[bench.kind], 4096, device=bench.device)
    spent = bench.best(lambda: drawn.bernoulli_(0.5))
    return {"random": ((1.0, 2 * drawn.numel() * 4 / spent),)}


def _with_gradients(bench: _Bench) -> dict[str, Pairs]:
    """Bytes per second, read and written, of pooling and of normalisation, by how many bytes that is in all."""
    small, large = (_moving(bench, batch) for batch in (_BATCH[bench.kind], _LARGE_BATCH[bench.kind]))
    return {kind: (small[kind], large[kind]) for kind in small}


def _moving(bench: _Bench, batch: int) -> dict[str, tuple[float, float]]:
    data = bench.normal(batch, 16, 32, 32).requires_grad_()
    pool, norm = nn.MaxPool2d(2), nn.BatchNorm2d(16, device=bench.device)
    frozen = nn.BatchNorm2d(16, device=bench.device).eval()
    pooled, normed = pool(data), norm(data)
    size = float(data.numel() * 4)
    gradients = [torch.ones_like(pooled), torch.ones_like(normed)]
    # Bytes as `operations` counts them: pooling also writes where each maximum was, in eight bytes each.
    moved = {
        "pool": size + 3 * pooled.numel() * 4,
        "pool_backward": 2 * size + 3 * pooled.numel() * 4,
        "norm": 2 * size,
        "norm_frozen": 2 * size,
        "norm_backward": 3 * size,
    }
    calls: dict[str, Callable[[], object]] = {
        "pool": lambda: _forward(pool, data),
        "pool_backward": lambda: torch.autograd.grad(pooled, data, gradients[0], retain_graph=True),
        "norm": lambda: _forward(norm, data),
        "norm_frozen": lambda: _forward(frozen, data),
        "norm_backward": lambda: torch.autograd.grad(normed, data, gradients[1], retain_graph=True),
    }
    return {kind: (moved[kind], moved[kind] / bench.best(call)) for kind, call in calls.items()}
