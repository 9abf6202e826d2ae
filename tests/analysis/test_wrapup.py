"""What the wrap-up says and suggests, for every way that a participant's figures can come out."""

import re
from dataclasses import replace
from typing import Any, cast

import pytest
from experiment_makers import measured
from fake_engine import CPU, GPU, NO_GPU
from msgspec import structs
from run_makers import USED, compared, epoch, make_record, said, through, told

from eurosat_core.analysis.answers import guess_outcomes
from eurosat_core.analysis.race import RACE, plan_race
from eurosat_core.analysis.tutorial import beside_tutorial, conclusion
from eurosat_core.analysis.wrapup import Evidence, Measurement, next_steps
from eurosat_core.lab.lab import Lab
from eurosat_core.training.config import TrainConfig, workshop_config

ANSWERS = said([0, 0, 1, 2], [0, 1, 1, 0])


def one(*accuracies: float, **changes: Any) -> Any:
    machine = {"device_name": "Test CPU", "threads": 2}
    config = changes.pop("config", workshop_config("baseline"))
    return make_record(config=config, machine=machine, **changes), through(*(accuracies or (0.3, 0.5))), ANSWERS


def evidence(*runs: Any, **changes: Any) -> Evidence:
    return Evidence("ada", compared(*runs), devices=(CPU, NO_GPU), **changes)


def race_of(small: float, large: float, models: tuple[str, str] = ("baseline", "vgg11_bn")) -> Measurement:
    """A race in which the GPU is so many times as fast with each model."""
    config, plan = plan_race(models, ["cpu", GPU.id])
    result = measured(config, plan)
    factors = {plan.cells[0].label: small, plan.cells[1].label: large}
    cells = []
    for cell in result.cells:
        factor = 1.0 if cell.device == "cpu" else factors[cell.label] / 5.0  # `measured` made it five times as fast
        turns = tuple(structs.replace(each, seconds=each.seconds / factor, parts=None) for each in cell.turns)
        cells.append(replace(cell, turns=turns))
    return Measurement(make_record(kind="sweep", config=config), replace(result, cells=tuple(cells), name=RACE))


@pytest.mark.parametrize(
    ("small", "large", "variant"), [(1.1, 6.0, "agrees"), (5.0, 20.0, "order_agrees"), (4.0, 4.0, "disagrees")]
)
def test_the_tutorials_conclusion_follows_the_measurement(small: float, large: float, variant: str) -> None:
    found = Evidence("ada", measurements=(race_of(small, large),), devices=(CPU, GPU))
    assert told(conclusion(found)) == [f"both.{variant}"]
    table = beside_tutorial(found).set_index("Figure")["You"]
    assert table["VGG11-BN: GPU against CPU"].startswith(f"{large:.0f}" if large > 10 else f"{large:.1f}")


@pytest.mark.parametrize(("times", "kind"), [(5.0, "right"), (1.0, "off")])
def test_a_race_answers_the_guess_about_a_gpus_speed(times: float, kind: str) -> None:
    guesses = {"speedup_baseline": "5×"}
    found = Evidence("ada", measurements=(race_of(times, 20.0),), devices=(CPU, GPU), guesses=guesses)
    (outcome,) = guess_outcomes(cast(Lab, None), found)
    assert (outcome.kind, outcome.measured.name, outcome.measured.figures["device"]) == (kind, "race.devices", GPU.id)


def test_half_a_comparison_is_said_to_be_one() -> None:
    both = race_of(1.0, 3.0, ("baseline", "efficientnet_lite0"))
    found = Evidence("ada", measurements=(both,), devices=(CPU, GPU))
    assert told(conclusion(found)) == ["small.agrees"]


def test_without_figures_nothing_is_concluded() -> None:
    assert told(conclusion(evidence())) == ["open.no_gpu"]
    assert told(conclusion(Evidence("ada", devices=(CPU, GPU)))) == ["open.unused"]
    table = beside_tutorial(evidence()).set_index("Figure")["You"]
    assert not re.search(r"\d", table["VGG11-BN: GPU against CPU"])


def test_two_trainings_tell_a_large_ratio_in_plain_figures() -> None:
    def trained(device: str, rate: float) -> Any:
        record, history, answers = one(config=workshop_config("vgg11_bn", "tutorial", device=device), id=device)
        paced = tuple(structs.replace(each, tiles_per_second=rate) for each in history.epochs)
        return record, replace(history, epochs=paced), answers

    table = beside_tutorial(evidence(trained("cpu", 10.0), trained(GPU.id, 1372.0))).set_index("Figure")["You"]
    assert table["VGG11-BN: GPU against CPU"].startswith("140 ")


def test_a_ratio_comes_from_the_whole_network_at_work_only() -> None:
    """A training on the frozen part's outputs tells how fast the last layer is: no ratio of the network's devices."""
    kept = workshop_config("vgg11_bn", source="features", pretrained=False)

    def both(config: TrainConfig, rate: float) -> list[Any]:
        faster = through(0.3, 0.5, epochs=(epoch(1, 0.3, rate=rate), epoch(2, 0.5, rate=rate)))
        gpu = replace(config, device=GPU.id)
        return [(make_record(config=gpu), faster, ANSWERS), (make_record(config=config), through(0.3, 0.5), ANSWERS)]

    asked = {"speedup_vgg": "about the same"}
    found = Evidence("ada", compared(*both(kept, 1100.0)), devices=(CPU, GPU), guesses=asked)
    table = beside_tutorial(found).set_index("Figure")["You"]
    assert not re.search(r"\d", table["VGG11-BN: GPU against CPU"])
    assert told(conclusion(found)) == ["open.unused"]
    assert [each.kind for each in guess_outcomes(cast(Lab, None), found)] == ["open"]
    # An older pair that computed the whole network is not hidden by it.
    whole = both(replace(kept, source="memory"), 9000.0)
    found = Evidence("ada", compared(*both(kept, 1100.0), *whole), devices=(CPU, GPU), guesses=asked)
    table = beside_tutorial(found).set_index("Figure")["You"]
    assert table["VGG11-BN: GPU against CPU"].startswith("9 ")
    (outcome,) = guess_outcomes(cast(Lab, None), found)
    assert outcome.kind == "off" and outcome.measured.figures == {"fast": 9000.0, "slow": 1000.0, "ratio": 9.0}


def test_own_accuracy_says_on_what_it_rests() -> None:
    (own,) = (each for each in beside_tutorial(evidence(one(0.3, 0.62)))["You"] if each.startswith("62.0"))
    assert "2 epochs" in own and "4,500" in own


def test_synthetic_tiles_never_win() -> None:
    made_up = one(0.3, 0.99, tiles=replace(USED, source="synthetic", fingerprint="made up"))
    found = evidence(made_up, one(0.3, 0.5))
    assert found.best is not None and found.best.accuracy == 0.5


# -- what to try next


@pytest.mark.parametrize(
    ("accuracies", "stage", "larger"),
    [((0.3, 0.7), "learning", True), ((0.5, 0.7, 0.705, 0.703), "levelled", True), ((0.10, 0.11), "chance", False)],
)
def test_each_suggestion_changes_one_thing(accuracies: Any, stage: str, larger: bool) -> None:
    run = one(*accuracies)
    base = run[0].config
    steps = {each.key: each for each in next_steps(evidence(run))}
    assert list(steps) == ["epochs", "rate", "layers", "place"]
    assert told(steps["epochs"].why) == [f"{stage}.epochs"]
    assert told(steps["rate"].why) == ["any.rate" if larger else f"{stage}.rate"]
    assert replace(steps["epochs"].config, epochs=base.epochs) == base
    assert replace(steps["rate"].config, learning_rate=base.learning_rate) == base
    assert (steps["rate"].config.learning_rate > base.learning_rate) == larger
    assert replace(steps["place"].config, split="random") == base
    assert replace(steps["layers"].config, model="baseline", network="") == base
    assert steps["layers"].config.network.count("conv") == 3


def test_levelled_off_as_the_rate_came_down_is_no_reason_against_more_epochs() -> None:
    run = one(0.5, 0.7, 0.705, 0.703, config=workshop_config(schedule="cosine", epochs=4))
    more = next(each for each in next_steps(evidence(run)) if each.key == "epochs")
    assert told(more.why) == ["rate_down.epochs"]


def test_a_training_stopped_while_its_rate_was_high_is_to_be_done_again() -> None:
    run = one(0.5, 0.7, 0.705, 0.703, config=workshop_config(schedule="cosine", epochs=20), state="cancelled")
    more = next(each for each in next_steps(evidence(run)) if each.key == "epochs")
    assert told(more.why) == ["rate_high.epochs"]


def test_without_a_training_the_lessons_settings_are_the_base() -> None:
    assert [each.key for each in next_steps(evidence())] == ["epochs", "rate", "layers"]


def test_no_split_by_place_where_there_is_none() -> None:
    assert "place" not in [each.key for each in next_steps(evidence(one()), by_place=False)]


def test_what_was_tried_already_is_not_suggested() -> None:
    layers = next(each.config for each in next_steps(evidence()) if each.key == "layers")
    long = replace(layers, epochs=60)
    keys = [each.key for each in next_steps(evidence(one(0.3, 0.5, config=long)))]
    assert "layers" not in keys and "epochs" not in keys


def test_a_pretrained_networks_more_layers_are_the_baselines() -> None:
    config = workshop_config("efficientnet_lite0", epochs=5)
    layers = next(each.config for each in next_steps(evidence(one(config=config))) if each.key == "layers")
    assert (layers.model, layers.epochs) == ("custom", 5)
