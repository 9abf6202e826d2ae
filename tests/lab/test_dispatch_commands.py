"""Pause, step, resume and stop: early, late, by others, and while the place is given away."""

import threading
import time
from dataclasses import replace

import pytest
from fake_engine import (
    CONFIG,
    CPU,
    GPU,
    ON_GPU,
    FakeEngine,
    OpenFake,
    eventually,
    refused,
    running,
    started,
    step,
    wait_for_state,
)
from filelock import FileLock

from eurosat_core.lab.jobs import Command
from eurosat_core.runs.store import RunStore


def test_stop_while_it_waits(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    first, second = running(lab, engine), lab.submit(CONFIG, "ada")
    assert "still waits" in refused(lambda: lab.control(second.id, "ada", "pause"))
    lab.control(second.id, "ada", "stop")
    now = lab.store.get(second.id)
    assert now.state == "cancelled" and "while it waited" in now.message and now.ended
    assert lab.place(second.id) is None
    engine.end(first.id)
    wait_for_state(lab, first.id, "finished")
    assert engine.order == [first.id]
    assert "already ended" in refused(lambda: lab.control(second.id, "ada", "stop"))


def test_pause_step_resume_stop(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine(obeys=False))
    run = running(lab, engine)
    for command, state in (("pause", "paused"), ("step", "paused"), ("resume", "running"), ("stop", "running")):
        lab.control(run.id, "ada", command)
        assert lab.store.get(run.id).state == state
        assert engine.commands[-1] == (run.id, command)
    assert lab.stopping(run.id)
    engine.end(run.id, "cancelled", "It was stopped.")
    wait_for_state(lab, run.id, "cancelled")
    eventually(lambda: not lab.stopping(run.id))


def test_only_the_owner_commands_and_deletes(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    for command in ("pause", "step", "resume", "stop"):
        assert "belongs to ada" in refused(lambda command=command: lab.control(run.id, "bob", command))
    assert "not ended" in refused(lambda: lab.delete(run.id, "ada"))
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    assert "belongs to ada" in refused(lambda: lab.delete(run.id, "bob"))
    lab.delete(run.id, "ada")
    assert lab.store.all() == ([], [])
    assert not engine.commands


def test_a_command_that_comes_too_early_is_given_with_the_first_event(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.deaf = True  # the worker has the job and still loads torch
    lab.control(run.id, "ada", "stop")
    assert lab.stopping(run.id) and lab.store.get(run.id).state == "running"
    engine.deaf = False
    engine.tell(run.id, started())
    wait_for_state(lab, run.id, "cancelled")


def test_early_commands_keep_their_order(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.deaf = True
    lab.control(run.id, "ada", "pause")
    engine.deaf = False
    lab.control(run.id, "ada", "resume")
    engine.tell(run.id, started())
    eventually(lambda: engine.commands == [(run.id, "pause"), (run.id, "resume")])
    assert lab.store.get(run.id).state == "running"


def test_a_command_that_comes_too_late_changes_nothing(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)

    def end_meanwhile(run_id: str, _name: str) -> bool:
        engine.end(run_id)
        wait_for_state(lab, run_id, "finished")
        return False

    monkeypatch.setattr(engine, "command", end_meanwhile)
    lab.control(run.id, "ada", "pause")
    assert lab.store.get(run.id).state == "finished"


def test_a_long_pause_gives_the_place_to_others_and_gets_it_back(open_fake: OpenFake) -> None:
    lab, engine = open_fake(pause_minutes=0.001)
    parked = running(lab, engine, "ada")
    lab.control(parked.id, "ada", "pause")
    other = running(lab, engine, "bob")  # has the place now
    lab.control(parked.id, "ada", "resume")
    lab.control(parked.id, "ada", "resume")  # clicked twice
    engine.tell(other.id, started())
    eventually(lambda: lab.results.history(other.id).events)
    assert lab.store.get(parked.id).state == "paused" and (parked.id, "resume") not in engine.commands
    third = lab.submit(CONFIG, "cleo")
    engine.end(other.id)
    wait_for_state(lab, parked.id, "running")
    assert engine.commands.count((parked.id, "resume")) == 1
    assert lab.store.get(third.id).state == "queued"
    engine.end(parked.id)
    wait_for_state(lab, parked.id, "finished")
    engine.wait_for(third.id)


def test_a_parked_run_goes_no_step_on_a_device_that_is_others(open_fake: OpenFake) -> None:
    lab, engine = open_fake(pause_minutes=0.001)
    parked = running(lab, engine, "ada")
    lab.control(parked.id, "ada", "pause")
    running(lab, engine, "bob")
    for command in ("step", "pause", "step", "pause"):
        assert "went to others" in refused(lambda command=command: lab.control(parked.id, "ada", command))
        lab.control(parked.id, "ada", "resume")  # and while it waits for its device
    assert engine.commands == [(parked.id, "pause")]


def test_the_place_of_a_run_that_is_being_resumed_is_not_given_away(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, engine = open_fake()
    run, dispatcher = running(lab, engine, "ada"), lab._dispatcher
    lab.control(run.id, "ada", "pause")
    deliver = engine.command

    def be_late(run_id: str, name: Command) -> bool:
        """On its way to the worker, the word is overtaken by the end of the longest pause."""
        monkeypatch.setattr(dispatcher, "_settings", replace(lab.settings, pause_minutes=0.0))
        dispatcher._park_long_paused()
        return deliver(run_id, name)

    monkeypatch.setattr(engine, "command", be_late)
    lab.control(run.id, "ada", "resume")
    lab.submit(CONFIG, "bob")
    engine.tell(run.id, started())
    eventually(lambda: lab.results.history(run.id).events)
    assert engine.order == [run.id] and not lab.parked(run.id)
    assert lab.store.get(run.id).state == "running"


def test_a_parked_run_does_not_return_beside_a_measurement(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)), pause_minutes=0.001)
    parked = running(lab, engine, "ada")
    lab.control(parked.id, "ada", "pause")
    measured = lab.submit(ON_GPU, "bob", group="race")
    engine.wait_for(measured.id)
    lab.control(parked.id, "ada", "resume")
    engine.tell(measured.id, started())
    eventually(lambda: lab.results.history(measured.id).events)
    assert lab.returning(parked.id) and (parked.id, "resume") not in engine.commands
    engine.end(measured.id)
    wait_for_state(lab, parked.id, "running")
    assert engine.commands[-1] == (parked.id, "resume")


def test_a_parked_measurement_returns_when_nothing_runs_and_is_not_overtaken(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)), pause_minutes=0.001)
    measured = lab.submit(CONFIG, "ada", group="race")
    engine.wait_for(measured.id)
    lab.control(measured.id, "ada", "pause")
    beside = running(lab, engine, "bob", ON_GPU)
    lab.control(measured.id, "ada", "resume")
    later = lab.submit(CONFIG, "cleo")
    place = lab.place(later.id)
    assert place and place.starts_in_seconds is None, "nobody knows when the measured one will be through"
    engine.tell(beside.id, started())
    eventually(lambda: lab.results.history(beside.id).events)
    assert lab.returning(measured.id) and (measured.id, "resume") not in engine.commands
    engine.end(beside.id)
    wait_for_state(lab, measured.id, "running")
    assert lab.store.get(later.id).state == "queued"
    engine.end(measured.id)
    engine.wait_for(later.id)


def test_a_long_pause_is_noticed_while_another_device_keeps_talking(open_fake: OpenFake) -> None:
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


def test_a_parked_run_can_be_stopped(open_fake: OpenFake) -> None:
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


def test_stop_at_the_moment_it_starts_is_not_refused(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run once left the line before it was among the running ones, and was nobody's in between."""
    take = RunStore.lock
    entered = threading.Event()

    def slow(self: RunStore, run_id: str) -> FileLock:
        entered.set()
        time.sleep(0.3)
        return take(self, run_id)

    lab, engine = open_fake()
    monkeypatch.setattr(RunStore, "lock", slow)
    run = lab.submit(CONFIG, "ada")
    assert entered.wait(20)
    lab.control(run.id, "ada", "stop")
    engine.tell(run.id, started())  # a worker that had not begun gets the word with its first report
    wait_for_state(lab, run.id, "cancelled")
