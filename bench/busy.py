"""Training beside processes that keep cores busy: as the lab trains, against plain PyTorch's fixed number of threads.

Both sides take turns, each in a process of its own, which trains beside no busy process, then beside one, then two.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from bench.processes import answer_of, row
from bench.rates import PulledTraining, computed_on
from eurosat_core.data.tile_cache import TileSet, open_cached
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import RunError
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.threads import ThreadGovernor

TURNS = 3
BUSY = (0, 1, 2)
WARM_SECONDS = 1.5  # memory is taken, kernels are chosen, and the lab looks at the machine
SECONDS = 4.0
# The same arithmetic on every processor, and whole tiles throughout, so that the rate stays what it is.
NETWORKS: dict[str, TrainConfig] = {
    "baseline": recipe_config("baseline", "tutorial", source="memory"),
    "tilenet": recipe_config("tilenet", "fast", precision="float32", channels_last=True, progressive_resizing=False),
}
WAYS = {"fixed": "fixed threads", "lab": "as the lab trains"}
PROMISES = {0: "≥ 0.97", 1: "≥ 0.45", 2: "≥ 0.3"}

_SPIN = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
print("busy", flush=True)
while True:
    pass
"""


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Training tiles per second of both ways beside none, one and two busy processes, in turn."""
    tiles = open_tiles(find_place(None, settings), settings.cache)
    rates: dict[tuple[str, str, int], list[float]] = {}
    for _ in range(TURNS):
        for network in NETWORKS:
            for way in WAYS:
                side = (tiles.cache, settings.threads, network, way, WARM_SECONDS, SECONDS)
                found = answer_of("bench.busy", *side)["rates"]
                for busy, rate in zip(BUSY, found, strict=True):
                    rates.setdefault((network, way, busy), []).append(float(rate))
                said = ", ".join(f"{rate:,.0f}" for rate in found)
                say(f"  {network}, {WAYS[way]}: {said} tiles/s beside {', '.join(map(str, BUSY))} busy processes")
    return {
        "about": f"float32 training on {computed_on(settings.threads)}; ratios: idle to fixed threads, beside busy "
        "processes to the same way idle (promised for two cores)",
        "rows": [_row(rates, network, way, busy) for network in NETWORKS for busy in BUSY for way in ("fixed", "lab")],
    }


def _row(rates: dict[tuple[str, str, int], list[float]], network: str, way: str, busy: int) -> dict[str, Any]:
    """One way of training beside so many busy processes, against what its promise is about."""
    values, ratio = rates[network, way, busy], None
    against = (network, way, 0) if busy else (network, "fixed", 0)
    if busy or way == "lab":
        ratio = statistics.median(values) / statistics.median(rates[against])
    name = f"{network} beside {busy} busy: {WAYS[way]}" if busy else f"{network} idle: {WAYS[way]}"
    return row(name, values, "tiles/s", ratio=ratio, promise=PROMISES[busy] if way == "lab" else "")


@contextmanager
def busy_processes(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes that each want a whole core, from the beginning of the block to its end.

    They end with the process that started them, too, however that ends. Raises `RunError` when one does not start.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_busy_process()) for _ in range(count)]


@contextmanager
def _busy_process() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-I", "-S", "-c", _SPIN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RunError("A process that keeps a core busy did not start.")
            yield process
        finally:
            process.kill()


def measured(tiles: TileSet, threads: int, network: str, way: str, warm: float, seconds: float) -> list[float]:
    """Training tiles per second beside each number of busy processes, a training of its own for each.

    For the lab's threads the busy processes are others, though this process has started them.
    """
    found = []
    for busy in BUSY:
        with busy_processes(busy):
            torch.set_num_threads(threads)
            governor = ThreadGovernor(threads) if way == "lab" else None  # as a job does it
            training = PulledTraining(NETWORKS[network], tiles, governor)
            training.rate(warm)
            found.append(training.rate(seconds))
            training.close()
    return found


def _main(cache: str, threads: str, network: str, way: str, warm: str, seconds: str) -> None:
    """One side's turn in its own process: prints its rates."""
    tiles = open_cached(Path(cache))
    print(json.dumps({"rates": measured(tiles, int(threads), network, way, float(warm), float(seconds))}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
