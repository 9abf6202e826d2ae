"""Batches from memory and from a `DataLoader`: the same, and torchvision's; and how loader workers start and end."""

import multiprocessing
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from fake_engine import eventually
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from eurosat_core.data import batches as module
from eurosat_core.data.batches import (
    Batch,
    LoaderSource,
    MemorySource,
    Preprocessing,
    epoch_order,
    normalize,
    normalize_in_one,
    warm_loader_workers,
    worker_context,
)
from eurosat_core.data.splits import Split, make_split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError
from tests.lab.test_server_death import gone
from tests.tiff_makers import make_tiff

HALF = Preprocessing((0.5,) * 3, (0.5,) * 3)
IMAGENET = Preprocessing((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CPU = torch.device("cpu")
Source = LoaderSource | MemorySource
ROOT = Path(__file__).parents[2]
READER = """
import sys, time
from pathlib import Path
import torch
from eurosat_core.data.batches import LoaderSource, Preprocessing
from eurosat_core.data.splits import make_split
from eurosat_core.data.tiles import open_tiles

tiles = open_tiles(Path(sys.argv[1]), Path(sys.argv[2]))
halves = Preprocessing((0.5,) * 3, (0.5,) * 3)
split = make_split(tiles.labels, seed=1)
source = LoaderSource(tiles, split, torch.device("cpu"), halves, batch_size=8, seed=1, workers=2)
batches = source.train(1)
next(batches)
print("reading", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def split(small_tiles: TileSet) -> Split:
    return make_split(small_tiles.labels, seed=1)


@pytest.fixture
def open_source(small_tiles: TileSet, split: Split) -> Iterator[Callable[..., Source]]:
    """Function: a source of the small tiles' batches, closed at the end."""
    opened: list[Source] = []

    def open_one(kind: str, preprocessing: Preprocessing = HALF, seed: int = 42, **options: object) -> Source:
        make = MemorySource if kind == "memory" else LoaderSource
        if kind == "loader":
            options = {"workers": 0, **options}
        opened.append(
            make(small_tiles, split, CPU, preprocessing, batch_size=40, seed=seed, **options)  # type: ignore[arg-type]
        )
        return opened[-1]

    yield open_one
    for source in opened:
        source.close()


def joined(batches: Iterator[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    tiles, labels = zip(*((batch.tiles, batch.labels) for batch in batches), strict=True)
    return torch.cat(tiles), torch.cat(labels)


def assert_same_batches(one: Iterator[Batch], other: Iterator[Batch]) -> None:
    (tiles, labels), (other_tiles, other_labels) = joined(one), joined(other)
    assert torch.equal(labels, other_labels)
    torch.testing.assert_close(tiles, other_tiles, rtol=0, atol=1e-6)


def tutorial_tile(tiles: TileSet, number: int, preprocessing: Preprocessing) -> torch.Tensor:
    """Torchvision's own pipeline, from the picture's file."""
    pipeline = transforms.Compose(
        [
            transforms.Resize((64, 64)),
            transforms.ToTensor(),
            transforms.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    with Image.open(Path(tiles.place) / tiles.names[number]) as picture:
        return pipeline(picture.convert("RGB"))


@pytest.mark.parametrize("kind", ["loader", "memory"])
@pytest.mark.parametrize("preprocessing", [HALF, IMAGENET], ids=["half", "imagenet"])
def test_tiles_are_torchvisions(
    kind: str, preprocessing: Preprocessing, open_source: Callable[..., Source], small_tiles: TileSet, split: Split
) -> None:
    tiles, labels = joined(open_source(kind, preprocessing).validation())
    assert labels.tolist() == small_tiles.labels[split.validation].tolist()
    expected = torch.stack([tutorial_tile(small_tiles, at, preprocessing) for at in split.validation.tolist()])
    torch.testing.assert_close(tiles, expected, rtol=0, atol=2e-6 if preprocessing is IMAGENET else 1e-6)


@pytest.mark.parametrize("kind", ["loader", "memory"])
def test_an_epoch_visits_every_training_tile_once_and_leaves_the_global_generator_alone(
    kind: str, open_source: Callable[..., Source], small_tiles: TileSet, split: Split
) -> None:
    before = torch.get_rng_state()
    source = open_source(kind)
    batches = list(source.train(1))
    assert [len(batch.labels) for batch in batches] == [40, 40, 40, 30]
    tiles, labels = joined(iter(batches))
    assert sorted(labels.tolist()) == sorted(small_tiles.labels[split.train].tolist())
    assert len({tile.numpy().tobytes() for tile in tiles}) == len(split.train)
    assert len(list(source.validation())) == source.validation_steps
    assert torch.equal(torch.get_rng_state(), before)


def test_loader_and_memory_give_the_same(open_source: Callable[..., Source]) -> None:
    loader, memory = open_source("loader"), open_source("memory")
    for epoch in (1, 2):
        assert_same_batches(loader.train(epoch), memory.train(epoch))
    assert_same_batches(loader.validation(), memory.validation())


def test_loader_and_memory_give_the_same_of_thirteen_bands(tmp_path: Path) -> None:
    """Pictures that are opened one by one get the scale of the whole set."""
    drawn = np.random.default_rng(3)
    for name, most in (("Forest", 800), ("Snow", 9000)):  # of one class, or of both, another range would be chosen
        for number in range(6):
            path = tmp_path / "tiles" / name / f"{number}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(make_tiff(drawn.integers(0, most, (64, 64, 13)).astype(np.uint16)))
    tiles = open_tiles(tmp_path / "tiles", tmp_path / "cache")
    assert tiles.array[:6].mean() < tiles.array[6:].mean() - 50
    split = make_split(tiles.labels, seed=0)
    loader = LoaderSource(tiles, split, CPU, HALF, batch_size=4, seed=0, workers=0)
    memory = MemorySource(tiles, split, CPU, HALF, batch_size=4, seed=0)
    assert_same_batches(loader.train(1), memory.train(1))


def test_loader_workers_give_the_same(open_source: Callable[..., Source]) -> None:
    warm_loader_workers()
    busy, plain = open_source("loader", workers=2), open_source("loader")
    before = torch.get_rng_state()
    for epoch in (1, 2):  # the workers outlive an epoch, so the second one must be told its own order
        assert_same_batches(busy.train(epoch), plain.train(epoch))
    assert torch.equal(torch.get_rng_state(), before)
    assert len(multiprocessing.active_children()) == 2
    busy.close()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("kind", ["loader", "memory"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_memory_order(kind: str, channels_last: bool, open_source: Callable[..., Source]) -> None:
    batch = next(open_source(kind, replace(HALF, channels_last=channels_last)).train(1))
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.tiles.is_contiguous(memory_format=wanted)
    assert (batch.tiles.shape, batch.tiles.dtype) == ((40, 3, 64, 64), torch.float32)
    assert torch.equal(batch.tiles, next(open_source(kind).train(1)).tiles)


@given(
    count=st.integers(1, 500),
    seeds=st.tuples(*[st.integers(0, 2**31 - 1)] * 2),
    epochs=st.tuples(*[st.integers(1, 200)] * 2),
)
def test_order_is_a_permutation(count: int, seeds: tuple[int, int], epochs: tuple[int, int]) -> None:
    orders = [epoch_order(count, seed, epoch) for seed, epoch in zip(seeds, epochs, strict=True)]
    assert all(sorted(order.tolist()) == list(range(count)) for order in orders)
    if count > 20:  # two epochs, or two seeds, share an order only by a chance that is none
        assert torch.equal(*orders) == ((seeds[0], epochs[0]) == (seeds[1], epochs[1]))


@pytest.mark.parametrize("preprocessing", [HALF, IMAGENET, replace(IMAGENET, channels_last=True)])
def test_in_one_operation_tiles_are_normalised_up_to_rounding(
    small_tiles: TileSet, preprocessing: Preprocessing
) -> None:
    pixels = small_tiles.pixels[:3].clone()
    expected, found = normalize(pixels, preprocessing), normalize_in_one(pixels, preprocessing)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert found.stride() == expected.stride() and torch.equal(pixels, small_tiles.pixels[:3])


def test_memory_source_copies_the_split_to_another_device_once(
    small_tiles: TileSet, split: Split, open_source: Callable[..., Source]
) -> None:
    # The "meta" device has shapes but no numbers, so the way over a GPU can be walked without one.
    source = MemorySource(small_tiles, split, torch.device("meta"), HALF, batch_size=40, seed=42)
    shapes = [batch.tiles.shape for batch in source.train(1)]
    assert shapes == [batch.tiles.shape for batch in open_source("memory").train(1)]
    assert all(batch.tiles.device.type == "meta" for batch in source.validation())


def test_synthetic_tiles_come_from_the_cache(small_tiles: TileSet, split: Split) -> None:
    unplaced = replace(small_tiles, place="")
    source = LoaderSource(unplaced, split, CPU, HALF, batch_size=40, seed=42, workers=0)
    memory = MemorySource(small_tiles, split, CPU, HALF, batch_size=40, seed=42)
    assert_same_batches(source.train(1), memory.train(1))


def test_dataset_travels_without_its_pixels(small_tiles: TileSet, split: Split) -> None:
    dataset = module._Pictures(replace(small_tiles, place=""), split.train, HALF)
    size = len(pickle.dumps(dataset))
    assert size < 100_000 < small_tiles.pixels.numel()
    assert torch.equal(pickle.loads(pickle.dumps(dataset))[0][0], dataset[0][0])


def test_a_cache_that_is_gone_is_told(small_folder: Callable[..., Path], tmp_path: Path) -> None:
    tiles = open_tiles(small_folder(tmp_path / "place"), tmp_path / "cache")
    dataset = module._Pictures(replace(tiles, place=""), torch.arange(2), HALF)
    shutil.rmtree(tiles.cache)
    with pytest.raises(DataError):
        dataset[0]


def test_normalize_brings_nothing_to_the_device_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy from the host's ordinary memory waits until a GPU has done all that it was given before."""
    pixels = torch.zeros(2, 64, 64, 3, dtype=torch.uint8, device="meta")
    normalize(pixels, IMAGENET)
    made: list[object] = []
    monkeypatch.setattr(torch, "tensor", lambda *values, **_options: made.append(values))
    assert normalize(pixels, IMAGENET).device.type == "meta" and not made


# --- loader workers start warm, are deaf to Ctrl-C, and end with their reader ---


def test_no_fork_server_no_warming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HAS_FORKSERVER", False)
    warm_loader_workers()  # nothing to do, nothing breaks
    assert worker_context().get_start_method() == "spawn"


@pytest.mark.skipif(not module._HAS_FORKSERVER, reason="this system has no fork server")
def test_from_its_first_moment_a_worker_is_deaf_to_interrupts() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    warm_loader_workers()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before  # this process still hears them
    with ProcessPoolExecutor(1, mp_context=worker_context()) as pool:
        assert signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result()


def test_a_worker_that_was_spawned_ignores_them(open_source: Callable[..., Source]) -> None:
    source = open_source("loader")
    assert isinstance(source, LoaderSource)
    before = signal.getsignal(signal.SIGINT)
    try:
        for loader in source._loaders.values():
            signal.signal(signal.SIGINT, signal.default_int_handler)
            assert loader.worker_init_fn is not None
            loader.worker_init_fn(0)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_no_worker_outlives_a_reader_that_was_killed(small_tiles: TileSet) -> None:
    """Nor does their fork server, which would keep their memory until the machine is started anew."""
    command = [sys.executable, "-c", READER, small_tiles.place, str(small_tiles.cache.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as reader:
        family: list[psutil.Process] = []
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "reading\n"
            family = psutil.Process(reader.pid).children(recursive=True)
            assert len(family) >= 2
            reader.kill()
            reader.wait()
            eventually(lambda: all(map(gone, family)), 60)
        finally:
            reader.kill()
            for each in family:
                if not gone(each):
                    each.kill()
