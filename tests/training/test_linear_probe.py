"""The linear probe, with scikit-learn as the oracle."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from eurosat_core.training.linear_probe import fit


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
