"""What every outcome of a run is, and its figures; tables for its charts, progress and the time left."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from msgspec import structs
from run_makers import USED, begun, epoch, make_record, seen, step

from eurosat_core.analysis import training
from eurosat_core.charts import training as training_charts
from eurosat_core.runs.history import History, progress, seconds_left
from eurosat_core.training.config import recipe_config, workshop_config
from eurosat_core.training.evaluation import Evaluation, Predictions
from eurosat_core.training.events import Finished

FAST = recipe_config("tilenet", "fast", epochs=10)  # its learning rate rises for two epochs, then falls to nothing
FAR_BEHIND = History(started=begun(), epochs=(epoch(1, 0.5, 0.6), epoch(2, 0.4, 0.9)))


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
        (replace(seen(0.18), started=begun(validation_tiles=50)), "chance"),
        (seen(0.18), "learning"),
    ],
)
def test_stages(history: History, stage: str) -> None:
    assert training.learning(history, 10) == stage


@pytest.mark.parametrize(
    ("accuracy", "majority", "name", "chance"),
    [
        (0.6, 0.6, "training.chance.largest_class", 0.6),
        (0.75, 0.6, "training.largest_class", 0.6),
        (0.5, 3000 / 27_000, "training.guessing", 3000 / 27_000),
        (0.5, 0.0, "training.guessing", 0.1),
    ],
)
def test_what_guessing_would_get(accuracy: float, majority: float, name: str, chance: float) -> None:
    record = make_record(config=replace(workshop_config(), epochs=1))
    found = training.outcome(record, seen(accuracy), majority=majority)
    told = {each.name: each.figures for each in (found, *found.then)}
    assert told[name]["chance"] == chance


@pytest.mark.parametrize(("counts", "share"), [([], 0.0), ([0, 0], 0.0), ([5, 15], 0.75)])
def test_majority_share(counts: list[int], share: float) -> None:
    assert training.majority_share(counts) == share


def test_luck_is_computed_from_the_runs_own_validation_tiles() -> None:
    usual, few = training.luck(seen(0.5)), training.luck(replace(seen(0.9), started=begun(validation_tiles=100)))
    assert usual and usual.figures == {"tiles": 1500, "accuracy": 0.5, "doubt": pytest.approx(0.0258, abs=1e-4)}
    assert few and few.figures["doubt"] == pytest.approx(0.06)
    assert training.luck(History(started=begun())) is None


@pytest.mark.parametrize("rate", [0.01, 1.0])
def test_at_chance_the_size_of_the_steps_decides_what_to_try(rate: float) -> None:
    config = replace(workshop_config(epochs=3), optimizer="sgd", learning_rate=rate)
    found = training.outcome(make_record(config=config), seen(0.1, 0.1, 0.11))
    assert found.name == f"training.chance.{'steps_large' if rate == 1 else 'steps_small'}"
    assert (found.figures["classes"], found.figures["accuracy"], found.figures["epochs"]) == (10, 0.11, 3)


@pytest.mark.parametrize(
    ("accuracies", "kind", "variant"),
    [
        ((0.4,), "learning", "first"),
        ((0.3, 0.4, 0.52), "learning", "rising"),
        ((0.3, 0.55, 0.52), "learning", "uneven"),
        ((0.3, 0.52, 0.524), "learning", "uneven"),
        ((0.3, 0.6, 0.605, 0.603), "levelled", "standing"),
    ],
)
def test_learning_follows_the_last_epoch(accuracies: tuple[float, ...], kind: str, variant: str) -> None:
    config = replace(workshop_config(), epochs=len(accuracies))
    found = training.outcome(make_record(config=config), seen(*accuracies))
    assert (found.kind, found.variant, found.figures["tiles"]) == (kind, variant, 1500)
    if kind == "learning" and len(accuracies) > 1:
        assert found.figures["change"] == pytest.approx(accuracies[-1] - accuracies[-2])


def test_overfitting_says_where_validation_loss_was_lowest() -> None:
    epochs = (epoch(1, 0.6, 0.6, val_loss=1.0), epoch(2, 0.6, 0.9, val_loss=1.5), epoch(3, 0.6, 0.95, val_loss=1.6))
    over = training.outcome(make_record(), History(started=begun(), epochs=epochs))
    assert (over.kind, over.variant) == ("overfitting", "rising_loss")
    assert (over.figures["best_epoch"], over.figures["best_loss"], over.figures["loss"]) == (1, 1.0, 1.6)
    assert over.figures["gap"] == pytest.approx(0.35)
    still_falling = tuple(structs.replace(each, val_loss=2.0 - each.epoch / 10) for each in epochs)
    assert training.outcome(make_record(), History(started=begun(), epochs=still_falling)).variant == "gap"


@pytest.mark.parametrize("history", [seen(0.3), seen(0.3, 0.4, 0.6), seen(0.3, 0.6, 0.605, 0.603), FAR_BEHIND])
@pytest.mark.parametrize(("state", "variant"), [("running", "running"), ("cancelled", "ended")])
def test_while_the_learning_rate_is_high_nothing_is_concluded(history: History, state: Any, variant: str) -> None:
    found = training.outcome(make_record(state=state, config=FAST), history)
    found = found if state == "running" else found.then[0]
    assert found.name == f"training.rate_high.{variant}"
    rate = {1: 0.505, 2: 1.0, 3: 0.875, 4: 0.75}[len(history.epochs)]  # a fifth of ten epochs up, then straight down
    assert found.figures["rate"] == pytest.approx(rate)


def test_a_rate_is_high_until_it_is_next_to_nothing() -> None:
    config = replace(FAST, epochs=60)
    highs = [training.rate_is_high(config, seen(*([0.9] * done))) for done in range(61)]
    assert highs == [True] * 58 + [False] * 3  # two of the 48 epochs that it falls for are 4 %
    assert not training.rate_is_high(replace(config, schedule="constant"), seen(0.9))


@pytest.mark.parametrize("accuracies", [(0.3, 0.4, 0.6, 0.8), (0.3, 0.8, 0.805, 0.803)])
def test_a_rate_that_came_down_explains_the_last_epochs(accuracies: tuple[float, ...]) -> None:
    found = training.outcome(make_record(config=replace(FAST, epochs=4)), seen(*accuracies))
    assert found.name == "training.levelled.rate_down"


def test_at_chance_a_high_rate_is_no_excuse() -> None:
    assert training.outcome(make_record(state="running", config=FAST), seen(0.1, 0.1)).kind == "chance"


def test_synthetic_tiles_are_named_as_such() -> None:
    found = training.outcome(make_record(tiles=replace(USED, source="synthetic")), seen(0.3, 0.4, 0.5))
    assert found.then[-1].kind == "synthetic"


@pytest.mark.parametrize(
    ("state", "accuracies", "name", "then"),
    [
        ("queued", (), "training.waiting", ""),
        ("running", (), "training.nothing.waiting", ""),
        ("paused", (0.4,), "training.learning.first", "guessing"),
        ("cancelled", (), "training.stopped.early", ""),
        ("cancelled", (0.4,), "training.stopped.later", "learning"),
        ("failed", (0.4,), "training.failed.later", "kept"),
        ("failed", (), "training.failed.early", ""),
        ("interrupted", (0.4,), "training.interrupted.later", "kept"),
        ("interrupted", (), "training.interrupted.early", ""),
    ],
)
@pytest.mark.parametrize("message", ["", "Full."])
def test_every_state(state: Any, accuracies: tuple[float, ...], name: str, then: str, message: str) -> None:
    found = training.outcome(make_record(state=state, message=message), seen(*accuracies))
    assert (found.name, [each.kind for each in found.then]) == (name, [then] if then else [])
    if found.kind in ("failed", "interrupted"):
        reason = found.figures["reason"]
        assert reason == message if message else reason.name == f"training.{state}.no_reason"


@pytest.mark.parametrize(("summary", "kept"), [({}, "curves"), ({"val_accuracy": 0.4}, "all")])
def test_what_is_kept_of_a_run_that_broke_off(summary: dict[str, float], kept: str) -> None:
    found = training.outcome(make_record(state="failed", summary=summary), seen(0.4))
    assert found.then[0].name == f"training.kept.{kept}"


def test_the_first_epoch_under_way_tells_its_training_accuracy() -> None:
    found = training.outcome(make_record(state="running"), History(started=begun(), steps=(step(3),), latest=step(3)))
    assert (found.name, found.figures["accuracy"]) == ("training.nothing.begun", 0.3)


def test_confusions_name_the_easiest_the_hardest_and_the_most_frequent_mistake() -> None:
    evaluation = Evaluation(
        ("Forest", "Pasture", "River"),
        30,
        0.6,
        {"Forest": 0.9, "Pasture": 0.7, "River": 0.2},
        ((9, 1, 0), (2, 7, 1), (3, 5, 2)),
    )
    told = training.confusions(evaluation).figures
    assert [told[name] for name in ("easiest", "hardest", "true", "predicted")] == [
        *("Forest", "River", "River", "Pasture")
    ]
    assert (told["mistakes"], told["of"]) == (5, 10)
    right = Evaluation(("a", "b"), 2, 1.0, {"a": 1.0, "b": None}, ((2, 0), (0, 0)))
    assert training.confusions(right).variant == "none"


def test_curves_have_steps_epochs_and_the_line_of_chance() -> None:
    history = replace(seen(0.4), steps=(step(50), step(10, phase="validation"), step(100)))
    loss = training_charts.curve_frame(history, "loss", 10)
    assert loss["kind"].tolist() == ["step", "step", "epoch", "epoch", "chance"]
    assert loss["epoch"].tolist() == [0.5, 1.0, 1.0, 1.0, 0.0]
    assert loss["value"].iloc[-1] == pytest.approx(math.log(10))
    accuracy = training_charts.curve_frame(history, "accuracy", 10)
    assert accuracy["value"].tolist() == pytest.approx([0.3, 0.3, 0.4, 0.4, 0.1])
    assert len(training_charts.curve_frame(History(), "loss", 10)) == 1


def test_curves_stay_small_however_long_the_run() -> None:
    many = tuple(step(number % 100 + 1, number // 100 + 1) for number in range(400))
    long = replace(seen(*[0.4] * 200), steps=many)
    assert len(training_charts.curve_frame(long, "loss", 10)) <= 500


def test_speed_is_split_where_the_phase_changes() -> None:
    table = training_charts.speed_frame(replace(seen(), steps=(step(1), step(1, phase="validation"), step(1, 2))))
    assert table["part"].nunique() == 3
    assert table["memory_mb"].tolist() == [512.0] * 3
    assert training_charts.speed_frame(History()).empty


@pytest.mark.parametrize(
    ("value", "ceiling"), [(0.2, 1), (1.2, 1.5), (740, 750), (760, 1000), (2600, 3000), (math.inf, 1)]
)
def test_axis_ceiling(value: float, ceiling: float) -> None:
    assert training_charts.axis_ceiling(value) == pytest.approx(ceiling)


def test_the_loss_axis_follows_epochs_but_not_one_wild_batch() -> None:
    calm = training_charts.curve_frame(replace(seen(0.4), steps=(structs.replace(step(1), loss=50.0),)), "loss", 10)
    assert training_charts.loss_ceiling(calm, 10) == pytest.approx(2.58)
    wild = training_charts.curve_frame(History(epochs=(epoch(1, 0.1, val_loss=6.0),)), "loss", 10)
    assert training_charts.loss_ceiling(wild, 10) == 7.5


def test_classes_are_listed_best_first_and_empty_ones_left_out() -> None:
    evaluation = Evaluation(("Forest", "Pasture", "x"), 4, 0.5, {}, ((1, 1, 0), (0, 2, 0), (0, 0, 0)))
    table = training_charts.class_frame(evaluation)
    assert table["title"].tolist() == ["Pasture", "Forest"]
    assert table["accuracy"].tolist() == [1.0, 0.5]


def test_surest_mistakes_come_first() -> None:
    predictions = Predictions(
        torch.tensor([7, 8, 9]), torch.tensor([0, 1, 1]), torch.tensor([1, 1, 0]), torch.tensor([0.6, 0.99, 0.8])
    )
    found = training.surest_mistakes(predictions, ("a", "b"), 5)
    assert [(each.tile, each.true, each.predicted) for each in found] == [(9, "b", "a"), (7, "a", "b")]
    assert training.surest_mistakes(predictions, ("a", "b"), 1)[0].confidence == pytest.approx(0.8)


def test_progress_grows_from_start_to_finish() -> None:
    stages = [
        History(),
        History(started=begun(), latest=step(50)),
        History(started=begun(), latest=step(100)),
        History(started=begun(), latest=step(20, phase="validation")),
        replace(seen(0.3), latest=step(40, phase="validation")),
        replace(seen(0.3), latest=step(10, 2)),
        replace(seen(0.3, 0.4), latest=step(40, 2, "validation")),
        replace(seen(0.3, 0.4, 0.5), finished=Finished(3, 30.0, 1.0, 0.5)),
    ]
    shares = [progress(each) for each in stages]
    assert shares == sorted(set(shares))
    assert shares[0] == 0
    assert shares[4] == pytest.approx(1 / 3)
    assert shares[-1] == 1


def test_the_time_left_is_measured_and_unknown_at_first() -> None:
    assert seconds_left(History()) is None
    assert seconds_left(History(started=begun(), latest=step(1, seconds=0.1))) is None
    first = seconds_left(History(started=begun(), latest=step(100, seconds=4.0)))
    assert first is not None
    assert 8 < first < 14
    # The first epoch (slow: warm-up) is left out as soon as there is another.
    epochs = (epoch(1, 0.3, seconds=50.0), epoch(2, 0.4, seconds=10.0))
    rest = seconds_left(History(started=begun(), epochs=epochs, latest=step(40, 2, "validation")))
    assert rest == pytest.approx(10.0)
    assert seconds_left(replace(seen(0.1, 0.2, 0.3), finished=Finished(3, 1.0, 1.0, 0.3))) == 0
