import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.data.classes import CLASSES
from eurosat_core.data.splits import Split, make_split
from eurosat_core.errors import DataError

EUROSAT_LABELS = torch.repeat_interleave(torch.arange(10), torch.tensor([each.tiles for each in CLASSES]))

labels = st.lists(st.integers(0, 9), min_size=8, max_size=300).map(torch.tensor)


def all_numbers(split: Split) -> list[int]:
    return sorted(split.train.tolist() + split.validation.tolist())


def class_counts(labels: torch.Tensor, part: torch.Tensor) -> list[int]:
    return torch.bincount(labels[part], minlength=10).tolist()


@pytest.mark.parametrize("stratified", [False, True])
def test_sizes_are_the_tutorials(stratified: bool) -> None:
    split = make_split(EUROSAT_LABELS, seed=42, stratified=stratified)
    assert (len(split.train), len(split.validation)) == (20_250, 6_750)
    assert all_numbers(split) == list(range(27_000))


@given(labels=labels, seed=st.integers(0, 2**31 - 1), stratified=st.booleans())
def test_parts_are_disjoint_and_complete(labels: torch.Tensor, seed: int, stratified: bool) -> None:
    split = make_split(labels, seed=seed, stratified=stratified)
    assert len(split.train) == len(labels) * 3 // 4
    assert all_numbers(split) == list(range(len(labels)))
    assert split.validation.tolist() == sorted(split.validation.tolist())


@given(labels=labels, seed=st.integers(0, 1000), data=st.data())
def test_subset_has_exactly_its_size_and_the_classes_shares(
    labels: torch.Tensor, seed: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(4, len(labels)))
    split = make_split(labels, seed=seed, tiles=size)
    numbers = all_numbers(split)
    assert len(set(numbers)) == len(numbers) == size
    assert set(numbers) <= set(range(len(labels)))
    whole = torch.bincount(labels, minlength=10).tolist()
    chosen = class_counts(labels, torch.tensor(numbers))
    assert all(abs(size * many / len(labels) - some) < 1 for many, some in zip(whole, chosen, strict=True))


def test_workshop_subset_of_eurosat() -> None:
    split = make_split(EUROSAT_LABELS, seed=1, tiles=6000, stratified=True)
    assert (len(split.train), len(split.validation)) == (4500, 1500)
    chosen = class_counts(EUROSAT_LABELS, torch.tensor(all_numbers(split)))
    assert sorted(chosen) == [444, 555, 555, 555, 556, 667, 667, 667, 667, 667]


def test_more_tiles_than_there_are_means_all() -> None:
    labels = EUROSAT_LABELS[::100]
    assert all_numbers(make_split(labels, seed=1, tiles=10**6)) == list(range(len(labels)))


def test_stratified_divides_every_class_alike() -> None:
    split = make_split(EUROSAT_LABELS, seed=3, stratified=True)
    assert class_counts(EUROSAT_LABELS, split.train) == [each.tiles * 3 // 4 for each in CLASSES]
    drawn = make_split(EUROSAT_LABELS, seed=3)
    assert class_counts(EUROSAT_LABELS, drawn.train) != class_counts(EUROSAT_LABELS, split.train)


@pytest.mark.parametrize("options", [{}, {"stratified": True}, {"tiles": 500}, {"train_fraction": 0.5}])
def test_same_seed_same_parts(options: dict[str, object]) -> None:
    first, again, other = (
        make_split(EUROSAT_LABELS, seed=seed, **options)  # type: ignore[arg-type]
        for seed in (7, 7, 8)
    )
    assert torch.equal(first.train, again.train)
    assert torch.equal(first.validation, again.validation)
    assert not torch.equal(first.validation, other.validation)


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    make_split(EUROSAT_LABELS, seed=5, tiles=100, stratified=True)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ([], {}),
        ([0], {}),
        ([0], {"stratified": True}),
        ([0, 1], {"train_fraction": 0.1}),
    ],
)
def test_too_few_tiles_get_a_sentence(labels: list[int], options: dict[str, object]) -> None:
    with pytest.raises(DataError, match=f"^{len(labels)} tiles are too few"):
        make_split(torch.tensor(labels, dtype=torch.int64), seed=1, **options)  # type: ignore[arg-type]
