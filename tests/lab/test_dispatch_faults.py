"""Workers that die or do not start, full disks and deleted folders: one run fails, the others go on."""

import threading
import time
from typing import Any

import pytest
from fake_engine import (
    CONFIG,
    CPU,
    GPU,
    ON_GPU,
    FakeEngine,
    OpenFake,
    eventually,
    raising,
    running,
    started,
    step,
    tiles_used,
    wait_for_state,
)

from eurosat_core.errors import RunError
from eurosat_core.lab import dispatch
from eurosat_core.runs.store import RunStore


def test_the_worker_dies(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    first, second = running(lab, engine), lab.submit(CONFIG, "bob")
    engine.tell(first.id, started(), step(1))
    eventually(lambda: lab.results.history(first.id).events == 2)
    engine.die(first.id)
    now = wait_for_state(lab, first.id, "failed")
    assert "died" in now.message and now.ended and lab.results.history(first.id).events == 2
    engine.work(second.id)
    wait_for_state(lab, second.id, "finished")


def test_a_failed_device_gets_a_fresh_worker_before_the_next_run(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    run, following = running(lab, engine, "ada", ON_GPU), lab.submit(ON_GPU, "ada")
    engine.end(run.id, "failed", "The device vanished.", restart_worker=True)
    engine.wait_for(following.id)
    assert engine.restarted == ["cuda:0"]
    assert lab.store.get(run.id).message == "The device vanished."


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RunError("There is no worker for cpu."), "There is no worker for cpu."),
        (OSError("Connection closed"), "could not be started (OSError: Connection closed)"),
        (TypeError("cannot pickle"), "could not be started (TypeError: cannot pickle)"),
    ],
)
def test_a_run_that_cannot_be_started_fails_and_the_next_one_runs(
    open_fake: OpenFake, error: Exception, words: str
) -> None:
    lab, engine = open_fake()
    engine.start_error = error
    run = lab.submit(CONFIG, "ada")
    assert words in wait_for_state(lab, run.id, "failed").message
    assert running(lab, engine).state == "running"


def test_a_full_disk_at_the_end_is_a_sentence(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)

    monkeypatch.setattr(RunStore, "save", raising(OSError(28, "No space left on device")))
    engine.end(run.id, files={"model.pt": b"x"}, summary={"epochs": 2})
    now = wait_for_state(lab, run.id, "failed")
    assert "could not be stored" in now.message and "No space left" in now.message
    monkeypatch.undo()
    assert running(lab, engine).state == "running"


def test_a_full_disk_meanwhile_loses_events_but_not_the_run(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_LATE_EVENTS_SECONDS", 0.1)
    lab, engine = open_fake()
    run = running(lab, engine)
    lost = threading.Event()

    def full(*_arguments: Any) -> None:
        lost.set()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "append", full)
        engine.tell(run.id, started())
        assert lost.wait(20)
    engine.tell(run.id, step(1))
    engine.end(run.id, events=2)
    wait_for_state(lab, run.id, "finished")
    assert lab.results.history(run.id).events == 1


def test_a_deleted_folder_does_not_stop_the_others(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    first, second = running(lab, engine), lab.submit(CONFIG, "ada")
    third = lab.submit(CONFIG, "bob")
    lab.store.delete(second.id)
    lab.store.delete(first.id)
    engine.tell(first.id, started())
    engine.end(first.id, files={"model.pt": b"x"})
    engine.wait_for(third.id)
    engine.end(third.id)
    wait_for_state(lab, third.id, "finished")
    assert [each.id for each in lab.store.all()[0]] == [third.id]
    assert second.id not in engine.order


def test_a_folder_that_cannot_be_locked_fails_with_the_reason(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is taken out of the line must never just vanish from it (NFS without locks)."""
    lab, _engine = open_fake()
    monkeypatch.setattr(RunStore, "lock", raising(OSError(37, "No locks available")))
    run = lab.submit(CONFIG, "ada")
    now = wait_for_state(lab, run.id, "failed")
    assert "No locks available" in now.message and "EUROSAT_RUNS" in now.message


def test_a_failed_device_ends_runs_parked_in_its_worker_with_the_reason(open_fake: OpenFake) -> None:
    lab, engine = open_fake(pause_minutes=0.0005)
    parked, failing = running(lab, engine), lab.submit(CONFIG, "bob")
    engine.tell(parked.id, started())
    lab.control(parked.id, "ada", "pause")
    engine.wait_for(failing.id)
    engine.end(failing.id, "failed", "The device failed.", restart_worker=True)
    now = wait_for_state(lab, parked.id, "failed")
    assert "Another run made the device fail" in now.message
    eventually(lambda: engine.restarted == ["cpu"])


def test_a_run_whose_program_died_meanwhile_is_found(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the command line: the app notes their end too, not only when it starts."""
    monkeypatch.setattr(dispatch, "_ORPHANS_SECONDS", 0.1)
    lab, _engine = open_fake()
    tiles = lab.tiles().tile_set
    assert tiles is not None
    orphan, lock = lab.store.create_locked(CONFIG, "command line", tiles_used(tiles), "train", {})
    time.sleep(0.3)
    assert lab.store.get(orphan.id).state == "running", "its program lives"
    lock.release()
    wait_for_state(lab, orphan.id, "interrupted")
