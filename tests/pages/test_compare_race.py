"""The race on the Compare page: before it, while it runs, what it showed; with and without a GPU, and recorded ones."""

from typing import Any

import pytest
from fake_engine import GPU, FakeEngine, eventually, raising

from eurosat_core import wording
from eurosat_core.analysis import race
from eurosat_core.errors import RunError
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.plan import SweepStarted, TurnDone
from eurosat_core.speed.result import SWEEP_FILE, CellResult, SweepResult
from eurosat_core.speed.verdict import Turn
from tests.pages.conftest import ME, App, charts, choose, click, shown, used
from tests.pages.test_compare_page import PAGE, history, saw

MODELS = ("baseline", "efficientnet_lite0")
TRANSFER = {"baseline": 0.004, "efficientnet_lite0": 0.040}  # seconds of a step on the CPU


def raced(
    lab: Lab, devices: tuple[str, ...] = ("cpu",), faster: float = 8.0, name: str = race.RACE, **changes: Any
) -> RunRecord:
    """A race that was measured: each device's steps, `faster` times as fast on the GPU."""
    config, plan = race.plan_race(MODELS, devices, name=name)
    cells = []
    for cell, settings in zip(plan.cells, plan.configs(config), strict=True):
        step = TRANSFER[settings.model] / (1.0 if settings.device == "cpu" else faster)
        turns = tuple(Turn(5, 40, 5 * step * (1 + 0.01 * number)) for number in range(6))
        cells.append(CellResult(cell.label, settings, 1.0, 1e9, turns, turns))
    result = SweepResult(plan.name, plan.setting, plan.reference, plan.focus, tuple(cells), {}, 40.0, True)
    record = lab.store.create(config, changes.pop("owner", ME), used(lab), "sweep", plan.to_dict())
    lab.store.save(record.id, {SWEEP_FILE: result.to_json()})
    machine = {"device_name": "Test GPU" if len(devices) > 1 else "Test CPU", "threads": 2, "cpu_name": "Test CPU"}
    return lab.store.update(record.id, **{"state": "finished", "started": record.created, "machine": machine} | changes)


def test_before_a_race_it_says_how_long_it_takes_and_invents_nothing(lab: Lab, app: App) -> None:
    test = app(PAGE)
    (label,) = [each.label for each in test.button if each.key == "compare_race_start"]
    assert "Race on CPU · at least 40 s" in label  # nothing was measured yet
    text = shown(test)
    assert "GPU: No GPU was found on this machine." in text
    assert "nothing was measured on a GPU here" in text and "about 6 times as fast" in text.replace("**", "")
    assert "races in its place" in text  # VGG's weights are not here


def test_the_time_on_the_button_is_the_time_that_is_planned(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.estimates, "tile_seconds", lambda _config: 0.006)
    test = app(PAGE)
    (label,) = [each.label for each in test.button if each.key == "compare_race_start"]
    with monkeypatch.context() as patched:
        patched.setattr(lab, "submit_sweep", raising(RunError("The queue is full.")))
        click(test, "compare_race_start")
    assert "The queue is full." in shown(test), "what the lab refuses is said"
    monkeypatch.setattr(lab.estimates, "tile_seconds", lambda _config: 0.0001)  # another measurement came in
    click(test, "compare_race_start")
    (record,) = lab.store.all()[0]
    assert label.endswith(f"· about {wording.duration(record.plan['seconds'])}")
    assert record.plan["seconds"] > 40.0


def test_a_race_is_started_followed_and_stopped(lab: Lab, engine: FakeEngine, app: App) -> None:
    test = app(PAGE)
    click(test, "compare_race_start")
    (record,) = lab.store.all()[0]
    assert (record.kind, record.plan["name"]) == ("sweep", race.RACE)
    engine.wait_for(record.id)
    test.run()
    assert test.button(key="compare_race_start").disabled
    engine.tell(record.id, SweepStarted(2, 6, 40.0, "cpu", 2), TurnDone("train", 0, 3, 12.0, 500.0))
    eventually(lambda: lab.results.history(record.id).sweep.turns)
    test.run()
    assert any("Round 3 of 6" in each.proto.text for each in test.get("progress"))
    click(test, "compare_race_stop")
    assert (record.id, "stop") in engine.commands


def test_the_result_names_device_threads_steps_and_spread(lab: Lab, app: App) -> None:
    before = charts(app(PAGE))
    raced(lab)
    test = app(PAGE)
    text = shown(test)
    assert "Seconds for 10 epochs on 2,000 tiles, projected" in text
    assert "Test CPU, 2 threads; 30 timed steps in 6 rounds, half of the rounds within" in text
    assert "slower: the other is 10 times as fast" in saw(test)
    assert charts(test) == before + 1
    assert "nothing was measured on a GPU here" in text
    choose(test, "guess_compare_race", "5 to 20 times as long")
    assert "and that is right" in saw(test)


def test_with_a_gpu_both_devices_race_and_stand_beside_the_reported_ratio(gpu_lab: Lab, app: App) -> None:
    slower = raced(gpu_lab, ("cpu", GPU.id), faster=0.5, concurrent_runs=("x",))
    test = app(PAGE)
    assert "on the GPU 0 against the CPU: slower" in saw(test)
    assert "race again on a free machine" in saw(test), "something ran beside it"
    gpu_lab.delete(slower.id, ME)
    raced(gpu_lab, ("cpu", GPU.id))
    test = app(PAGE)
    (label,) = [each.label for each in test.button if each.key == "compare_race_start"]
    assert "Race on CPU and GPU 0" in label
    assert "Baseline CNN on the GPU 0 against the CPU: 8.0 times as fast" in saw(test)
    assert "compare with yours above" in shown(test)


def test_the_race_of_resident_tiles_stands_apart_from_the_tutorials(gpu_lab: Lab, app: App) -> None:
    """What it times is said, and the tutorial's reported ratio is not held against it."""
    raced(gpu_lab, ("cpu", GPU.id), faster=50.0, name=race.RESIDENT_RACE)
    test = app(PAGE)
    assert "50 times as fast" not in saw(test) and "nothing was measured on a GPU here" in shown(test)
    reported = charts(test)
    choose(test, "compare_form", "resident")
    assert "50 times as fast" in saw(test) and "about 6 times as fast" not in shown(test).replace("**", "")
    assert charts(test) == reported, "its own bars instead of those beside the reported ratio"
    click(test, "compare_race_start")
    newest = gpu_lab.store.all()[0][0]
    assert newest.plan["name"] == race.RESIDENT_RACE and newest.config.source == "memory"


def test_a_link_to_a_race_opens_its_form(gpu_lab: Lab, app: App) -> None:
    record = raced(gpu_lab, ("cpu", GPU.id), faster=50.0, name=race.RESIDENT_RACE)
    test = app(PAGE, run=record.id)
    assert "50 times as fast" in saw(test)
    choose(test, "compare_form", "short")
    assert "50 times as fast" not in saw(test)


def test_a_recorded_race_is_labelled_and_does_not_name_missing_devices(lab: Lab, app: App) -> None:
    raced(lab, ("cpu", "cuda:0"), owner="bob", recorded_on="NVIDIA H100, 3 May 2026")
    test = app(PAGE)
    assert "Recorded on NVIDIA H100, 3 May 2026" in shown(test)
    assert "8.0 times as fast" in saw(test)


@pytest.mark.parametrize("state", ["failed", "interrupted", "cancelled"])
def test_a_race_that_broke_off_says_so_and_a_damaged_one_is_a_sentence(lab: Lab, app: App, state: Any) -> None:
    record = raced(lab, state=state, message="The worker died.")
    (lab.store.folder_of(record.id) / SWEEP_FILE).unlink()
    test = app(PAGE)
    assert "The worker died." in shown(test)
    lab.store.save(record.id, {SWEEP_FILE: b"{}"})
    lab.store.update(record.id, state="finished")
    assert "damaged" in shown(test.run())


def test_the_full_form_trains_every_network_and_offers_the_comparison(lab: Lab, engine: FakeEngine, app: App) -> None:
    test = choose(app(PAGE), "compare_form", "full")
    choose(test, "compare_epochs", 3)
    (label,) = [each.label for each in test.button if each.key == "compare_full_start"]
    assert "Train 2 networks for 3 epochs" in label
    click(test, "compare_full_start")
    runs = lab.store.all()[0]
    assert {each.config.model for each in runs} == set(MODELS) and all(each.plan["alone"] for each in runs)
    assert test.button(key="compare_full_start").disabled
    engine.wait_for(runs[1].id)
    for each in runs:
        lab.store.append(each.id, history(0.5))
    eventually(lambda: lab.store.get(runs[1].id).state == "running")
    test.run()
    assert any(": epoch 3 of 3" in each.proto.text for each in test.get("progress"))  # it writes its results now
    for each in runs:
        lab.store.update(each.id, state="finished", summary={"val_accuracy": 0.5})
    test.run()
    click(test, "compare_full_take")
    assert set(test.session_state["compare_runs"]) == {each.id for each in runs}
