"""Evaluation of predictions, and the linear probe with scikit-learn as the oracle."""

import json
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from eurosat_core.training.evaluation import Tally, evaluate_predictions
from eurosat_core.training.linear_probe import fit

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


def clouds(count: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features [count, 12] around a middle for each class, far from zero, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    middles = torch.randn(classes, 12, generator=generator)
    labels = torch.arange(count) % classes
    return middles[labels] + torch.randn(count, 12, generator=generator) + 3, labels


@pytest.mark.parametrize(("count", "classes", "strength"), [(60, 3, 1.0), (200, 10, 1.0), (90, 4, 5.0)])
def test_it_finds_what_scikit_learn_finds(count: int, classes: int, strength: float) -> None:
    features, labels = clouds(count, classes, seed=classes)
    found = fit(features, labels, classes, strength)
    oracle = LogisticRegression(C=1 / strength, tol=1e-6, max_iter=2000).fit(features.double().numpy(), labels.numpy())
    assert np.allclose(found.weights, oracle.coef_, atol=5e-3)
    differences = found.bias - found.bias.mean(), oracle.intercept_ - oracle.intercept_.mean()
    assert np.allclose(*differences, atol=0.1)
    assert (found.predict(features).numpy() == oracle.predict(features.double().numpy())).mean() > 0.98


def test_the_same_labels_give_the_same_probe_and_gradients_stay_off() -> None:
    features, labels = clouds(50, 5, seed=1)
    with torch.no_grad():
        one, other = fit(features, labels, 5), fit(features, labels, 5)
    assert torch.equal(one.weights, other.weights) and torch.equal(one.bias, other.bias)
    assert not one.weights.requires_grad


def test_a_class_that_nobody_named_is_not_answered() -> None:
    features, labels = clouds(40, 2, seed=2)
    assert set(fit(features, labels, 4).predict(features).tolist()) == {0, 1}
