"""Every achievement is a fact: reached with the figures that make it one, and not with those that do not."""

from dataclasses import replace
from typing import Any

import pytest
from fake_engine import GPU
from run_makers import USED, make_record, said, through
from run_makers import compared as brought

from eurosat_core.analysis.achievements import ACHIEVEMENTS, achievements
from eurosat_core.analysis.guesses import GuessOutcome
from eurosat_core.analysis.wrapup import Evidence
from eurosat_core.finding import Finding
from eurosat_core.training.config import workshop_config
from eurosat_core.training.evaluation import evaluate_predictions
from eurosat_core.words.say import say

ANSWERS = said([0, 0, 1, 2], [0, 1, 1, 0])
OTHERS = said([0, 0, 1, 2], [0, 1, 1, 0], tiles=[7, 8, 9, 10])


def run(accuracy: float, answers: Any = ANSWERS, model: str = "baseline", **changes: Any) -> Any:
    record = make_record(config=workshop_config(model, **changes.pop("config", {})), **changes)
    return record, through(accuracy), answers


def kinds(*runs: Any, guesses: tuple[GuessOutcome, ...] = (), **changes: Any) -> dict[str, Finding]:
    found = achievements(Evidence("ada", brought(*runs), **changes), guesses)
    assert all(say(each) for each in found)
    return {each.kind: each for each in found}


def outcome(kind: Any) -> GuessOutcome:
    return GuessOutcome("train_accuracy", Finding("x.y"), "50", Finding("x.y"), kind)


def test_with_nothing_done_nothing_is_certified() -> None:
    assert kinds() == {}
    assert len(ACHIEVEMENTS) == 9


def test_a_training_counts_and_says_whether_its_tiles_were_real() -> None:
    assert kinds(run(0.5))["trained"].variant == "real"
    made_up = replace(USED, source="synthetic")
    assert kinds(run(0.5, tiles=made_up))["trained"].variant == "synthetic"


@pytest.mark.parametrize(
    ("own", "answers", "reached"),
    [(0.7, ANSWERS, True), (0.5, ANSWERS, False), (0.4, ANSWERS, False), (0.7, OTHERS, False)],
)
def test_the_baseline_is_beaten_on_the_same_tiles_alone(own: float, answers: Any, reached: bool) -> None:
    found = kinds(run(0.5), run(own, answers, "tilenet"))
    assert ("beat_the_baseline" in found) == reached
    if reached:
        figures = found["beat_the_baseline"].figures
        assert (figures["accuracy"], figures["baseline"], figures["tiles"]) == (0.7, 0.5, 4)


def test_the_best_own_baseline_is_the_one_to_beat() -> None:
    assert "beat_the_baseline" not in kinds(run(0.5), run(0.8), run(0.7, ANSWERS, "tilenet"))
    assert "beat_the_baseline" not in kinds(run(0.5), run(0.8))


def test_place_and_devices() -> None:
    assert "by_place" in kinds(run(0.5, config={"split": "place"})) and "by_place" not in kinds(run(0.5))
    pair = kinds(run(0.5), run(0.5, config={"device": GPU.id}))
    assert pair["both_devices"].figures["device"] == GPU.id
    assert "both_devices" not in kinds(run(0.5), run(0.5, config={"device": GPU.id, "batch_size": 8}))


def test_guesses() -> None:
    found = kinds(guesses=(outcome("off"), outcome("off"), outcome("right"), outcome("open")))
    assert found["corrected"].figures["off"] == 2 and found["guessed"].figures["right"] == 1
    assert kinds(guesses=(outcome("open"),)) == {}


@pytest.mark.parametrize(("tiles", "reached"), [(10, True), (9, False)])
def test_tiles_named_by_eye(tiles: int, reached: bool) -> None:
    answers = said([0] * tiles, [0] * tiles)
    own = evaluate_predictions(answers.true, answers.predicted, USED.class_names)
    assert ("named_tiles" in kinds(tile_guesses=own)) == reached
