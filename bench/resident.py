"""The lab's step on tiles in memory, against the plain one in which every operation stands by itself.

Both train the same network on the same tiles, in turns, in one process; on the first GPU where there is one. On a CPU
there is little to win: of tilenet's 260 ms a step (two cores with AVX-512 and bfloat16), what is not the network takes
six. What a GPU gains is to be measured on one.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bench.processes import answer_of, row
from bench.rates import computed_on
from eurosat_core.data.batches import Batch, epoch_order, normalize
from eurosat_core.data.tile_cache import TileSet, open_cached
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.settings import Settings
from eurosat_core.training.augmentation import in_symmetries
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.evaluation import Tally, wait_for
from eurosat_core.training.network import preprocessing_for, scores_of
from eurosat_core.training.precision import resolved
from eurosat_core.training.sources import split_for, tile_source
from eurosat_core.training.step import Mark, Trainer, make_optimizer, make_schedule, unmarked

NETWORKS = ("baseline", "tilenet")
TILES, EPOCHS, STEPS_A_TURN = 6000, 3, 20
PROMISE = "≥ 0.97"


class PlainTrainer(Trainer):
    """A trainer whose step does one thing after the other, as a tutorial would write it."""

    def __init__(self, config: TrainConfig, tiles: TileSet, *, steps: int) -> None:
        super().__init__(config, tiles, steps=steps)
        self._optimizer = make_optimizer(replace(config, device="cpu"), self.network)  # as PyTorch does it by itself
        self._schedule = make_schedule(config, self._optimizer, steps)
        self._augmentation._in_symmetries = in_symmetries
        self.loss = torch.zeros((), device=self.device)
        self.right = torch.zeros((), dtype=torch.int64, device=self.device)

    def learn(self, batch: Batch, mark: Mark = unmarked, tally: Tally | None = None) -> Tensor:
        """As `Trainer.learn`."""
        batch = self._augmentation.view(batch, self._steps_taken)
        with self._dropout.drawing():
            scores = scores_of(self.network, batch.tiles, self.config.precision)
        loss = functional.cross_entropy(scores, batch.labels)
        self.loss += loss.detach() * len(batch.labels)
        self.right += (scores.detach().argmax(1) == batch.labels).sum()
        smoothing = self.config.label_smoothing
        lowered = functional.cross_entropy(scores, batch.labels, label_smoothing=smoothing) if smoothing else loss
        lowered.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        if self._schedule is not None:
            self._schedule.step()
        self._steps_taken += 1
        return loss


class Side:
    """One training in memory, a few steps at a time. plain: by the plain step, on plainly normalised tiles."""

    def __init__(self, config: TrainConfig, tiles: TileSet, *, plain: bool) -> None:
        split = split_for(config, tiles)
        steps = config.epochs * -(-len(split.train) // config.batch_size)
        self._config = config
        self.trainer = PlainTrainer(config, tiles, steps=steps) if plain else Trainer(config, tiles, steps=steps)
        self._source = tile_source(config, tiles, split, self.trainer.device)
        self._pixels, self._labels = (
            each[split.train].to(self.trainer.device) for each in (tiles.pixels, tiles.labels)
        )
        self._batches = self._plainly() if plain else self._as_the_lab()
        self._tally = Tally.on(self.trainer.device)

    def _as_the_lab(self) -> Iterator[Batch]:
        for epoch in range(1, self._config.epochs + 1):
            yield from self._source.train(epoch)

    def _plainly(self) -> Iterator[Batch]:
        preprocessing = preprocessing_for(self._config.model, bool(self._config.channels_last), self._config.input_side)
        for epoch in range(1, self._config.epochs + 1):
            order = epoch_order(len(self._labels), self._config.seed, epoch).to(self.trainer.device)
            for chosen in order.split(self._config.batch_size):
                yield Batch(normalize(self._pixels[chosen], preprocessing), self._labels[chosen])

    def rate(self, steps: int) -> float | None:
        """Tiles per second of the next steps; None at the end of the training."""
        self.trainer.mode(training=True)
        wait_for(self.trainer.device)
        began, tiles = time.perf_counter(), 0
        for batch in islice(self._batches, steps):
            self.trainer.learn(batch, tally=self._tally)
            tiles += len(batch.labels)
        wait_for(self.trainer.device)
        return tiles / (time.perf_counter() - began) if tiles else None

    def accuracy(self) -> float:
        """On the validation part."""
        self.trainer.mode(training=False)
        tally = Tally.on(self.trainer.device)
        for batch in self._source.validation():
            self.trainer.validate(batch, tally)
        return tally.means()[1]


def measured(tiles: TileSet, config: TrainConfig, steps_a_turn: int = STEPS_A_TURN) -> dict[str, Any]:
    """Rates of all turns but the first, and accuracy at the end, of the `plain` and of the `lab`'s step."""
    config, _ = resolved(config)
    sides = {"plain": Side(config, tiles, plain=True), "lab": Side(config, tiles, plain=False)}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    going = True
    while going:
        for name, side in sides.items():
            rate = side.rate(steps_a_turn)
            going = rate is not None
            if rate is not None:
                rates[name].append(rate)
    return {
        "form": f"{config.precision}, channels {'last' if config.channels_last else 'first'}, {config.device}",
        "rates": {name: values[1:] or values for name, values in rates.items()},
        "accuracy": {name: side.accuracy() for name, side in sides.items()},
    }


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Tiles per second of both steps, for the baseline and tilenet by their fast recipes."""
    tiles = open_tiles(find_place(None, settings), settings.cache)
    rows = []
    for network in NETWORKS:
        found = answer_of("bench.resident", tiles.cache, settings.threads, network)
        plain, lab = found["rates"]["plain"], found["rates"]["lab"]
        words = {name: f"{network}, {name} step, accuracy {each:.1%}" for name, each in found["accuracy"].items()}
        ratio = statistics.median(lab) / statistics.median(plain)
        rows.append(row(words["plain"], plain, "tiles/s"))
        rows.append(row(f"{words['lab']} ({found['form']})", lab, "tiles/s", ratio=ratio, promise=PROMISE))
        say(f"  {network}: {ratio:.3f} times the plain step's tiles a second")
    about = f"training steps on {min(TILES, len(tiles)):,} tiles, {EPOCHS} epochs; {computed_on(settings.threads)}"
    return {"about": about, "rows": rows}


def _main(cache: str, threads: str, network: str) -> None:
    torch.set_num_threads(int(threads))
    tiles = open_cached(Path(cache))
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    config = recipe_config(network, "fast", device=device, tiles=min(TILES, len(tiles)), epochs=EPOCHS)
    print(json.dumps(measured(tiles, config)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
