"""Which tiles a training learns from and is validated on, and how they come to it."""

from collections.abc import Generator
from dataclasses import replace
from itertools import count

import torch

from eurosat_core.data.batches import Batch, BatchSource, LoaderSource, MemorySource
from eurosat_core.data.splits import Split, make_place_split, make_split, parts_of
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import torch_device
from eurosat_core.errors import TrainingError
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.network import preprocessing_for
from eurosat_core.training.problems import shared_memory_problem


def split_for(config: TrainConfig, tiles: TileSet) -> Split:
    """The split that this config trains and validates on. Raises `DataError` when the tiles cannot be split so."""
    if config.split == "place":
        parts = torch.from_numpy(parts_of(tiles.names, tiles.cache.parent))
        return make_place_split(
            tiles.labels, parts, seed=config.seed, tiles=config.tiles, sealed_test=config.sealed_test
        )
    return make_split(
        tiles.labels,
        seed=config.seed,
        train_fraction=config.train_fraction,
        tiles=config.tiles,
        stratified=config.stratified,
        sealed_test=config.sealed_test,
    )


def tile_source(config: TrainConfig, tiles: TileSet, split: Split, device: torch.device) -> BatchSource:
    """The tiles, from picture files or from memory.

    Raises `TrainingError` where loader workers would find too little shared memory.
    """
    preprocessing = preprocessing_for(config.model, bool(config.channels_last), config.input_side)
    if config.source == "memory":
        return MemorySource(
            tiles,
            split,
            device,
            preprocessing,
            batch_size=config.batch_size,
            seed=config.seed,
            gather_later=config.execution == "graph",
        )
    if problem := shared_memory_problem(config, len(tiles)):
        raise TrainingError(problem)
    return LoaderSource(
        tiles,
        split,
        device,
        preprocessing,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        prefetch=config.prefetch,
        pin_memory=config.pin_memory,
    )


def source_to_copy_from(config: TrainConfig, tiles: TileSet, split: Split) -> BatchSource:
    """As `tile_source` on the config's device, but for `Trainer.step`, in which the copy is a part of its own.

    So a loader hands its tiles over in the processor's memory. Those from memory lie on the device beforehand.
    """
    if config.source == "loader":
        return tile_source(replace(config, channels_last=False), tiles, split, torch.device("cpu"))
    return tile_source(config, tiles, split, torch_device(config.device))


def full_batches(source: BatchSource, size: int) -> Generator[Batch, None, None]:
    """Training batches of one size without end; an epoch's smaller last one would be a faster step than the others."""
    for epoch in count(1):
        yield from (each for each in source.train(epoch) if len(each.labels) == size)
