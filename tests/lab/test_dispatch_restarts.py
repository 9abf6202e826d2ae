"""What a lab makes of the runs it finds on disk, and of those that another lab has."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import (
    CONFIG,
    CPU,
    GPU,
    NO_GPU,
    ON_GPU,
    FakeEngine,
    OpenFake,
    eventually,
    fake_lab,
    refused,
    running,
    started,
    step,
    tiles_used,
    wait_for_state,
)

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore


def test_a_restart_keeps_the_queue_and_marks_what_ran(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    finished_run = running(lab, engine)
    engine.work(finished_run.id)
    wait_for_state(lab, finished_run.id, "finished")
    ran = running(lab, engine, "ada")
    engine.tell(ran.id, started(), step(1))
    waited = [lab.submit(CONFIG, "ada"), lab.submit(CONFIG, "bob")]
    eventually(lambda: lab.results.history(ran.id).events == 2)
    lab.close()
    assert engine.closed and lab.store.get(ran.id).state == "interrupted" and "closed" in lab.store.get(ran.id).message
    assert [lab.store.get(each.id).state for each in waited] == ["queued", "queued"]

    again, engine = open_fake()
    engine.wait_for(waited[0].id)
    assert again.store.get(finished_run.id) == lab.store.get(finished_run.id)
    assert again.results.history(ran.id).events == 2
    engine.end(waited[0].id)
    engine.wait_for(waited[1].id)


def test_what_another_lab_runs_is_left_alone(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    waiting = lab.submit(CONFIG, "ada")
    other, other_engine = open_fake()
    assert other.store.get(run.id).state == "running"
    assert "not one of this server's" in refused(lambda: other.control(run.id, "ada", "stop"))
    # Both know of the waiting run; whoever has a place first takes it, and the other one lets it be.
    other_engine.wait_for(waiting.id)
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    mine = running(lab, engine, "bob")
    assert engine.order == [run.id, mine.id] and lab.store.get(waiting.id).state == "running"


def make(folder: Path, tiles: TileSet, config: Any = CONFIG, **changes: Any) -> RunRecord:
    """A run in the store of a lab that is not open."""
    store = RunStore(folder / "runs")
    return store.update(store.create(config, "ada", replace(tiles_used(tiles), **changes)).id)


def test_a_run_for_other_tiles_fails_with_a_sentence(tmp_path: Path, small_tiles: TileSet, open_fake: OpenFake) -> None:
    run = make(tmp_path, small_tiles, fingerprint="others")
    lab, _ = open_fake()
    assert "tiles have changed" in wait_for_state(lab, run.id, "failed").message
    assert lab.results.tiles_of(lab.store.get(run.id)) is None


@pytest.mark.parametrize("devices", [(CPU, NO_GPU), (CPU, replace(GPU, available=False, reason="Too old."))])
def test_a_run_for_a_device_that_is_gone_does_not_wait_for_ever(
    tmp_path: Path, small_tiles: TileSet, open_fake: OpenFake, devices: Any
) -> None:
    run = make(tmp_path, small_tiles, ON_GPU)
    lab, _ = open_fake(FakeEngine(devices))
    assert "Choose another device" in wait_for_state(lab, run.id, "failed").message
    assert lab.place(run.id) is None


def test_a_run_for_a_gpu_that_is_there_waits_until_it_is_known(
    tmp_path: Path, small_tiles: TileSet, open_fake: OpenFake
) -> None:
    run = make(tmp_path, small_tiles, ON_GPU)
    _, engine = open_fake(FakeEngine((CPU, GPU)))
    engine.wait_for(run.id)


def test_closing_without_having_opened(tmp_path: Path, small_tiles: TileSet) -> None:
    lab, engine = fake_lab(tmp_path, small_tiles)
    lab.close()
    Lab(lab.settings, engine).close()
    assert engine.closed
