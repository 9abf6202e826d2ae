import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import (
    CONFIG,
    CPU,
    GPU,
    NO_GPU,
    FakeEngine,
    epoch_done,
    eventually,
    fake_lab,
    finished,
    refused,
    started,
    step,
    wait_for_state,
)

from eurosat_core.data.tiles import TileSet
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab import dispatch
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.runs import RunRecord, RunStore, TilesUsed

Open = Callable[..., tuple[Lab, FakeEngine]]
ON_GPU = replace(CONFIG, device="cuda:0")


def running(lab: Lab, engine: FakeEngine, owner: str = "ada", config: Any = CONFIG) -> RunRecord:
    """A run that a worker has."""
    run = lab.submit(config, owner)
    engine.wait_for(run.id)
    return wait_for_state(lab, run.id, "running")


def lockable(lab: Lab, run_id: str) -> bool:
    try:
        lab.store.lock(run_id).release()
    except RunError:
        return False
    return True


# -- from the click to the end


def test_a_run_from_submit_to_finished(open_fake: Open) -> None:
    lab, engine = open_fake()
    run = lab.submit(CONFIG, "ada")
    assert run.state == "queued" and run.owner == "ada" and run.tiles.count == 200
    job = engine.wait_for(run.id)
    assert (job.config, job.threads) == (CONFIG, lab.settings.threads)
    began = wait_for_state(lab, run.id, "running")
    assert began.started and began.started >= began.created
    engine.tell(run.id, started(), step(1), epoch_done(1), epoch_done(2), finished())
    eventually(lambda: lab.history(run.id).finished)
    engine.end(run.id, summary={"epochs": 2}, machine={"threads": 2}, files={"split.json": b"{}"}, events=5)
    done = wait_for_state(lab, run.id, "finished")
    assert done.ended and done.summary == {"epochs": 2} and done.machine == {"threads": 2}
    assert done.beside == () and done.message == ""
    assert lab.store.load(run.id, "split.json") == b"{}"
    assert [each.epoch for each in lab.history(run.id).epochs] == [1, 2]
    eventually(lambda: lockable(lab, run.id))  # nobody works on it any more


def test_a_training_done_for_real(open_fake: Open) -> None:
    lab, engine = open_fake()
    run = lab.submit(CONFIG, "ada")
    result = engine.work(run.id)
    done = wait_for_state(lab, run.id, "finished")
    assert lab.history(run.id).events == result.events
    evaluation, predictions = lab.evaluation(run.id), lab.predictions(run.id)
    assert evaluation is not None and predictions is not None
    assert evaluation.tiles == len(predictions) == 50
    assert evaluation.accuracy == pytest.approx(done.summary["val_accuracy"])


def test_a_result_waits_for_events_it_overtook(open_fake: Open) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.end(run.id, events=2)
    engine.tell(run.id, started())
    time.sleep(0.1)
    assert lab.run(run.id).state == "running"
    engine.tell(run.id, finished())
    wait_for_state(lab, run.id, "finished")
    assert lab.history(run.id).events == 2


def test_events_that_never_come_are_not_waited_for_for_ever(open_fake: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_LATE_EVENTS_SECONDS", 0.1)
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.end(run.id, events=9)
    wait_for_state(lab, run.id, "finished")
    engine.tell(run.id, started())  # too late: passed over
    assert running(lab, engine).state == "running"


def test_runs_follow_each_other_in_fair_order(open_fake: Open) -> None:
    lab, engine = open_fake()
    first = running(lab, engine, "ada")
    rest = [lab.submit(CONFIG, owner) for owner in ("ada", "ada", "bob", "cleo")]
    places = [lab.place(each.id) for each in rest]
    assert [each.position for each in places if each] == [3, 4, 1, 2]
    assert lab.place(first.id) is None
    for run in (first, rest[2], rest[3], rest[0], rest[1]):
        engine.wait_for(run.id)
        assert list(engine.jobs) == [run.id], "one at a time on a device"
        engine.end(run.id)
        wait_for_state(lab, run.id, "finished")


def test_the_estimated_start_counts_what_runs(open_fake: Open) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    waiting, behind = lab.submit(CONFIG, "bob"), lab.submit(CONFIG, "bob")
    estimate = lab.estimate(CONFIG)
    first, second = lab.place(waiting.id), lab.place(behind.id)
    assert (
        estimate and first and second and first.starts_in_seconds is not None and second.starts_in_seconds is not None
    )
    assert 0 <= first.starts_in_seconds <= estimate.seconds
    assert estimate.seconds <= second.starts_in_seconds <= 2 * estimate.seconds
    engine.tell(run.id, started(epochs=4), replace(epoch_done(1), elapsed_seconds=100.0))
    eventually(lambda: lab.history(run.id).epochs)
    now = lab.place(waiting.id)
    assert now and now.starts_in_seconds == pytest.approx(300)
    lab.control(run.id, "ada", "pause")
    paused = lab.place(waiting.id)
    assert paused and paused.starts_in_seconds is None


def test_what_ran_beside_is_noted(open_fake: Open) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    one, two = running(lab, engine), running(lab, engine, "bob", ON_GPU)
    engine.end(one.id)
    wait_for_state(lab, one.id, "finished")
    three = running(lab, engine)
    engine.die(two.id)
    engine.end(three.id)
    assert wait_for_state(lab, one.id, "finished").beside == (two.id,)
    assert wait_for_state(lab, two.id, "failed").beside == tuple(sorted((one.id, three.id)))
    assert wait_for_state(lab, three.id, "finished").beside == (two.id,)


# -- commands


def test_stop_while_it_waits(open_fake: Open) -> None:
    lab, engine = open_fake()
    first, second = running(lab, engine), lab.submit(CONFIG, "ada")
    assert "still waits" in refused(lambda: lab.control(second.id, "ada", "pause"))
    lab.control(second.id, "ada", "stop")
    now = lab.run(second.id)
    assert now.state == "cancelled" and "while it waited" in now.message and now.ended
    assert lab.place(second.id) is None
    engine.end(first.id)
    wait_for_state(lab, first.id, "finished")
    assert engine.order == [first.id]
    assert "already ended" in refused(lambda: lab.control(second.id, "ada", "stop"))


def test_pause_step_resume_stop(open_fake: Open) -> None:
    lab, engine = open_fake(FakeEngine(obeys=False))
    run = running(lab, engine)
    for command, state in (("pause", "paused"), ("step", "paused"), ("resume", "running"), ("stop", "running")):
        lab.control(run.id, "ada", command)
        assert lab.run(run.id).state == state
        assert engine.commands[-1] == (run.id, command)
    assert lab.stopping(run.id)
    engine.end(run.id, "cancelled", "It was stopped.")
    wait_for_state(lab, run.id, "cancelled")
    eventually(lambda: not lab.stopping(run.id))


def test_only_the_owner_commands_and_deletes(open_fake: Open) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    for command in ("pause", "step", "resume", "stop"):
        assert "belongs to ada" in refused(lambda command=command: lab.control(run.id, "bob", command))
    assert "not ended" in refused(lambda: lab.delete(run.id, "ada"))
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    assert "belongs to ada" in refused(lambda: lab.delete(run.id, "bob"))
    lab.delete(run.id, "ada")
    assert lab.runs() == ([], [])
    assert not engine.commands


def test_a_command_that_comes_too_early_is_given_with_the_first_event(open_fake: Open) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.deaf = True  # the worker has the job and still loads torch
    lab.control(run.id, "ada", "stop")
    assert lab.stopping(run.id) and lab.run(run.id).state == "running"
    engine.deaf = False
    engine.tell(run.id, started())
    wait_for_state(lab, run.id, "cancelled")


def test_early_commands_keep_their_order(open_fake: Open) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.deaf = True
    lab.control(run.id, "ada", "pause")
    engine.deaf = False
    lab.control(run.id, "ada", "resume")
    engine.tell(run.id, started())
    eventually(lambda: engine.commands == [(run.id, "pause"), (run.id, "resume")])
    assert lab.run(run.id).state == "running"


def test_a_command_that_comes_too_late_changes_nothing(open_fake: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)

    def end_meanwhile(run_id: str, _name: str) -> bool:
        engine.end(run_id)
        wait_for_state(lab, run_id, "finished")
        return False

    monkeypatch.setattr(engine, "command", end_meanwhile)
    lab.control(run.id, "ada", "pause")
    assert lab.run(run.id).state == "finished"


def test_a_long_pause_gives_the_place_to_others_and_gets_it_back(open_fake: Open) -> None:
    lab, engine = open_fake(pause_minutes=0.001)
    parked = running(lab, engine, "ada")
    lab.control(parked.id, "ada", "pause")
    other = running(lab, engine, "bob")  # has the place now
    lab.control(parked.id, "ada", "resume")
    lab.control(parked.id, "ada", "resume")  # clicked twice
    engine.tell(other.id, started())
    eventually(lambda: lab.history(other.id).events)
    assert lab.run(parked.id).state == "paused" and (parked.id, "resume") not in engine.commands
    third = lab.submit(CONFIG, "cleo")
    engine.end(other.id)
    wait_for_state(lab, parked.id, "running")
    assert engine.commands.count((parked.id, "resume")) == 1
    assert lab.run(third.id).state == "queued"
    engine.end(parked.id)
    wait_for_state(lab, parked.id, "finished")
    engine.wait_for(third.id)


def test_a_long_pause_is_noticed_while_another_device_keeps_talking(open_fake: Open) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)), pause_minutes=0.001)
    paused, talking = running(lab, engine, "ada"), running(lab, engine, "bob", ON_GPU)
    lab.control(paused.id, "ada", "pause")
    waiting = lab.submit(CONFIG, "cleo")
    quiet = threading.Event()

    def talk() -> None:
        number = 0
        while not quiet.wait(0.05):
            number += 1
            engine.tell(talking.id, step(number))

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        engine.wait_for(waiting.id)
    finally:
        quiet.set()
        thread.join()


def test_a_parked_run_can_be_stopped(open_fake: Open) -> None:
    lab, engine = open_fake(pause_minutes=0.001)
    parked = running(lab, engine, "ada")
    lab.control(parked.id, "ada", "pause")
    other = running(lab, engine, "bob")
    lab.control(parked.id, "ada", "resume")
    lab.control(parked.id, "ada", "stop")
    wait_for_state(lab, parked.id, "cancelled")
    engine.end(other.id)
    wait_for_state(lab, other.id, "finished")
    assert running(lab, engine).state == "running"


# -- faults


def test_the_worker_dies(open_fake: Open) -> None:
    lab, engine = open_fake()
    first, second = running(lab, engine), lab.submit(CONFIG, "bob")
    engine.tell(first.id, started(), step(1))
    eventually(lambda: lab.history(first.id).events == 2)
    engine.die(first.id)
    now = wait_for_state(lab, first.id, "failed")
    assert "died" in now.message and now.ended and lab.history(first.id).events == 2
    engine.work(second.id)
    wait_for_state(lab, second.id, "finished")


def test_a_failed_device_gets_a_fresh_worker_before_the_next_run(open_fake: Open) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    run, following = running(lab, engine, "ada", ON_GPU), lab.submit(ON_GPU, "ada")
    engine.end(run.id, "failed", "The device vanished.", restart_worker=True)
    engine.wait_for(following.id)
    assert engine.restarted == ["cuda:0"]
    assert lab.run(run.id).message == "The device vanished."


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RunError("There is no worker for cpu."), "There is no worker for cpu."),
        (OSError("Connection closed"), "could not be started (OSError: Connection closed)"),
        (TypeError("cannot pickle"), "could not be started (TypeError: cannot pickle)"),
    ],
)
def test_a_run_that_cannot_be_started_fails_and_the_next_one_runs(
    open_fake: Open, error: Exception, words: str
) -> None:
    lab, engine = open_fake()
    engine.start_error = error
    run = lab.submit(CONFIG, "ada")
    assert words in wait_for_state(lab, run.id, "failed").message
    assert running(lab, engine).state == "running"


def test_a_full_disk_at_the_end_is_a_sentence(open_fake: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)

    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunStore, "save", full)
    engine.end(run.id, files={"model.pt": b"x"}, summary={"epochs": 2})
    now = wait_for_state(lab, run.id, "failed")
    assert "could not be stored" in now.message and "No space left" in now.message
    monkeypatch.undo()
    assert running(lab, engine).state == "running"


def test_a_full_disk_meanwhile_loses_events_but_not_the_run(open_fake: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_LATE_EVENTS_SECONDS", 0.1)
    lab, engine = open_fake()
    run = running(lab, engine)
    with monkeypatch.context() as patch:
        patch.setattr(RunStore, "append", lambda *_arguments: full_disk())
        engine.tell(run.id, started())
        time.sleep(0.1)
    engine.tell(run.id, step(1))
    engine.end(run.id, events=2)
    wait_for_state(lab, run.id, "finished")
    assert lab.history(run.id).events == 1


def full_disk() -> None:
    raise OSError(28, "No space left on device")


def test_a_deleted_folder_does_not_stop_the_others(open_fake: Open) -> None:
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
    assert [each.id for each in lab.runs()[0]] == [third.id]
    assert second.id not in engine.order


# -- what submit refuses


def test_the_cap_is_for_waiting_runs(open_fake: Open) -> None:
    lab, engine = open_fake(queue_limit=2)
    first = running(lab, engine)
    waiting = [lab.submit(CONFIG, "ada") for _ in range(2)]
    assert "2 runs waiting" in refused(lambda: lab.submit(CONFIG, "ada"))
    lab.submit(CONFIG, "bob")
    lab.control(waiting[0].id, "ada", "stop")
    lab.submit(CONFIG, "ada")
    assert len(lab.runs()[0]) == 5 and lab.run(first.id).state == "running"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ON_GPU, "has no device 'cuda:0'"),
        (replace(CONFIG, epochs=0), "Epochs is 0"),
        (replace(CONFIG, model="lenet"), "no model 'lenet'"),
    ],
)
def test_what_cannot_run_is_refused(open_fake: Open, config: Any, words: str) -> None:
    lab, engine = open_fake()
    with pytest.raises(ConfigError) as error:
        lab.submit(config, "ada")
    assert words in str(error.value)
    assert lab.runs() == ([], []) and not engine.order


def test_a_device_that_is_there_but_unusable_says_why(open_fake: Open) -> None:
    too_old = replace(GPU, available=False, reason="This card is too old.")
    lab, _ = open_fake(FakeEngine((CPU, too_old)))
    with pytest.raises(ConfigError, match=r"This card is too old\. Choose another device\."):
        lab.submit(ON_GPU, "ada")


# -- restarts


def test_a_restart_keeps_the_queue_and_marks_what_ran(open_fake: Open) -> None:
    lab, engine = open_fake()
    finished_run = running(lab, engine)
    engine.work(finished_run.id)
    wait_for_state(lab, finished_run.id, "finished")
    ran = running(lab, engine, "ada")
    engine.tell(ran.id, started(), step(1))
    waited = [lab.submit(CONFIG, "ada"), lab.submit(CONFIG, "bob")]
    eventually(lambda: lab.history(ran.id).events == 2)
    lab.close()
    assert engine.closed and lab.run(ran.id).state == "interrupted" and "closed" in lab.run(ran.id).message
    assert [lab.run(each.id).state for each in waited] == ["queued", "queued"]

    again, engine = open_fake()
    engine.wait_for(waited[0].id)
    assert again.run(finished_run.id) == lab.run(finished_run.id)
    assert again.history(ran.id).events == 2
    engine.end(waited[0].id)
    engine.wait_for(waited[1].id)


def test_what_another_lab_runs_is_left_alone(open_fake: Open) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    waiting = lab.submit(CONFIG, "ada")
    other, other_engine = open_fake()
    assert other.run(run.id).state == "running"
    assert "not one of this server's" in refused(lambda: other.control(run.id, "ada", "stop"))
    # Both know of the waiting run; whoever has a place first takes it, and the other one lets it be.
    other_engine.wait_for(waiting.id)
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    mine = running(lab, engine, "bob")
    assert engine.order == [run.id, mine.id] and lab.run(waiting.id).state == "running"


def make(folder: Path, tiles: TileSet, config: Any = CONFIG, **changes: Any) -> RunRecord:
    """A run in the store of a lab that is not open."""
    used = TilesUsed(tiles.fingerprint, tiles.source, tiles.place, len(tiles), tiles.class_names)
    store = RunStore(folder / "runs")
    return store.update(store.create(config, "ada", replace(used, **changes)).id)


def test_a_run_for_other_tiles_fails_with_a_sentence(tmp_path: Path, small_tiles: TileSet, open_fake: Open) -> None:
    run = make(tmp_path, small_tiles, fingerprint="others")
    lab, _ = open_fake()
    assert "tiles have changed" in wait_for_state(lab, run.id, "failed").message
    assert lab.tiles_of(lab.run(run.id)) is None


@pytest.mark.parametrize("devices", [(CPU, NO_GPU), (CPU, replace(GPU, available=False, reason="Too old."))])
def test_a_run_for_a_device_that_is_gone_does_not_wait_for_ever(
    tmp_path: Path, small_tiles: TileSet, open_fake: Open, devices: Any
) -> None:
    run = make(tmp_path, small_tiles, ON_GPU)
    lab, _ = open_fake(FakeEngine(devices))
    assert "Choose another device" in wait_for_state(lab, run.id, "failed").message
    assert lab.place(run.id) is None


def test_a_run_for_a_gpu_that_is_there_waits_until_it_is_known(
    tmp_path: Path, small_tiles: TileSet, open_fake: Open
) -> None:
    run = make(tmp_path, small_tiles, ON_GPU)
    _, engine = open_fake(FakeEngine((CPU, GPU)))
    engine.wait_for(run.id)


def test_closing_without_having_opened(tmp_path: Path, small_tiles: TileSet) -> None:
    lab, engine = fake_lab(tmp_path, small_tiles)
    lab.close()
    Lab(lab.settings, engine).close()
    assert engine.closed
