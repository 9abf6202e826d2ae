"""Processes of a `DataLoader` start warm where there is a fork server, are deaf to Ctrl-C, end with their reader."""

import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch
from fake_engine import eventually

from eurosat_core.data import batches
from eurosat_core.data.batches import LoaderSource, Preprocessing, warm_loader_workers, worker_context
from eurosat_core.data.splits import make_split
from eurosat_core.data.tile_cache import TileSet
from tests.lab.test_server_death import gone

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


def test_no_fork_server_no_warming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_HAS_FORKSERVER", False)
    warm_loader_workers()  # nothing to do, nothing breaks
    assert worker_context().get_start_method() == "spawn"


@pytest.mark.skipif(not batches._HAS_FORKSERVER, reason="this system has no fork server")
def test_from_its_first_moment_a_worker_is_deaf_to_interrupts() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    warm_loader_workers()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before  # this process still hears them
    with ProcessPoolExecutor(1, mp_context=worker_context()) as pool:
        assert signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result()


def test_a_worker_that_was_spawned_ignores_them(small_tiles: TileSet) -> None:
    source = LoaderSource(
        small_tiles,
        make_split(small_tiles.labels, seed=1),
        torch.device("cpu"),
        Preprocessing((0.5,) * 3, (0.5,) * 3),
        batch_size=8,
        seed=1,
        workers=0,
    )
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
