"""Workers that die, full disks, deleted folders, and the runs that a lab finds on disk: the others go on."""

import json
import threading
import time
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
    raising,
    refused,
    running,
    started,
    step,
    tiles_used,
    told,
    trained,
    wait_for_state,
)

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab import dispatch
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.messages import Slot
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore


def test_the_worker_dies(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    first, second = running(lab, engine), lab.submit(CONFIG, "bob")
    told(lab, engine, first, started(), step(1))
    engine.die(first.id)
    now = wait_for_state(lab, first.id, "failed")
    assert "died" in now.message and now.ended and lab.results.history(first.id).events == 2
    engine.work(second.id)
    wait_for_state(lab, second.id, "finished")


def test_a_failed_device_gets_a_fresh_worker_before_the_next_run(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    run, following = running(lab, engine, "ada", ON_GPU), lab.submit(ON_GPU, "ada")
    engine.end(run.id, "failed", "It vanished.", restart_worker=True)
    engine.wait_for(following.id)
    assert engine.restarted == ["cuda:0"]
    assert lab.store.get(run.id).message == "It vanished."


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RunError("No worker."), "No worker."),
        (OSError("Connection closed"), "OSError: Connection closed"),
        (TypeError("cannot pickle"), "TypeError: cannot pickle"),
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
    assert "No space" in now.message
    monkeypatch.undo()
    assert running(lab, engine).state == "running"


def test_events_wait_until_a_full_disk_takes_them(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    with monkeypatch.context() as patch:
        lost = disk_full(patch)
        engine.tell(run.id, started())
        assert lost.wait(20)
        engine.tell(run.id, step(1))
    engine.tell(run.id, step(2))
    eventually(lambda: lab.results.history(run.id).events == 3)
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    lines = (lab.store.folder_of(run.id) / "events.jsonl").read_bytes().splitlines()
    assert [json.loads(each)["kind"] for each in lines] == ["started", "step", "step"]


def disk_full(patch: pytest.MonkeyPatch) -> threading.Event:
    """From now on no disk takes anything; set once something was to be written."""
    tried = threading.Event()

    def full(*_arguments: Any, **_options: Any) -> None:
        tried.set()
        raise OSError(28, "No space left on device")

    patch.setattr("eurosat_core.runs.store.write_whole", full)
    patch.setattr("eurosat_core.runs.store.append_whole", full)
    return tried


@pytest.mark.parametrize("files", [{}, {"model.pt": b"x"}], ids=["nothing to keep", "a network"])
def test_an_end_that_the_disk_does_not_take_is_known_and_written_later(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    """Before, the run stayed `running` on disk, and was called interrupted later."""
    lab, engine = open_fake()
    run = running(lab, engine)
    with monkeypatch.context() as patch:
        disk_full(patch)
        engine.end(run.id, files=files, summary={"epochs": 2})
        now = wait_for_state(lab, run.id, "failed" if files else "finished")
        assert all((words in now.message) == bool(files) for words in ("No space", "EUROSAT_RUNS"))
        assert "Errno" not in now.message
        assert lab.store.mark_interrupted() == [] and RunStore(lab.store.folder).get(run.id).state == "running"
        with pytest.raises(OSError, match="No space"):
            lab.store.settle()
    eventually(lambda: RunStore(lab.store.folder).get(run.id) == now)
    assert running(lab, engine).state == "running"


def test_a_run_that_cannot_begin_on_a_full_disk_does_not_vanish_from_the_line(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, it was `queued` on disk and in no line: it waited until a restart."""
    lab, engine = open_fake()
    first, second = running(lab, engine), lab.submit(CONFIG, "bob")
    third = lab.submit(CONFIG, "ada")
    with monkeypatch.context() as patch:
        disk_full(patch)
        engine.end(first.id)
        now = wait_for_state(lab, second.id, "failed")
        wait_for_state(lab, third.id, "failed")
        assert "No space" in now.message and "EUROSAT_RUNS" in now.message
    eventually(lambda: RunStore(lab.store.folder).get(second.id) == now)


def test_a_pause_on_a_full_disk_gets_a_sentence(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    with monkeypatch.context() as patch:
        disk_full(patch)
        assert "No space" in refused(lambda: lab.control(run.id, "ada", "pause"))
    lab.control(run.id, "ada", "resume")
    assert lab.store.get(run.id).state == "running"


def test_a_run_that_hangs_ends_and_its_process_is_replaced(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_STOP_SECONDS", 0.1)
    lab, engine = open_fake(FakeEngine(obeys=False))
    run, following = running(lab, engine), lab.submit(CONFIG, "bob")
    told(lab, engine, run, started(), step(1))
    lab.control(run.id, "ada", "stop")
    now = wait_for_state(lab, run.id, "cancelled")
    assert now.message and now.ended and lab.results.history(run.id).events == 2
    engine.wait_for(following.id)
    assert engine.restarted == ["cpu"]
    engine.die(run.id)  # what the engine says of it now comes too late
    engine.tell(run.id, step(2))
    engine.end(following.id)
    wait_for_state(lab, following.id, "finished")
    assert lab.store.get(run.id) == now and lab.results.history(run.id).events == 2


def test_other_devices_go_on_while_a_process_is_replaced(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    asked, replaced, restart = threading.Event(), threading.Event(), engine.restart

    def slowly(slot: Slot) -> None:
        asked.set()
        assert replaced.wait(60)
        restart(slot)

    monkeypatch.setattr(engine, "restart", slowly)
    failed, following = running(lab, engine, "ada", ON_GPU), lab.submit(ON_GPU, "ada")
    engine.end(failed.id, "failed", "It vanished.", restart_worker=True)
    assert asked.wait(60)
    elsewhere = running(lab, engine, "bob", CONFIG)
    engine.end(elsewhere.id)
    wait_for_state(lab, elsewhere.id, "finished")
    assert lab.store.get(following.id).state == "queued", "its device has no process"
    replaced.set()
    engine.wait_for(following.id)
    assert engine.restarted == ["cuda:0"]


def test_a_process_that_cannot_be_replaced_is_used_again(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake()
    monkeypatch.setattr(engine, "restart", raising(TimeoutError("no answer")))
    failed, following = running(lab, engine), lab.submit(CONFIG, "bob")
    engine.end(failed.id, "failed", "It vanished.", restart_worker=True)
    engine.wait_for(following.id)


def test_a_clock_that_is_put_back_makes_no_time_negative(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake()
    first = running(lab, engine)
    second = lab.submit(CONFIG, "bob")
    past = time.time() - 3600
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: past)
        engine.end(first.id)
        wait_for_state(lab, second.id, "running")
        engine.end(second.id)
        wait_for_state(lab, second.id, "finished")
    for each in (lab.store.get(first.id), lab.store.get(second.id)):
        assert each.started and each.ended and each.created <= each.started <= each.ended
        assert each.state == "finished"


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
    assert "EUROSAT_RUNS" in now.message


def test_a_failed_device_ends_runs_parked_in_its_worker_with_the_reason(open_fake: OpenFake) -> None:
    lab, engine = open_fake(pause_minutes=0.0005)
    parked, failing = running(lab, engine), lab.submit(CONFIG, "bob")
    engine.tell(parked.id, started())
    lab.control(parked.id, "ada", "pause")
    engine.wait_for(failing.id)
    engine.end(failing.id, "failed", "It failed.", restart_worker=True)
    now = wait_for_state(lab, parked.id, "failed")
    assert now.message and now.message != "It failed."
    eventually(lambda: engine.restarted == ["cpu"])


def test_a_run_whose_program_died_meanwhile_is_found(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of the command line: the app notes their end too, not only when it starts."""
    monkeypatch.setattr(dispatch, "_ORPHANS_SECONDS", 0.1)
    lab, _engine = open_fake()
    tiles = lab.tiles().tile_set
    assert tiles is not None
    orphan, lock = lab.store.create_locked(CONFIG, "command line", tiles_used(tiles), "train", {})
    looked = threading.Event()
    real = lab.store.mark_interrupted
    monkeypatch.setattr(lab.store, "mark_interrupted", lambda *more: (real(*more), looked.set())[0])
    assert looked.wait(20) and lab.store.get(orphan.id).state == "running", "its program lives"
    lock.release()
    wait_for_state(lab, orphan.id, "interrupted")


def test_a_restart_keeps_the_queue_and_marks_what_ran(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    finished_run = trained(lab, engine)
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
    assert "server" in refused(lambda: other.control(run.id, "ada", "stop"))
    # Both know of the waiting run; whoever has a place first takes it, and the other one lets it be.
    other_engine.wait_for(waiting.id)
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    mine = running(lab, engine, "bob")
    assert engine.order == [run.id, mine.id] and lab.store.get(waiting.id).state == "running"


@pytest.mark.parametrize(
    ("config", "fingerprint", "devices", "words"),
    [
        (CONFIG, "others", (CPU,), "tiles"),
        (ON_GPU, "", (CPU, NO_GPU), "device"),
        (ON_GPU, "", (CPU, replace(GPU, available=False, reason="Too old.")), "Too old."),
    ],
    ids=["other tiles", "no such device", "unusable device"],
)
def test_a_run_that_can_no_longer_start_does_not_wait_for_ever(
    store: RunStore, used: TilesUsed, open_fake: OpenFake, config: Any, fingerprint: str, devices: Any, words: str
) -> None:
    run = store.create(config, "ada", replace(used, fingerprint=fingerprint or used.fingerprint))
    lab, _ = open_fake(FakeEngine(devices))
    assert words in wait_for_state(lab, run.id, "failed").message
    assert lab.place(run.id) is None
    assert (lab.results.tiles_of(run) is None) == bool(fingerprint)


def test_a_run_for_a_gpu_waits_until_it_is_known(store: RunStore, used: TilesUsed, open_fake: OpenFake) -> None:
    run = store.create(ON_GPU, "ada", used)
    _, engine = open_fake(FakeEngine((CPU, GPU)))
    engine.wait_for(run.id)


def test_closing_without_having_opened(tmp_path: Path, small_tiles: TileSet) -> None:
    lab, engine = fake_lab(tmp_path, small_tiles)
    lab.close()
    Lab(lab.settings, engine).close()
    assert engine.closed
