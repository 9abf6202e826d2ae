"""Dividing tiles into a part to learn from and a part to judge on, the same way for the same seed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eurosat_core.errors import DataError

__all__ = ["Split", "make_split"]


@dataclass(frozen=True)
class Split:
    """Tile numbers (int64) of the training and of the validation part; no tile is in both."""

    train: Tensor
    validation: Tensor


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
    """`size` tile numbers in the proportions of the classes, rounded so that the sum is exact."""
    members = _per_class(labels, generator)
    shares = _rounded([size * len(each) / len(labels) for each in members], size)
    return torch.cat([each[:share] for each, share in zip(members, shares, strict=True)]).sort().values


def make_split(
    labels: Tensor,
    *,
    seed: int,
    train_fraction: float = 0.75,
    tiles: int | None = None,
    stratified: bool = False,
) -> Split:
    """Divide tiles with `labels` [N] at random: the same parts for the same seed.

    Not stratified is the tutorial's way: one shuffle of all tiles, 75 % and 25 % (20,250 and 6,750 of
    27,000); stratified divides every class so. tiles: take only so many, drawn evenly from the classes.
    Raises `DataError` when either part would be empty.
    """
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.arange(len(labels))
    if tiles is not None and tiles < len(labels):
        numbers = _balanced_subset(labels, tiles, generator)
    if stratified:
        groups = [numbers[each] for each in _per_class(labels[numbers], generator)]
    else:
        groups = [numbers[torch.randperm(len(numbers), generator=generator)]]
    cuts = _rounded([len(each) * train_fraction for each in groups], int(len(numbers) * train_fraction))
    train = torch.cat([group[:cut] for group, cut in zip(groups, cuts, strict=True)])
    validation = torch.cat([group[cut:] for group, cut in zip(groups, cuts, strict=True)])
    if not len(train) or not len(validation):
        raise DataError(
            f"{len(labels)} tiles are too few to learn from some and be judged on others. Use a set with more tiles."
        )
    return Split(train, validation.sort().values)
