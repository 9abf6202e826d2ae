"""Batches from memory and from a `DataLoader`: the same, and torchvision's; and how loader workers start and end."""

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
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
from eurosat_core.data.tile_cache import TileSet, open_synthetic
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError
from eurosat_core.training import problems
from eurosat_core.training.problems import free_shared_memory, loader_bytes
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


@pytest.mark.parametrize("side", [64, 80])
def test_loader_and_memory_give_the_same(side: int, open_source: Callable[..., Source]) -> None:
    loader, memory = (open_source(kind, replace(HALF, side=side)) for kind in ("loader", "memory"))
    assert next(memory.train(1)).shape == (40, 3, side, side)
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


TILE = 3 * 64 * 64 * 4
TRAIN = """
import sys
from pathlib import Path

from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import TrainingError
from eurosat_core.training import problems
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.loop import train

if __name__ == "__main__":
    if sys.argv[2] == "later":  # as when another run takes the rest meanwhile
        problems.free_shared_memory = lambda: None
    config = TrainConfig(epochs=1, batch_size=40, workers=1, tiles=200)
    try:
        print("steps:", sum(1 for _ in train(config, open_tiles(None, Path(sys.argv[1])))))
    except TrainingError as error:
        print("refused:", error)
"""


def test_all_batches_ahead_and_the_one_that_is_computed() -> None:
    for workers, prefetch, batch in ((1, 2, 40), (2, 4, 128), (3, 3, 64)):
        needed = loader_bytes(batch, workers, prefetch, 27_000)
        assert 1 <= needed / ((workers * prefetch + 1) * batch * TILE) < 1.02


def test_a_small_set_needs_no_more_than_itself() -> None:
    assert loader_bytes(40, 8, 8, 100) < 100 * TILE * 1.02
    assert loader_bytes(4096, 1, 1, 100) < 100 * TILE * 1.02


def test_without_workers_nothing_is_handed_over() -> None:
    assert loader_bytes(4096, 0, 2, 27_000) == 0
    assert loader_bytes(40, 2, 2, 27_000, side=128) == pytest.approx(4 * loader_bytes(40, 2, 2, 27_000), rel=0.01)


def test_free_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(problems, "SHARED_MEMORY", tmp_path)
    status = namedtuple("status", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda _place: status(16, 4096), raising=False)
    assert free_shared_memory() == 65_536
    monkeypatch.setattr(problems, "SHARED_MEMORY", tmp_path / "none")
    assert free_shared_memory() == 0, "workers cannot even be started then"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert free_shared_memory() is None


@pytest.fixture
def small_shared_memory() -> list[str]:
    """The beginning of a command that runs the rest with a real /dev/shm of so many kilobytes, its last argument."""
    for unshare in (["unshare", "-m"], ["unshare", "-Urm"]):
        begin = [*unshare, "sh", "-c", 'mount -t tmpfs -o size="$0"k tmpfs /dev/shm && exec "$@"']
        if shutil.which("unshare") and subprocess.run([*begin, "64", "true"], capture_output=True).returncode == 0:
            return begin
    pytest.skip("a /dev/shm of another size cannot be mounted here")


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the synthetic tiles, which take seconds to paint."""
    cache = tmp_path_factory.mktemp("cache")
    open_synthetic(cache)
    return cache


@pytest.mark.parametrize(
    ("kilobytes", "when", "said"),
    [
        (65_536, "before", ["steps:"]),  # what a container has
        (4_096, "before", ["refused:", "5.7 MB", "4.0 MB", "--shm-size"]),
        (1_976, "later", ["refused:", "is full", "--shm-size"]),  # room for 40 tiles, none for their labels: no hang
    ],
)
def test_a_training_in_little_shared_memory(
    small_shared_memory: list[str], synthetic: Path, tmp_path: Path, kilobytes: int, when: str, said: list[str]
) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    done = subprocess.run(
        [*small_shared_memory, str(kilobytes), sys.executable, str(tmp_path / "train.py"), str(synthetic), when],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert [each for each in said if each not in done.stdout] == [], done.stdout + done.stderr[-2000:]
