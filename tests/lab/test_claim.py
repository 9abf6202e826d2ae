"""A waiting run is taken for this server: locked, noted as running, made a job; or left with the reason."""

from pathlib import Path

import pytest
from fake_engine import CONFIG, tiles_used

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab.queue import Waiting, claim
from eurosat_core.runs.store import RunStore


def test_a_claimed_run_is_running_and_locked_until_it_is_let_go(tmp_path: Path, small_tiles: TileSet) -> None:
    store = RunStore(tmp_path)
    record = store.create(CONFIG, "ada", tiles_used(small_tiles), plan={"alone": True})
    claimed = claim(store, Waiting(record.id, "ada", "cpu"), small_tiles, threads=3)
    assert claimed is not None
    job, held = claimed
    assert (job.run_id, job.config, job.fingerprint, job.threads, job.kind, job.plan) == (
        record.id,
        CONFIG,
        small_tiles.fingerprint,
        3,
        "train",
        {"alone": True},
    )
    assert store.get(record.id).state == "running" and store.get(record.id).started
    with pytest.raises(RunError, match="another process"):
        store.lock(record.id)
    held.release()
    store.lock(record.id).release()


def test_a_run_that_ended_meanwhile_stays_as_it_is_and_is_not_held(tmp_path: Path, small_tiles: TileSet) -> None:
    store = RunStore(tmp_path)
    record = store.create(CONFIG, "ada", tiles_used(small_tiles))
    store.end(record.id, "cancelled", "It was stopped while it waited.")
    assert claim(store, Waiting(record.id, "ada", "cpu"), small_tiles, threads=1) is None
    assert store.get(record.id).state == "cancelled"
    store.lock(record.id).release()


def test_a_run_whose_folder_is_gone_is_passed_over(tmp_path: Path, small_tiles: TileSet) -> None:
    assert claim(RunStore(tmp_path), Waiting("20260101-000000-baseline-0000", "ada", "cpu"), small_tiles, 1) is None
