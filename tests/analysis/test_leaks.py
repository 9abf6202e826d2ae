"""What near-duplicates say, for each way it can come out, and which pairs are shown."""

import pytest
import torch
from torch import Tensor

from eurosat_core.analysis.leaks import (
    disagreements,
    near_and_far,
    own_run_finding,
    own_tile_finding,
    run_finding,
    shares_finding,
    suspicious,
    tile_finding,
)
from eurosat_core.lab.leak_lens import Judged, OneTile
from eurosat_core.words.say import say

TITLES = ("Forest", "River")


def judged(near: Tensor | None, right: Tensor | None = None, similarity: Tensor | None = None) -> Judged:
    count = 1000 if near is None else len(near)
    alike = torch.linspace(0.5, 1, count) if similarity is None else similarity
    return Judged(torch.arange(count), torch.arange(count) + count, alike, near, 3000, right)


def first(count: int, of: int = 1000) -> Tensor:
    return torch.arange(of) < count


@pytest.mark.parametrize(("random", "place", "kind"), [(80, 10, "more"), (12, 10, "same"), (10, 80, "less")])
def test_shares_of_both_splits(random: int, place: int, kind: str) -> None:
    found = shares_finding(judged(first(random)), judged(first(place)))
    assert found is not None and found.kind == kind
    assert (found.figures["random"], found.figures["place"]) == pytest.approx((random / 1000, place / 1000))
    assert say(found)


def test_without_a_limit_or_a_place_nothing_is_said_of_near_duplicates() -> None:
    assert shares_finding(judged(first(10)), None) is None
    assert shares_finding(judged(None), judged(None)) is None
    assert run_finding(judged(None, first(10)), torch.zeros(2000, dtype=torch.int64), "run") is None


def classes(forest: int) -> Tensor:
    """Labels of 2,000 tiles, of which the first are forest, the others river."""
    return (~first(forest, 2000)).long()


def test_the_others_are_weighted_as_near_duplicates_are_over_the_classes() -> None:
    """All near-duplicates are forest, which is easy: they are held against other forest, not against rivers."""
    near = first(100)
    right = torch.ones(1000, dtype=torch.bool)
    right[500:] = torch.arange(500) % 2 == 0  # half of the rivers
    found = near_and_far(judged(near, right), classes(500))
    assert found is not None
    assert (found.tiles, found.near, found.others) == (100, 1.0, 1.0)
    told = run_finding(judged(near, right), classes(500), "run")
    assert told is not None and told.variant == "alike"


@pytest.mark.parametrize(
    ("near", "right_of_near", "right_of_others", "kind"),
    [
        (10, 10, 900, "leaks.too_few"),
        (200, 196, 560, "leaks.run.recognised"),
        (200, 140, 560, "leaks.run.alike"),
        (200, 80, 760, "leaks.run.worse"),
    ],
)
def test_a_run_on_near_duplicates_and_on_others(near: int, right_of_near: int, right_of_others: int, kind: str) -> None:
    right = torch.cat([first(right_of_near, near), first(right_of_others, 1000 - near)])
    found = run_finding(judged(first(near), right), classes(2000), "run 1")
    assert found is not None and found.name == kind
    assert found.figures["tiles"] == near and "run 1" in say(found)
    if found.variant:
        assert found.figures["near"] == pytest.approx(right_of_near / near)
        assert found.figures["others"] == pytest.approx(right_of_others / (1000 - near))
    if found.variant == "recognised":
        gap = right_of_near / near - right_of_others / (1000 - near)
        assert found.figures["lost"] == pytest.approx(gap * near / 1000)


@pytest.mark.parametrize("near", [True, False, None])
@pytest.mark.parametrize(("true", "kind"), [(0, "same_class"), (1, "other_class"), (None, "own")])
def test_one_tile_and_its_neighbours(near: bool | None, true: int | None, kind: str) -> None:
    """Its five nearest: forest, forest, river, forest, river."""
    labels = torch.tensor([0, 0, 1, 0, 1])
    seen = OneTile((0, 1, 2, 3, 4), (0.9, 0.8, 0.7, 0.6, 0.5), near)
    found = tile_finding(seen, labels, TITLES, true)
    assert (found.kind, found.variant) == (kind, "near" if near else "not_near")
    assert found.figures["same"] == (2 if true == 1 else 3) and found.figures["similarity"] == 0.9
    assert say(found)


def test_suspicious_pairs_are_of_as_many_classes_as_there_are() -> None:
    """The sea looks most alike, and would fill the list."""
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    similarity = torch.tensor([1.0, 0.99, 0.98, 0.97, 0.8, 0.9, 0.6, 0.7])
    near = torch.tensor([True] * 7 + [False])
    assert suspicious(judged(near, similarity=similarity), labels) == [0, 5, 6, 1]
    assert suspicious(judged(None), labels) == []


def one(*numbers: int) -> OneTile:
    return OneTile(numbers, tuple(0.9 - at / 10 for at in range(len(numbers))), None)


@pytest.mark.parametrize(
    ("own", "backbone", "true", "kind"),
    [
        ((0, 1, 2), (2, 5, 6), 0, "leaks.own_tile.more"),
        ((0, 5, 6), (0, 1, 7), 0, "leaks.own_tile.less"),
        ((0, 1, 6), (1, 2, 7), 0, "leaks.own_tile.same"),
        ((0, 1, 6), (5, 6, 7), None, "leaks.own_tile.more"),
        ((5, 6, 7), None, 1, "leaks.own_alone"),
    ],
)
def test_how_many_of_a_class_are_near_by_either(
    own: tuple[int, ...], backbone: tuple[int, ...] | None, true: int | None, kind: str
) -> None:
    """Tiles 0 to 3 are forest, 4 to 7 river."""
    labels = torch.tensor([0] * 4 + [1] * 4)
    theirs = one(*backbone) if backbone else None
    found = own_tile_finding(one(*own), theirs, labels, TITLES, true, frozen=False)
    assert found.name == kind and say(found)
    of = 0 if true is None else true
    assert found.figures["own"] == sum(labels[each] == of for each in own)
    if backbone:
        assert found.figures["backbone"] == sum(labels[each] == of for each in backbone)
        assert found.figures["shared"] == len(set(own) & set(backbone))
        frozen = own_tile_finding(one(*own), theirs, labels, TITLES, true, frozen=True)
        assert frozen.name == "leaks.frozen_tile" and say(frozen)


@pytest.mark.parametrize(
    ("own", "backbone", "kind"), [(900, 800, "more"), (800, 900, "less"), (900, 897, "same"), (900, 900, "same")]
)
def test_how_often_the_nearest_is_of_the_class_by_either(own: int, backbone: int, kind: str) -> None:
    """The first so many of 1,000 tiles have a nearest training tile of their class."""
    labels = torch.cat([torch.zeros(2000, dtype=torch.int64), torch.ones(1, dtype=torch.int64)])

    def by(right: int) -> Judged:
        nearest = torch.where(first(right), 1000, 2000)
        return Judged(torch.arange(1000), nearest, torch.linspace(1, 0, 1000), None, 1000)

    found = own_run_finding(by(own), by(backbone), labels, "run 1", frozen=False)
    assert found.name == f"leaks.own_run.{kind}" and "run 1" in say(found)
    assert (found.figures["own"], found.figures["backbone"]) == pytest.approx((own / 1000, backbone / 1000))
    assert say(own_run_finding(by(own), by(backbone), labels, "run 1", frozen=True))
    expected = list(range(backbone, min(backbone + 4, own)))
    assert disagreements(by(own), by(backbone), labels) == expected
