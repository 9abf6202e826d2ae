import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import (
    CONFIG,
    CPU,
    GPU,
    NO_GPU,
    Closing,
    FakeEngine,
    OpenFake,
    epoch_done,
    eventually,
    lab_settings,
    raising,
    refused,
    started,
    step,
    told,
    wait_for_state,
)

from eurosat_core.data import tiles
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import Device, cpu_device
from eurosat_core.errors import ConfigError, DataError
from eurosat_core.lab import lab as module
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab, current_lab, open_lab, set_current_lab
from eurosat_core.runs.record import TilesUsed
from eurosat_core.training.config import Architecture


def test_an_open_lab_knows_tiles_devices_and_speeds(open_fake: OpenFake, small_tiles: TileSet) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    tiles = lab.tiles()
    assert tiles.tile_set is not None and tiles.tile_set.fingerprint == small_tiles.fingerprint
    assert (tiles.done, tiles.total, tiles.problem) == (200, 200, "")
    assert lab.devices() == (CPU, GPU) and lab.devices_known()
    found = lab.estimates.training(CONFIG)
    assert found and found.seconds > 0 and "measurement" in found.basis
    assert not [each for each in lab.room() if each.state == "problem" and each.name != "Disk"]
    assert lab.estimates.model_summary(Architecture("baseline")).total_params > 0
    assert not engine.order
    assert lab.calm.wait(20)


def test_before_the_tiles_are_there(
    tmp_path: Path, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, closing: Closing
) -> None:
    go_on = threading.Event()

    def slowly(*arguments: Any) -> TileSet:
        arguments[2](50, 200)
        go_on.wait(20)
        return small_tiles

    monkeypatch.setattr(tiles, "open_tiles", slowly)
    lab = closing(Lab(lab_settings(tmp_path, small_tiles), FakeEngine()).open())
    eventually(lambda: lab.tiles() == TilesState(None, 50, 200))
    assert "opened" in refused(lambda: lab.submit(CONFIG, "ada"))
    assert lab.estimates.training(CONFIG) is None
    assert lab.estimates.model_summary(Architecture("baseline")).total_params == 338_486
    go_on.set()
    eventually(lambda: lab.tiles().tile_set)
    assert lab.submit(CONFIG, "ada").state == "queued"


@pytest.mark.parametrize(
    ("error", "words"),
    [(DataError("No tiles in /x."), "/x"), (RecursionError("deep"), "RecursionError")],
)
def test_tiles_that_cannot_be_opened_are_replaced_by_synthetic_ones(
    open_fake: OpenFake, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def only_synthetic(place: Path | None, *_rest: Any) -> TileSet:
        if place is not None:
            raise error
        return replace(small_tiles, source="synthetic")

    monkeypatch.setattr(tiles, "open_tiles", only_synthetic)
    lab, _ = open_fake()
    state = lab.tiles()
    assert words in state.problem and state.tile_set is not None and state.tile_set.source == "synthetic"
    assert lab.submit(CONFIG, "ada").tiles.source == "synthetic"


def test_no_tiles_at_all_is_said_everywhere(
    tmp_path: Path, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, closing: Closing
) -> None:
    monkeypatch.setattr(tiles, "open_tiles", raising(DataError("No space.")))
    lab = closing(Lab(lab_settings(tmp_path, small_tiles), FakeEngine()).open())
    eventually(lambda: lab.tiles().problem)
    assert "No space." in refused(lambda: lab.submit(CONFIG, "ada"))
    assert lab.room()[0].state == "problem" and "No space." in lab.room()[0].text


def test_workers_that_do_not_start_leave_the_lab_usable(open_fake: OpenFake) -> None:
    lab, _ = open_fake(FakeEngine(probe_error=OSError("no process")))
    (workers,) = [each for each in lab.room() if each.name == "Workers"]
    assert workers.state == "problem" and "OSError" in workers.text
    assert lab.devices()[0].id == "cpu" and lab.devices_known() and lab.calm.wait(20)
    assert lab.store.all() == ([], [])


@pytest.mark.parametrize(("devices", "threads"), [((CPU, NO_GPU), 4), ((CPU, GPU), 3)])
def test_a_training_leaves_a_core_to_each_gpus_worker(
    devices: tuple[Device, ...], threads: int, open_fake: OpenFake
) -> None:
    lab, engine = open_fake(FakeEngine(devices), threads=4, threads_chosen=False)
    run = lab.submit(CONFIG, "ada")
    eventually(lambda: run.id in engine.jobs)
    assert engine.jobs[run.id].threads == engine.measured_with["cpu"] == threads
    assert any(f"{threads} CPU threads" in each.text for each in lab.room())


def test_a_speed_that_cannot_be_measured_leaves_the_estimate_open(open_fake: OpenFake) -> None:
    class Unmeasurable(FakeEngine):
        def measure(self, device: str, threads: int) -> Any:
            raise RuntimeError(device)

    lab, engine = open_fake(Unmeasurable((cpu_device(),), speeds=()))
    assert lab.estimates.training(CONFIG) is None
    engine.work(lab.submit(CONFIG, "ada").id)  # the device is free again
    found = eventually(lambda: lab.estimates.training(CONFIG))
    assert found.basis


def test_the_time_left_follows_the_runs_own_pace(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit(CONFIG, "ada")
    engine.wait_for(run.id)
    assert lab.seconds_left(run.id) is None
    told(lab, engine, run, started(epochs=5), step(3, seconds=3.0))
    # Of the first epoch's 8 steps and one validation (150 and 50 tiles, the latter at a third of the work) 3 are done.
    done = 3 / 8 * 150 / (150 + 50 / 3) / 5
    assert lab.seconds_left(run.id) == pytest.approx(3.0 / done - 3.0, rel=0.01)
    told(lab, engine, run, epoch_done(1, seconds=10.0), step(2, epoch=2, seconds=14.0))
    # An epoch takes 10 s, 8 of them for its training steps; one is done, and a quarter of the second one's steps.
    assert lab.seconds_left(run.id) == pytest.approx(50.0 - 10.0 - 2.0, rel=0.01)


def test_evaluation_needs_predictions(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit(CONFIG, "ada")
    engine.wait_for(run.id)
    assert lab.results.predictions(run.id) is None and lab.results.evaluation(run.id) is None
    engine.end(run.id, files={"predictions.npz": b"damaged"})
    wait_for_state(lab, run.id, "finished")
    assert lab.results.predictions(run.id) is None and lab.results.evaluation(run.id) is None


def test_unknown_runs_are_refused(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    unknown = "20260102-030405-baseline-00ff"
    for action in (lab.store.get, lambda name: lab.control(name, "ada", "stop"), lambda name: lab.delete(name, "ada")):
        assert unknown in refused(lambda action=action: action(unknown))
    assert "../x" in refused(lambda: lab.results.history("../x"))
    assert lab.results.history(unknown).events == 0
    assert lab.place(unknown) is None and not lab.dispatcher.stopping(unknown)


def test_readers_are_bounded(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READERS_KEPT", 3)
    lab, _ = open_fake()
    for number in range(10):
        lab.results.history(f"20260102-030405-baseline-{number:04d}")
    assert len(lab.results._readers) == 3


def test_the_current_lab(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    set_current_lab(lab)
    assert current_lab() is lab
    set_current_lab(None)
    assert "not open" in refused(current_lab)


def test_a_cluster_that_cannot_be_reached_is_a_sentence(tmp_path: Path, small_tiles: TileSet, closing: Closing) -> None:
    settings = lab_settings(tmp_path, small_tiles, scheduler="nonsense://127.0.0.1:1")
    lab = closing(open_lab(settings))  # it opens all the same: one can look at tiles, and at runs
    eventually(lambda: lab.devices_known() and lab.tiles().tile_set)
    (workers,) = [each for each in lab.room() if each.name == "Workers"]
    assert workers.state == "problem" and "EUROSAT_SCHEDULER" in workers.text
    assert "EUROSAT_SCHEDULER" in refused(lambda: lab.submit(CONFIG, "ada"))


def test_steps_that_this_machine_cannot_compile_are_refused(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    lab, _engine = open_fake()
    with pytest.raises(ConfigError, match="no-such-compiler"):
        lab.submit(replace(CONFIG, execution="compiled"), "Ada")
    assert not lab.store.all()[0]


def test_a_new_run_removes_the_oldest_where_there_are_too_many(open_fake: OpenFake) -> None:
    lab, engine = open_fake(keep_runs=4)

    def done(owner: str) -> str:
        run = lab.submit(CONFIG, owner)
        engine.wait_for(run.id)
        engine.end(run.id)
        return wait_for_state(lab, run.id, "finished").id

    first, second, third = done("ada"), done("ada"), done("bob")
    assert not [each for each in lab.room() if "keeps" in each.text]
    lab.keep(first, "ada", True)
    assert "belongs to ada" in refused(lambda: lab.keep(first, "bob", False))
    fourth = done("cleo")
    (warning,) = [each for each in lab.room() if "keeps" in each.text]
    assert warning.state == "missing" and "EUROSAT_KEEP_RUNS" in warning.remedy and lab.runs_go_soon()
    fifth = done("cleo")
    assert {each.id for each in lab.store.all()[0]} == {first, third, fourth, fifth}, second
    assert "There is no run" in refused(lambda: lab.store.get(second))


def test_many_runs_too_many_go_little_by_little(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake(keep_runs=10)
    monkeypatch.setattr(module, "_MOST_REMOVED", 1)
    tiles = lab.tiles().tile_set
    assert tiles is not None
    for _ in range(12):
        lab.store.update(lab.store.create(CONFIG, "ada", TilesUsed.of(tiles)).id, state="finished")
    engine.wait_for(lab.submit(CONFIG, "bob").id)
    assert len(lab.store.all()[0]) == 12
