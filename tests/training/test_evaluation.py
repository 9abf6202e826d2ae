import json
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.training.evaluation import Predictions, evaluate_predictions

NAMES = ("Forest", "River", "SeaLake")
pairs = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


@given(pairs)
def test_counts_are_those_made_by_hand(answers: list[tuple[int, int]]) -> None:
    true, predicted = torch.tensor(answers).T
    found = evaluate_predictions(true, predicted, NAMES)
    counts = Counter(answers)
    assert found.tiles == len(answers)
    assert found.accuracy == sum(a == b for a, b in answers) / len(answers)
    assert found.confusion == tuple(tuple(counts[row, column] for column in range(3)) for row in range(3))
    for label, name in enumerate(NAMES):
        members = [b for a, b in answers if a == label]
        assert found.per_class[name] == (members.count(label) / len(members) if members else None)


def test_rows_are_true_classes() -> None:
    found = evaluate_predictions(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 1]), NAMES)
    assert found.confusion == ((0, 2, 0), (0, 1, 0), (0, 0, 0))
    assert found.per_class == {"Forest": 0, "River": 1, "SeaLake": None}
    assert found.most_confused() == ("Forest", "River", 2)


def test_no_mistake_no_confusion() -> None:
    found = evaluate_predictions(torch.tensor([0, 1]), torch.tensor([0, 1]), NAMES)
    assert found.accuracy == 1
    assert found.most_confused() is None


def test_goes_to_json() -> None:
    found = evaluate_predictions(torch.tensor([2, 1]), torch.tensor([2, 0]), NAMES)
    assert json.loads(json.dumps(found.to_dict())) == {
        "tiles": 2,
        "accuracy": 0.5,
        "per_class": {"Forest": None, "River": 0, "SeaLake": 1},
        "class_names": list(NAMES),
        "confusion": [[0, 0, 0], [1, 0, 0], [0, 0, 1]],
    }


@pytest.mark.parametrize("count", [0, 5])
def test_predictions_have_a_length(count: int) -> None:
    numbers = torch.arange(count)
    assert len(Predictions(numbers, numbers, numbers, numbers.float())) == count
