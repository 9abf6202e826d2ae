"""Tables for charts, progress and the time left."""

import math
from dataclasses import replace

import pytest
import torch
from msgspec import structs
from run_makers import begun, epoch, seen, step

from eurosat_core.analysis import training
from eurosat_core.charts import training as training_charts
from eurosat_core.runs.history import History, progress, seconds_left
from eurosat_core.training.evaluation import Evaluation, Predictions
from eurosat_core.training.events import Finished


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
    evaluation = Evaluation(("Forest", "SeaLake", "x"), 4, 0.5, {}, ((1, 1, 0), (0, 2, 0), (0, 0, 0)))
    table = training_charts.class_frame(evaluation)
    assert table["title"].tolist() == ["Sea or lake", "Forest"]
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
