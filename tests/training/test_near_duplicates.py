"""Nearest tiles against brute force and scikit-learn, equal ones in their order, and what a near-duplicate is."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from eurosat_core.training import neighbours
from eurosat_core.training.near_duplicates import (
    FALSE_ALARMS,
    Space,
    find_space,
    joined,
    limits,
    nearest,
    nearest_of,
    placed,
)


def unit(tiles: int, width: int, seed: int = 0) -> Tensor:
    values = torch.randn(tiles, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(values)


def space_of(features: Tensor, dimensions: int) -> Space:
    *_, found = find_space(features, torch.arange(len(features)), dimensions)
    assert found is not None
    return found


@pytest.mark.parametrize("count", [1, 5, 60])
def test_they_are_those_of_scikit_learn(count: int) -> None:
    places = unit(700, 16)
    queries, training = torch.arange(0, 300), torch.arange(640, 700).flip(0)
    found = joined(list(nearest(places, queries, training, count)))
    oracle = NearestNeighbors(n_neighbors=count, metric="cosine", algorithm="brute").fit(places[training].numpy())
    distance, at = oracle.kneighbors(places[queries].numpy())
    assert torch.equal(found.numbers, training[torch.from_numpy(at)])
    np.testing.assert_allclose(found.similarity, 1 - distance, atol=1e-6)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    places, queries, training = unit(200, 8), torch.arange(50), torch.arange(50, 200)
    whole = joined(list(nearest(places, queries, training, 3)))
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    blocks = list(nearest(places, queries, training, 3))
    assert [len(each.numbers) for each in blocks] == [7] * 7 + [1]
    assert torch.equal(joined(blocks).numbers, whole.numbers)
    one = nearest_of(places[17], places, training, 3)
    assert torch.equal(one.numbers, whole.numbers[17])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-2, 2), min_size=6, max_size=6), min_size=1, max_size=8), st.integers(1, 6))
def test_of_equal_ones_the_first_comes_first(rows: list[list[int]], count: int) -> None:
    values = torch.tensor(rows, dtype=torch.float32)
    largest, at = neighbours._largest(values, count)
    for row, found, where in zip(rows, largest.tolist(), at.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda place: (-row[place], place))[:count]
        assert where == order and found == [row[place] for place in order]


def test_there_may_be_fewer_training_tiles_than_asked_for() -> None:
    found = joined(list(nearest(unit(10, 4), torch.arange(5), torch.tensor([7, 8]), 5)))
    assert found.numbers.shape == (5, 2)


def test_the_space_is_that_of_the_principal_components() -> None:
    """Similarities in it are those in scikit-learn's, however its axes are turned."""
    generator = torch.Generator().manual_seed(1)
    mixed = torch.randn(500, 24, generator=generator) * 0.5 ** torch.arange(24)
    features = mixed @ torch.randn(24, 24, generator=generator) * torch.arange(1, 25) + 3
    space = space_of(features, 6)
    ours = torch.cat(list(placed(space, features)))
    standard = StandardScaler().fit_transform(features.double().numpy())
    theirs = PCA(6, svd_solver="full").fit_transform(standard)
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=5e-3)
    assert torch.equal(space.axes, space_of(features, 6).axes)


def test_with_all_dimensions_similarity_is_the_cosine_of_standardised_features() -> None:
    features = torch.randn(40, 5, generator=torch.Generator().manual_seed(2))
    places = torch.cat(list(placed(space_of(features, 128), features)))
    standard = (features - features.mean(0)) / features.std(0)
    cosine = torch.nn.functional.cosine_similarity(standard[:, None], standard[None], dim=2)
    torch.testing.assert_close(places @ places.T, cosine, atol=1e-5, rtol=0)


def test_a_limit_lets_one_in_a_hundred_from_elsewhere_pass() -> None:
    similarity = torch.rand(3000, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(3000) % 3
    similarity[labels == 2] = 0.9 + similarity[labels == 2] / 10  # open sea
    found = limits(similarity, labels, 3)
    for label in range(3):
        passed = (similarity[labels == label] > found[label]).float().mean()
        assert float(passed) == pytest.approx(FALSE_ALARMS, abs=2e-3)
    assert found[2] > 0.99 > 0.985 > 0.9


def test_a_class_with_few_tiles_from_elsewhere_has_the_limit_of_all() -> None:
    similarity = torch.rand(1000, generator=torch.Generator().manual_seed(4))
    labels = torch.zeros(1000, dtype=torch.int64)
    labels[:5] = 1
    found = limits(similarity, labels, 3)
    assert found[1] == found[2] == similarity.quantile(1 - FALSE_ALARMS)
