"""Nearest neighbours: what the training tiles that look most alike are called. Nothing is learned."""

import torch
from torch import Tensor
from torch.nn import functional

NEIGHBOURS = 5
"""Enough that one odd tile is outvoted, few enough that all of them are close. Of 1, 3, 5, 10 and 20, 5 was best at
random, and 10 by place (`bench/transfer.md`)."""
_BLOCK = 1024  # tiles asked about at a time: their similarities to 20,000 others take 80 MB


def nearest(features: Tensor, known: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` rows of `known` [m, F] that each of `features` [n, F] has the highest cosine to, highest first.

    Returns cosines and rows, [n, count] each; count is at most m. One matrix product, in blocks.
    """
    known = functional.normalize(known, dim=1)
    found = [
        (functional.normalize(block, dim=1) @ known.T).topk(min(count, len(known)), dim=1)
        for block in features.split(_BLOCK)
    ]
    cosines, rows = zip(*found, strict=True)
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
