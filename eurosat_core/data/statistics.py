"""What all tiles together look like: colour and contrast of every tile, mean tile and histograms of every class.

Computed while tiles are decoded and kept beside them, so that nobody has to read 300 MB of pixels for a chart.

How far colour alone gets: sort tiles by their average colour, with no network at all.

A yardstick for the Tiles page: what a CNN must beat, and which classes look alike until one sees shapes and texture.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eurosat_core.errors import DataError

BINS = 32  # of a histogram: 8 values of 0…255 each

Pixels = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

UNIFORM = 4.0  # largest standard deviation (of 0…255) at which a tile shows next to nothing


@dataclass(frozen=True)
class Statistics:
    """Of N tiles in C classes, all in pixel values 0…255.

    means, deviations: [N, 3], mean and standard deviation of each channel of each tile. class_tiles: [C, 64, 64, 3],
    the mean tile of each class (zero for a class without tiles). histograms: [C, 3, BINS], pixels per bin.
    """

    means: Values
    deviations: Values
    class_tiles: Values
    histograms: Counts

    @property
    def brightness(self) -> Values:
        """[N]: mean over pixels and channels."""
        values: Values = self.means.mean(axis=1)
        return values

    @property
    def contrast(self) -> Values:
        """[N]: standard deviation, mean over channels."""
        values: Values = self.deviations.mean(axis=1)
        return values


@dataclass(frozen=True)
class PartStatistics:
    """Of some tiles: as in `Statistics`, with sums by label in place of means over a class."""

    means: Values
    deviations: Values
    sums: dict[int, npt.NDArray[np.float64]]
    histograms: dict[int, Counts]


def part_statistics(pixels: Pixels, labels: Counts) -> PartStatistics:
    """Of the tiles `pixels` [n, H, W, 3] with `labels` [n]. n may be 0."""
    flat = pixels.reshape(len(pixels), pixels.shape[1] * pixels.shape[2], 3).astype(np.float32)
    over_pixels = np.full((1, flat.shape[1]), 1 / max(flat.shape[1], 1), dtype=np.float32)
    # As matrix products: NumPy's own mean over the middle axis takes four times as long (measured).
    means = np.matmul(over_pixels, flat)[:, 0]
    flat -= means[:, None]
    flat *= flat
    deviations = np.sqrt(np.matmul(over_pixels, flat)[:, 0])
    sums, histograms = {}, {}
    for label in np.unique(labels).tolist():
        own = pixels[labels == label]
        sums[label] = own.sum(axis=0, dtype=np.uint32).astype(np.float64)
        bins = own.reshape(-1, 3) // (256 // BINS)
        histograms[label] = np.stack([np.bincount(bins[:, channel], minlength=BINS) for channel in range(3)])
    return PartStatistics(means, deviations, sums, histograms)


def join_statistics(parts: Iterable[PartStatistics], counts: Sequence[int], side: int) -> Statistics:
    """Of all tiles, from those of their parts in order. counts: tiles per class; side: pixels along a tile's edge."""
    known = list(parts)
    class_tiles = np.zeros((len(counts), side, side, 3))
    histograms = np.zeros((len(counts), 3, BINS), dtype=np.int64)
    for part in known:
        for label, total in part.sums.items():
            class_tiles[label] += total
            histograms[label] += part.histograms[label]
    class_tiles /= np.maximum(np.array(counts), 1)[:, None, None, None]
    none = np.zeros((0, 3), dtype=np.float32)
    return Statistics(
        means=np.concatenate([none, *(each.means for each in known)]),
        deviations=np.concatenate([none, *(each.deviations for each in known)]),
        class_tiles=class_tiles.astype(np.float32),
        histograms=histograms,
    )


def save_statistics(statistics: Statistics, path: Path) -> None:
    """Write them to one file (`.npz`)."""
    np.savez(path, **vars(statistics))


def load_statistics(path: Path, tiles: int, classes: int) -> Statistics:
    """What `save_statistics` wrote for so many tiles and classes. Raises `DataError` when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = Statistics(**{name: arrays[name] for name in Statistics.__dataclass_fields__})
    except Exception as error:  # a damaged archive raises whatever its damage hits first
        raise DataError(f"The statistics in {path} cannot be read. Remove {path.parent}: it is made anew.") from error
    shapes = (found.means.shape, found.deviations.shape, found.class_tiles.shape[0], found.histograms.shape)
    if shapes != ((tiles, 3), (tiles, 3), classes, (classes, 3, BINS)):
        raise DataError(f"The statistics in {path} are of other tiles. Remove {path.parent}: it is made anew.")
    return found


def unusualness(statistics: Statistics, members: Counts) -> Values:
    """How far each of the tiles with numbers `members` [n] lies from what is usual among them: [n], 0 is typical.

    The length of the vector of six figures (mean and deviation of each channel), each in standard deviations of these
    tiles from their mean.
    """
    figures = np.concatenate([statistics.means[members], statistics.deviations[members]], axis=1).astype(np.float64)
    spread = figures.std(axis=0)
    scaled = (figures - figures.mean(axis=0)) / np.where(spread > 0, spread, 1)
    lengths: Values = np.linalg.norm(scaled, axis=1).astype(np.float32)
    return lengths


def near_uniform(statistics: Statistics) -> Counts:
    """Numbers of the tiles that show next to nothing (contrast below `UNIFORM`), the most uniform first."""
    contrast = statistics.contrast
    found = np.flatnonzero(contrast < UNIFORM)
    order: Counts = found[np.argsort(contrast[found], kind="stable")].astype(np.int64)
    return order
