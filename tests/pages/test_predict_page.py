"""The Predict page in every state: networks, tiles, made-up pictures, where it looked."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from eurosat_core.analysis.prediction import answer_words
from eurosat_core.errors import RunError
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.inspection import RECORDED
from eurosat_core.lab.jobs import OWNER as COMMAND_LINE
from eurosat_core.lab.lab import Lab
from eurosat_core.models import recorded
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.network import make_network
from tests.pages.conftest import THREE, App, put, shown, unescaped
from tests.pages.test_train_results import keep_predictions

PAGE = "predict.py"
OWN, MADE_UP = "My own picture", "A made-up picture"


def saw(test: AppTest) -> str:
    (found,) = [unescaped(each.value) for each in test.info if str(each.title) == "What you just saw"]
    return found


def choose(test: AppTest, key: str, value: Any) -> AppTest:
    test.get_by_key(key).set_value(value).run()
    assert not test.exception, test.exception[0].message
    return test


def open_expander(test: AppTest, key: str) -> AppTest:
    test.session_state[key] = True
    test.run()
    assert not test.exception, test.exception[0].message
    return test


def trained(lab: Lab, weights: bytes | None = None, **changes: Any) -> RunRecord:
    """A finished run with a network, its split and its predictions."""
    record = put(lab, "finished", THREE, summary={"val_accuracy": 0.62}, **changes)
    if weights is None:
        buffer = io.BytesIO()
        torch.save(make_network(record.config, len(record.tiles.class_names)).state_dict(), buffer)
        weights = buffer.getvalue()
    lab.store.save(record.id, {"model.pt": weights})
    keep_predictions(lab, record.id)
    return record


# -- networks


def test_with_nothing_but_the_recorded_network(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert not test.exception
    assert test.selectbox(key="predict_network").value == RECORDED
    assert test.query_params["network"] == [RECORDED] or test.query_params["network"] == RECORDED
    assert "recorded elsewhere, not trained on this machine" in shown(test)
    assert "%" in saw(test)
    assert all(image.alt for each in test.get("image") for image in each.proto.imgs)
    assert all(chart.proto.alt for chart in test.get("vega_lite_chart"))


def test_own_runs_come_first_and_the_newest_is_asked(lab: Lab, app: App) -> None:
    trained(lab, owner="somebody")
    theirs = trained(lab, owner=COMMAND_LINE)
    mine = [trained(lab), trained(lab)]
    test = app(PAGE)
    box = test.selectbox(key="predict_network")
    newest = sorted((each.id for each in mine), reverse=True)
    assert box.value in newest
    assert len(box.options) == 4
    assert "my run" in box.options[0]
    assert box.options[2].endswith(f"· run {theirs.id}")
    assert box.options[-1] == "Recorded baseline"
    assert "trained on synthetic tiles" in shown(test)


def test_the_address_names_the_network_and_keeps_it(lab: Lab, app: App) -> None:
    older, _newer = trained(lab), trained(lab)
    test = app(PAGE, network=older.id)
    assert test.selectbox(key="predict_network").value == older.id
    choose(test, "predict_network", RECORDED)
    assert RECORDED in test.query_params["network"]
    test.switch_page("tiles.py").run()
    test.switch_page(PAGE).run()
    assert test.selectbox(key="predict_network").value == RECORDED
    assert RECORDED in test.query_params["network"]


def test_somebody_elses_network_by_its_address(lab: Lab, app: App) -> None:
    other = trained(lab, owner="bob")
    test = app(PAGE, network=other.id)
    assert test.selectbox(key="predict_network").value == other.id
    assert "my run" not in test.selectbox(key="predict_network").options[0]


@pytest.mark.parametrize("bad", ["nonsense", "../../etc/passwd", "20200101-000000-baseline-aaaa", "x" * 5000])
def test_an_address_that_names_none(lab: Lab, app: App, bad: str) -> None:
    test = app(PAGE, network=bad)
    assert not test.exception
    assert "Another network is asked instead" in shown(test) or "Another one is asked instead" in shown(test)
    assert test.selectbox(key="predict_network").value == RECORDED
    assert saw(test)


def test_a_run_without_a_network(lab: Lab, app: App) -> None:
    record = put(lab, "failed", THREE)
    assert "left no network to ask" in shown(app(PAGE, network=record.id))


def test_a_damaged_network_is_said(lab: Lab, app: App) -> None:
    trained(lab, weights=b"no weights")
    for source in ("A tile", MADE_UP):
        test = choose(app(PAGE), "predict_source", source)
        assert "are damaged" in shown(test)


def test_without_the_recorded_network(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorded, "_FOLDER", tmp_path)
    recorded.recorded_baseline.cache_clear()
    test = app(PAGE)
    recorded.recorded_baseline.cache_clear()
    assert not test.exception
    assert "The recorded network cannot be shown" in shown(test)


def test_a_busy_lab_says_so(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_arguments: Any) -> None:
        raise RunError("The lab is looking into other networks just now.")

    monkeypatch.setattr(lab.predictor, "answer", busy)
    test = app(PAGE)
    assert not test.exception
    assert "other networks just now" in shown(test)


# -- tiles


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (TilesState(None, 5, 100), "as soon as they are ready"),
        (TilesState(None, problem="The disk is full."), "The disk is full"),
    ],
)
def test_without_tiles(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, state: TilesState, words: str) -> None:
    monkeypatch.setattr(lab.library, "_state", state)
    test = app(PAGE)
    assert not test.exception
    assert words in shown(test)
    choose(test, "predict_source", MADE_UP)
    assert "Shown a face" in saw(test)


def test_any_tile_by_class_and_by_number(lab: Lab, app: App) -> None:
    test = app(PAGE)
    choose(test, "predict_class_0", "River")
    assert "River: River/synthetic_" in shown(test)
    test.number_input(key="predict_number_0").set_value(3).run()
    tiles = lab.tiles().tile_set
    assert tiles is not None
    members = np.flatnonzero(tiles.labels.numpy() == tiles.class_names.index("River"))
    assert tiles.names[members[2]] in shown(test)
    test.button(key="predict_random").click().run()
    assert not test.exception
    expected = lab.predictor.answer(RECORDED, tiles.array[test.session_state["predict_tile"][1]])
    assert saw(test).startswith(answer_words(expected, tiles.class_names))


def test_a_wrong_tile_of_the_run(lab: Lab, app: App) -> None:
    record = trained(lab)
    noted = lab.results.predictions(record.id)
    assert noted is not None
    wrong = noted.tiles[noted.predicted != noted.true].tolist()
    test = app(PAGE)
    seen = []
    for number in range(1, 4):
        test.button(key="predict_wrong").click().run()
        assert f"Wrong answer {number} of 10" in shown(test)
        assert f"Wrong answer {number} of 10" in shown(test.run())  # drawn once more, it still stands there
        seen.append(test.session_state["predict_tile"][1])
    assert seen == wrong[:3]  # the surest first
    test.button(key="predict_random").click().run()
    assert test.session_state["predict_tile"][1] == seen[-1] or "Wrong answer" not in shown(test)


def test_the_surest_comes_first_even_if_a_wrong_tile_is_shown_by_chance(lab: Lab, app: App) -> None:
    record, tiles = trained(lab), lab.tiles().tile_set
    noted = lab.results.predictions(record.id)
    assert noted is not None
    assert tiles is not None
    wrong = noted.tiles[noted.predicted != noted.true].tolist()
    test = app(PAGE)
    test.session_state["predict_tile"] = (tiles.fingerprint, wrong[4])
    test.run()
    test.button(key="predict_wrong").click().run()
    assert test.session_state["predict_tile"][1] == wrong[0]
    assert "Wrong answer 1 of 10" in shown(test)


def test_wrong_tiles_of_the_recorded_network_are_looked_for(lab: Lab, app: App) -> None:
    test = app(PAGE)
    test.button(key="predict_wrong").click().run()
    assert "Wrong answer 1 of" in shown(test)
    assert "That is wrong" in saw(test)


def test_a_network_for_other_classes(
    make_lab: Callable[..., Lab], app: App, small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    make_lab(data=small_folder(tmp_path / "data", {"*wet* [land]": 5, "dry_land": 3}))
    test = app(PAGE)
    assert "never told of" in saw(test)
    test.button(key="predict_wrong").click().run()
    assert "tells other classes apart" in shown(test)


def test_sealed_tiles_are_not_asked_about(lab: Lab, app: App) -> None:
    record = trained(lab)
    tiles = lab.tiles().tile_set
    assert tiles is not None
    split = {"train": list(range(50)), "validation": [], "test": list(range(50, len(tiles)))}
    (lab.store.folder_of(record.id) / "test.npz").write_bytes(lab.store.load(record.id, "predictions.npz"))
    lab.store.save(record.id, {"split.json": json.dumps(split).encode()})
    test = app(PAGE)
    test.session_state["predict_tile"] = (tiles.fingerprint, 60)
    test.run()
    assert "sealed test part" in shown(test)
    assert not test.get("vega_lite_chart")
    test.session_state["predict_tile"] = (tiles.fingerprint, 10)
    test.run()
    assert "trained on this very tile" in saw(test)


def test_the_tile_is_changed_and_asked_about_again(lab: Lab, app: App) -> None:
    test = open_expander(app(PAGE), "predict_change")
    assert "Often" not in saw(test)
    assert any(words in shown(test) for words in ("another answer", "The answer stays", "The class stays"))
    choose(test, "predict_tile_metres", 60)
    assert "With 60 m per pixel" in shown(test)
    choose(test, "predict_tile_metres", 10)
    choose(test, "predict_tile_stretch", "as it is")
    assert "Nothing is changed yet" in shown(test)


def test_where_it_looked_is_computed_when_opened(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = lab.predictor.where
    monkeypatch.setattr(lab.predictor, "where", lambda run, tile, label: asked.append(label) or real(run, tile, label))
    test = app(PAGE)
    assert not asked
    open_expander(test, "predict_looked")
    assert len(asked) == 1
    assert "26 × 26 cells" in shown(test)
    assert "neither proof nor explanation" in shown(test)
    box = next(each for each in test.selectbox if each.label == "What speaks for")
    box.set_value(box.options[0] and "Forest").run()
    assert asked[-1] == 1
    assert "Forest" in shown(test)


# -- made-up pictures


def test_a_face_and_the_guess(lab: Lab, app: App) -> None:
    test = app(PAGE)
    choose(test, "guess_predict_face", "below 30 %")
    choose(test, "predict_source", MADE_UP)
    assert "Shown a face, it answers" in saw(test)
    assert "You guessed “below 30 %”" in saw(test)
    choose(test, "predict_made_up", "Noise")
    assert "Shown noise" in saw(test)
    assert "You guessed" not in saw(test)


def test_the_page_keeps_the_contract(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert test.subheader[0].value.startswith("Ask a trained network about any picture")
    assert "**Your task:**" in shown(test)
    assert "There is no “none of these”" in shown(test)
    code = "\n".join(each.value for each in test.code)
    assert "softmax" in code
    assert "autograd.grad" in code
    assert "kernel" not in shown(test).lower()
    test.button(key="next_page").click().run()
    assert test.title[0].value.startswith("Train: ")


def test_a_run_of_another_owner_is_not_asked_by_default(lab: Lab, app: App) -> None:
    trained(lab, owner="bob")
    assert app(PAGE).selectbox(key="predict_network").options == ["Recorded baseline"]


def test_a_run_on_other_tiles(lab: Lab, app: App) -> None:
    record = trained(lab)
    lab.store.update(record.id, tiles=replace(record.tiles, fingerprint="elsewhere", source="eurosat"))
    test = app(PAGE)
    assert "trained on a different set of tiles" in shown(test)
    assert saw(test)
