"""The nearest training tiles of any tile, by the cosine of the features that a pretrained network makes of both.

Features are standardised, for else the stages with the largest numbers would decide, and reduced to their principal
components. On EuroSAT that leaves what the nearest tiles say as it is (`bench/transfer.md`), and makes the matrix
product a sixteenth of the work.

A *near-duplicate* is a tile that is more like its nearest training tile than tiles from elsewhere are. What they are is
measured: between torchgeo's training and test lists lies all of the validation list, in order of longitude, so no tile
of one shows the ground of the other. For each class, the similarity that one in a hundred of those still passes is the
limit. By class, for all open sea looks alike.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from eurosat_core.training.neighbours import nearest_blocks

DIMENSIONS = 128
FALSE_ALARMS = 0.01
"""Share of tiles from elsewhere that still count as near-duplicates."""

_SAMPLE = 4096  # tiles, at most, that the components are found from
_ROUNDS = 6  # of the power iteration; all tiles' variance kept no longer changes in its third digit
_SAMPLE_ROWS, _PLACED_ROWS = 512, 2048  # at a time: each a fraction of a second on one busy core
_LEAST = 100  # tiles from elsewhere, for a limit of a class's own


@dataclass(frozen=True)
class Space:
    """Where features are compared: mean [F] is taken away, axes [F, D] divide by the spread and span what is left."""

    mean: Tensor
    axes: Tensor

    def place(self, features: Tensor) -> Tensor:
        """Unit vectors [n, D] of features [n, F]: their products are cosines."""
        return torch.nn.functional.normalize((features - self.mean) @ self.axes)


@dataclass(frozen=True)
class Neighbours:
    """numbers: [n, k] of the nearest training tiles, nearest first; similarity: [n, k], cosines."""

    numbers: Tensor
    similarity: Tensor


def find_space(features: Tensor, used: Tensor, dimensions: int = DIMENSIONS) -> Iterator[Space | None]:
    """The space of standardised features' [N, F] first principal components; yields None after each piece, then it.

    By power iteration on the covariance of an even sample (Halko, Martinsson and Tropp, 2011), from a start that is
    always the same. The covariance itself is never made: of 4,096 features it would take 64 MB. No label and no answer
    of a run goes into it. used: the rows [n] that are looked at.
    """
    sample = features[used[:: -(-len(used) // _SAMPLE)]]
    deviation, mean = torch.std_mean(sample, dim=0)
    spread = deviation.clamp_min(1e-6)
    width = sample.shape[1]
    axes = torch.randn(width, min(dimensions, width), generator=torch.Generator().manual_seed(0))
    for _ in range(_ROUNDS):
        product = torch.zeros_like(axes)
        for rows in sample.split(_SAMPLE_ROWS):
            standard = (rows - mean) / spread
            product += standard.T @ (standard @ axes)
            yield None
        axes = torch.linalg.qr(product).Q
        yield None
    yield Space(mean, axes / spread[:, None])


def placed(space: Space, features: Tensor) -> Iterator[Tensor]:
    """Unit vectors of features [N, F], a block of rows at a time."""
    for rows in features.split(_PLACED_ROWS):
        yield space.place(rows)


def nearest(places: Tensor, queries: Tensor, training: Tensor, count: int = 1) -> Iterator[Neighbours]:
    """The `count` nearest of the training tiles for each of the queries, a block of these at a time.

    Of tiles equally near the one that stands first in `training` comes first.

    Args:
        places: [N, D], unit vectors of all tiles. queries, training: their numbers [n], [m].
    """
    for similarity, rows in nearest_blocks(places[queries], places[training], count):
        yield Neighbours(training[rows], similarity)


def nearest_of(place: Tensor, places: Tensor, training: Tensor, count: int) -> Neighbours:
    """The same for one unit vector [D]; numbers and similarity: [k]."""
    ((similarity, rows),) = nearest_blocks(place[None], places[training], count)
    return Neighbours(training[rows[0]], similarity[0])


def joined(blocks: list[Neighbours]) -> Neighbours:
    """Blocks of queries as one."""
    return Neighbours(torch.cat([each.numbers for each in blocks]), torch.cat([each.similarity for each in blocks]))


def limits(similarity: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Above which similarity [classes] a tile and its nearest training tile of a class are near-duplicates.

    Args:
        similarity: [n] of tiles from elsewhere to their nearest training tiles; labels: [n] of these training tiles.
    """
    at = 1 - FALSE_ALARMS
    overall = similarity.quantile(at)
    each = [similarity[labels == label] for label in range(classes)]
    return torch.stack([values.quantile(at) if len(values) >= _LEAST else overall for values in each])
