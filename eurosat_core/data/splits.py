"""Dividing tiles into a part to learn from, one to judge on, and one that stays sealed; the same for the same seed."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from eurosat_core.errors import DataError

__all__ = ["TEST_FRACTION", "Split", "make_place_split", "make_split"]

TEST_FRACTION = 0.2  # of all tiles, when a random split seals a test part; torchgeo's split by place has as much


def _none() -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True)
class Split:
    """Tile numbers (int64) of the training, the validation and the sealed test part; no tile is in two of them.

    The test part is empty unless one was asked for.
    """

    train: Tensor
    validation: Tensor
    test: Tensor = field(default_factory=_none)


def _per_class(labels: Tensor, generator: torch.Generator) -> list[Tensor]:
    """The tile numbers of each class that has any, each shuffled."""
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique().tolist()]
    return [each[torch.randperm(len(each), generator=generator)] for each in members]


def _rounded(exact: list[float], total: int) -> list[int]:
    """Whole numbers next to the exact ones, with this sum: the largest remainders are rounded up."""
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda at: shares[at] - exact[at])
    for at in by_remainder[: total - sum(shares)]:
        shares[at] += 1
    return shares


def _balanced_subset(labels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """`size` positions in `labels`, in the proportions of the classes, rounded so that the sum is exact."""
    members = _per_class(labels, generator)
    shares = _rounded([size * len(each) / len(labels) for each in members], size)
    return torch.cat([each[:share] for each, share in zip(members, shares, strict=True)]).sort().values


def _checked(split: Split, there: int) -> Split:
    """The same split. Raises `DataError` when a part that is needed is empty."""
    if not len(split.train) or not len(split.validation):
        raise DataError(
            f"{there} tiles are too few to learn from some and be judged on others. Use a set with more tiles."
        )
    return split


def make_split(
    labels: Tensor,
    *,
    seed: int,
    train_fraction: float = 0.75,
    tiles: int | None = None,
    stratified: bool = False,
    sealed_test: bool = False,
) -> Split:
    """Divide tiles with `labels` [N] at random: the same parts for the same seed.

    Not stratified is the tutorial's way: one shuffle of all tiles, 75 % and 25 % (20,250 and 6,750 of
    27,000); stratified divides every class so. tiles: take only so many, drawn evenly from the classes.
    sealed_test: first take a fifth of every class away, the same whatever `tiles` is, for `Split.test`.
    Raises `DataError` when the training or the validation part would be empty.
    """
    generator = torch.Generator().manual_seed(seed)
    numbers, test = torch.arange(len(labels)), _none()
    if sealed_test:
        test = _balanced_subset(labels, round(len(labels) * TEST_FRACTION), generator)
        sealed = torch.zeros(len(labels), dtype=torch.bool)
        sealed[test] = True
        numbers = numbers[~sealed]
    if tiles is not None and tiles < len(numbers):
        numbers = numbers[_balanced_subset(labels[numbers], tiles, generator)]
    if stratified:
        groups = [numbers[each] for each in _per_class(labels[numbers], generator)]
    else:
        groups = [numbers[torch.randperm(len(numbers), generator=generator)]]
    cuts = _rounded([len(each) * train_fraction for each in groups], int(len(numbers) * train_fraction))
    train = torch.cat([group[:cut] for group, cut in zip(groups, cuts, strict=True)])
    validation = torch.cat([group[cut:] for group, cut in zip(groups, cuts, strict=True)])
    return _checked(Split(train, validation.sort().values, test), len(labels))


def make_place_split(
    labels: Tensor, parts: Tensor, *, seed: int, tiles: int | None = None, sealed_test: bool = False
) -> Split:
    """Divide tiles with `labels` [N] by where they lie: `parts` [N] holds 0 train, 1 validation, 2 test, -1 neither.

    Which tile is in which part does not depend on the seed. tiles: take only so many of the first two together, in
    their proportion and drawn evenly from the classes: this is what the seed decides. Raises `DataError` when the
    training or the validation part would be empty.
    """
    generator = torch.Generator().manual_seed(seed)
    train, validation, test = (torch.nonzero(parts == number).flatten() for number in range(3))
    there = len(train) + len(validation)
    if tiles is not None and tiles < there:
        sizes = _rounded([tiles * len(train) / there, tiles * len(validation) / there], tiles)
        train, validation = (
            part[_balanced_subset(labels[part], size, generator)]
            for part, size in zip((train, validation), sizes, strict=True)
        )
    return _checked(Split(train, validation, test if sealed_test else _none()), len(labels))
