"""A run's way from the click to its end, and how it is paused, stepped, resumed and stopped meanwhile."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from fake_engine import (
    CONFIG,
    CPU,
    GPU,
    ON_GPU,
    FakeEngine,
    OpenFake,
    epoch_done,
    eventually,
    finished,
    refused,
    running,
    started,
    step,
    told,
    wait_for_state,
)
from filelock import FileLock

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab import dispatch
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.messages import Command
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.store import RunStore


def lockable(lab: Lab, run_id: str) -> bool:
    try:
        lab.store.lock(run_id).release()
    except RunError:
        return False
    return True


# -- from the click to the end


def test_a_run_from_submit_to_finished(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit(CONFIG, "ada")
    assert run.state == "queued" and run.owner == "ada" and run.tiles.count == 200
    job = engine.wait_for(run.id)
    assert (job.config, job.threads) == (CONFIG, lab.settings.threads)
    began = wait_for_state(lab, run.id, "running")
    assert began.started and began.started >= began.created
    told(lab, engine, run, started(), step(1), epoch_done(1), epoch_done(2), finished())
    engine.end(run.id, summary={"epochs": 2}, machine={"threads": 2}, files={"split.json": b"{}"})
    done = wait_for_state(lab, run.id, "finished")
    assert done.ended and done.summary == {"epochs": 2} and done.machine == {"threads": 2}
    assert done.concurrent_runs == () and done.message == ""
    assert lab.store.load(run.id, "split.json") == b"{}"
    assert [each.epoch for each in lab.results.history(run.id).epochs] == [1, 2]
    eventually(lambda: lockable(lab, run.id))  # nobody works on it any more


def test_nothing_is_taken_of_a_run_that_has_ended(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    engine.tell(run.id, started())
    assert running(lab, engine).state == "running"
    assert lab.results.history(run.id).events == 0 and engine.forgotten == [run.id]


def test_runs_follow_each_other_in_fair_order(open_fake: OpenFake) -> None:
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


def test_nobody_has_more_at_work_than_one_may(open_fake: OpenFake) -> None:
    lab, engine = open_fake(engine=FakeEngine((CPU, GPU)), running_limit=1)
    first = running(lab, engine, "ada")
    second, other = lab.submit(ON_GPU, "ada"), lab.submit(ON_GPU, "bob")
    engine.wait_for(other.id)
    place = lab.place(second.id)
    assert place is not None and place.owner_is_busy and "1 run at work" in lab.holds_up(place)
    engine.end(first.id)
    engine.end(other.id)
    engine.wait_for(second.id)


def test_a_run_that_would_take_too_long_is_refused(open_fake: OpenFake) -> None:
    lab, _ = open_fake(run_minutes=0.02)
    with pytest.raises(ConfigError, match=r"longest a run may take.*fewer"):
        lab.submit(replace(CONFIG, epochs=200), "ada")
    assert lab.store.all()[0] == []


def test_a_run_that_takes_too_long_is_stopped_and_says_so(open_fake: OpenFake) -> None:
    lab, engine = open_fake(run_minutes=10.0)
    run, working = running(lab, engine), lab.dispatcher._running
    working[run.id].began -= 500.0
    lab.dispatcher.look()
    lab.control(run.id, "ada", "pause")
    assert working[run.id].paused_since is not None
    working[run.id].paused_since -= 400.0
    working[run.id].began -= 400.0  # so long ago it was paused, and a pause is no work
    lab.control(run.id, "ada", "resume")
    assert working[run.id].worked == pytest.approx(500.0, abs=90.0) and lab.store.get(run.id).state == "running"
    working[run.id].began -= 200.0
    lab.dispatcher.look()
    ended = wait_for_state(lab, run.id, "cancelled")
    assert "10 min" in ended.message and "longest" in ended.message


def test_the_estimated_start_counts_what_runs(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    waiting, behind = lab.submit(CONFIG, "bob"), lab.submit(CONFIG, "bob")
    estimate = lab.estimates.training(CONFIG)
    first, second = lab.place(waiting.id), lab.place(behind.id)
    assert (
        estimate and first and second and first.starts_in_seconds is not None and second.starts_in_seconds is not None
    )
    assert 0 <= first.starts_in_seconds <= estimate.seconds
    assert estimate.seconds <= second.starts_in_seconds <= 2 * estimate.seconds
    told(lab, engine, run, started(epochs=4), step(7, seconds=80.0), epoch_done(1, seconds=100.0))
    now = lab.place(waiting.id)
    assert now and now.starts_in_seconds == pytest.approx(300)
    lab.control(run.id, "ada", "pause")
    paused = lab.place(waiting.id)
    assert paused and paused.starts_in_seconds is None


def test_what_ran_beside_is_noted(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    one, two = running(lab, engine), running(lab, engine, "bob", ON_GPU)
    engine.end(one.id)
    wait_for_state(lab, one.id, "finished")
    three = running(lab, engine)
    engine.die(two.id)
    engine.end(three.id)
    assert wait_for_state(lab, one.id, "finished").concurrent_runs == (two.id,)
    assert wait_for_state(lab, two.id, "failed").concurrent_runs == tuple(sorted((one.id, three.id)))
    assert wait_for_state(lab, three.id, "finished").concurrent_runs == (two.id,)


# -- what submit refuses


def test_the_cap_is_for_waiting_runs(open_fake: OpenFake) -> None:
    lab, engine = open_fake(queue_limit=2)
    first = running(lab, engine)
    waiting = [lab.submit(CONFIG, "ada") for _ in range(2)]
    assert "2 runs" in refused(lambda: lab.submit(CONFIG, "ada"))
    lab.submit(CONFIG, "bob")
    lab.control(waiting[0].id, "ada", "stop")
    lab.submit(CONFIG, "ada")
    assert len(lab.store.all()[0]) == 5 and lab.store.get(first.id).state == "running"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ON_GPU, "'cuda:0'"),
        (replace(CONFIG, epochs=0), "is 0"),
        (replace(CONFIG, model="lenet"), "'lenet'"),
    ],
)
def test_what_cannot_run_is_refused(open_fake: OpenFake, config: Any, words: str) -> None:
    lab, engine = open_fake()
    with pytest.raises(ConfigError) as error:
        lab.submit(config, "ada")
    assert words in str(error.value)
    assert lab.store.all() == ([], []) and not engine.order


def test_a_device_that_is_there_but_unusable_says_why(open_fake: OpenFake) -> None:
    too_old = replace(GPU, available=False, reason="This card is too old.")
    lab, _ = open_fake(FakeEngine((CPU, too_old)))
    with pytest.raises(ConfigError, match="too old"):
        lab.submit(ON_GPU, "ada")


def test_stop_while_it_waits(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    first, second = running(lab, engine), lab.submit(CONFIG, "ada")
    assert "waits" in refused(lambda: lab.control(second.id, "ada", "pause"))
    lab.control(second.id, "ada", "stop")
    now = lab.store.get(second.id)
    assert now.state == "cancelled" and now.message and now.ended
    assert lab.place(second.id) is None
    engine.end(first.id)
    wait_for_state(lab, first.id, "finished")
    assert engine.order == [first.id]
    assert "ended" in refused(lambda: lab.control(second.id, "ada", "stop"))


def test_pause_step_resume_stop(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine(obeys=False))
    run = running(lab, engine)
    for command, state in (("pause", "paused"), ("step", "paused"), ("resume", "running"), ("stop", "running")):
        lab.control(run.id, "ada", command)
        assert lab.store.get(run.id).state == state
        assert engine.commands[-1] == (run.id, command)
    assert lab.dispatcher.stopping(run.id)
    engine.end(run.id, "cancelled", "It was stopped.")
    wait_for_state(lab, run.id, "cancelled")
    eventually(lambda: not lab.dispatcher.stopping(run.id))


def test_only_the_owner_commands_and_deletes(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    for command in ("pause", "step", "resume", "stop"):
        assert "ada" in refused(lambda command=command: lab.control(run.id, "bob", command))
    assert "not ended" in refused(lambda: lab.delete(run.id, "ada"))
    engine.end(run.id)
    wait_for_state(lab, run.id, "finished")
    assert "ada" in refused(lambda: lab.delete(run.id, "bob"))
    lab.delete(run.id, "ada")
    assert lab.store.all() == ([], [])
    assert not engine.commands


def test_a_command_that_comes_too_early_is_given_with_the_first_event(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.deaf = True  # the worker has the job and still loads torch
    lab.control(run.id, "ada", "stop")
    assert lab.dispatcher.stopping(run.id) and lab.store.get(run.id).state == "running"
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
    told(lab, engine, other, started())
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
        assert "others" in refused(lambda command=command: lab.control(parked.id, "ada", command))
        lab.control(parked.id, "ada", "resume")  # and while it waits for its device
    assert engine.commands == [(parked.id, "pause")]


def test_the_place_of_a_run_that_is_being_resumed_is_not_given_away(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, engine = open_fake()
    run, dispatcher = running(lab, engine, "ada"), lab.dispatcher
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
    told(lab, engine, run, started())
    assert engine.order == [run.id] and not lab.dispatcher.parked(run.id)
    assert lab.store.get(run.id).state == "running"


def test_others_run_on_beside_what_is_measured_on_a_card(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "available_cores", lambda: 2)
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    measured = lab.submit_profile(replace(profile_config("baseline"), device=GPU.id, workers=0), ProfilePlan(), "ada")
    engine.wait_for(measured.id)
    beside = running(lab, engine, "bob")
    loaded = lab.submit_profile(replace(profile_config("baseline"), device=GPU.id, workers=2), ProfilePlan(), "cleo")
    place = lab.place(loaded.id)
    assert place and "GPU 0" in lab.holds_up(place) and "cores" in lab.holds_up(place)
    for each in (measured, beside):
        assert not lab.dispatcher.is_idle()
        engine.end(each.id)
    engine.wait_for(loaded.id)
    waiting = lab.submit(CONFIG, "bob")
    told(lab, engine, loaded, started())
    assert engine.order[-1] == loaded.id, "its loader workers have all cores"
    engine.end(loaded.id)
    engine.wait_for(waiting.id)


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
    told(lab, engine, beside, started())
    assert lab.dispatcher.returning(measured.id) and (measured.id, "resume") not in engine.commands
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
