"""The Train page in every state a run can be in, and what its buttons ask of the lab."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.errors import RunError
from eurosat_core.lab.estimate import Estimate
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.queue import Place
from eurosat_core.lab.runs import RunRecord, TilesUsed
from eurosat_core.training.config import TrainConfig, workshop_config
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone
from tests.pages.conftest import CPU, FAKE_GPU, FakeEngine, shown, wait_until

App = Callable[..., AppTest]
ME = "test-otter-10"


def used(lab: Lab) -> TilesUsed:
    tiles = lab.tiles().tile_set
    assert tiles is not None
    return TilesUsed(tiles.fingerprint, tiles.source, tiles.place, len(tiles), tiles.class_names)


def epoch(number: int, val: float, train: float | None = None) -> EpochDone:
    seen = val if train is None else train
    return EpochDone(number, 1.8, seen, 1.9, val, 10.0, 8.0, 2.0, 1000.0 + number, 10.0 * number)


def begun(epochs: int = 3) -> list[Event]:
    first = StepDone("train", 1, 5, 0.6, 2.2, 0.15, 812.0, 300 * 2**20)
    return [Started(epochs, 36, 12, 1500, 500, 338_486, 338_486, "cpu", 2), first]


THREE = [*begun(), epoch(1, 0.3), epoch(2, 0.45), epoch(3, 0.62), Finished(3, 30.0, 1.2, 0.62)]


def put(lab: Lab, state: Any, events: list[Event], owner: str = ME, **changes: Any) -> RunRecord:
    """A run on disk, as if a worker had left it so."""
    config = changes.pop("config", workshop_config())
    record = lab.store.create(config, owner, used(lab))
    lab.store.append(record.id, events)
    return lab.store.update(record.id, state=state, started=record.created, **changes)


def keep_predictions(lab: Lab, run_id: str, wrong: int = 10) -> None:
    """Predictions for 100 tiles, the first `wrong` of them taken for the next class."""
    tiles = lab.tiles().tile_set
    assert tiles is not None
    numbers = np.linspace(0, len(tiles) - 1, 100).astype(np.int64)
    true = tiles.labels.numpy()[numbers]
    said = true.copy()
    said[:wrong] = (true[:wrong] + 1) % len(tiles.class_names)
    archive = io.BytesIO()
    np.savez(archive, tiles=numbers, true=true, predicted=said, confidence=np.linspace(0.99, 0.5, 100))
    lab.store.save(run_id, {"predictions.npz": archive.getvalue()})


def keys(test: AppTest) -> set[str]:
    return {each.key for each in test.button}


def charts(test: AppTest) -> int:
    return len(test.get("vega_lite_chart"))


# -- before a run


def test_an_empty_page_invites_and_shows_what_will_be_trained(lab: Lab, app: App) -> None:
    test = app("train.py")
    text = shown(test)
    assert "Nothing is training yet" in text
    assert "338,486 parameters" in text
    assert test.dataframe[0].value["Parameters"].tolist() == [456, 0, 2416, 0, 324600, 10164, 850]
    assert not test.button(key="train_start").disabled
    assert charts(test) == 0
    assert not {"run_stop", "result_again"} & keys(test)


def test_the_page_keeps_the_contract(lab: Lab, app: App) -> None:
    text = shown(app("train.py"))
    for part in ("Your task:", "Often believed"):
        assert part in text
    assert [each.label for each in app("train.py").expander if "PyTorch" in each.label]


def test_without_a_measurement_there_is_no_estimate_and_the_page_says_so(lab: Lab, app: App) -> None:
    test = app("train.py")
    assert test.button(key="train_start").label == "Train on CPU"
    assert "Nothing was measured on this device yet" in shown(test)


def test_the_estimate_stands_on_the_button(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "estimate", lambda _config: Estimate(12.4, "From a dream."))
    test = app("train.py")
    assert test.button(key="train_start").label == "Train on CPU · about 12 s"
    assert "From a dream." in shown(test)
    assert "train_smaller" not in keys(test)


def test_a_long_training_offers_a_smaller_one(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "estimate", lambda config: Estimate(20.0 * config.epochs, "By epochs."))
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(30).run()
    assert test.button(key="train_start").label.endswith("about 10 min 00 s")
    test.button(key="train_smaller").click().run()
    assert test.number_input(key="train_epochs").value == 5
    assert test.button(key="train_start").label.endswith("about 1 min 40 s")


def test_train_asks_the_lab_for_what_is_on_screen(lab: Lab, engine: FakeEngine, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(2)
    test.number_input(key="train_batch_size").set_value(32)
    test.selectbox(key="train_optimizer").set_value("sgd").run()
    assert "Batch size 32 (was 64)" in shown(test)
    test.button(key="train_start").click().run()
    assert not test.exception
    record = lab.runs()[0][0]
    assert record.owner == ME
    assert (record.config.epochs, record.config.batch_size, record.config.optimizer) == (2, 32, "sgd")
    assert test.query_params["run"] == record.id
    wait_until(lambda: record.id in engine.jobs)


def test_a_double_click_is_one_wish(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.button(key="train_start").click().run()
    test.button(key="train_start").click().run()
    assert len(lab.runs()[0]) == 1


def test_a_recipe_sets_what_belongs_to_it_and_leaves_the_rest(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(7).run()
    test.get_by_key("train_recipe").set_value("tutorial").run()
    state = test.session_state
    assert (state["train_batch_size"], state["train_source"], state["train_learning_rate"]) == (40, "loader", 0.01)
    assert (state["train_optimizer"], state["train_epochs"]) == ("sgd", 7)
    assert "Every picture file is opened" in shown(test)


def test_back_to_the_lessons_settings(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(9)
    test.number_input(key="train_seed").set_value(1).run()
    assert "Epochs 9 (was 3)" in shown(test)
    test.button(key="train_reset").click().run()
    assert test.number_input(key="train_epochs").value == 3
    assert "Changed:" not in shown(test)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("train_epochs", 0, "Epochs is 0. Choose 1 to 200 epochs."),
        ("train_batch_size", 5000, "Batch size is 5,000. Choose 1 to 4,096 tiles."),
        ("train_learning_rate", 0.0, "Learning rate is 0."),
        ("train_momentum", 1.0, "Momentum of 1 or more"),
        ("train_seed", -1, "Seed is -1."),
    ],
)
def test_bad_settings_have_a_sentence_and_no_train(lab: Lab, app: App, key: str, value: Any, sentence: str) -> None:
    test = app("train.py")
    test.get_by_key("train_recipe").set_value("tutorial").run()
    test.number_input(key=key).set_value(value).run()
    assert not test.exception
    assert sentence in shown(test)
    assert test.button(key="train_start").disabled


def test_what_the_lab_refuses_is_said(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RunError("You have four runs waiting. Wait for one of them.")

    monkeypatch.setattr(lab, "submit", refuse)
    test = app("train.py")
    test.button(key="train_start").click().run()
    assert "four runs waiting" in shown(test)
    assert "run" not in test.query_params


def test_a_gpu_can_be_chosen_and_has_its_own_settings(make_lab: Callable[..., Lab], app: App) -> None:
    lab = make_lab(FakeEngine((CPU, FAKE_GPU)))
    test = app("train.py")
    assert test.get_by_key("train_pin_memory").disabled
    test.radio(key="device").set_value("cuda:0").run()
    test.get_by_key("train_source").set_value("loader").run()
    assert not test.get_by_key("train_pin_memory").disabled
    test.get_by_key("train_pin_memory").set_value(True).run()
    assert test.button(key="train_start").label.startswith("Train on GPU 0")
    test.button(key="train_start").click().run()
    config = lab.runs()[0][0].config
    assert (config.device, config.pin_memory) == ("cuda:0", True)
    test.radio(key="device").set_value("cpu").run()
    assert not test.error  # pinned memory has no meaning there and is left out


def test_settings_outlive_a_visit_to_another_page(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(5).run()
    test.switch_page("tiles.py").run()
    test.switch_page("train.py").run()
    assert test.number_input(key="train_epochs").value == 5


# -- a run under way


def test_a_waiting_run_tells_its_place(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    record = put(lab, "queued", [])
    monkeypatch.setattr(lab, "place", lambda _run: Place(2, 3, 41.0))
    test = app("train.py", run=record.id)
    assert "Place 2 of 3 in the queue. It starts in about 41 s." in shown(test)
    assert test.button(key="run_stop").label == "Leave the queue"
    assert "run_pause" not in keys(test)


def test_a_waiting_run_without_a_place_is_about_to_start(lab: Lab, app: App) -> None:
    assert "about to start" in shown(app("train.py", run=put(lab, "queued", []).id))


def test_a_running_run_shows_its_figures_and_curves(lab: Lab, app: App) -> None:
    step = StepDone("train", 2, 18, 14.0, 1.7, 0.4, 1234.0, 400 * 2**20)
    record = put(lab, "running", [*begun(), epoch(1, 0.3), step])
    test = app("train.py", run=record.id)
    values = {each.label: each.value for each in test.metric}
    assert values["Tiles per second"] == "1,234"
    assert values["Memory"] == "400 MB"
    assert values["Training loss"] == "1.70"
    assert test.progress[0].text.startswith("Epoch 2 of 3 · 4")
    assert " left" in test.progress[0].text
    assert charts(test) == 4
    assert {"run_pause", "run_step", "run_stop"} <= keys(test)
    assert test.button(key="run_step").disabled
    assert "result_again" not in keys(test)


def test_before_the_first_event_the_page_says_what_is_happening(lab: Lab, app: App) -> None:
    test = app("train.py", run=put(lab, "running", []).id)
    assert test.progress[0].text.startswith("Getting ready")


def test_buttons_ask_the_lab(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str]] = []
    monkeypatch.setattr(lab, "control", lambda run, owner, command: asked.append((run, owner, command)))
    record = put(lab, "running", begun())
    test = app("train.py", run=record.id)
    test.button(key="run_pause").click().run()
    assert "Pausing…" in shown(test)
    test.button(key="run_stop").click().run()
    lab.store.update(record.id, state="paused")
    test.run()
    assert "Paused" in shown(test)
    assert "at step 5 of 36 (training)" in test.progress[0].text
    test.button(key="run_step").click().run()
    assert test.button(key="run_pause").label == "Resume"
    test.button(key="run_pause").click().run()
    assert asked == [(record.id, ME, command) for command in ("pause", "stop", "step", "resume")]


def test_while_it_stops_the_buttons_rest(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    record = put(lab, "running", begun())
    monkeypatch.setattr(lab, "stopping", lambda _run: True)
    test = app("train.py", run=record.id)
    assert test.button(key="run_stop").disabled
    assert "Stopping…" in shown(test)


def test_a_command_that_comes_too_late_is_explained(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RunError("This run has ended already.")

    record = put(lab, "running", begun())
    monkeypatch.setattr(lab, "control", refuse)
    test = app("train.py", run=record.id)
    test.button(key="run_pause").click().run()
    assert "This run has ended already." in shown(test)


@pytest.mark.parametrize("state", ["queued", "running", "paused", "finished"])
def test_someone_elses_run_can_be_watched_only(lab: Lab, app: App, state: str) -> None:
    record = put(lab, state, [] if state == "queued" else THREE, owner="bob")
    test = app("train.py", run=record.id)
    assert "bob’s run" in shown(test)
    assert not {"run_pause", "run_step", "run_stop", "result_again", "result_delete_sure"} & keys(test)


# -- an ended run


def test_a_finished_run_shows_what_it_found(lab: Lab, app: App) -> None:
    record = put(lab, "finished", THREE, summary={"seconds": 30.0}, machine={"device_name": "A CPU", "threads": 2})
    keep_predictions(lab, record.id)
    test = app("train.py", run=record.id)
    text = shown(test)
    assert "What you just saw" in text
    assert "500 tiles it was not trained on" in text
    assert "synthetic tiles" in text
    assert "Accuracy per class" in text
    assert "Most frequent mistake" in text
    assert text.count("% sure)") == 6
    assert charts(test) == 5
    tables = [each.value for each in test.table]
    assert any("Fast" in str(each) for each in tables)
    assert any("30 s" in str(each) for each in tables)


def test_the_guess_is_held_against_the_result(lab: Lab, app: App) -> None:
    record = put(lab, "finished", THREE)
    test = app("train.py", run=record.id)
    assert "You guessed" not in shown(test)
    test.get("pills")[0].set_value("about 30").run()
    assert "more than you expected" in shown(test)


def test_speed_is_compared_with_the_own_earlier_run(lab: Lab, app: App) -> None:
    put(lab, "finished", THREE, config=workshop_config("baseline", "tutorial"))
    record = put(lab, "finished", THREE)
    assert "No difference in speed that we can measure" in shown(app("train.py", run=record.id))


def test_company_is_flagged(lab: Lab, app: App) -> None:
    record = put(lab, "finished", THREE, beside=("bob’s run",))
    assert "Meanwhile this machine also computed: bob’s run" in shown(app("train.py", run=record.id))


def test_a_run_without_mistakes_and_one_without_predictions(lab: Lab, app: App) -> None:
    record = put(lab, "finished", THREE)
    assert "Accuracy per class" not in shown(app("train.py", run=record.id))
    keep_predictions(lab, record.id, wrong=0)
    assert "No validation tile was named wrongly" in shown(app("train.py", run=record.id))


def test_a_run_on_other_tiles_shows_no_pictures(lab: Lab, app: App) -> None:
    record = put(lab, "finished", THREE, tiles=replace(used(lab), fingerprint="another"))
    keep_predictions(lab, record.id)
    assert "are not the ones the lab has open" in shown(app("train.py", run=record.id))


@pytest.mark.parametrize(
    ("state", "message", "words"),
    [
        ("failed", "The loss stopped being a number. Try a tenth of the learning rate.", "Try a tenth"),
        ("interrupted", "The program that ran it was stopped.", "Start it again with the same settings"),
        ("cancelled", "", "The run was stopped after 1 of 3 epochs"),
    ],
)
def test_a_run_that_ended_early_says_why(lab: Lab, app: App, state: str, message: str, words: str) -> None:
    record = put(lab, state, [*begun(), epoch(1, 0.3)], message=message)
    test = app("train.py", run=record.id)
    assert words in shown(test)
    assert "result_again" in keys(test)


def test_a_failed_run_without_events_still_has_a_page(lab: Lab, app: App) -> None:
    record = put(lab, "failed", [], message="The process that trained it died. Try again.")
    test = app("train.py", run=record.id)
    assert "before its first epoch was done" in shown(test)
    assert not test.exception


def test_train_again_takes_the_settings_over(lab: Lab, app: App) -> None:
    config = TrainConfig(source="memory", epochs=2, batch_size=24, tiles=1500)
    record = put(lab, "finished", THREE, config=config)
    test = app("train.py", run=record.id)
    test.button(key="result_again").click().run()
    newest = lab.runs()[0][0]
    assert newest.id != record.id
    assert newest.config == config
    assert test.number_input(key="train_batch_size").value == 24
    assert test.query_params["run"] == newest.id


def test_delete_asks_first_and_then_leaves_the_run(lab: Lab, app: App) -> None:
    record = put(lab, "finished", THREE)
    test = app("train.py", run=record.id)
    test.button(key="result_delete_sure").click().run()
    assert lab.runs()[0] == []
    assert "Nothing is training yet" in shown(test)


def test_what_stands_against_deleting_is_said(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RunError("This run has not ended yet.")

    record = put(lab, "finished", THREE)
    monkeypatch.setattr(lab, "delete", refuse)
    test = app("train.py", run=record.id)
    test.button(key="result_delete_sure").click().run()
    assert "has not ended yet" in shown(test)


@pytest.mark.parametrize("run", ["20200101-000000-baseline-abcd", "../../etc/passwd", "nonsense"])
def test_a_run_that_is_not_there_gets_a_sentence_and_a_way_on(lab: Lab, app: App, run: str) -> None:
    mine = put(lab, "finished", THREE)
    test = app("train.py", run=run)
    assert "This run cannot be shown" in shown(test)
    test.button(key="open_newest").click().run()
    assert test.query_params["run"] == mine.id


def test_an_unknown_run_can_be_left_for_a_fresh_start(lab: Lab, app: App) -> None:
    test = app("train.py", run="nonsense")
    assert "open_newest" not in keys(test)
    test.button(key="open_none").click().run()
    assert "Nothing is training yet" in shown(test)
