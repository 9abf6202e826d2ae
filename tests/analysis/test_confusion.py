"""Confusion matrices of several classifiers, and the tiles behind their cells."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from run_makers import TEN, compared, make_record, said, seen, told

from eurosat_core.analysis import confusion
from eurosat_core.charts import confusion as confusion_charts
from eurosat_core.training.evaluation import evaluate_predictions

NAMES = ("Forest", "River", "SeaLake")
FIRST = said([0, 0, 0, 1, 1], [0, 0, 1, 1, 0], sure=[0.9, 0.8, 0.7, 0.6, 0.5])
SECOND = said([0, 0, 0, 1, 1], [0, 1, 1, 1, 1], sure=[0.9, 0.4, 0.7, 0.6, 0.95])


def _evaluation(predictions, names=NAMES):
    return evaluate_predictions(predictions.true, predictions.predicted, names)


def test_cells_of_all_side_by_side() -> None:
    frame = confusion_charts.confusion_cells({"a": _evaluation(FIRST), "b": _evaluation(SECOND)})
    assert len(frame) == 2 * 9
    cell = frame[(frame["classifier"] == "a") & (frame["true"] == "Forest") & (frame["said"] == "River")].iloc[0]
    assert (cell["tiles"], cell["share"], cell["kind"]) == (1, pytest.approx(1 / 3), "wrong")
    empty = frame[frame["true"] == "Sea or lake"]
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
    assert frame.loc[("River", "Sea or lake"), "kind"] == "same"
    assert math.isnan(frame.loc[("Sea or lake", "Forest"), "difference"])
    assert frame.loc[("Sea or lake", "Forest"), "kind"] == "unknown"


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
        ("any", ["Sea or lake", "Highway"]),
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
