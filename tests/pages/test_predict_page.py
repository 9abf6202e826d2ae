"""The Predict page in every state: networks, tiles, made-up pictures, where it looked."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eurosat_core.analysis.prediction import answer_finding
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.messages import OWNER as COMMAND_LINE
from eurosat_core.models.recorded import RECORDED
from eurosat_core.runs.record import RunRecord
from eurosat_core.words.say import say
from pages.parts import lesson
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
    test, words = app(PAGE), lesson.text("predict")
    assert test.selectbox(key="predict_network").options == ["Recorded baseline"]
    assert address(test, "network") == RECORDED
    text = shown(test)
    assert "recorded elsewhere, not trained on this machine" in text and "**Your task:**" in text
    assert test.subheader[0].value == words["goal"]
    assert all(alts(test)) and "%" in saw(test)
    code = "\n".join(each.value for each in test.code)
    assert "softmax" in code and "autograd.grad" in code
    assert words["misconception"] in text and "kernel" not in text.lower()
    assert click(test, "next_page").title[0].value.startswith("Train: ")


def test_own_runs_come_first_and_the_newest_is_asked(lab: Lab, app: App) -> None:
    trained(lab, owner="somebody")
    theirs = trained(lab, owner=COMMAND_LINE)
    mine = [trained(lab), trained(lab)]
    test = app(PAGE)
    box = test.selectbox(key="predict_network")
    assert box.value in {each.id for each in mine}
    assert len(box.options) == 4
    assert "my run" in box.options[0]
    assert box.options[2].endswith(f"· run {theirs.id}")
    assert box.options[-1] == "Recorded baseline"
    assert lesson.text("predict")["synthetic"] in shown(test)


def test_the_address_names_the_network_and_keeps_it(lab: Lab, app: App) -> None:
    older, _newer = trained(lab), trained(lab)
    test = app(PAGE, network=older.id)
    assert test.selectbox(key="predict_network").value == older.id
    choose(test, "predict_network", RECORDED)
    assert address(test, "network") == RECORDED
    test.switch_page("tiles.py").run()
    test.switch_page(PAGE).run()
    assert test.selectbox(key="predict_network").value == address(test, "network") == RECORDED


def test_somebody_elses_network_by_its_address(lab: Lab, app: App) -> None:
    other = trained(lab, owner="bob")
    box = app(PAGE, network=other.id).selectbox(key="predict_network")
    assert box.value == other.id and "my run" not in box.options[0]


@pytest.mark.parametrize("bad", ["nonsense", "../../etc/passwd", "20200101-000000-baseline-aaaa", "x" * 5000])
def test_an_address_that_names_none(lab: Lab, app: App, bad: str) -> None:
    test = app(PAGE, network=bad)
    assert "is asked instead" in shown(test)
    assert test.selectbox(key="predict_network").value == RECORDED
    assert saw(test)


def test_a_run_without_a_network(lab: Lab, app: App) -> None:
    record = put(lab, "failed", THREE)
    assert "left no network to ask" in shown(app(PAGE, network=record.id))


def test_a_damaged_network_is_said(lab: Lab, app: App) -> None:
    trained(lab, weights=b"no weights")
    test = app(PAGE)
    for source in ("A tile", MADE_UP):
        assert "are damaged" in shown(choose(test, "predict_source", source))


def test_a_run_on_other_tiles(lab: Lab, app: App) -> None:
    record = trained(lab)
    lab.store.update(record.id, tiles=replace(record.tiles, fingerprint="elsewhere", source="eurosat"))
    test = app(PAGE)
    assert lesson.text("predict")["other tiles"] in shown(test)
    assert saw(test)


# -- tiles


def test_any_tile_by_class_and_by_number(lab: Lab, app: App) -> None:
    test, tiles = app(PAGE), open_tiles(lab)
    choose(test, "predict_class_0", "River")
    assert "River: River/synthetic_" in shown(test)
    choose(test, "predict_number_0", 3)
    members = np.flatnonzero(tiles.labels.numpy() == tiles.class_names.index("River"))
    assert tiles.names[members[2]] in shown(test)
    click(test, "predict_random")
    expected = lab.predictor.answer(RECORDED, tiles.array[test.session_state["predict_tile"][1]])
    assert saw(test).startswith(say(answer_finding(expected, tiles.class_names)))


def test_a_wrong_tile_of_the_run(lab: Lab, app: App) -> None:
    wrong = wrong_tiles(lab, trained(lab))
    test = app(PAGE)
    for number in range(1, 4):  # the surest first
        click(test, "predict_wrong")
        assert f"Wrong answer {number} of 10" in shown(test)
        assert f"Wrong answer {number} of 10" in shown(test.run())  # drawn once more, it still stands there
        assert test.session_state["predict_tile"][1] == wrong[number - 1]
    click(test, "predict_random")
    assert test.session_state["predict_tile"][1] == wrong[2] or "Wrong answer" not in shown(test)


def test_the_surest_comes_first_even_if_a_wrong_tile_is_shown_by_chance(lab: Lab, app: App) -> None:
    wrong = wrong_tiles(lab, trained(lab))
    test = app(PAGE)
    test.session_state["predict_tile"] = (open_tiles(lab).fingerprint, wrong[4])
    test.run()
    click(test, "predict_wrong")
    assert test.session_state["predict_tile"][1] == wrong[0]
    assert "Wrong answer 1 of 10" in shown(test)


def test_wrong_tiles_of_the_recorded_network_are_looked_for(lab: Lab, app: App) -> None:
    test = click(app(PAGE), "predict_wrong")
    assert "Wrong answer 1 of" in shown(test)
    assert "That is wrong" in saw(test)


def test_a_network_for_other_classes(folder_lab: FolderLab, app: App) -> None:
    folder_lab({"*wet* [land]": 5, "dry_land": 3})
    test = app(PAGE)
    assert "has never heard of" in saw(test)
    assert "tells other classes apart" in shown(click(test, "predict_wrong"))


def test_sealed_tiles_are_not_asked_about(lab: Lab, app: App) -> None:
    record, tiles = trained(lab), open_tiles(lab)
    split = {"train": list(range(50)), "validation": [], "test": list(range(50, len(tiles)))}
    (lab.store.folder_of(record.id) / "test.npz").write_bytes(lab.store.load(record.id, "predictions.npz"))
    lab.store.save(record.id, {"split.json": json.dumps(split).encode()})
    test = app(PAGE)
    test.session_state["predict_tile"] = (tiles.fingerprint, 60)
    test.run()
    assert lesson.text("predict")["sealed"] in shown(test)
    assert not charts(test)
    test.session_state["predict_tile"] = (tiles.fingerprint, 10)
    test.run()
    assert "trained on this very tile" in saw(test)


def test_the_tile_is_changed_and_asked_about_again(lab: Lab, app: App) -> None:
    test = app(PAGE)
    test.session_state["predict_change"] = True
    checked(test.run())
    assert any(words in shown(test) for words in ("another answer", "The answer stays", "The class stays"))
    choose(test, "predict_tile_metres", 60)
    assert lesson.text("predict")["coarser"].format(metres=60) in shown(test)
    choose(test, "predict_tile_metres", 10)
    choose(test, "predict_tile_stretch", "as it is")
    assert "Nothing has been changed yet" in shown(test)


def test_where_it_looked_is_computed_when_opened(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = lab.predictor.where
    monkeypatch.setattr(lab.predictor, "where", lambda run, tile, label: asked.append(label) or real(run, tile, label))
    test = app(PAGE)
    assert not asked
    test.session_state["predict_looked"] = True
    checked(test.run())
    assert len(asked) == 1
    assert "26 × 26 cells" in shown(test)
    assert lesson.text("predict")["looked"] in shown(test)
    next(each for each in test.selectbox if each.label == "What speaks for").set_value("Forest").run()
    assert asked[-1] == 1
    assert "Forest" in shown(test)


# -- made-up pictures


def test_a_face_and_the_guess_without_any_tiles(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "_state", TilesState(None, 5, 100))
    test = app(PAGE)
    choose(test, "guess_predict_face", "below 30 %")
    choose(test, "predict_source", MADE_UP)
    assert "Shown a face, it answers" in saw(test)
    assert "You guessed “below 30 %”" in saw(test)
    choose(test, "predict_made_up", "Noise")
    assert "Shown noise" in saw(test)
    assert "You guessed" not in saw(test)
