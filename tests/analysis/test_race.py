"""The race: who races, what the bars say, and the full form as trainings that have the machine to themselves."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import CPU, GPU, FakeEngine, OpenFake, wait_for_state
from run_makers import USED, told
from sweep_makers import cell_of, result_of, turns_of

from eurosat_core.analysis import race as analysis
from eurosat_core.analysis.race import (
    EPOCHS,
    RESIDENT_RACE,
    estimate_full_race,
    full_race_configs,
    group_of,
    plan_race,
    read_race,
    start_full_race,
)
from eurosat_core.analysis.sweep import measured_how
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.result import SweepResult

MODELS = ("baseline", "efficientnet_lite0")


@pytest.mark.parametrize(
    ("missing", "models", "note"),
    [
        ((), ("baseline", "vgg11_bn"), []),
        (("vgg11_bn",), MODELS, ["stand_in.pretrained"]),
        (("vgg11_bn", "efficientnet_lite0"), ("baseline", "tilenet"), ["stand_in.untrained"]),
    ],
)
def test_who_races(missing: Any, models: Any, note: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(analysis, "weights_problem", lambda name, _cache: "missing" if name in missing else "")
    found = analysis.entrants(tmp_path)
    assert (found.models, told(found.note)) == (models, note)
    assert found.note is None or found.note.figures["megabytes"] == 507


def test_the_plan_is_the_tutorials_way_on_every_device() -> None:
    config, plan = plan_race(MODELS, ["cpu", "cuda:0"])
    configs = plan.configs(config)
    assert [(each.model, each.device) for each in configs] == [
        (model, device) for device in ("cpu", "cuda:0") for model in MODELS
    ]
    assert {(each.recipe, each.source, each.batch_size, each.workers) for each in configs} == {
        ("tutorial", "loader", 40, 2)
    }
    assert plan.validation and plan.steps * plan.rounds >= 30 and config.device == "cuda:0"
    assert plan_race(MODELS, ["cpu"])[1].seconds < 120
    slow = plan_race(MODELS, ["cpu"], lambda each: 0.02 if each.model != "baseline" else 0.001)[1]
    assert 120 < slow.seconds <= 150, "a slow machine gets the time it needs, within bounds"
    with pytest.raises(ConfigError):
        plan_race((), ["cpu"])


def test_resident_tiles_race_from_memory_in_large_batches() -> None:
    config, plan = plan_race(MODELS, ["cpu", "cuda:0"], name=RESIDENT_RACE)
    configs = plan.configs(config)
    assert {(each.recipe, each.source, each.batch_size) for each in configs} == {("tutorial", "memory", 256)}
    assert len(configs) == 4 and plan.validation and plan.name == RESIDENT_RACE != plan_race(MODELS, ["cpu"])[1].name


def raced(**changes: Any) -> tuple[RunRecord, SweepResult]:
    """A race on the CPU alone: 10 ms a step for the baseline, 100 ms for the other one."""
    config, plan = plan_race(MODELS, ["cpu"])
    configs = plan.configs(config)
    cells = [
        cell_of(cell.label, [spent] * 6, each, validation=turns_of([spent / 2] * 6), start_seconds=2.0)
        for cell, each, spent in zip(plan.cells, configs, (0.01, 0.1), strict=True)
    ]
    machine = {"device_name": "Test CPU", "threads": 2}
    record = RunRecord("r", "ada", "finished", config, USED, 1.0, "sweep", machine=machine, plan=plan.to_dict())
    return replace(record, **changes), result_of(*cells)


def test_what_the_bars_say() -> None:
    race = read_race(*raced())
    bar = race.bars[0]
    assert (bar.model, bar.device) == ("baseline", "cpu") and bar.projection is not None
    assert bar.projection.seconds == pytest.approx(2 + EPOCHS * (4500 * 0.01 + 1500 * 0.005) / 40)
    assert all(each in bar.text for each in ("Test CPU", "2", "60", "6 rounds"))
    verdict = race.model_verdict("baseline", "efficientnet_lite0", "cpu")
    assert verdict.outcome == "faster" and verdict.factor == pytest.approx(10.0)
    assert race.device_verdict("baseline", "cuda:0").outcome == "unknown"


def test_every_bar_names_its_own_device() -> None:
    devices = ["cpu", "cuda:0", "cuda:1"]
    config, plan = plan_race(MODELS[:1], devices)
    cells = [cell_of("Baseline", [0.01] * 6, each) for each in plan.configs(config)]
    machine = {"device_name": "H100", "cpu_name": "Test CPU", "threads": 2, "other_devices": {"cuda:1": "L4"}}
    record, result = raced(config=config, machine=machine, plan=plan.to_dict())[0], result_of(*cells)
    texts = [each.text.partition(";")[0] for each in read_race(record, result).bars]
    assert [each.partition(",")[0] for each in texts] == ["Test CPU", "H100", "L4"]
    assert measured_how(record, result).figures["machine"] == ["H100", "Test CPU", "L4"]
    of_before = replace(record, machine={"device_name": "H100", "cpu_name": "Test CPU"})
    assert [each.text.partition(";")[0] for each in read_race(of_before, result).bars] == ["Test CPU", "H100", "GPU 1"]


def test_the_full_form_has_the_machine_to_itself(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    configs = full_race_configs(("baseline", "tilenet"), ["cpu", "cuda:0"])
    assert {(each.epochs, each.recipe) for each in configs} == {(EPOCHS, "tutorial")} and len(configs) == 4
    group, runs = start_full_race(lab, configs, "ada")
    assert [each.id for each in group_of(lab.store.all()[0], group)] == [each.id for each in runs]
    engine.wait_for(runs[0].id)
    assert engine.order == [runs[0].id], "not even the other device works meanwhile"
    for run in runs:
        engine.wait_for(run.id)
        engine.end(run.id)
        wait_for_state(lab, run.id, "finished")
    assert engine.order == [each.id for each in runs]
    with pytest.raises(RunError):
        group_of(lab.store.all()[0], "race-none")


def test_a_full_form_that_does_not_fit_is_taken_back(open_fake: OpenFake) -> None:
    lab, _ = open_fake(queue_limit=2)
    configs = full_race_configs(("baseline", "tilenet"), ["cpu"]) * 3
    with pytest.raises(RunError, match="waiting"):
        start_full_race(lab, configs, "ada")
    for record in lab.store.all()[0]:
        wait_for_state(lab, record.id, "cancelled")


def test_the_full_form_is_estimated(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    configs = full_race_configs(("baseline",), ["cpu"])
    one, two = estimate_full_race(lab, configs), estimate_full_race(lab, configs * 2)
    assert one and two and two.seconds == pytest.approx(2 * one.seconds) and one.basis == two.basis
    assert estimate_full_race(lab, full_race_configs(("baseline",), ["cuda:0"])) is None
