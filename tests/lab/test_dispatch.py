"""A run's way from the click to its end, and what is refused at the click."""

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
    wait_for_state,
)

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab import dispatch
from eurosat_core.lab.lab import Lab


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
    engine.tell(run.id, started(), step(1), epoch_done(1), epoch_done(2), finished())
    eventually(lambda: lab.results.history(run.id).finished)
    engine.end(run.id, summary={"epochs": 2}, machine={"threads": 2}, files={"split.json": b"{}"}, events=5)
    done = wait_for_state(lab, run.id, "finished")
    assert done.ended and done.summary == {"epochs": 2} and done.machine == {"threads": 2}
    assert done.concurrent_runs == () and done.message == ""
    assert lab.store.load(run.id, "split.json") == b"{}"
    assert [each.epoch for each in lab.results.history(run.id).epochs] == [1, 2]
    eventually(lambda: lockable(lab, run.id))  # nobody works on it any more


def test_a_training_done_for_real(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit(CONFIG, "ada")
    result = engine.work(run.id)
    done = wait_for_state(lab, run.id, "finished")
    assert lab.results.history(run.id).events == result.events
    evaluation, predictions = lab.results.evaluation(run.id), lab.results.predictions(run.id)
    assert evaluation is not None and predictions is not None
    assert evaluation.tiles == len(predictions) == 50
    assert evaluation.accuracy == pytest.approx(done.summary["val_accuracy"])


def test_a_result_waits_for_events_it_overtook(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.end(run.id, events=2)
    engine.tell(run.id, started())
    time.sleep(0.1)
    assert lab.store.get(run.id).state == "running"
    engine.tell(run.id, finished())
    wait_for_state(lab, run.id, "finished")
    assert lab.results.history(run.id).events == 2


def test_events_that_never_come_are_not_waited_for_for_ever(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_LATE_EVENTS_SECONDS", 0.1)
    lab, engine = open_fake()
    run = running(lab, engine)
    engine.end(run.id, events=9)
    wait_for_state(lab, run.id, "finished")
    engine.tell(run.id, started())  # too late: passed over
    assert running(lab, engine).state == "running"


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
    engine.tell(run.id, started(epochs=4), step(7, seconds=80.0), epoch_done(1, seconds=100.0))
    eventually(lambda: lab.results.history(run.id).epochs)
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
    assert "2 runs waiting" in refused(lambda: lab.submit(CONFIG, "ada"))
    lab.submit(CONFIG, "bob")
    lab.control(waiting[0].id, "ada", "stop")
    lab.submit(CONFIG, "ada")
    assert len(lab.store.all()[0]) == 5 and lab.store.get(first.id).state == "running"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ON_GPU, "has no device 'cuda:0'"),
        (replace(CONFIG, epochs=0), "Epochs is 0"),
        (replace(CONFIG, model="lenet"), "no model 'lenet'"),
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
    with pytest.raises(ConfigError, match=r"This card is too old\. Choose another device\."):
        lab.submit(ON_GPU, "ada")
