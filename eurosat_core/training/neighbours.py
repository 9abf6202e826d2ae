"""Nearest neighbours: what the training tiles that look most alike are called. Nothing is learned."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

NEIGHBOURS = 5
"""Enough that one odd tile is outvoted, few enough that all of them are close. Of 1, 3, 5, 10 and 20, 5 was best at
random, and 10 by place (`bench/transfer.md`)."""
_BLOCK = 256  # asked about at a time: their similarities to 27,000 others take 26 MB


def nearest_blocks(asked: Tensor, known: Tensor, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The `count` rows of `known` [m, D] with the highest cosine to each of `asked` [n, D], a block of these at a time.

    Both are unit vectors. Yields cosines and rows, [b, count] each, highest first; of equal ones the first row. Fewer
    where `known` has fewer.
    """
    # One piece of memory for all blocks: results kept between such pieces would leave each of them unused (370 MB).
    products = torch.empty(min(_BLOCK, len(asked)), len(known))
    for block in asked.split(_BLOCK):
        yield _largest(torch.mm(block, known.T, out=products[: len(block)]), min(count, len(known)))


def _largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest of each row [n, m] and where they are; of equal ones the first."""
    largest, at = values.topk(min(count + 1, values.shape[1]), dim=1)
    # `topk` says nothing about equal values: which of those as large as the last it takes is put right.
    tied = torch.nonzero(largest[:, count - 1] == largest[:, -1]).flatten()
    at = at[:, :count].clone()
    for row in tied.tolist():
        at[row] = values[row].argsort(descending=True, stable=True)[:count]
    at = at.sort(1).values
    largest, order = values.gather(1, at).sort(dim=1, descending=True, stable=True)
    return largest, at.gather(1, order)


def nearest(features: Tensor, known: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Cosines and rows [n, count] of the same for features [n, F] and [m, F] of any length."""
    blocks = nearest_blocks(functional.normalize(features, dim=1), functional.normalize(known, dim=1), count)
    cosines, rows = zip(*blocks, strict=True)
    return torch.cat(cosines), torch.cat(rows)


def vote(features: Tensor, known: Tensor, labels: Tensor, classes: int, count: int = NEIGHBOURS) -> Tensor:
    """The label [n] that most of the nearest neighbours have; of as many, the one whose neighbours are closer.

    labels: of `known` [m], each below `classes`.
    """
    cosines, rows = nearest(features, known, count)
    votes = torch.zeros(len(features), classes)
    # A cosine decides between as many votes, never against one more.
    votes.scatter_add_(1, labels[rows], 1 + cosines / (4 * count))
    return votes.argmax(1)
