"""Batches for timed steps, so many for each turn, with nothing prepared outside it.

A DataLoader's workers go on preparing batches after the last one that was asked for, and would do so while another
setting is timed. So each turn is a whole pass over just as many tiles as it takes: then the workers come to an end.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from eurosat_core.data.batches import VALIDATION_BATCH, Batch, BatchSource
from eurosat_core.data.splits import Split
from eurosat_core.data.tiles import TileSet
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.sources import split_for, tile_source

__all__ = ["Feed"]

# More loader workers than cores are measured on purpose.
warnings.filterwarnings("ignore", message="This DataLoader will create")

_POOL = 6144  # tiles in memory to draw from, many times what caches hold; a GPU holds so many for every setting


class Feed:
    """The batches of one setting. Raises `DataError` when the tiles cannot be split as it asks.

    ahead: how many batches are prepared ahead; as many are given on top of those asked for, so that the last one that
    is timed is prepared beside others like the first.
    """

    def __init__(self, config: TrainConfig, tiles: TileSet) -> None:
        self._config = config
        self._tiles = tiles
        self._split = split_for(config, tiles)
        self._is_loader = config.source == "loader"
        self._source: BatchSource | None = None
        self._passes = (0, 0)  # batches in one pass of the loader's, training and validation
        self._endless: Iterator[Batch] | None = None
        self.ahead = config.workers * config.prefetch if self._is_loader else 0

    def open(self, train: int, validation: int) -> None:
        """Be ready to give so many training and validation batches a turn."""
        size = self._config.batch_size
        passes = (train + self.ahead, validation + self.ahead if validation else 1)
        if self._is_loader and passes != self._passes:
            self.close()
            part = Split(
                _filled(self._split.train, passes[0] * size), _filled(self._split.validation, passes[1] * size)
            )
            # Its tiles stay in the processor's memory, so that their way to the device is a part of its own.
            loads = replace(self._config, channels_last=False)
            self._source = tile_source(loads, self._tiles, part, torch.device("cpu"))
            self._passes = passes
        elif not self._is_loader and self._source is None:
            pool = max(size, min(len(self._split.train), _POOL))
            judged = max(size, VALIDATION_BATCH)
            part = Split(_filled(self._split.train, pool), _filled(self._split.validation, judged))
            self._source = tile_source(self._config, self._tiles, part, torch.device(self._config.device))
            self._endless = _full_batches(self._source, size)

    def train(self, number: int) -> Iterator[Batch]:
        """The training batches of a turn (number: of its round); endless where nothing is prepared ahead."""
        assert self._source is not None
        return self._endless or self._source.train(number + 1)

    def validation(self) -> Iterator[Batch]:
        """The validation batches of a turn; endless likewise."""
        assert self._source is not None
        if self._is_loader:
            return self._source.validation()
        return _round_and_round(self._source)

    def finish(self, batches: Iterator[Batch]) -> None:
        """Take what is left of a turn's batches, so that the loader workers come to an end."""
        if self._is_loader:
            for _ in batches:
                pass

    def close(self) -> None:
        """Let go of loader workers and of tiles on the device."""
        if self._source is not None:
            self._source.close()
        self._source, self._endless, self._passes = None, None, (0, 0)


def _filled(part: Tensor, tiles: int) -> Tensor:
    """So many tile numbers, the part's over and over."""
    return part[torch.arange(tiles) % len(part)]


def _full_batches(source: BatchSource, size: int) -> Iterator[Batch]:
    epoch = 0
    while True:
        epoch += 1
        yield from (each for each in source.train(epoch) if len(each.labels) == size)


def _round_and_round(source: BatchSource) -> Iterator[Batch]:
    while True:
        yield from source.validation()
