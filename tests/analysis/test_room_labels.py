"""The room's labels: who disagrees, where they part from the truth, what they were worth; and their charts."""

import pandas as pd
import pytest
from scipy.stats import binomtest

from eurosat_core.analysis.room_labels import (
    ClassLabels,
    Disagreement,
    agreed,
    begins,
    by_class,
    chance_of,
    disagreement,
    learned,
    parted,
)
from eurosat_core.charts.room_labels import learning_chart, learning_frame, parting_chart, parting_frame
from eurosat_core.runs.guesses import Guess
from eurosat_core.runs.room_labels import Point
from eurosat_core.words.say import say

NAMES = ("Forest", "River", "SeaLake")


def guess(owner: str, tile: int, true: int, guessed: int) -> Guess:
    return Guess(owner, "f", tile, true, guessed, 1.0, float(tile))


GUESSES = (
    guess("ada", 1, 0, 0),
    guess("bob", 1, 0, 1),
    guess("ada", 2, 1, 2),
    guess("bob", 2, 1, 2),
    guess("ada", 3, 0, 0),
    guess("ada", 3, 0, 2),
    guess("bob", 4, 1, 1),
    guess("cy", 5, 9, 0),
)


def test_wrong_labels_are_counted_for_each_class() -> None:
    assert by_class(GUESSES, NAMES) == (
        ClassLabels("River", 3, 2, "SeaLake"),
        ClassLabels("Forest", 4, 2, "River"),
    )


def test_two_people_disagree_and_one_alone_does_not() -> None:
    assert disagreement(GUESSES) == Disagreement(shared=2, split=1)
    assert disagreement(GUESSES[4:]) == Disagreement(0, 0)


@pytest.mark.parametrize(("one", "other"), [(0, 0), (3, 3), (0, 5), (0, 6), (20, 8), (1, 12)])
def test_the_chance_of_a_split_is_the_binomial_tests(one: int, other: int) -> None:
    oracle = binomtest(one, one + other).pvalue if one + other else 1.0
    assert chance_of(one, other) == pytest.approx(oracle)


@pytest.mark.parametrize(
    ("room", "truth", "only_room", "only_truth", "kind"),
    [
        (0.6, 0.8, 5, 65, "cost"),
        (0.6, 0.61, 5, 8, "same"),
        (0.6, 0.6, 0, 0, "same"),
        (0.7, 0.6, 35, 5, "better"),
    ],
)
def test_what_wrong_labels_cost(room: float, truth: float, only_room: int, only_truth: int, kind: str) -> None:
    found = learned(40, room, truth, only_room, only_truth, 300)
    assert found.name == f"room_labels.learned.{kind}" and say(found)


def test_every_outcome_has_its_sentence() -> None:
    people = [Disagreement(0, 0), Disagreement(1, 0), Disagreement(4, 2)]
    assert [agreed(each).variant for each in people] == ["apart", "agree", "split"]
    rows = by_class(GUESSES, NAMES)
    assert (parted(rows).variant, parted(by_class(GUESSES[:1], NAMES)).variant) == ("parted", "same")
    assert begins(4, 10).figures == {"labels": 4, "more": 6, "first": 10}
    assert all(say(each) for each in (*map(agreed, people), parted(rows), parted(by_class(GUESSES[:1], NAMES))))


def fields(spec: object) -> set[str]:
    """Every field that a spec reads."""
    if isinstance(spec, dict):
        own = {spec["field"]} if isinstance(spec.get("field"), str) else set()
        return own.union(*(fields(each) for each in spec.values()))
    return set().union(*(fields(each) for each in spec)) if isinstance(spec, list) else set()


@pytest.mark.parametrize(
    ("spec", "frame"),
    [
        (learning_chart(0.1), learning_frame([Point(10, 0.4, 0.5, 1, 31), Point(20, 0.5, 0.6, 1, 31)])),
        (parting_chart(2), parting_frame(by_class(GUESSES, NAMES))),
    ],
    ids=["learning", "parting"],
)
def test_the_charts_read_columns_that_exist(spec: dict[str, object], frame: pd.DataFrame) -> None:
    assert fields(spec) and fields(spec) <= set(frame.columns)
    assert len(frame) in (2, 4)
