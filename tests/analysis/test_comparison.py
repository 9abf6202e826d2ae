"""Runs side by side: what differs, what may be compared, speed-ups of the same work only, and who mixes up what."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from run_makers import TEN, USED, begun, compared, epoch, make_record, said, seen, through, told

from eurosat_core.analysis import confusion
from eurosat_core.analysis.contenders import (
    RunFigures,
    classifiers,
    differences,
    figures_note,
    labels,
    may_compare_accuracy,
    run_figures,
    same_tiles,
)
from eurosat_core.charts import confusion as confusion_charts
from eurosat_core.charts.comparison import ORIGINS, cost_frame, differences_frame, learning_curves, seconds_frame
from eurosat_core.models.catalog import build_model
from eurosat_core.models.summary import summarize
from eurosat_core.runs.history import History
from eurosat_core.training.config import SETTINGS, Architecture, recipe_config
from eurosat_core.training.evaluation import evaluate_predictions

TUTORIAL = recipe_config("baseline", epochs=3)
GPU = replace(TUTORIAL, device="cuda:0")
ANSWERS = said([0, 0, 1, 1], [0, 1, 1, 1])
HERE, _, ELSEWHERE, _ = ORIGINS
MACHINE = {"device_name": "Test CPU", "threads": 2, "torch": "2.14"}


def run(history: History | None = None, predictions: Any = ANSWERS, **changes: Any) -> Any:
    record = make_record(**{"config": TUTORIAL, "machine": MACHINE, **changes})
    return record, through(0.3, 0.4, 0.5) if history is None else history, predictions


# -- names


def test_names_are_short_and_different() -> None:
    records = [
        make_record(id="a", config=TUTORIAL),
        make_record(id="b", config=GPU),
        make_record(id="c", config=replace(TUTORIAL, batch_size=256)),
        make_record(id="d", config=TUTORIAL),
        make_record(id="e", config=GPU, recorded_on="H100, 3 May 2026"),
        make_record(id="f", config=recipe_config("efficientnet_lite0")),
    ]
    assert labels(records) == {
        "a": "Baseline CNN · CPU, batch size 40 (1)",
        "b": "Baseline CNN · GPU 0",
        "c": "Baseline CNN · CPU, batch size 256",
        "d": "Baseline CNN · CPU, batch size 40 (2)",
        "e": "Baseline CNN · GPU 0, recorded",
        "f": "EfficientNet-Lite0 · CPU",
    }


def test_the_most_telling_settings_tell_runs_apart() -> None:
    configs = [
        TUTORIAL,
        replace(TUTORIAL, seed=7, stratified=True),
        replace(TUTORIAL, split="place"),
        replace(TUTORIAL, seed=8, optimizer="adam", momentum=0.5),
    ]
    found = labels([make_record(id=str(at), config=each) for at, each in enumerate(configs)])
    assert [each.removeprefix("Baseline CNN · CPU") for each in found.values()] == [
        ", SGD, random split (1)",
        ", SGD, random split (2)",
        ", SGD, split by place",
        ", Adam, random split",
    ]
    assert [*labels([make_record(id=str(at), config=each) for at, each in enumerate(configs[:2])]).values()] == [
        "Baseline CNN · CPU, seed 42",
        "Baseline CNN · CPU, seed 7",
    ]


def reason_of(figures: RunFigures) -> str:
    """The kind of the reason why there is no speed-up, or in what the work differs."""
    found = figures.speed_up_reason
    assert found is not None
    return ", ".join(each.variant for each in found.figures["other"]) if found.kind == "other" else found.kind


# -- what differs


def test_only_what_differs_and_has_an_effect_is_told() -> None:
    runs = compared(
        run(),
        run(
            config=replace(GPU, batch_size=256, source="memory", workers=9, pin_memory=False),
            machine={**MACHINE, "device_name": "Test GPU"},
            concurrent_runs=("x",),
        ),
    )
    found = {each.name: each.values for each in differences(runs)}
    assert found == {
        "device": ("CPU", "GPU 0"),
        "batch_size": ("40", "256"),
        "source": tuple(SETTINGS["source"].in_words(each) for each in ("loader", "memory")),
        "workers": ("2", "no effect"),
        "device_name": ("Test CPU", "Test GPU"),
        "company": ("nothing", "x"),
    }
    frame = differences_frame(runs)
    assert list(frame.columns) == ["setting", *(each.label for each in runs)]
    assert list(frame["setting"]) == [each.title for each in differences(runs)]


def test_alike_runs_differ_in_nothing() -> None:
    assert differences(compared(run(), run())) == ()
    assert differences_frame(compared(run(), run())).empty


# -- the same tiles?


@pytest.mark.parametrize(
    ("other", "name", "figures", "comparable"),
    [
        ({"predictions": said([1, 1, 0, 0], [1, 1, 1, 1], [3, 2, 1, 0])}, "same", {"tiles": 4}, True),
        ({"predictions": said([0, 1], [0, 1], [2, 7])}, "other_part.by_draw", {"common": 1}, True),
        (
            {"predictions": said([0], [0], [9]), "config": replace(TUTORIAL, split="place")},
            "other_part.by_place",
            {},
            True,
        ),
        ({"tiles": replace(USED, fingerprint="other")}, "other_set", {}, False),
        ({"tiles": replace(USED, source="synthetic")}, "synthetic", {}, False),
        ({"tiles": replace(USED, class_names=TEN[:4])}, "other_classes", {}, False),
        ({"predictions": None}, "unknown", {"runs": ["Baseline CNN · CPU (2)"]}, False),
    ],
)
def test_what_may_be_compared(other: Any, name: str, figures: Any, comparable: bool) -> None:
    check = same_tiles(compared(run(), run(**other)))
    assert (check.name, check.figures) == (f"same_tiles.{name}", figures)
    assert may_compare_accuracy(check) == comparable


# -- figures


def test_figures_of_each_run() -> None:
    history = replace(
        through(0.3, 0.4, 0.5),
        epochs=(epoch(1, 0.3, rate=100.0), epoch(2, 0.4, rate=900.0), epoch(3, 0.5, rate=1100.0)),
    )
    (figures,) = run_figures(compared(run(history)))
    assert (figures.accuracy, figures.seconds, figures.epochs, figures.threads) == (0.5, 30.0, 3, 2)
    assert (figures.tiles_per_second, figures.tiles_per_second_low, figures.tiles_per_second_high) == (1000, 900, 1100)
    assert figures.measured_epochs == 2  # the first is the warm-up
    assert (figures.speed_up, figures.speed_up_reason) == (1.0, None)
    assert (figures.train_tiles, figures.validation_tiles) == (4500, 4)


def test_a_run_without_an_epoch_has_no_figures_and_no_speed_up() -> None:
    first, second = run_figures(compared(run(), run(History(), None, state="failed")))
    assert (second.accuracy, second.seconds, second.tiles_per_second, second.speed_up) == (None, None, None, None)
    assert reason_of(second) == "unfinished"
    assert first.speed_up == 1.0


def test_speed_up_is_first_seconds_over_own() -> None:
    fast = through(0.3, 0.4, 0.5)
    fast = replace(
        fast,
        epochs=tuple(
            structs.replace(each, elapsed_seconds=each.elapsed_seconds / 4, tiles_per_second=5000.0)
            for each in fast.epochs
        ),
        finished=structs.replace(fast.finished, seconds=7.5),
    )
    _, figures = run_figures(compared(run(), run(fast, config=replace(GPU, pin_memory=True, workers=4))))
    assert figures.speed_up == 4
    assert figures.training_speed_up == 5
    assert not figures.within_noise
    assert figures.speed_up_reason is None


def test_a_speed_up_within_the_noise_is_called_so() -> None:
    first, second = run_figures(compared(run(), run(config=GPU)))
    assert (first.within_noise, second.within_noise, second.speed_up) == (False, True, 1.0)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"config": replace(TUTORIAL, batch_size=256)}, "batch_size"),
        ({"config": replace(TUTORIAL, source="memory")}, "source"),
        ({"config": replace(TUTORIAL, epochs=10)}, "epochs"),
        ({"config": recipe_config("custom", epochs=3)}, "network"),
        ({"tiles": replace(USED, fingerprint="other")}, "tile_set"),
        ({"history": through(0.5, started=begun(train_tiles=9))}, "tiles"),
        ({"config": replace(TUTORIAL, batch_size=256, epochs=10)}, "batch_size, epochs"),
        ({"state": "cancelled"}, "unfinished"),
        ({"history": seen(0.5)}, "unfinished"),
        ({"kind": "profile"}, "no_training"),
        ({"config": recipe_config("efficientnet_lite0", "fast", epochs=3)}, "features"),
    ],
)
def test_other_work_has_no_speed_up_but_a_reason(changes: dict[str, Any], reason: str) -> None:
    first, second = run_figures(compared(run(), run(**changes)))
    assert second.speed_up is None and second.training_speed_up is None
    assert reason_of(second) == reason
    assert first.speed_up == 1


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (recipe_config("efficientnet_lite0", "fast"), recipe_config("efficientnet_lite0", "fast"), "features"),
        (recipe_config("custom"), recipe_config("custom", network="flatten, linear out"), "network"),
        (recipe_config("tilenet", "sprint"), recipe_config("tilenet", "sprint", stem_pool=False), "network"),
        (
            recipe_config("tilenet", "sprint", progressive_resizing=False),
            recipe_config("tilenet", "sprint", progressive_resizing=True),
            "resizing",
        ),
    ],
    ids=["feature cache", "own layers", "TileNet without its pooling", "smaller pictures first"],
)
def test_what_is_other_work_within_a_recipe(one: Any, other: Any, reason: str) -> None:
    _, figures = run_figures(compared(run(config=one), run(config=other)))
    assert (figures.speed_up, figures.training_speed_up, reason_of(figures)) == (None, None, reason)


@pytest.mark.parametrize(
    ("noted", "taken"),
    [
        ({}, False),  # of a run from before this was noted
        ({"feature_tiles": 6000}, False),
        ({"feature_tiles": 7000}, False),  # a sealed test part, too
        ({"feature_tiles": 5000}, True),
        ({"feature_tiles": 0}, True),
    ],
)
def test_a_frozen_part_taken_from_an_earlier_run_is_said_wherever_its_seconds_stand(
    noted: dict[str, int], taken: bool
) -> None:
    config = recipe_config("efficientnet_lite0", "fast", epochs=3)
    summary = {"train_tiles": 4500, "val_tiles": 1500, **noted}
    runs = compared(run(config=config), run(config=config, summary=summary))
    figures = run_figures(runs)
    assert [each.features_taken for each in figures] == [False, taken]
    assert reason_of(figures[1]) == ("features_taken" if taken else "features")
    assert (figures_note(figures[0]) == figures_note(figures[1])) == (not taken)
    assert figures[1].speed_up is None
    costs = cost_frame(runs, lambda network: summarize(build_model(network.model, 10, network.network)))
    assert (costs["covers"][0] == costs["covers"][1]) == (not taken)


# -- tables


def test_learning_curves_hold_every_epoch_of_every_run() -> None:
    runs = compared(run(), run(seen(0.2)))
    frame = learning_curves(runs, "accuracy")
    assert list(frame.columns) == ["run", "epoch", "seconds", "value", "series"]
    validation = frame[frame["series"] == "validation"]
    assert list(zip(validation["run"], validation["epoch"], validation["value"], strict=True)) == [
        (runs[0].label, 1, 0.3),
        (runs[0].label, 2, 0.4),
        (runs[0].label, 3, 0.5),
        (runs[1].label, 1, 0.2),
    ]
    assert learning_curves((), "loss").empty


def test_cost_is_that_of_the_model_and_the_run() -> None:
    runs = compared(run(), run(config=recipe_config("custom", network="flatten, linear out")), run(History(), None))

    def summary(network: Architecture) -> Any:
        return summarize(build_model(network.model, 10, network.network))

    frame = cost_frame(runs, summary)
    assert list(frame["parameters"]) == [338_486, 122_890]
    assert list(frame["macs"])[1] == 122_880
    assert list(frame["accuracy"]) == [0.5, 0.5]
    assert set(frame["origin"]) == {"here"}


def test_bars_say_where_each_was_measured() -> None:
    recorded = run(
        config=GPU,
        machine={"device_name": "H100", "threads": 8},
        recorded_on="H100, 3 May 2026",
        concurrent_runs=("x",),
    )
    frame = seconds_frame(run_figures(compared(run(), recorded, run(History(), None))))
    assert list(frame["origin"]) == [HERE, ELSEWHERE]
    for note, figures in zip(
        frame["note"], (("Test CPU", "2", "3"), ("H100", "8", "3", " x,", "3 May 2026")), strict=True
    ):
        assert [each for each in figures if each not in note] == []


# -- classifiers


def test_the_participant_is_one_more_classifier() -> None:
    runs = compared(run(), run(predictions=None), run(tiles=replace(USED, class_names=TEN[:3])))
    own = evaluate_predictions(ANSWERS.true, ANSWERS.true, TEN)
    assert list(classifiers(runs, own)) == ["You", runs[0].label]
    others = evaluate_predictions(ANSWERS.true, ANSWERS.true, TEN[:5])
    assert list(classifiers(runs, others)) == [runs[0].label]
    assert list(classifiers((), own)) == ["You"]
    assert classifiers(()) == {}


NAMES = ("Forest", "River", "Pasture")
FIRST = said([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], sure=[0.9, 0.8, 0.7, 0.6, 0.5])
SECOND = said([0, 0, 0, 1, 1], [0, 1, 1, 1, 1], sure=[0.9, 0.4, 0.7, 0.6, 0.95])


def _evaluation(predictions, names=NAMES):
    return evaluate_predictions(predictions.true, predictions.predicted, names)


def test_cells_of_all_side_by_side() -> None:
    frame = confusion_charts.confusion_cells({"a": _evaluation(FIRST), "b": _evaluation(SECOND)})
    assert len(frame) == 2 * 9
    cell = frame[(frame["classifier"] == "a") & (frame["true"] == "Forest") & (frame["said"] == "River")].iloc[0]
    assert (cell["tiles"], cell["share"], cell["kind"]) == (1, pytest.approx(1 / 3), "wrong")
    empty = frame[frame["true"] == "Pasture"]
    assert empty["share"].isna().all() and set(empty["kind"]) == {"none"}
    assert set(frame[frame["true"] == frame["said"]]["kind"]) == {"right", "none"}


def test_difference_is_second_less_first_in_shares() -> None:
    frame = confusion_charts.confusion_difference(_evaluation(FIRST), _evaluation(SECOND)).set_index(["true", "said"])
    assert frame.loc[("Forest", "Forest"), "difference"] == pytest.approx(-1 / 3)
    assert frame.loc[("Forest", "River"), "difference"] == pytest.approx(1 / 3)
    assert frame.loc[("River", "River"), "difference"] == frame.loc[("River", "River"), "gain"] == 0.5
    assert frame.loc[("River", "Forest"), "difference"] == -0.5 == -frame.loc[("River", "Forest"), "gain"]
    kinds = {pair: frame.loc[pair, "kind"] for pair in [("Forest", "Forest"), ("Forest", "River"), ("River", "River")]}
    assert list(kinds.values()) == ["worse", "worse", "better"]
    assert frame.loc[("River", "Forest"), "kind"] == "better"
    assert frame.loc[("River", "Pasture"), "kind"] == "same"
    assert math.isnan(frame.loc[("Pasture", "Forest"), "difference"])
    assert frame.loc[("Pasture", "Forest"), "kind"] == "unknown"


def test_most_confused_pairs_rank_by_their_share_at_anybody() -> None:
    frame = confusion_charts.confused_pairs_frame({"a": _evaluation(FIRST), "b": _evaluation(SECOND)}, most=2)
    assert list(frame["pair"]) == ["Forest called River"] * 2 + ["River called Forest"] * 2
    assert list(frame["classifier"]) == ["a", "b", "a", "b"]
    assert list(frame["tiles"]) == [1, 2, 1, 0]
    right = _evaluation(said([0, 1], [0, 1]))
    assert confusion_charts.confused_pairs_frame({"a": right}).empty
    assert confusion_charts.confused_pairs_frame({}).empty


def test_scores_and_why_some_are_missing() -> None:
    evaluation = _evaluation(said([0, 0, 1], [0, 0, 0]), (*NAMES, "Highway"))
    frame = confusion_charts.score_frame({"a": evaluation})
    assert frame["precision"].isna().tolist() == [False, True, True, True]
    assert frame["recall"].isna().tolist() == [False, False, True, True]
    assert frame["f1"].tolist()[:2] == [0.8, 0.0]
    assert [(each.variant, each.figures["classes"]) for each in confusion.score_remarks(evaluation)] == [
        ("precision", ["River"]),
        ("any", ["Pasture", "Highway"]),
    ]
    called = _evaluation(said([0, 0], [0, 1]))
    assert told(confusion.score_remarks(called)[0]) == ["missing.recall"]
    assert confusion.score_remarks(_evaluation(said([0, 1, 2], [0, 2, 1]))) == []


def test_a_cell_opens_its_tiles_surest_first() -> None:
    forest = confusion.tiles_in_cell(FIRST, NAMES, 0, 0)
    assert [(each.tile, each.true, each.predicted) for each in forest] == [
        (0, "Forest", "Forest"),
        (1, "Forest", "Forest"),
    ]
    assert [each.tile for each in confusion.tiles_in_cell(FIRST, NAMES, 1, 0)] == [4]
    assert confusion.tiles_in_cell(FIRST, NAMES, 2, 0) == []


def test_tiles_that_one_gets_right_and_the_other_wrong() -> None:
    found = confusion.disagreement(FIRST, SECOND)
    assert (found.tiles, found.both_right, found.both_wrong) == (5, 2, 1)
    assert (found.first, found.second) == ((1,), (4,))
    elsewhere = said([0, 0], [1, 1], [1, 50])
    assert confusion.disagreement(FIRST, elsewhere).tiles == 1
    assert confusion.disagreement(FIRST, said([0], [0], [99])) == confusion.Disagreement(0, 0, 0, (), ())


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40))
def test_every_tile_is_counted_once(rows: list[tuple[int, int, int]]) -> None:
    true, one, other = (list(each) for each in zip(*rows, strict=True))
    found = confusion.disagreement(said(true, one), said(true, other))
    assert found.both_right + found.both_wrong + len(found.first) + len(found.second) == found.tiles == len(rows)
    first, second = torch.tensor(one) == torch.tensor(true), torch.tensor(other) == torch.tensor(true)
    assert sorted(found.first) == (first & ~second).nonzero().flatten().tolist()
    assert sorted(found.second) == (second & ~first).nonzero().flatten().tolist()


def test_what_everybody_said_about_a_tile() -> None:
    runs = compared(
        (make_record(), seen(0.5), FIRST), (make_record(), seen(0.5), SECOND), (make_record(), seen(0.5), None)
    )
    found = confusion.answers(runs, 4)
    assert [(each.said, each.is_right) for each in found] == [(TEN[0], False), (TEN[1], True)]
    assert found[1].confidence == pytest.approx(0.95)
    assert confusion.answers(runs, 99) == []
