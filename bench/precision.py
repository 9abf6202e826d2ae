"""What `precision="auto"` comes to on this processor, against each precision forced.

Every try is a process of its own, which knows nothing of the machine, so that it tries the precisions as a fresh lab
does. Its three sides then take turns in short stretches of training steps; of EfficientNet-Lite0 it is the frozen
part's computing, which is nearly all of its work.
"""

import json
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bench.processes import answer_of, row
from bench.rates import PulledTraining, computed_on
from eurosat_core.data.tile_cache import TileSet, open_cached
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.machine_notes import machine_notes
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.precision import resolved

TRIES = 3
TURNS = 2  # in each try
SECONDS = 1.5  # of a turn; one slow step may take longer, and is a turn then
_WARM_SECONDS = 0.3
# Random weights do the same work, and their features are not kept, so that every turn computes them.
NETWORKS: dict[str, TrainConfig] = {
    "baseline": recipe_config("baseline", "fast"),
    "tilenet": recipe_config("tilenet", "fast", progressive_resizing=False),
    "efficientnet_lite0": recipe_config("efficientnet_lite0", "fast", pretrained=False),
}
FORCED = ("float32", "bfloat16")
RESOLVED = "resolved"
PROMISE = "≥ 0.95"


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Tiles per second of each network with either precision forced and as resolved; what was resolved, and why."""
    tiles = open_tiles(find_place(None, settings), settings.cache)
    rows = []
    for network in NETWORKS:
        tries = []
        for _ in range(TRIES):
            tries.append(answer_of("bench.precision", tiles.cache, settings.threads, network, TURNS, SECONDS))
            found = tries[-1]
            each = ", ".join(f"{side} {statistics.median(values):,.0f}" for side, values in found["rates"].items())
            say(f"  {network}: {each} tiles/s; resolved to {found['choice']}")
        rows += _rows(network, tries)
    return {"about": f"on {computed_on(settings.threads)}; ratio to the better precision", "rows": rows}


def _rows(network: str, tries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Both precisions forced, then as resolved."""
    rates = {side: [rate for each in tries for rate in each["rates"][side]] for side in (*FORCED, RESOLVED)}
    chosen = Counter(each["choice"] for each in tries).most_common()
    names = [name if len(chosen) == 1 else f"{name} in {count} of {len(tries)}" for name, count in chosen]
    gains = [each["gain"] for each in tries if each["gain"] is not None]
    if gains:
        names[-1] += f", bfloat16 {statistics.median(gains):.2f} times as fast when tried"
    better = max(statistics.median(rates[side]) for side in FORCED)
    ratio = statistics.median(rates[RESOLVED]) / better
    return [
        *(row(f"{network}: {side} forced", rates[side], "tiles/s") for side in FORCED),
        row(f"{network}: resolved to {'; '.join(names)}", rates[RESOLVED], "tiles/s", ratio=ratio, promise=PROMISE),
    ]


def measured(tiles: TileSet, threads: int, config: TrainConfig, turns: int, seconds: float) -> dict[str, Any]:
    """What `config` is resolved to where nothing is known, and why; tiles per second of every side, turn by turn.

    gain: how many times as fast bfloat16 was when it was tried; None when it was not.
    """
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        notes = machine_notes(Path(folder), threads)
        settled, choice = resolved(config, notes)
        # The layout stays open, so that each precision has the one that suits it.
        configs = {side: resolved(replace(config, precision=side), notes)[0] for side in FORCED}
    sides = {side: PulledTraining(each, tiles) for side, each in {**configs, RESOLVED: settled}.items()}
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for training in sides.values():
        training.rate(_WARM_SECONDS)
    for turn in range(turns):
        for side in sides if turn % 2 == 0 else reversed(sides):
            rates[side].append(sides[side].rate(seconds))
    for training in sides.values():
        training.close()
    words = settled.precision + (", channels-last" if settled.channels_last else "")
    if choice is None:  # nothing was open
        return {"choice": words, "gain": None, "rates": rates}
    return {"choice": f"{words} ({choice.why})", "gain": choice.ratio, "rates": rates}


def _main(cache: str, threads: str, network: str, turns: str, seconds: str) -> None:
    """One try in its own process: prints what was chosen and the rates."""
    tiles = open_cached(Path(cache))
    print(json.dumps(measured(tiles, int(threads), NETWORKS[network], int(turns), float(seconds))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
