"""What the Speed page shows of experiments that were measured: each outcome, a GPU, recorded ones, earlier ones."""

import json
from dataclasses import replace

import pytest
from experiment_makers import measured, put_experiment, put_limits, put_result
from fake_engine import GPU

from eurosat_core.analysis.sweep import plan_free
from eurosat_core.lab.lab import Lab
from eurosat_core.speed.experiments import EXPERIMENTS, plan_experiment
from tests.pages.conftest import ME, THREE, App, address, charts, choose, click, keys, put, says
from tests.pages.test_compare_race import raced
from tests.pages.test_speed_page import PAGE


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
    test = app(PAGE)
    words = says(test)
    assert f"Batches of 256 against batches of 40: {sentence}" in words
    assert EXPERIMENTS["batch_size"].outcomes["faster" if rate > 1000 else "slower" if rate < 1000 else "same"] in words
    assert "Measured on: Test CPU" in words and "2 CPU threads; 160 timed steps in 8 rounds" in words
    assert "reached 40.0 % first" in words and "Not reached in the time given: batches of 256." in words
    assert charts(test) == 3  # rates, parts, accuracy
    assert "Where the time went, for 1,000 tiles" in words


@pytest.mark.parametrize("name", [each for each in EXPERIMENTS if not EXPERIMENTS[each].needs_gpu])
def test_every_experiments_result(lab: Lab, app: App, name: str) -> None:
    put_experiment(lab, ME, name)
    test = app(PAGE, experiment=name)
    assert "What you just saw" in says(test)
    assert charts(test) == (3 if EXPERIMENTS[name].target_accuracy else 2)
    assert ("How much *arithmetic* gets done" in says(test)) == (name == "model_size")


def test_a_gpu_stands_beside_the_cpu(gpu_lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert test.button(key="speed_start").label.startswith("Run on CPU and GPU 0")
    put_experiment(gpu_lab, ME, devices=("cpu", GPU.id))
    words = says(app(PAGE))
    assert "CPU: batches of 256" in words and "GPU 0: batches of 256" in words
    assert "“256” on the GPU 0 against the CPU: 5.0 times as fast" in words


def test_one_that_was_stopped_keeps_its_rounds(lab: Lab, app: App) -> None:
    config, plan = plan_experiment("source", ["cpu"])
    result = measured(config, plan, complete=False)
    short = replace(result, cells=tuple(replace(each, turns=each.turns[:3]) for each in result.cells))
    put_result(lab, ME, config, plan, short, state="cancelled", message="It was stopped after 3 rounds of 8.")
    words = says(app(PAGE, experiment="source"))
    assert "Too few rounds were measured to tell." in words and "It was stopped after 3 rounds of 8." in words


def test_a_cell_that_failed_says_why(lab: Lab, app: App) -> None:
    config, plan = plan_experiment("model_size", ["cpu"])
    result = measured(config, plan).with_cell(3, turns=(), problem="The memory is full.")
    put_result(lab, ME, config, plan, result)
    assert "“8× filters” could not be measured. The memory is full." in says(app(PAGE, experiment="model_size"))


def test_the_guess_is_held_against_it_and_what_ran_beside_is_told(lab: Lab, app: App) -> None:
    record = put_experiment(lab, ME, concurrent_runs=("ada’s run",))
    test = choose(app(PAGE), "guess_speed_batch_size", "slower")
    words = says(test)
    assert "You guessed “slower”, but the answer is" in words
    assert "Meanwhile this machine also computed: ada’s run." in words
    assert "Something else ran at the same time (ada’s run)" in words
    lab.store.update(record.id, recorded_on="H100, 3 May 2026")  # no guess is held against what others measured
    words = says(test.run())
    assert "Recorded on H100, 3 May 2026" in words and "You guessed" not in words


def test_damaged_figures_get_a_sentence(lab: Lab, app: App) -> None:
    record = put_experiment(lab, ME)
    (lab.store.folder_of(record.id) / "sweep.json").write_bytes(json.dumps({"format": 1}).encode())
    assert "The measurements of this run are damaged." in says(app(PAGE))


def test_earlier_ones_are_listed_and_found_again(lab: Lab, app: App) -> None:
    first = put_experiment(lab, ME, "source")
    put_experiment(lab, ME, "optimizer")
    put_experiment(lab, "ada", "workers")
    test = app(PAGE)
    (box,) = [each for each in test.selectbox if each.label.startswith("Your experiments")]
    assert box.label == "Your experiments (2)" and len(box.options) == 2
    box.select(next(each for each in box.options if each.startswith("Tiles in memory"))).run()
    assert not test.exception
    assert test.session_state["speed_experiment"] == "source" and address(test, "run") == first.id


def test_choosing_another_experiment_or_a_link_to_it_opens_its_newest_run(lab: Lab, app: App) -> None:
    batches, source = put_experiment(lab, ME), put_experiment(lab, ME, "source")
    test = app(PAGE, run=batches.id)
    assert address(test, "run") == batches.id
    test.query_params["experiment"] = "source"  # a link wins over what was looked at
    test.run()
    assert test.session_state["speed_experiment"] == "source" and address(test, "run") == source.id
    assert address(choose(test, "speed_experiment", "batch_size"), "run") == batches.id
    choose(test, "speed_experiment", "workers")
    assert "run" not in test.query_params and "You have not run this experiment yet" in says(test)


@pytest.mark.parametrize("name", ["free", "limits"])
def test_a_refresh_finds_what_is_no_experiment(lab: Lab, app: App, name: str) -> None:
    config, plan = plan_free("batch_size", ["16", "64"], "baseline", ["cpu"])
    record = put_limits(lab, ME) if name == "limits" else put_result(lab, ME, config, plan, measured(config, plan))
    test = app(PAGE, run=record.id, experiment="workers")
    assert (test.session_state["speed_more"], test.session_state["speed_experiment"]) == (name, "workers")
    assert address(test, "run") == record.id and "What you just saw" in says(test)


def test_a_run_of_another_kind_in_the_address_leads_nowhere(lab: Lab, app: App) -> None:
    trained = put(lab, "finished", THREE)
    assert "You have not run this experiment yet" in says(app(PAGE, run=trained.id))
    race = raced(lab)
    assert "shown on the Compare page" in says(app(PAGE, run=race.id))


def test_a_run_that_is_not_there(lab: Lab, app: App) -> None:
    test = app(PAGE, run="20260101-000000-nobody-0000")
    assert "This measurement cannot be shown" in says(test)
    click(test, "speed_none")
    assert "This measurement cannot be shown" not in says(test)


def test_deleting_one(lab: Lab, app: App) -> None:
    record = put_experiment(lab, ME)
    test = app(PAGE)
    click(test, f"speed_delete_{record.id}_sure")
    assert lab.store.all()[0] == [] and "You have not run this experiment yet" in says(test)
    put_experiment(lab, "ada")
    assert not any(each.startswith("speed_delete") for each in keys(app(PAGE)))


def test_the_sidebar_leads_to_each_kind_of_run(lab: Lab, app: App) -> None:
    put_experiment(lab, ME)
    raced(lab)
    test = app("start.py")
    found = {each.proto.label: each.proto.page for each in test.get("page_link")}
    assert found["A larger batch · CPU"] == "speed"
    assert found["Race · CPU"] == "compare"
