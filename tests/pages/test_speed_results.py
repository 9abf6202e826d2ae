"""What the Speed page shows of experiments that were measured: each outcome, a GPU, recorded ones, earlier ones."""

import json
from dataclasses import replace

import pytest
from experiment_makers import measured, put_experiment, put_limits, put_result
from fake_engine import GPU

from eurosat_core.analysis.sweep import experiment_finding, learning_finding, plan_free
from eurosat_core.lab.lab import Lab
from eurosat_core.speed.experiments import EXPERIMENTS, plan_experiment
from eurosat_core.words.say import say
from tests.pages.conftest import (
    ME,
    THREE,
    App,
    address,
    charts,
    choose,
    click,
    keys,
    put,
    saw,
    says,
    tells,
    unescaped,
)
from tests.pages.test_compare_race import raced
from tests.pages.test_speed_page import PAGE


@pytest.mark.parametrize(("rate", "outcome"), [(2000.0, "faster"), (1000.0, "same"), (500.0, "slower")])
def test_a_sentence_for_every_outcome(lab: Lab, app: App, rate: float, outcome: str) -> None:
    record = put_experiment(lab, ME, "batch_size", {"256": rate})
    test, result = app(PAGE), lab.sweeps.result(record.id)
    for finding in (experiment_finding(result, "cpu"), learning_finding(result, "cpu")):
        assert finding is not None and say(finding)[1:] in saw(test)
    assert EXPERIMENTS["batch_size"].outcomes[outcome] in saw(test)
    assert tells(test, "sweep.measured.threads", steps=160, rounds=8)
    assert charts(test) == 3 and tells(test, "speed/breakdown per tile")  # rates, parts, accuracy


@pytest.mark.parametrize("name", [each for each in EXPERIMENTS if not EXPERIMENTS[each].needs_gpu])
def test_every_experiments_result(lab: Lab, app: App, name: str) -> None:
    put_experiment(lab, ME, name)
    test = app(PAGE, experiment=name)
    assert saw(test) and tells(test, "speed/work") == (name == "model_size")
    assert charts(test) == (3 if EXPERIMENTS[name].target_accuracy else 2)


def test_a_gpu_stands_beside_the_cpu(gpu_lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert "CPU and GPU 0" in test.button(key="speed_start").label
    put_experiment(gpu_lab, ME, devices=("cpu", GPU.id))
    words = saw(app(PAGE))
    assert "\nCPU: " in f"\n{words}" and "\nGPU 0: " in words
    assert tells(words, "sweep.devices", label="256", device=GPU.id) and "5.0 times" in words


def test_one_that_was_stopped_keeps_its_rounds_and_a_cell_that_failed_says_why(lab: Lab, app: App) -> None:
    config, plan = plan_experiment("source", ["cpu"])
    result = measured(config, plan, complete=False)
    short = replace(result, cells=tuple(replace(each, turns=each.turns[:3]) for each in result.cells))
    put_result(lab, ME, config, plan, short, state="cancelled", message="Stopped")
    test = app(PAGE, experiment="source")
    assert tells(test, "sweep.unknown") and "Stopped" in [each.value for each in test.warning]
    config, plan = plan_experiment("model_size", ["cpu"])
    result = measured(config, plan).with_cell(3, turns=(), problem="Full.")
    put_result(lab, ME, config, plan, result)
    assert tells(app(PAGE, experiment="model_size"), "sweep.problem", label="8× filters", problem="Full.")


def test_the_guess_is_held_against_it_and_what_ran_beside_is_told(lab: Lab, app: App) -> None:
    record = put_experiment(lab, ME, concurrent_runs=("ada’s run",))
    test = choose(app(PAGE), "guess_speed_batch_size", "slower")
    assert tells(test, "guesses.off", guess="slower") and tells(test, "sweep.company", company=["ada’s run"])
    assert any("ada’s run" in unescaped(each.value) for each in test.warning)
    lab.store.update(record.id, recorded_on="H100, 3 May 2026")  # no guess is held against what others measured
    assert "H100, 3 May 2026" in says(test.run()) and not tells(test, "guesses.off")


def test_earlier_ones_are_listed_and_found_again(lab: Lab, app: App) -> None:
    first = put_experiment(lab, ME, "source")
    put_experiment(lab, ME, "optimizer")
    put_experiment(lab, "ada", "workers")
    test = app(PAGE)
    (box,) = [each for each in test.selectbox if str(each.key).startswith("speed_earlier")]
    assert "(2)" in box.label and len(box.options) == 2
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
    assert "run" not in test.query_params and tells(test, "speed/empty")


@pytest.mark.parametrize("name", ["free", "limits"])
def test_a_refresh_finds_what_is_no_experiment(lab: Lab, app: App, name: str) -> None:
    config, plan = plan_free("batch_size", ["16", "64"], "baseline", ["cpu"])
    record = put_limits(lab, ME) if name == "limits" else put_result(lab, ME, config, plan, measured(config, plan))
    test = app(PAGE, run=record.id, experiment="workers")
    assert (test.session_state["speed_more"], test.session_state["speed_experiment"]) == (name, "workers")
    assert address(test, "run") == record.id and saw(test)


def test_addresses_that_lead_nowhere(lab: Lab, app: App) -> None:
    trained = put(lab, "finished", THREE)
    assert tells(app(PAGE, run=trained.id), "speed/empty")
    assert tells(app(PAGE, run=raced(lab).id), "speed/race")
    test = app(PAGE, run="20260101-000000-nobody-0000")
    assert "speed_none" not in keys(click(test, "speed_none"))


def test_deleting_one_and_damaged_figures(lab: Lab, app: App) -> None:
    record = put_experiment(lab, ME)
    (lab.store.folder_of(record.id) / "sweep.json").write_bytes(json.dumps({"format": 1}).encode())
    test = app(PAGE)
    assert len(test.error) == 1
    click(test, f"speed_delete_{record.id}_sure")
    assert lab.store.all()[0] == [] and tells(test, "speed/empty")
    put_experiment(lab, "ada")
    assert not any(each.startswith("speed_delete") for each in keys(app(PAGE)))


def test_the_sidebar_leads_to_each_kind_of_run(lab: Lab, app: App) -> None:
    put_experiment(lab, ME)
    raced(lab)
    test = app("start.py")
    found = {each.proto.label: each.proto.page for each in test.get("page_link")}
    assert found["A larger batch · CPU"] == "speed"
    assert found["Race · CPU"] == "compare"
