"""The Train page for a run that ended, or that is not there."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fake_engine import GPU, raising
from msgspec import structs
from streamlit.testing.v1 import AppTest

from eurosat_core.errors import RunError
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig, workshop_config
from eurosat_core.training.evaluation import Predictions, predictions_to_bytes
from eurosat_core.training.events import EpochDone, Event
from tests.pages.conftest import (
    ME,
    THREE,
    App,
    begun,
    charts,
    choose,
    click,
    epoch,
    keys,
    pills,
    put,
    saw,
    shown,
    tells,
    unescaped,
    used,
)


def keep_predictions(lab: Lab, run_id: str, wrong: int = 10, largest: int = 0) -> None:
    """Predictions for 100 tiles, the first `wrong` of them taken for the next class.

    largest: how many of the tiles are of the first class, all of them named so; 0: as the tiles come.
    """
    tiles = lab.tiles().tile_set
    assert tiles is not None
    numbers = np.linspace(0, len(tiles) - 1, 100).astype(np.int64)
    true = tiles.labels.numpy()[numbers]
    said = true.copy()
    said[:wrong] = (true[:wrong] + 1) % len(tiles.class_names)
    if largest:
        true, said = np.repeat([0, 1], [largest, 100 - largest]), np.zeros(100, np.int64)
    archive = io.BytesIO()
    np.savez(archive, tiles=numbers, true=true, predicted=said, confidence=np.linspace(0.99, 0.5, 100))
    lab.store.save(run_id, {"predictions.npz": archive.getvalue()})


def test_a_finished_run_shows_what_it_found(lab: Lab, app: App) -> None:
    values = {"summary": {"seconds": 30.0}, "machine": {"device_name": "A CPU", "threads": 2}}
    record = put(lab, "finished", THREE, concurrent_runs=("bob’s run",), **values)
    keep_predictions(lab, record.id)
    test = app("train.py", run=record.id)
    text = shown(test)
    assert tells(saw(test), "training.learning", tiles=500) and tells(saw(test), "training.synthetic")
    assert tells(test, "training.confusions") and any("bob’s run" in unescaped(each.value) for each in test.warning)
    assert text.count("% sure)") == 6
    assert charts(test) == 5
    tables = [str(each.value) for each in test.table]
    assert any("Fast" in each for each in tables) and any("30 s" in each for each in tables)
    assert not tells(test, "guesses.off")
    pills(test).set_value("about 30").run()
    assert tells(test, "guesses.off", guess="about 30")
    for epochs, words in ((1, " · 1 epoch · "), (2, " · 2 epochs · ")):  # folded away, they are told in a line
        test.session_state["train_epochs"] = epochs
        test.run()
        assert [words in each.label for each in test.expander if each.label.startswith("Settings: ")] == [True]


def test_the_guessed_speedup_of_the_start_page_stands_next_to_the_measured_one(gpu_lab: Lab, app: App) -> None:
    lab = gpu_lab
    put(lab, "finished", THREE)
    faster = [structs.replace(each, tiles_per_second=5000.0) if isinstance(each, EpochDone) else each for each in THREE]
    record = put(lab, "finished", faster, config=workshop_config(device=GPU.id))
    test = app("start.py")
    pills(test).set_value("10×").run()
    test.switch_page("train.py")
    test.query_params["run"] = record.id
    test.run()
    assert tells(test, "guesses.start_page") and tells(test, "guesses.off", guess="10×", answer="5×")
    lab.lesson_guesses.forget(ME)
    assert not tells(app("train.py", run=record.id), "guesses.start_page")  # it was skipped


def test_a_run_says_what_it_has_learned_and_what_may_be_luck(lab: Lab, app: App) -> None:
    record = put(lab, "finished", [*begun(1), epoch(1, 0.6)], config=workshop_config(epochs=1))
    keep_predictions(lab, record.id, largest=60)
    assert tells(app("train.py", run=record.id), "training.chance.largest_class", chance=0.6)
    test = app("train.py", run=put(lab, "running", [*begun(), epoch(1, 0.5)]).id)
    assert tells(test, "training.luck", tiles=500, doubt=0.0447)
    put(lab, "finished", THREE, config=workshop_config("baseline", "tutorial"))
    record = put(lab, "finished", THREE)
    assert tells(app("train.py", run=record.id), "pace.same")


def test_a_run_without_predictions_without_mistakes_and_on_other_tiles(lab: Lab, app: App) -> None:
    record = put(lab, "finished", THREE)
    assert not tells(app("train.py", run=record.id), "training.confusions")
    keep_predictions(lab, record.id, wrong=0)
    assert tells(app("train.py", run=record.id), "training.confusions.none")
    keep_predictions(lab, record.id)
    pictures = len(app("train.py", run=record.id).get("image"))
    lab.store.update(record.id, tiles=replace(used(lab), fingerprint="another"))
    assert len(app("train.py", run=record.id).get("image")) == pictures - 6


ONE = [*begun(), epoch(1, 0.3)]


@pytest.mark.parametrize(
    ("state", "events", "kind"),
    [
        ("failed", ONE, "training.failed.later"),
        ("interrupted", ONE, "training.interrupted.later"),
        ("cancelled", ONE, "training.stopped.later"),
        ("failed", [], "training.failed.early"),
    ],
)
def test_a_run_that_ended_early_says_why(lab: Lab, app: App, state: str, events: list[Event], kind: str) -> None:
    record = put(lab, state, events, message="Full.")
    test = app("train.py", run=record.id)
    assert tells(test, kind) and ("Full." in shown(test)) == (state != "cancelled")
    assert "result_again" in keys(test)


def test_train_again_takes_the_settings_over(lab: Lab, app: App) -> None:
    config = TrainConfig(source="memory", epochs=2, batch_size=24, tiles=1500)
    record = put(lab, "finished", THREE, config=config)
    test = app("train.py", run=record.id)
    click(test, "result_again")
    newest = lab.store.all()[0][0]
    assert newest.id != record.id
    assert newest.config == config
    assert test.number_input(key="train_batch_size").value == 24
    assert test.query_params["run"] == newest.id


def test_what_stands_against_deleting_is_said_and_then_the_run_is_left(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = put(lab, "finished", THREE)
    test = app("train.py", run=record.id)
    with monkeypatch.context() as patched:
        patched.setattr(lab, "delete", raising(RunError("Later")))
        assert [each.value for each in click(test, "result_delete_sure").error] == ["Later"]
    click(test, "result_delete_sure")
    assert lab.store.all()[0] == [] and tells(test, "train/empty")


@pytest.mark.parametrize("run", ["20200101-000000-baseline-abcd", "../../etc/passwd", "nonsense"])
def test_a_run_that_is_not_there_gets_a_sentence_and_a_way_on(lab: Lab, app: App, run: str) -> None:
    test = app("train.py", run=run)
    assert "open_newest" not in keys(test), "there is none"
    assert tells(click(test, "open_none"), "train/empty")
    mine = put(lab, "finished", THREE)
    test = click(app("train.py", run=run), "open_newest")
    assert test.query_params["run"] == mine.id


def downloads(test: AppTest) -> dict[str, Any]:
    return {each.key: each for each in test.download_button}


def test_the_trained_weights_can_be_taken_away(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    record = put(lab, "cancelled", [*begun(), epoch(1, 0.3)], config=workshop_config("vgg11_bn"))
    lab.store.save(record.id, {"model.pt": b"0"})
    test = app("train.py", run=record.id)
    assert "classifier.6" in shown(test)
    assert set(downloads(test)) == {"result_weights_file", "result_notebook"}, "its ONNX file is too large for a page"
    assert any("strict=False" in each.value for each in test.code)
    record = put(lab, "finished", THREE)
    assert "result_weights_file" not in downloads(app("train.py", run=record.id)), "it kept none"
    lab.store.save(record.id, {"model.pt": b"0" * 2_000_000})
    load = lab.store.load

    def load_others(run_id: str, name: str) -> bytes:
        assert name != "model.pt", "read before it was asked for"
        return load(run_id, name)

    monkeypatch.setattr(lab.store, "load", load_others)
    test = app("train.py", run=record.id)
    assert downloads(test)["result_weights_file"].label.endswith("model.pt · 1.9 MB")
    assert "result_weights_source" in downloads(test), "the network as a file of its own comes with it"
    assert any("weights_only=True" in each.value for each in test.code)


def test_a_run_can_be_kept_where_old_ones_are_about_to_go(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    record = put(lab, "finished", THREE)
    test = app("train.py", run=record.id)
    assert "result_delete_keep" not in {each.key for each in test.toggle}, "nothing goes yet"
    monkeypatch.setattr(lab, "runs_go_soon", lambda: True)
    test.run()
    for kept in (True, False):
        test.toggle(key="result_delete_keep").set_value(kept).run()
        assert lab.store.is_kept(record.id) == kept and not test.exception


# -- the sealed test part on the Train page: closed, opened, somebody else's


def sealed(lab: Lab, owner: str = ME) -> RunRecord:
    summary = {"val_accuracy": 0.62, "val_tiles": 500, "train_tiles": 1500}
    record = put(lab, "finished", THREE, owner, config=workshop_config(sealed_test=True), summary=summary)
    labels = torch.from_numpy(np.arange(400) % 10)
    right = torch.where(torch.arange(400) < 100, labels, (labels + 1) % 10)
    content = predictions_to_bytes(Predictions(torch.arange(400), labels, right, torch.full((400,), 0.5)))
    lab.store.save(record.id, {"test.npz": content})
    return record


def test_it_is_opened_on_purpose_and_stays_open(lab: Lab, app: App) -> None:
    record = sealed(lab)
    test = app("train.py", run=record.id)
    assert tells(test, "train/sealed", tiles="400")
    assert "25.0" not in shown(test)  # the figure is not on the page before
    click(test, "sealed_open_sure")
    text = shown(test).replace("\N{NO-BREAK SPACE}", " ")
    assert "400 tiles" in text and "25.0 %" in text and "37.0 percentage" in text
    assert lab.store.get(record.id).test_opened is not None
    assert "sealed_open_sure" not in keys(app("train.py", run=record.id))


def test_others_cannot_open_it_and_a_damaged_one_is_a_sentence(lab: Lab, app: App) -> None:
    plain = put(lab, "finished", THREE)
    assert not tells(app("train.py", run=plain.id), "train/sealed")
    record = sealed(lab, "somebody-else")
    test = app("train.py", run=record.id)
    assert tells(test, "train/sealed", tiles="400")
    assert "sealed_open_sure" not in keys(test)
    record = sealed(lab)
    lab.store.save(record.id, {"test.npz": b"nonsense"})
    assert len(app("train.py", run=record.id).error) == 1


@pytest.mark.parametrize("split", ["random", "place"])
def test_the_split_is_chosen_on_the_page(split: str, lab: Lab, app: App) -> None:
    test = app("train.py")
    choose(test, "train_split", split)
    test.get_by_key("train_sealed_test").set_value(True).run()
    click(test, "train_start")
    if split == "place":
        assert len(test.error) == 1 and not lab.store.all()[0], "synthetic tiles have no place"
    else:
        (record,) = lab.store.all()[0]
        assert (record.config.split, record.config.sealed_test) == (split, True)
