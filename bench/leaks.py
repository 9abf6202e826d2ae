"""The leak lens over all tiles and both splits, as the server does it: seconds on one thread, and memory.

Drawn features serve where a run has kept none: what is timed is the same work.
"""

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.processes import answer_of, row
from eurosat_core.settings import Settings

TILES, FEATURES = 27_000, 2096
_LOOK_SECONDS = 0.01


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds and megabytes of a process of its own, three times."""
    found = []
    for _ in range(3):
        found.append(answer_of("bench.leaks"))
        say(f"  {found[-1]['seconds']:.1f} s, {found[-1]['megabytes']:.0f} MB")
    return {
        "about": f"{TILES:,} tiles, {FEATURES} features each, random and by place, from features on one CPU thread",
        "rows": [
            row("both splits", [each["seconds"] for each in found], "s", promise="< 5 s"),
            row("memory, the mapped features with it", [each["megabytes"] for each in found], "MB", promise="< 500 MB"),
        ],
    }


class _Peak:
    """The most memory of this process above what it had, in megabytes; with the mapped features, once they are read."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._before = self._most = self._now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _now(self) -> int:
        return int(self._process.memory_info().rss)

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self._most = max(self._most, self._now())

    def stop(self) -> float:
        self._over.set()
        self._thread.join()
        return (self._most - self._before) / 1024**2


def _main() -> None:
    import numpy as np
    import torch

    from eurosat_core.data.splits import make_place_split, make_split
    from eurosat_core.training.near_duplicates import find_space, joined, nearest, placed

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.f32"
        with path.open("wb") as file:
            for _ in range(TILES // 1000):
                file.write(torch.rand(1000, FEATURES, generator=generator).numpy().tobytes())
        features = torch.from_file(str(path), size=TILES * FEATURES, dtype=torch.float32).view(TILES, FEATURES)
        labels = torch.arange(TILES) % 10
        parts = torch.from_numpy(np.repeat([0, 1, 2], [16_200, 5_400, 5_400]))
        torch.rand(64, 64) @ torch.rand(64, 64)  # the libraries are there
        peak, began = _Peak(), time.perf_counter()
        *_, space = find_space(features, torch.arange(TILES))
        assert space is not None
        places = torch.cat(list(placed(space, features)))
        place = make_place_split(labels, parts, seed=0, sealed_test=True)
        random = make_split(labels, seed=0, sealed_test=True)
        asked = ((place.test, place.train), (place.validation, place.train), (random.validation, random.train))
        for queries, training in asked:
            joined(list(nearest(places, queries, training)))
        print(json.dumps({"seconds": time.perf_counter() - began, "megabytes": peak.stop()}))


if __name__ == "__main__":
    _main()
