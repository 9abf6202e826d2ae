"""Sentences for every outcome of a run."""

import math
from dataclasses import replace
from typing import Any

import pytest
from run_makers import NBSP, USED, begun, epoch, make_record, seen, step

from eurosat_core.analysis import training
from eurosat_core.runs.history import History
from eurosat_core.training.config import recipe_config, workshop_config
from eurosat_core.training.evaluation import Evaluation


@pytest.mark.parametrize(
    ("history", "stage"),
    [
        (History(), "nothing"),
        (seen(0.10), "chance"),
        (seen(0.115, 0.121), "chance"),
        (seen(0.14), "learning"),
        (seen(0.3, 0.5), "learning"),
        (seen(0.3, 0.5, 0.6, 0.605), "learning"),
        (seen(0.3, 0.6, 0.605, 0.603), "levelled"),
        (History(started=begun(), epochs=(epoch(1, 0.7, 0.72), epoch(2, 0.7, 0.95))), "overfitting"),
    ],
)
def test_stages(history: History, stage: str) -> None:
    assert training.learning(history, 10) == stage


def test_few_validation_tiles_leave_more_to_luck() -> None:
    few = replace(seen(0.18), started=begun(validation_tiles=50))
    assert training.learning(few, 10) == "chance"
    assert training.learning(seen(0.18), 10) == "learning"


def test_naming_the_largest_class_every_time_is_not_learning() -> None:
    record = make_record(config=replace(workshop_config(), epochs=1))
    assert training.learning(seen(0.6), 10, majority=0.6) == "chance"
    found = training.outcome(record, seen(0.6), majority=0.6)
    assert found.kind == "finished_chance"
    assert f"takes no learning: always naming the largest class gives 60{NBSP}%" in found.text
    better = training.outcome(record, seen(0.75), majority=0.6)
    assert better.kind == "finished_learning"
    assert f"always naming the largest class gives 60{NBSP}%" in better.text


def test_nearly_equal_classes_are_held_against_guessing() -> None:
    found = training.outcome(make_record(), seen(0.3, 0.4, 0.5), majority=3000 / 27_000)
    assert f"guessing gives 11{NBSP}%" in found.text


@pytest.mark.parametrize(("counts", "share"), [([], 0.0), ([0, 0], 0.0), ([5, 15], 0.75)])
def test_majority_share(counts: list[int], share: float) -> None:
    assert training.majority_share(counts) == share


def test_luck_is_computed_from_the_runs_own_validation_tiles() -> None:
    assert "1,500 validation tiles, 2.6 percentage points" in training.luck(seen(0.5))
    few = training.luck(replace(seen(0.9), started=begun(validation_tiles=100)))
    assert "6.0 percentage points" in few
    assert training.luck(History(started=begun())) == ""


@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_what_is_kept_of_a_run_that_broke_off(state: Any) -> None:
    died = training.outcome(make_record(state=state, summary={}), seen(0.4))
    assert "; its curves up to there are kept." in died.text
    brought_back = training.outcome(make_record(state=state, summary={"val_accuracy": 0.4}), seen(0.4))
    assert "; its curves, predictions and weights up to there are kept." in brought_back.text


def test_still_at_chance_says_what_chance_is_and_what_to_try() -> None:
    record = make_record(config=workshop_config(epochs=3))
    found = training.outcome(record, seen(0.1, 0.1, 0.11))
    assert found.kind == "finished_chance"
    assert f"10{NBSP}%" in found.text
    assert f"ln 10 = {math.log(10):.2f}" in found.text
    assert "larger learning rate" in found.text
    fast = replace(record, config=replace(record.config, optimizer="sgd", learning_rate=1.0))
    assert "smaller learning rate" in training.outcome(fast, seen(0.1, 0.1, 0.11)).text


@pytest.mark.parametrize(
    ("accuracies", "words"),
    [
        ((0.3, 0.4, 0.52), "brought 12.0 percentage points"),
        ((0.3, 0.55, 0.52), "took 3.0 percentage points away"),
        ((0.3, 0.52, 0.524), "changed little"),
    ],
)
def test_learning_follows_the_last_epoch(accuracies: tuple[float, ...], words: str) -> None:
    found = training.outcome(make_record(), seen(*accuracies))
    assert found.kind == "finished_learning"
    assert "1,500 tiles it was not trained on" in found.text
    assert words in found.text


def test_one_epoch_is_not_compared_with_another() -> None:
    found = training.outcome(make_record(config=replace(workshop_config(), epochs=1)), seen(0.4))
    assert found.text.endswith("It is learning.")


def test_levelled_off_and_overfitting() -> None:
    config = replace(workshop_config(), epochs=4)
    levelled = training.outcome(make_record(config=config), seen(0.3, 0.6, 0.605, 0.603))
    assert "less than one percentage point" in levelled.text
    epochs = (epoch(1, 0.6, 0.6, val_loss=1.0), epoch(2, 0.6, 0.9, val_loss=1.5), epoch(3, 0.6, 0.95, val_loss=1.6))
    over = training.outcome(make_record(), History(started=begun(), epochs=epochs))
    assert over.kind == "finished_overfitting"
    assert "a gap of 35.0 percentage points" in over.text
    assert "lowest in epoch 1 (1.00) and is 1.60 now" in over.text
    still_falling = tuple(replace(each, val_loss=2.0 - each.epoch / 10) for each in epochs)
    assert "lowest" not in training.outcome(make_record(), History(started=begun(), epochs=still_falling)).text


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(seen(0.3), id="on the way up"),
        pytest.param(seen(0.3, 0.4, 0.6), id="rising"),
        pytest.param(seen(0.3, 0.6, 0.605, 0.603), id="standing still"),
        pytest.param(History(started=begun(), epochs=(epoch(1, 0.5, 0.6), epoch(2, 0.4, 0.9))), id="far behind"),
    ],
)
@pytest.mark.parametrize("state", ["running", "cancelled"])
def test_while_the_learning_rate_is_high_nothing_is_concluded(history: History, state: Any) -> None:
    record = make_record(state=state, config=recipe_config("tilenet", "fast", epochs=10))
    text = training.outcome(record, history).text
    rate = {1: 50, 2: 100, 3: 87.5, 4: 75}[len(history.epochs)]  # a fifth of ten epochs up, then straight down
    assert f"at {rate:.0f}{NBSP}% of its highest" in text
    assert ("still goes up" in text) == (state == "running" and len(history.epochs) == 1)
    assert ("judge it at the end" if state == "running" else "most likely reach more than this") in text
    assert not any(word in text for word in ("overfitting", "more epochs would", "less than one percentage point"))


def test_a_rate_is_high_until_it_is_next_to_nothing() -> None:
    config = recipe_config("tilenet", "fast", epochs=60)
    highs = [training.rate_is_high(config, seen(*([0.9] * done))) for done in range(61)]
    assert highs == [True] * 58 + [False] * 3  # two of the 48 epochs that it falls for are 4 %
    assert not training.rate_is_high(replace(config, schedule="constant"), seen(0.9))


def test_a_rate_that_came_down_explains_the_last_epochs() -> None:
    config = recipe_config("tilenet", "fast", epochs=4)
    rose = training.outcome(make_record(config=config), seen(0.3, 0.4, 0.6, 0.8)).text
    assert "brought 20.0 percentage points: weights settle as the learning rate comes down" in rose
    assert "Going on from here would change little" in rose
    stood = training.outcome(make_record(config=config), seen(0.3, 0.8, 0.805, 0.803))
    assert stood.kind == "finished_levelled"
    assert "come down to next to nothing" in stood.text
    assert "more of the same" not in stood.text


def test_at_chance_a_high_rate_is_no_excuse() -> None:
    record = make_record(state="running", config=recipe_config("tilenet", "fast", epochs=10))
    assert "still chance" in training.outcome(record, seen(0.1, 0.1)).text


def test_synthetic_tiles_are_named_as_such() -> None:
    record = make_record(tiles=replace(USED, source="synthetic"))
    assert "synthetic tiles" in training.outcome(record, seen(0.3, 0.4, 0.5)).text


@pytest.mark.parametrize(
    ("state", "message", "accuracies", "kind", "words"),
    [
        ("queued", "", (), "waiting", "waits for a free place"),
        ("running", "", (), "nothing", "has not seen a tile"),
        ("paused", "", (0.4,), "learning", "After 1 epoch the network"),
        ("cancelled", "", (), "stopped", "before its first epoch was done. So there is no validation result"),
        ("cancelled", "", (0.4,), "stopped", "was stopped after 1 of 3 epochs. After 1 epoch"),
        (
            "failed",
            "Memory is full. Try less.",
            (0.4,),
            "failed",
            "failed after 1 of 3 epochs. Memory is full. Try less.",
        ),
        ("failed", "", (), "failed", "left no reason"),
        ("interrupted", "The server ended.", (0.4,), "interrupted", "cut off after 1 of 3 epochs. The server ended."),
        ("interrupted", "", (), "interrupted", "The program that ran it was stopped."),
    ],
)
def test_every_state_has_its_sentence(
    state: Any, message: str, accuracies: tuple[float, ...], kind: str, words: str
) -> None:
    found = training.outcome(make_record(state=state, message=message), seen(*accuracies))
    assert found.kind == kind
    assert words in found.text


def test_the_first_epoch_under_way_tells_its_training_accuracy() -> None:
    history = History(started=begun(), steps=(step(3),), latest=step(3))
    assert f"named 30.0{NBSP}% of its training tiles" in training.outcome(make_record(state="running"), history).text


@pytest.mark.parametrize(("guess", "kind"), [(0.1, "higher"), (0.5, "right"), (0.9, "lower")])
def test_guess(guess: float, kind: str) -> None:
    found = training.guess_against(guess, seen(0.2, 0.55))
    assert found is not None
    assert found.kind == kind
    assert f"55.0{NBSP}%" in found.text
    assert training.guess_against(guess, History()) is None


def test_confusions_name_the_easiest_the_hardest_and_the_most_frequent_mistake() -> None:
    evaluation = Evaluation(
        ("Forest", "SeaLake", "River"),
        30,
        0.6,
        {"Forest": 0.9, "SeaLake": 0.7, "River": 0.2},
        ((9, 1, 0), (2, 7, 1), (3, 5, 2)),
    )
    text = training.confusions(evaluation).text
    assert "Easiest class: Forest" in text
    assert "Hardest: River" in text
    assert "River called Sea or lake (5 of 10 tiles)" in text
    right = Evaluation(("a", "b"), 2, 1.0, {"a": 1.0, "b": None}, ((2, 0), (0, 0)))
    assert training.confusions(right).kind == "none"
