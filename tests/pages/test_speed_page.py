"""The Speed page before there is a result: nothing yet, asked for, queued, running, ended early; with a GPU, too."""

import ast
import re
import time
from typing import Any

import pytest
from experiment_makers import put_result
from fake_engine import NO_GPU, FakeEngine, eventually

from eurosat_core.lab.lab import Lab
from eurosat_core.speed.experiments import EXPERIMENTS, Experiment, plan_experiment
from eurosat_core.speed.plan import Learned, SweepStarted, TurnDone
from pages.parts.speed.choose import code
from tests.pages.conftest import ME, App, address, charts, choose, click, keys, says, tells

PAGE = "speed.py"

# -- before the first one


def test_every_experiment_has_its_seconds_and_its_question(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert tells(test, "speed/empty")
    assert test.button(key="speed_start").label.endswith(" CPU · about 1 min 13 s")
    labels = next(each for each in test.get("pills") if each.key == "speed_experiment").options
    assert labels[0] == f"1 · {EXPERIMENTS['batch_size'].title} · 1 min 13 s" and labels[3].startswith("4 · ")
    assert not any(str(each.key).startswith("speed_earlier") for each in test.selectbox)
    assert NO_GPU.reason in says(test)


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_experiment_can_be_looked_at(lab: Lab, app: App, name: str) -> None:
    test = app(PAGE, experiment=name)
    assert test.session_state["speed_experiment"] == name
    questions = [each.label for each in test.get("pills") if each.key == f"guess_speed_{name}"]
    assert EXPERIMENTS[name].question in questions[0]
    assert EXPERIMENTS[name].misconception.split(":")[0].replace("`", "") in says(test).replace("`", "")
    assert test.button(key="speed_start").disabled == bool(EXPERIMENTS[name].needs_gpu)
    for block in test.code:
        if block.language == "python":
            compile(block.value, name, "exec")


@pytest.mark.parametrize("one", EXPERIMENTS.values(), ids=lambda one: one.name)
def test_the_pytorch_shown_is_what_is_measured(one: Experiment) -> None:
    config, plan = plan_experiment(one.name, ["cpu", "cuda:0"])
    made = {(cell.label, its.device): its for cell, its in zip(plan.cells, plan.configs(config), strict=True)}
    for device, shown in zip(("cpu", "cuda:0"), code(one.name), strict=True):
        at = device if (one.focus, device) in made else "cuda:0"
        focus, reference = made[one.focus, at], made[one.reference, at]
        ast.parse(shown)
        assert re.findall(r"batch_size = (\d+)", shown) == [str(focus.batch_size)]
        assert (f"instead of {reference.batch_size}" in shown) == (focus.batch_size != reference.batch_size)
        assert re.findall(r"num_workers=(\d+)", shown) == [str(focus.workers)] * (focus.source == "loader")
        assert ("TileNet()" in shown) == (focus.model == "tilenet")


# -- asking for one


def test_run_puts_it_into_the_queue_and_its_run_into_the_address(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = choose(app(PAGE), "speed_experiment", "optimizer")
    click(test, "speed_start")
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.kind == "sweep" and job.plan["name"] == "optimizer"
    assert (address(test, "run"), address(test, "experiment")) == (job.run_id, "optimizer")
    assert "speed_stop" in keys(test) and test.button(key="speed_start").disabled
    again = app(PAGE, run=job.run_id)  # a refresh
    assert again.session_state["speed_experiment"] == "optimizer" and "speed_stop" in keys(again)
    again.button(key="speed_stop").click().run()
    assert (job.run_id, "stop") in engine.commands


def test_devices_can_be_left_out(gpu_lab: Lab, app: App) -> None:
    test = choose(choose(app(PAGE), "speed_experiment", "source"), "speed_devices", ["cpu"])
    assert " CPU ·" in test.button(key="speed_start").label
    assert test.session_state["speed_experiment"] == "source"
    assert choose(test, "speed_devices", []).button(key="speed_start").disabled
    pinned = app(PAGE, experiment="pin_memory")
    assert "on GPU 0 ·" in pinned.button(key="speed_start").label


def started(lab: Lab, state: Any, name: str = "batch_size", events: Any = (), **changes: Any) -> Any:
    config, plan = plan_experiment(name, ["cpu"])
    record = put_result(lab, ME, config, plan, None, state=state, **changes)
    lab.store.append(record.id, list(events))
    return record


BEGUN = (SweepStarted(4, 8, 73.0, "cpu", 2),)
WARM = (*BEGUN, TurnDone("prepare", 0, 0, 1.0, 900.0))
ALL_WARM = (*BEGUN, *(TurnDone("prepare", at, 0, 1.0 + at, 900.0) for at in range(4)))
ROUNDS = (*WARM, *(TurnDone("train", at, number, 2.0 + number, 900.0 + at) for number in (1, 2, 3) for at in range(4)))


@pytest.mark.parametrize(
    ("events", "stage", "drawn"),
    [
        ((), (), 0),
        (BEGUN, ("1 of 4",), 0),
        (WARM, ("2 of 4",), 0),
        (ALL_WARM, ("1 of 8",), 0),
        (ROUNDS, ("3 of 8",), 1),
        ((*ROUNDS, Learned(1, 30.0, 0.31, 4.0)), ("“40”", "40.0 %", "31.0 %"), 1),
    ],
)
def test_a_running_one_says_what_it_does(lab: Lab, app: App, events: Any, stage: tuple[str, ...], drawn: int) -> None:
    record = started(lab, "running", events=events)
    test = app(PAGE, run=record.id)
    (text,) = [each.proto.text for each in test.get("progress")]
    assert text and all(each in text.replace("\N{NO-BREAK SPACE}", " ") for each in stage)
    assert charts(test) == drawn


def test_a_clock_that_was_put_back_breaks_no_page(lab: Lab, app: App) -> None:
    record = started(lab, "running", events=ROUNDS, started=time.time() + 3600)
    test = app(PAGE, run=record.id)
    (bar,) = test.get("progress")
    assert bar.proto.value == 0 and not test.exception and not test.error


def test_somebody_elses_cannot_be_stopped_but_watched(lab: Lab, app: App) -> None:
    record = started(lab, "running", events=ROUNDS)
    test = app(PAGE, run=record.id, who="ada")
    assert "speed_stop" not in keys(test) and charts(test) == 1


@pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted"])
def test_one_that_ended_early_says_why(lab: Lab, app: App, state: Any) -> None:
    record = started(lab, state, message="Full")
    test = app(PAGE, run=record.id)
    assert "Full" in [each.value for each in (*test.error, *test.warning)] and not charts(test)
