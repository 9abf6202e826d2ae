"""Processes of a `DataLoader` start warm where there is a fork server, and none of them ends by Ctrl-C."""

import signal
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

from eurosat_core.data import loader_workers
from eurosat_core.data.batches import LoaderSource, Preprocessing
from eurosat_core.data.loader_workers import warm_loader_workers, worker_context
from eurosat_core.data.splits import make_split
from eurosat_core.data.tiles import TileSet


def test_no_fork_server_no_warming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_workers, "_HAS_FORKSERVER", False)
    warm_loader_workers()  # nothing to do, nothing breaks
    assert worker_context().get_start_method() == "spawn"


@pytest.mark.skipif(not loader_workers._HAS_FORKSERVER, reason="this system has no fork server")
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
