import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.data.classes import CLASSES
from eurosat_core.data.splits import Split, make_place_split, make_split
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
    ("labels", "options"), [([], {}), ([0], {}), ([0], {"stratified": True}), ([0, 1], {"train_fraction": 0.1})]
)
def test_too_few_tiles_get_a_sentence(labels: list[int], options: dict[str, object]) -> None:
    with pytest.raises(DataError, match=f"^{len(labels)} tiles"):
        make_split(torch.tensor(labels, dtype=torch.int64), seed=1, **options)  # type: ignore[arg-type]


# --- a sealed test part, and the split by place ---


def test_a_sealed_part_is_a_fifth_of_every_class_and_leaves_60_20_20() -> None:
    split = make_split(EUROSAT_LABELS, seed=42, sealed_test=True)
    assert (len(split.train), len(split.validation), len(split.test)) == (16_200, 5_400, 5_400)
    assert sorted([*all_numbers(split), *split.test.tolist()]) == list(range(27_000))
    assert class_counts(EUROSAT_LABELS, split.test) == [each.tiles // 5 for each in CLASSES]


@given(labels=labels, seed=st.integers(0, 1000), tiles=st.none() | st.integers(8, 100), stratified=st.booleans())
def test_the_sealed_part_depends_on_nothing_but_the_seed(
    labels: torch.Tensor, seed: int, tiles: int | None, stratified: bool
) -> None:
    plain = make_split(labels, seed=seed, sealed_test=True)
    other = make_split(labels, seed=seed, tiles=tiles, stratified=stratified, train_fraction=0.5, sealed_test=True)
    assert torch.equal(plain.test, other.test)
    assert not set(other.test.tolist()) & set(all_numbers(other))


def test_by_place_takes_the_parts_as_they_are() -> None:
    parts = torch.full((27_000,), -1)
    parts[:16_000], parts[16_000:21_000], parts[21_000:26_000] = 0, 1, 2
    split = make_place_split(EUROSAT_LABELS, parts, seed=7, sealed_test=True)
    assert torch.equal(split.train, torch.arange(16_000))
    assert torch.equal(split.validation, torch.arange(16_000, 21_000))
    assert torch.equal(split.test, torch.arange(21_000, 26_000))


@given(labels=labels, data=st.data(), seed=st.integers(0, 1000))
def test_a_subset_by_place_stays_in_its_parts(labels: torch.Tensor, data: st.DataObject, seed: int) -> None:
    parts = torch.tensor(
        [0, 1, *data.draw(st.lists(st.integers(-1, 2), min_size=len(labels) - 2, max_size=len(labels) - 2))]
    )
    train, validation = int((parts == 0).sum()), int((parts == 1).sum())
    size = data.draw(st.integers(max(4, (train + validation) // 2), len(labels)))
    try:
        split = make_place_split(labels, parts, seed=seed, tiles=size)
    except DataError:  # so few tiles that a part rounds to none
        assert min(size * train, size * validation) < train + validation
        return
    assert len(split.train) + len(split.validation) == min(size, train + validation)
    assert bool((parts[split.train] == 0).all()) and bool((parts[split.validation] == 1).all())
    assert len(set(all_numbers(split))) == len(all_numbers(split))
    again = make_place_split(labels, parts, seed=seed, tiles=size)
    assert torch.equal(split.train, again.train)


def test_by_place_needs_tiles_on_both_sides() -> None:
    with pytest.raises(DataError, match="too few"):
        make_place_split(torch.zeros(5, dtype=torch.int64), torch.tensor([0, 0, 0, 2, -1]), seed=1)
