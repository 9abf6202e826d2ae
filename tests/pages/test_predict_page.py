"""The Predict page in every state: networks, tiles, made-up pictures, where it looked."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.analysis.prediction import answer_finding
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.messages import OWNER as COMMAND_LINE
from eurosat_core.models.recorded import RECORDED
from eurosat_core.runs.record import RunRecord
from eurosat_core.words.say import say
from tests.pages.conftest import (
    THREE,
    App,
    FolderLab,
    address,
    alts,
    charts,
    checked,
    choose,
    click,
    open_tiles,
    put,
    put_network,
    saw,
    shown,
    tells,
)
from tests.pages.test_train_results import keep_predictions

PAGE = "predict.py"
OWN, MADE_UP = "My own picture", "A made-up picture"


def trained(lab: Lab, **changes: Any) -> RunRecord:
    """A finished run with a network, its split and its predictions."""
    record = put_network(lab, **changes)
    keep_predictions(lab, record.id)
    return record


def wrong_tiles(lab: Lab, record: RunRecord) -> list[int]:
    """The tiles that a run noted wrong answers for, the surest first."""
    noted = lab.results.predictions(record.id)
    assert noted is not None
    wrong: list[int] = noted.tiles[noted.predicted != noted.true].tolist()
    return wrong


# -- networks


def test_with_nothing_but_the_recorded_network(lab: Lab, app: App) -> None:
    trained(lab, owner="bob")  # others' are not asked unless the address names them
    test = app(PAGE)
    assert len(test.selectbox(key="predict_network").options) == 1
    assert address(test, "network") == RECORDED
    assert tells(test, *(f"predict/{each}" for each in ("goal", "recorded", "misconception")))
    assert all(alts(test)) and "%" in saw(test)
    code = "\n".join(each.value for each in test.code)
    assert "softmax" in code and "autograd.grad" in code
    assert tells(click(test, "next_page"), "train/goal")


def test_own_runs_come_first_and_the_newest_is_asked(lab: Lab, app: App) -> None:
    trained(lab, owner="somebody")
    theirs = trained(lab, owner=COMMAND_LINE)
    mine = [trained(lab), trained(lab)]
    test = app(PAGE)
    box = test.selectbox(key="predict_network")
    assert box.value in {each.id for each in mine}
    assert len(box.options) == 4
    assert {each.rpartition(" ")[2] for each in box.options[:2]} == {each.id for each in mine}
    assert not any(f"· run {each.id}" in "".join(box.options) for each in mine), "they are called one's own"
    assert box.options[2].endswith(f"· run {theirs.id}")
    assert tells(test, "predict/synthetic")


def test_the_address_names_the_network_own_or_somebody_elses(lab: Lab, app: App) -> None:
    older, _newer = trained(lab), trained(lab)
    test = app(PAGE, network=older.id)
    assert test.selectbox(key="predict_network").value == older.id
    choose(test, "predict_network", RECORDED)
    assert address(test, "network") == RECORDED
    test.switch_page("tiles.py").run()
    test.switch_page(PAGE).run()
    assert test.selectbox(key="predict_network").value == address(test, "network") == RECORDED
    other = trained(lab, owner="bob")
    box = app(PAGE, network=other.id).selectbox(key="predict_network")
    assert box.value == other.id and any(each.endswith(f"· run {other.id}") for each in box.options), "not one's own"


@pytest.mark.parametrize("bad", ["nonsense", "../../etc/passwd", "20200101-000000-baseline-aaaa", "x" * 5000])
def test_an_address_that_names_none(lab: Lab, app: App, bad: str) -> None:
    test = app(PAGE, network=bad)
    assert len(test.warning) == 2  # beside what is often believed
    assert test.selectbox(key="predict_network").value == RECORDED
    assert saw(test)


def test_a_run_on_other_tiles_without_a_network_or_with_a_damaged_one(lab: Lab, app: App) -> None:
    record = trained(lab)
    lab.store.update(record.id, tiles=replace(record.tiles, fingerprint="elsewhere", source="eurosat"))
    test = app(PAGE)
    assert tells(test, "predict/other tiles") and saw(test)
    record = put(lab, "failed", THREE)
    assert len(app(PAGE, network=record.id).warning) == 2
    trained(lab, weights=b"no weights")
    test = app(PAGE)
    for source in ("A tile", MADE_UP):
        assert len(choose(test, "predict_source", source).warning) == 2


# -- tiles


def test_any_tile_by_class_and_by_number_and_wrong_ones_of_the_recorded_network(lab: Lab, app: App) -> None:
    test, tiles = app(PAGE), open_tiles(lab)
    choose(test, "predict_class_0", "River")
    assert "River: River/synthetic_" in shown(test)
    choose(test, "predict_number_0", 3)
    members = np.flatnonzero(tiles.labels.numpy() == tiles.class_names.index("River"))
    assert tiles.names[members[2]] in shown(test)
    click(test, "predict_random")
    expected = lab.predictor.answer(RECORDED, tiles.array[test.session_state["predict_tile"][1]])
    assert saw(test).startswith(say(answer_finding(expected, tiles.class_names)))
    test = click(app(PAGE), "predict_wrong")
    assert tells(saw(test), "prediction.truth.wrong")


def test_wrong_tiles_of_the_run_come_surest_first(lab: Lab, app: App) -> None:
    wrong = wrong_tiles(lab, trained(lab))
    test = app(PAGE)
    test.session_state["predict_tile"] = (open_tiles(lab).fingerprint, wrong[4])
    test.run()
    click(test, "predict_wrong")
    assert test.session_state["predict_tile"][1] == wrong[0]
    assert " 1 of 10" in shown(test)
    wrong = wrong_tiles(lab, trained(lab))
    test = app(PAGE)
    for number in range(1, 4):  # the surest first
        click(test, "predict_wrong")
        assert f" {number} of 10" in shown(test)
        assert f" {number} of 10" in shown(test.run())  # drawn once more, it still stands there
        assert test.session_state["predict_tile"][1] == wrong[number - 1]
    click(test, "predict_random")
    assert test.session_state["predict_tile"][1] == wrong[2] or " 3 of 10" not in shown(test)


def test_a_network_for_other_classes(folder_lab: FolderLab, app: App) -> None:
    folder_lab({"*wet* [land]": 5, "dry_land": 3})
    test = app(PAGE)
    assert tells(saw(test), "prediction.truth.unknown")
    before = len(test.caption)
    assert len(click(test, "predict_wrong").caption) == before + 1, "there is none, and why"


def test_sealed_tiles_are_not_asked_about(lab: Lab, app: App) -> None:
    record, tiles = trained(lab), open_tiles(lab)
    split = {"train": list(range(50)), "validation": [], "test": list(range(50, len(tiles)))}
    (lab.store.folder_of(record.id) / "test.npz").write_bytes(lab.store.load(record.id, "predictions.npz"))
    lab.store.save(record.id, {"split.json": json.dumps(split).encode()})
    test = app(PAGE)
    test.session_state["predict_tile"] = (tiles.fingerprint, 60)
    test.run()
    assert tells(test, "predict/sealed")
    assert not charts(test)
    test.session_state["predict_tile"] = (tiles.fingerprint, 10)
    test.run()
    assert tells(saw(test), "prediction.part.train")


def changed(test: AppTest) -> bool:
    """Whether it is said what a change of the picture does to the answer."""
    return tells(test, "prediction.changed") or tells(test, "prediction.changed_class")


def test_the_tile_is_changed_and_asked_about_again(lab: Lab, app: App) -> None:
    test = app(PAGE)
    test.session_state["predict_change"] = True
    checked(test.run())
    assert changed(test)
    assert tells(choose(test, "predict_tile_metres", 60), "predict/coarser", metres=60)
    choose(test, "predict_tile_metres", 10)
    assert not changed(choose(test, "predict_tile_stretch", "as it is"))


def test_where_it_looked_is_computed_when_opened(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = lab.predictor.where
    monkeypatch.setattr(lab.predictor, "where", lambda run, tile, label: asked.append(label) or real(run, tile, label))
    test = app(PAGE)
    assert not asked
    test.session_state["predict_looked"] = True
    checked(test.run())
    assert len(asked) == 1
    assert tells(test, "looked.method.maps", rows=26, columns=26) and tells(test, "predict/looked")
    next(each for each in test.selectbox if "speaks" in each.label).set_value("Forest").run()
    assert asked[-1] == 1
    assert "Forest" in shown(test)


# -- made-up pictures


def test_a_face_and_the_guess_without_any_tiles(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "_state", TilesState(None, 5, 100))
    test = app(PAGE)
    guess = "below 30 %"
    choose(test, "guess_predict_face", guess)
    choose(test, "predict_source", MADE_UP)
    assert tells(saw(test), "prediction.made_up", shown="a face")
    assert tells(saw(test), "guesses.off", guess=guess) or tells(saw(test), "guesses.right", guess=guess)
    choose(test, "predict_made_up", "Noise")
    assert tells(saw(test), "prediction.made_up", shown="noise") and "below 30" not in saw(test)
