"""The race on the Compare page: before it, while it runs, what it showed; with and without a GPU, and recorded ones."""

from typing import Any

import pytest
from fake_engine import GPU, NO_GPU, FakeEngine, eventually, raising
from streamlit.testing.v1 import AppTest

from eurosat_core import wording
from eurosat_core.analysis import race
from eurosat_core.errors import RunError
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.plan import SweepStarted, TurnDone
from eurosat_core.speed.result import SWEEP_FILE, CellResult, SweepResult
from eurosat_core.speed.verdict import Turn
from tests.pages.conftest import ME, THREE, App, address, charts, checked, choose, click, put, saw, shown, tells, used
from tests.pages.test_compare_page import PAGE, history

START = "compare_race_start"
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
    assert test.button(key=START).label.endswith("at least 40 s")  # nothing was measured yet
    assert NO_GPU.reason in shown(test)
    assert tells(test, "compare/reported", ratio="6") and tells(test, "race.stand_in")  # VGG's weights are not here


def test_the_time_on_the_button_is_the_time_that_is_planned(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.estimates, "tile_seconds", lambda _config: 0.006)
    test = app(PAGE)
    label = test.button(key=START).label
    with monkeypatch.context() as patched:
        patched.setattr(lab, "submit_sweep", raising(RunError("Full")))
        assert [each.value for each in click(test, START).error] == ["Full"], "what the lab refuses is said"
    monkeypatch.setattr(lab.estimates, "tile_seconds", lambda _config: 0.0001)  # another measurement came in
    click(test, START)
    (record,) = lab.store.all()[0]
    assert label.endswith(f"· about {wording.duration(record.plan['seconds'])}")
    assert record.plan["seconds"] > 40.0


def test_a_race_is_started_followed_and_stopped(lab: Lab, engine: FakeEngine, app: App) -> None:
    test = app(PAGE)
    click(test, START)
    (record,) = lab.store.all()[0]
    assert (record.kind, record.plan["name"]) == ("sweep", race.RACE)
    engine.wait_for(record.id)
    test.run()
    assert test.button(key=START).disabled
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
    assert all(
        each in shown(test) for each in ("10 epochs", "2,000 tiles", "Test CPU, 2 threads", "30 timed", "6 rounds")
    )
    assert tells(saw(test), "race.models", device="cpu") and "10 times" in saw(test)
    assert charts(test) == before + 1
    choose(test, "guess_compare_race", "5 to 20 times as long")
    assert tells(saw(test), "guesses.right", "race.as_long")


def test_with_a_gpu_both_devices_race_and_stand_beside_the_reported_ratio(gpu_lab: Lab, app: App) -> None:
    slower = raced(gpu_lab, ("cpu", GPU.id), faster=0.5, concurrent_runs=("x",))
    test = app(PAGE)
    assert tells(saw(test), "race.devices", device=GPU.id) and "slower" in saw(test)
    words = saw(test).splitlines()
    gpu_lab.store.update(slower.id, concurrent_runs=())
    assert len(saw(app(PAGE)).splitlines()) < len(words), "something ran beside it"
    gpu_lab.delete(slower.id, ME)
    raced(gpu_lab, ("cpu", GPU.id))
    test = app(PAGE)
    assert "CPU and GPU 0" in test.button(key=START).label
    assert tells(saw(test), "race.devices", device=GPU.id, title="Baseline CNN") and "8.0 times" in saw(test)


def test_the_race_of_resident_tiles_stands_apart_from_the_tutorials_and_a_link_opens_its_form(
    gpu_lab: Lab, app: App
) -> None:
    """What it times is said, and the tutorial's reported ratio is not held against it."""
    record = raced(gpu_lab, ("cpu", GPU.id), faster=50.0, name=race.RESIDENT_RACE)
    assert "50 times" in saw(app(PAGE, run=record.id))
    test = app(PAGE)
    assert "50 times" not in saw(test)
    reported = charts(test)
    for form in ("resident", "short", "resident"):
        choose(test, "compare_form", form)
        assert ("50 times" in saw(test)) == (form == "resident")
    assert "6 times" not in shown(test).replace("**", "")
    assert charts(test) == reported, "its own bars instead of those beside the reported ratio"
    click(test, "compare_race_start")
    newest = gpu_lab.store.all()[0][0]
    assert newest.plan["name"] == race.RESIDENT_RACE and newest.config.source == "memory"


def test_a_recorded_race_is_labelled_and_does_not_name_missing_devices(lab: Lab, app: App) -> None:
    raced(lab, ("cpu", "cuda:0"), owner="bob", recorded_on="NVIDIA H100, 3 May 2026")
    test = app(PAGE)
    assert "NVIDIA H100, 3 May 2026" in shown(test) and "8.0 times" in saw(test)


@pytest.mark.parametrize("state", ["failed", "interrupted", "cancelled"])
def test_a_race_that_broke_off_says_so_and_a_damaged_one_is_a_sentence(lab: Lab, app: App, state: Any) -> None:
    record = raced(lab, state=state, message="Died")
    (lab.store.folder_of(record.id) / SWEEP_FILE).unlink()
    test = app(PAGE)
    assert "Died" in [each.value for each in (*test.error, *test.warning)]
    lab.store.save(record.id, {SWEEP_FILE: b"{}"})
    lab.store.update(record.id, state="finished")
    assert len(test.run().error) == 1


def test_the_full_form_trains_every_network_and_offers_the_comparison(lab: Lab, engine: FakeEngine, app: App) -> None:
    test = choose(app(PAGE), "compare_form", "full")
    choose(test, "compare_epochs", 3)
    label = test.button(key="compare_full_start").label
    assert "2 networks" in label and "3 epochs" in label
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


# -- which race the Compare page looks at: that in its address, one that was chosen, the newest


def two_races(lab: Lab) -> tuple[str, str]:
    """An older race and a newer one; each says which it is."""
    older = raced(lab, state="interrupted", message="Older")
    newer = raced(lab, state="interrupted", message="Newer", created=older.created + 60)
    return older.id, newer.id


def at(test: AppTest, run_id: str) -> AppTest:
    """The page after a click on the sidebar's link to a run."""
    test.query_params["run"] = run_id
    checked(test.run())
    return test


def which(test: AppTest) -> str:
    """The race in the choice, which is the one that is drawn."""
    (choice,) = [each for each in test.selectbox if each.label == "Race"]
    return str(choice.value)


def test_a_link_to_an_earlier_race_opens_that_one_and_a_choice_leaves_a_training_in_the_address(
    lab: Lab, app: App
) -> None:
    older, newer = two_races(lab)
    test = app(PAGE)
    assert which(test) == newer and "Newer" in shown(test)
    assert which(at(test, older)) == older
    assert "Older" in shown(test) and "Newer" not in shown(test)
    test.switch_page("tiles.py").run()
    test.switch_page(PAGE).run()
    assert which(test) == older == address(test, "run")
    training = put(lab, "finished", THREE)
    test = app(PAGE, run=training.id)
    next(each for each in test.selectbox if each.label == "Race").set_value(older).run()
    assert which(test) == older and address(test, "run") == training.id
    test.switch_page("train.py").run()
    test.switch_page(PAGE).run()
    assert which(test) == older


def test_the_address_follows_a_choice_a_link_and_a_new_race(lab: Lab, app: App) -> None:
    older, newer = two_races(lab)
    test = app(PAGE, run=older)
    next(each for each in test.selectbox if each.label == "Race").set_value(newer).run()
    assert which(test) == newer == address(test, "run")
    assert which(at(test, older)) == older
    click(test, "compare_race_start")
    started = next(each for each in lab.store.all()[0] if each.is_active)
    assert address(test, "run") == started.id
