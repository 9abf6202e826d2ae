import json
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from eurosat_core.training.evaluation import Tally, evaluate_predictions

NAMES = ("Forest", "River", "SeaLake")


def test_rows_are_true_classes() -> None:
    found = evaluate_predictions(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 1]), NAMES)
    assert found.confusion == ((0, 2, 0), (0, 1, 0), (0, 0, 0))
    assert found.per_class == {"Forest": 0, "River": 1, "SeaLake": None}
    assert found.most_confused() == ("Forest", "River", 2)
    assert evaluate_predictions(torch.tensor([0, 1]), torch.tensor([0, 1]), NAMES).most_confused() is None


@pytest.mark.parametrize("sizes", [[8], [8] * 3, [8] * 70, [8, 8, 3], [4, 8, 8, 1, 1]])
def test_a_tally_is_the_sum_over_its_tiles(sizes: list[int]) -> None:
    """Whenever it is asked, and in whichever order its sums are taken."""
    generator = torch.Generator().manual_seed(0)
    tally, loss, right = Tally.on(torch.device("cpu")), 0.0, 0
    for number, size in enumerate(sizes):
        scores = torch.randn(size, 4, generator=generator, requires_grad=True)
        labels = torch.randint(4, (size,), generator=generator)
        mean = torch.nn.functional.cross_entropy(scores, labels)
        tally.add(mean, scores, labels)
        loss += mean.item() * size
        right += int((scores.argmax(1) == labels).sum())
        if number % 5 == 0:
            assert tally.means() == (pytest.approx(loss / tally.tiles), right / tally.tiles)
    assert tally.tiles == sum(sizes) and not tally.loss.requires_grad
    assert tally.means() == tally.means() == (pytest.approx(loss / tally.tiles), right / tally.tiles)


def test_goes_to_json() -> None:
    found = evaluate_predictions(torch.tensor([2, 1]), torch.tensor([2, 0]), NAMES)
    assert json.loads(json.dumps(found.to_dict())) == {
        "tiles": 2,
        "accuracy": 0.5,
        "per_class": {"Forest": None, "River": 0, "SeaLake": 1},
        "precision": {"Forest": 0, "River": None, "SeaLake": 1},
        "recall": {"Forest": None, "River": 0, "SeaLake": 1},
        "f1": {"Forest": 0, "River": 0, "SeaLake": 1},
        "macro": {"precision": 0.5, "recall": 0.5, "f1": 1 / 3},
        "class_names": list(NAMES),
        "confusion": [[0, 0, 0], [1, 0, 0], [0, 0, 1]],
    }


# -- scikit-learn as the oracle; `zero_division=nan` is its way of saying that a figure has no meaning


def _same(ours: float | None, theirs: float) -> bool:
    return math.isnan(theirs) if ours is None else math.isclose(ours, theirs, rel_tol=1e-12)


def _agrees_with_scikit_learn(true: torch.Tensor, predicted: torch.Tensor, names: tuple[str, ...]) -> None:
    found = evaluate_predictions(true, predicted, names)
    labels = range(len(names))
    answers = (true.numpy(), predicted.numpy())
    assert found.accuracy == accuracy_score(*answers)
    assert (np.array(found.confusion) == confusion_matrix(*answers, labels=labels)).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        each = precision_recall_fscore_support(*answers, labels=labels, zero_division=np.nan)
        mean = precision_recall_fscore_support(*answers, labels=labels, zero_division=np.nan, average="macro")
    for label, score in enumerate(found.scores()):
        ours = (score.precision, score.recall, score.f1)
        assert all(_same(one, figures[label]) for one, figures in zip(ours, each, strict=False))
        assert found.per_class[score.name] == score.recall
        assert score.tiles == each[3][label]
    assert all(_same(one, other) for one, other in zip(found.macro().values(), mean, strict=False))


@given(
    st.integers(2, 12).flatmap(
        lambda n: st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), min_size=1).map(
            lambda rows: (n, rows)
        )
    )
)
def test_scores_are_scikit_learns(case: tuple[int, list[tuple[int, int]]]) -> None:
    classes, answers = case
    true, predicted = torch.tensor(answers).T
    _agrees_with_scikit_learn(true, predicted, tuple(f"class {label}" for label in range(classes)))


@pytest.mark.parametrize(
    ("true", "predicted"),
    [
        pytest.param([0, 0, 1, 2], [0, 0, 0, 2], id="a class never predicted"),
        pytest.param([0, 0, 1, 1], [0, 2, 1, 1], id="an empty class that was predicted"),
        pytest.param([0, 0, 1, 1], [0, 1, 1, 0], id="an empty class that was never predicted"),
        pytest.param([0, 0, 0], [1, 1, 1], id="everything wrong"),
        pytest.param([0, 1, 2], [0, 1, 2], id="everything right"),
        pytest.param([2], [2], id="one tile"),
        pytest.param([0, 1, 2, 0], [1, 1, 1, 1], id="always the same answer"),
    ],
)
def test_degenerate_cases_are_scikit_learns(true: list[int], predicted: list[int]) -> None:
    _agrees_with_scikit_learn(torch.tensor(true), torch.tensor(predicted), NAMES)
