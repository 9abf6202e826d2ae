"""The Speed page in every state: nothing yet, queued, running, ended in every way; one device, a GPU, recorded runs."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from experiment_makers import measured, put_experiment, put_limits, put_result
from fake_engine import CPU, GPU, FakeEngine, eventually, raising
from streamlit.testing.v1 import AppTest

from eurosat_core.errors import RunError
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.free_sweep import plan_free
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.queue import Place
from eurosat_core.speed.events import Learned, LimitsDone, SweepStarted, TurnDone
from eurosat_core.speed.experiments import EXPERIMENTS, plan_experiment
from pages.parts import speed_choose
from tests.pages.conftest import ME, THREE, App, charts, keys, put, shown, unescaped
from tests.pages.test_compare_race import raced

PAGE = "speed.py"


@pytest.fixture
def gpu_lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(FakeEngine((CPU, GPU), speeds=()))


def look(app: App, **parameters: str) -> AppTest:
    test = app(PAGE, **parameters)
    assert not test.exception, test.exception[0].message
    return test


def says(test: AppTest) -> str:
    return " ".join(shown(test).split())


def chosen(test: AppTest, key: str, value: Any) -> AppTest:
    next(each for each in test.get("pills") if each.key == key).set_value(value)
    test.run()
    assert not test.exception, test.exception[0].message
    return test


def address(test: AppTest, name: str) -> str:
    value = test.query_params[name]
    return value if isinstance(value, str) else value[0]


# -- before the first one


def test_every_experiment_has_its_seconds_and_its_question(lab: Lab, app: App) -> None:
    test = look(app)
    words = says(test)
    assert "You have not run this experiment yet" in words
    assert test.button(key="speed_start").label == "Run on CPU · about 1 min 13 s"
    labels = next(each for each in test.get("pills") if each.key == "speed_experiment").options
    assert labels[0] == "1 · A larger batch · 1 min 13 s" and labels[3].startswith("4 · Another optimizer")
    assert not any("Your experiments" in each.label for each in test.selectbox)
    assert "GPU: No GPU was found on this machine." in words


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_every_experiment_can_be_looked_at(lab: Lab, app: App, name: str) -> None:
    test = look(app, experiment=name)
    assert test.session_state["speed_experiment"] == name
    questions = [each.label for each in test.get("pills") if each.key == f"guess_speed_{name}"]
    assert EXPERIMENTS[name].question in questions[0]
    assert EXPERIMENTS[name].misconception.split(":")[0].replace("`", "") in says(test).replace("`", "")
    assert test.button(key="speed_start").disabled == bool(EXPERIMENTS[name].needs_gpu)
    for block in test.code:
        if block.language == "python":
            compile(block.value, name, "exec")


def test_what_needs_a_gpu_says_why_it_cannot_be_run(lab: Lab, app: App) -> None:
    assert "there is none here" in says(look(app, experiment="pin_memory"))


def test_without_tiles_it_cannot_be_run(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "tiles", lambda: TilesState(None, problem="The disk is full."))
    test = look(app)
    assert "The disk is full." in says(test) and test.button(key="speed_start").disabled
    monkeypatch.setattr(lab, "tiles", lambda: TilesState(None))
    assert "still being opened" in says(look(app))


# -- asking for one


def test_run_puts_it_into_the_queue_and_its_run_into_the_address(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = chosen(look(app), "speed_experiment", "optimizer")
    test.button(key="speed_start").click().run()
    assert not test.exception, test.exception[0].message
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.kind == "sweep" and job.plan["name"] == "optimizer"
    assert (address(test, "run"), address(test, "experiment")) == (job.run_id, "optimizer")
    assert "speed_stop" in keys(test) and test.button(key="speed_start").disabled
    again = look(app, run=job.run_id)  # a refresh
    assert again.session_state["speed_experiment"] == "optimizer" and "speed_stop" in keys(again)


def test_a_refusal_is_shown(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "submit_sweep", raising(RunError("You have 4 runs waiting.")))
    test = look(app)
    test.button(key="speed_start").click().run()
    assert "You have 4 runs waiting." in says(test)


def started(lab: Lab, state: Any, name: str = "batch_size", events: Any = (), **changes: Any) -> Any:
    config, plan = plan_experiment(name, ["cpu"])
    record = put_result(lab, ME, config, plan, None, state=state, **changes)
    lab.store.append(record.id, list(events))
    return record


def test_a_waiting_one_has_its_place(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    record = started(lab, "queued")
    monkeypatch.setattr(lab, "place", lambda _run: Place(2, 3, 40.0))
    test = look(app, run=record.id)
    assert "Place 2 of 3" in says(test)
    assert test.button(key="speed_stop").label == "Leave the queue"


BEGUN = (SweepStarted(4, 8, 73.0, "cpu", 2),)
WARM = (*BEGUN, TurnDone("prepare", 0, 0, 1.0, 900.0))
ROUNDS = (*WARM, *(TurnDone("train", at, number, 2.0 + number, 900.0 + at) for number in (1, 2, 3) for at in range(4)))


@pytest.mark.parametrize(
    ("events", "stage", "drawn"),
    [
        ((), "Getting ready", 0),
        (BEGUN, "Warming up 1 of 4", 0),
        (WARM, "Warming up 2 of 4", 0),
        (ROUNDS, "Round 3 of 8", 1),
        ((*ROUNDS, Learned(1, 30.0, 0.31, 4.0)), "Training “40” to 40.0 %: 31.0 % so far", 1),
    ],
)
def test_a_running_one_says_what_it_does(lab: Lab, app: App, events: Any, stage: str, drawn: int) -> None:
    record = started(lab, "running", events=events)
    test = look(app, run=record.id)
    (text,) = [each.proto.text for each in test.get("progress")]
    assert text.replace("\N{NO-BREAK SPACE}", " ").startswith(stage)
    assert charts(test) == drawn


def test_stop_is_passed_on(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = look(app)
    test.button(key="speed_start").click().run()
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    test.run()
    test.button(key="speed_stop").click().run()
    assert (job.run_id, "stop") in engine.commands


def test_somebody_elses_cannot_be_stopped_but_watched(lab: Lab, app: App) -> None:
    record = started(lab, "running", events=ROUNDS)
    test = look(app, run=record.id, who="ada")
    assert "speed_stop" not in keys(test) and charts(test) == 1


# -- what it showed


@pytest.mark.parametrize(
    ("rate", "sentence"),
    [
        (2000.0, "2.0 times as fast"),
        (1000.0, "no difference we can measure"),
        (500.0, "slower: the other is 2.0 times as fast"),
    ],
)
def test_a_sentence_for_every_outcome(lab: Lab, app: App, rate: float, sentence: str) -> None:
    put_experiment(lab, ME, "batch_size", {"256": rate})
    test = look(app)
    words = says(test)
    assert f"Batches of 256 against batches of 40: {sentence}" in words
    assert EXPERIMENTS["batch_size"].outcomes["faster" if rate > 1000 else "slower" if rate < 1000 else "same"] in words
    assert "Measured on: Test CPU" in words and "2 CPU threads; 160 timed steps in 8 rounds" in words
    assert "came to 40.0 % first" in words and "Not reached in the time given: batches of 256." in words
    assert charts(test) == 3  # rates, parts, accuracy
    assert "Where the time went, for 1,000 tiles" in words


@pytest.mark.parametrize("name", [each for each in EXPERIMENTS if not EXPERIMENTS[each].needs_gpu])
def test_every_experiments_result(lab: Lab, app: App, name: str) -> None:
    put_experiment(lab, ME, name)
    test = look(app, experiment=name)
    assert "What you just saw" in says(test)
    assert charts(test) == (3 if EXPERIMENTS[name].target_accuracy else 2)
    assert ("How much *arithmetic* gets done" in says(test)) == (name == "model_size")


def test_the_guess_is_held_against_it(lab: Lab, app: App) -> None:
    put_experiment(lab, ME)
    test = chosen(look(app), "guess_speed_batch_size", "slower")
    assert "You guessed “slower”." in says(test) and "That is more than you guessed." in says(test)


def test_a_gpu_stands_beside_the_cpu(gpu_lab: Lab, app: App) -> None:
    test = look(app)
    assert test.button(key="speed_start").label.startswith("Run on CPU and GPU 0")
    put_experiment(gpu_lab, ME, devices=("cpu", GPU.id))
    words = says(look(app))
    assert "CPU: batches of 256" in words and "GPU 0: batches of 256" in words
    assert "“256” on the GPU 0 against the CPU: 5.0 times as fast" in words


def test_devices_can_be_left_out(gpu_lab: Lab, app: App) -> None:
    test = chosen(chosen(look(app), "speed_experiment", "source"), "speed_devices", ["cpu"])
    assert test.button(key="speed_start").label.startswith("Run on CPU ·")
    assert test.session_state["speed_experiment"] == "source"
    test = chosen(test, "speed_devices", [])
    assert "Choose at least one device" in says(test) and test.button(key="speed_start").disabled


def test_pinned_memory_can_be_measured_with_a_gpu(gpu_lab: Lab, app: App) -> None:
    assert look(app, experiment="pin_memory").button(key="speed_start").label.startswith("Run on GPU 0 ·")


@pytest.mark.parametrize("state", ["failed", "cancelled", "interrupted"])
def test_one_that_ended_early_says_why(lab: Lab, app: App, state: Any) -> None:
    record = started(lab, state, message="The graphics memory is full.")
    words = says(look(app, run=record.id))
    assert "What happened" in words and "The graphics memory is full." in words
    assert "It measured nothing that could be shown." in words


def test_one_that_was_stopped_keeps_its_rounds(lab: Lab, app: App) -> None:
    config, plan = plan_experiment("source", ["cpu"])
    result = measured(config, plan, complete=False)
    cells = tuple(each for each in result.cells)
    short = result.changed(cells=tuple(_first_rounds(each, 3) for each in cells))
    put_result(lab, ME, config, plan, short, state="cancelled", message="It was stopped after 3 rounds of 8.")
    words = says(look(app, experiment="source"))
    assert "Too few rounds were measured to tell." in words and "It was stopped after 3 rounds of 8." in words


def _first_rounds(cell: Any, rounds: int) -> Any:
    from dataclasses import replace

    return replace(cell, turns=cell.turns[:rounds])


def test_a_cell_that_failed_says_why(lab: Lab, app: App) -> None:
    config, plan = plan_experiment("model_size", ["cpu"])
    result = measured(config, plan).with_cell(3, turns=(), problem="The memory is full.")
    put_result(lab, ME, config, plan, result)
    assert "“8× filters” could not be measured. The memory is full." in says(look(app, experiment="model_size"))


def test_what_ran_beside_is_told(lab: Lab, app: App) -> None:
    put_experiment(lab, ME, beside=("ada’s run",))
    words = says(look(app))
    assert "Meanwhile this machine also computed: ada’s run." in words and "1 other run ran beside it" in words


def test_a_recorded_one_is_marked_and_no_guess_is_held_against_it(lab: Lab, app: App) -> None:
    put_experiment(lab, ME, recorded_on="H100, 3 May 2026")
    test = chosen(look(app), "guess_speed_batch_size", "slower")
    assert "Recorded on H100, 3 May 2026" in says(test) and "You guessed" not in says(test)


def test_damaged_figures_get_a_sentence(lab: Lab, app: App) -> None:
    record = put_experiment(lab, ME)
    (lab.store.folder_of(record.id) / "sweep.json").write_bytes(json.dumps({"format": 1}).encode())
    assert "The measurements of this run are damaged." in says(look(app))


def test_earlier_ones_are_listed_and_found_again(lab: Lab, app: App) -> None:
    first = put_experiment(lab, ME, "source")
    put_experiment(lab, ME, "optimizer")
    put_experiment(lab, "ada", "workers")
    test = look(app)
    (box,) = [each for each in test.selectbox if each.label.startswith("Your experiments")]
    assert box.label == "Your experiments (2)" and len(box.options) == 2
    box.select(next(each for each in box.options if each.startswith("Tiles in memory"))).run()
    assert not test.exception
    assert test.session_state["speed_experiment"] == "source" and address(test, "run") == first.id


def test_choosing_another_experiment_opens_its_newest_run(lab: Lab, app: App) -> None:
    batches, source = put_experiment(lab, ME), put_experiment(lab, ME, "source")
    test = look(app, run=batches.id)
    assert address(test, "run") == batches.id
    assert address(chosen(test, "speed_experiment", "source"), "run") == source.id
    chosen(test, "speed_experiment", "workers")
    assert "run" not in test.query_params and "You have not run this experiment yet" in says(test)


def test_a_link_to_an_experiment_wins_over_what_was_looked_at(lab: Lab, app: App) -> None:
    batches, source = put_experiment(lab, ME), put_experiment(lab, ME, "source")
    test = look(app, run=batches.id)
    test.query_params["experiment"] = "source"
    test.run()
    assert test.session_state["speed_experiment"] == "source" and address(test, "run") == source.id


@pytest.mark.parametrize("name", ["free", "limits"])
def test_a_refresh_finds_what_is_no_experiment(lab: Lab, app: App, name: str) -> None:
    config, plan = plan_free("batch_size", ["16", "64"], "baseline", ["cpu"])
    record = put_limits(lab, ME) if name == "limits" else put_result(lab, ME, config, plan, measured(config, plan))
    test = look(app, run=record.id, experiment="workers")
    assert (test.session_state["speed_more"], test.session_state["speed_experiment"]) == (name, "workers")
    assert address(test, "run") == record.id and "What you just saw" in says(test)


def test_a_run_of_another_kind_in_the_address_leads_nowhere(lab: Lab, app: App) -> None:
    trained = put(lab, "finished", THREE)
    assert "You have not run this experiment yet" in says(look(app, run=trained.id))
    race = raced(lab)
    assert "shown on the Compare page" in says(look(app, run=race.id))


def test_a_run_that_is_not_there(lab: Lab, app: App) -> None:
    test = look(app, run="20260101-000000-nobody-0000")
    assert "This measurement cannot be shown" in says(test)
    test.button(key="speed_none").click().run()
    assert "This measurement cannot be shown" not in says(test)


def test_deleting_one(lab: Lab, app: App) -> None:
    record = put_experiment(lab, ME)
    test = look(app)
    test.button(key=f"speed_delete_sure_{record.id}").click().run()
    assert not test.exception
    assert lab.runs()[0] == [] and "You have not run this experiment yet" in says(test)
    put_experiment(lab, "ada")
    assert not any(each.startswith("speed_delete") for each in keys(look(app)))


# -- more


def test_a_free_sweep(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = chosen(look(app), "speed_more", "free")
    assert test.button(key="speed_free_start").label == "Run the sweep on CPU · about 30 s"
    test.selectbox(key="speed_free_setting").select("precision").run()
    assert test.button(key="speed_free_start").label == "Run the sweep on CPU · about 20 s"
    test.button(key="speed_free_start").click().run()
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    assert job.plan["name"] == "free" and job.plan["setting"] == "precision"
    again = look(app, run=job.run_id)
    assert again.session_state["speed_more"] == "free" and "speed_stop" in keys(again)


def test_values_that_cannot_be_measured_get_a_sentence(lab: Lab, app: App) -> None:
    test = chosen(look(app), "speed_more", "free")
    test.multiselect(key="speed_free_values_batch_size").set_value(["40"]).run()
    assert "Choose at least two values" in says(test) and test.button(key="speed_free_start").disabled
    test.selectbox(key="speed_free_setting").select("pin_memory").run()
    assert "Pinned memory is for copies to a CUDA GPU" in says(test)


def test_values_of_ones_own_can_be_typed(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = chosen(look(app), "speed_more", "free")
    box = test.multiselect(key="speed_free_values_batch_size")
    assert box.proto.accept_new_options
    test.selectbox(key="speed_free_setting").select("precision").run()
    assert not test.multiselect(key="speed_free_values_precision").proto.accept_new_options


def test_a_free_sweeps_result(lab: Lab, app: App) -> None:
    config, plan = plan_free("batch_size", ["16", "64"], "baseline", ["cpu"])
    record = put_result(lab, ME, config, plan, measured(config, plan, {"64": 1500.0}))
    words = says(look(app, run=record.id))
    assert "Batch size" in words and "Batches of 64 against batches of 16: 1.50 times as fast" in words


def test_limits(lab: Lab, app: App) -> None:
    test = chosen(look(app), "speed_more", "limits")
    assert "Not measured yet." in says(test)
    put_limits(lab, ME)
    test = chosen(look(app), "speed_more", "limits")
    words = says(test)
    assert "half of them at most 1.2 times as long or short as measured" in words
    assert "Most of these steps are spent on arithmetic." in words
    assert "no GPU was measured" in words
    cells = unescaped(" ".join(str(each) for table in test.table for each in table.value.to_numpy().flatten()))
    assert "200 billion operations/s" in cells and "12.0 GB/s" in cells and "+20.0" in cells
    assert "Copy to the GPU" not in str([table.value.index.tolist() for table in test.table])


def test_limits_of_a_gpu_tell_where_it_overtakes(gpu_lab: Lab, app: App) -> None:
    put_limits(gpu_lab, ME, ("cpu", GPU.id))
    put_experiment(gpu_lab, ME, devices=("cpu", GPU.id))
    words = says(chosen(look(app), "speed_more", "limits"))
    assert "Measured: the GPU is faster with all batches that were looked at (8 tiles to 1,024 tiles)." in words
    assert "no GPU was measured" not in words


def test_limits_while_they_are_measured(lab: Lab, app: App, engine: FakeEngine) -> None:
    test = chosen(look(app), "speed_more", "limits")
    test.button(key="speed_limits_start").click().run()
    job = eventually(lambda: next(iter(engine.jobs.values()), None))
    engine.tell(job.run_id, SweepStarted(6, 8, 40.0, "cpu", 2))  # type: ignore[arg-type]
    eventually(lambda: lab.history(job.run_id).sweep.started)
    test.run()
    assert any(each.proto.text.startswith("Measuring the limits") for each in test.get("progress"))
    engine.tell(job.run_id, LimitsDone("cpu", 8.0))  # type: ignore[arg-type]
    eventually(lambda: lab.history(job.run_id).sweep.limits)
    test.run()
    assert not test.exception


def test_the_sidebar_leads_to_each_kind_of_run(lab: Lab, app: App) -> None:
    put_experiment(lab, ME)
    raced(lab)
    test = app("start.py")
    found = {each.proto.label: each.proto.page for each in test.get("page_link")}
    assert found["A larger batch · CPU"] == "speed"
    assert found["Race · CPU"] == "compare"


def test_a_late_report_of_what_was_shown_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(speed_choose.speed_state, "look_at", chosen.append)
    monkeypatch.setattr(speed_choose.st, "session_state", {"the box": "a-run"})
    speed_choose._take_earlier("the box", "a-run")
    assert chosen == []
    speed_choose._take_earlier("the box", None)
    assert chosen == ["a-run"]
