"""The frozen part computed once, against the whole network in every step: VGG11-BN, ten epochs, the same tiles.

Random weights serve: what is timed is the same work. Each side runs once in a process of its own, for the tutorial's
takes minutes. The heads that come out are compared.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.processes import answer_of, row
from eurosat_core.data.tile_cache import open_cached
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig, recipe_config

TILES, EPOCHS = 2400, 10
_HEAD = "classifier.6."


def _config(source: str) -> TrainConfig:
    # The tutorial's batches, optimizer and split; BatchNorm frozen on both sides, so that both compute the same.
    return recipe_config("vgg11_bn", "tutorial", source=source, epochs=EPOCHS, tiles=TILES, pretrained=False)


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Seconds of all ten epochs of both sides, caching included, and how far their heads are apart."""
    tiles = open_tiles(find_place(None, settings), settings.cache)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for source in ("features", "loader"):
            head = Path(folder) / f"{source}.pt"
            seconds[source] = answer_of("bench.frozen", tiles.cache, settings.threads, source, head)["seconds"]
            say(f"  {source}: {seconds[source]:.1f} s")
        apart = _apart(Path(folder))
    return {
        "about": f"VGG11-BN, {EPOCHS} epochs on {min(TILES, len(tiles))} tiles, batch 40, {settings.threads} CPU "
        f"threads; largest difference of the heads {apart:.1e}",
        "rows": [
            row("whole network in every step, DataLoader", [seconds["loader"]], "s"),
            row(
                "frozen part once, caching included",
                [seconds["features"]],
                "s",
                ratio=seconds["loader"] / seconds["features"],
                promise="≥ 10",
            ),
        ],
    }


def _apart(folder: Path) -> float:
    """The largest absolute difference between the two heads."""
    import torch

    one, other = (torch.load(folder / f"{source}.pt", weights_only=True) for source in ("features", "loader"))
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def _main(cache: str, threads: str, source: str, head: str) -> None:
    """Train one side, keep its head, print the seconds."""
    import torch

    from eurosat_core.training.loop import Checkpoint, train

    torch.set_num_threads(int(threads))
    tiles = open_cached(Path(cache))
    kept: list[Checkpoint] = []
    config = replace(_config(source), stratified=True)
    began = time.perf_counter()
    for _ in train(config, tiles, kept.append):
        pass
    taken = time.perf_counter() - began
    torch.save({name: value for name, value in kept[-1].weights.items() if name.startswith(_HEAD)}, head)
    print(json.dumps({"seconds": taken}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
