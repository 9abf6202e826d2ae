"""The time to an accuracy: a short training, judged now and then on some validation tiles, until it is good enough.

Judging stands outside the clock, and happens after a number of tiles, not of seconds: so on a CPU the same training is
found good enough after the same step every time, and only how long its steps take differs.
"""

import time
from collections.abc import Callable, Generator, Iterator

import torch

from eurosat_core.data.batches import Batch
from eurosat_core.data.tiles import TileSet
from eurosat_core.speed.clocks import NO_CLOCK
from eurosat_core.speed.events import Learned
from eurosat_core.speed.steps import Trainer
from eurosat_core.speed.turns import Learning
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.network import evaluation_batches, scores_of, without_lone_tile
from eurosat_core.training.problems import explained
from eurosat_core.training.sources import split_for, tile_source
from eurosat_core.training.tally import wait_for

__all__ = ["JUDGED_TILES", "learn"]

JUDGED_TILES = 1000
_EVERY_TILES = 1000  # trained on between two looks


def learn(
    config: TrainConfig,
    tiles: TileSet,
    cell: int,
    target: float,
    seconds: float,
    keep: Callable[[Learning], None],
    since: Callable[[], float],
) -> Generator[Learned, None, None]:
    """Train until `target` of the judged tiles are named correctly, for at most `seconds`, the judging included.

    keep: called with how far it is after every look. since: seconds since the measurement began, for the events.
    Raises `TrainingError` and `DataError` with a sentence.
    """
    began = time.perf_counter()
    with explained(config):
        attempt = _Attempt(config, tiles)
    points: list[tuple[float, float]] = []
    try:
        while (left := seconds - (time.perf_counter() - began)) > 0:
            with explained(config):
                attempt.train(_EVERY_TILES, left)
                accuracy = attempt.accuracy()
            points.append((attempt.seconds, accuracy))
            reached = accuracy >= target
            keep(Learning(target, reached, attempt.seconds, attempt.tiles, attempt.judged_tiles, tuple(points)))
            yield Learned(cell, since(), accuracy, attempt.seconds)
            if reached:
                return
    finally:
        attempt.close()


class _Attempt:
    """The moving parts of one training to an accuracy. seconds, tiles: of training, up to now."""

    def __init__(self, config: TrainConfig, tiles: TileSet) -> None:
        self._config = config
        self._device = torch.device(config.device)
        self._trainer = Trainer(config, tiles)
        split = split_for(config, tiles)
        self._source = tile_source(config, tiles, split, self._device)
        self._batches = self._epochs()
        chosen = torch.randperm(len(split.validation), generator=torch.Generator().manual_seed(config.seed))
        judged = split.validation[chosen[:JUDGED_TILES]]
        self._judged = list(evaluation_batches(config, tiles, judged))
        self.judged_tiles = len(judged)
        self.seconds = 0.0
        self.tiles = 0

    def _epochs(self) -> Iterator[Batch]:
        epoch = 0
        while True:
            epoch += 1
            yield from without_lone_tile(self._source.train(epoch), self._trainer.network, self._config)

    def train(self, tiles: int, seconds: float) -> None:
        """On so many tiles more (whole batches), unless the seconds are over before."""
        self._trainer.mode(training=True)
        began, until = time.perf_counter(), self.tiles + tiles
        while self.tiles < until and time.perf_counter() - began < seconds:
            self.tiles += self._trainer.step(self._batches, NO_CLOCK)
        wait_for(self._device)
        self.seconds += time.perf_counter() - began

    def accuracy(self) -> float:
        """The share of the judged tiles that are named correctly now."""
        self._trainer.mode(training=False)
        right = 0
        with torch.no_grad():
            for batch in self._judged:
                layout = torch.channels_last if self._config.channels_last else torch.contiguous_format
                tiles = batch.tiles.to(self._device, memory_format=layout)
                said = scores_of(self._trainer.network, tiles, self._config.precision).argmax(1)
                right += int((said.cpu() == batch.labels).sum())
        return right / self.judged_tiles

    def close(self) -> None:
        self._source.close()
