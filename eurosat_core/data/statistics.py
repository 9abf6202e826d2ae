"""What all tiles together look like: colour and contrast of every tile, mean tile and histograms of every class.

Computed while tiles are decoded and kept beside them, so that nobody has to read 300 MB of pixels for a chart.

And how far colour alone gets, with no network at all: a yardstick for the Tiles page, what a CNN must beat, and which
classes look alike until one sees shapes and texture.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from eurosat_core.errors import DataError
from eurosat_core.finding import Finding

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


def load_statistics(path: Path, tiles: int, classes: int) -> Statistics:
    """Of so many tiles and classes, from an `.npz` file. Raises `DataError` when it is missing or damaged."""
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


@dataclass(frozen=True)
class ColourTest:
    """Result of sorting tiles to the class whose average colour is nearest.

    tiles: how many were sorted. accuracy: share sorted rightly. chance: what guessing would get. brightness: each
    class's mean, 0…255. confused: the most frequent mistake as true class, sorted to, how often; None without one.
    """

    tiles: int
    accuracy: float
    chance: float
    brightness: dict[str, float]
    confused: tuple[str, str, int] | None


def colour_test(
    means: Values,
    labels: Counts,
    class_names: tuple[str, ...],
    per_class: int = 100,
    seed: int = 1,
) -> ColourTest | None:
    """Try it on up to `per_class` tiles of each class, drawn at random; `means` [N, 3]: every tile's average colour.

    Half of them give each class its average colour, the other half is sorted, so that no tile is judged by itself.
    None when fewer than two classes have two tiles.
    """
    generator = np.random.default_rng(seed)
    averages: dict[int, npt.NDArray[np.float64]] = {}
    for label in range(len(class_names)):
        members = np.flatnonzero(labels == label)
        chosen = generator.permutation(members)[:per_class]
        if len(chosen) >= 2:
            averages[label] = means[chosen].astype(np.float64)
    if len(averages) < 2:
        return None
    known = list(averages)
    centres = np.stack([averages[label][: len(averages[label]) // 2].mean(axis=0) for label in known])
    mistakes: dict[tuple[int, int], int] = {}
    right = total = 0
    for label in known:
        judged = averages[label][len(averages[label]) // 2 :]
        nearest = np.linalg.norm(judged[:, None] - centres[None], axis=2).argmin(axis=1)
        for position in nearest.tolist():
            sorted_to = known[position]
            right += sorted_to == label
            if sorted_to != label:
                mistakes[label, sorted_to] = mistakes.get((label, sorted_to), 0) + 1
        total += len(judged)
    confused = None
    if mistakes:
        (true, sorted_to), count = max(mistakes.items(), key=lambda each: each[1])
        confused = (class_names[true], class_names[sorted_to], count)
    brightness = {class_names[label]: float(averages[label].mean()) for label in known}
    return ColourTest(total, right / total, 1 / len(known), brightness, confused)


def colour_finding(test: ColourTest, titles: dict[str, str], *, synthetic: bool) -> Finding:
    """What came out: the share that was `sorted`, whether that is better than chance, and what was mixed up."""
    # Two standard errors of a share of so many tiles.
    doubt = 2 * (test.chance * (1 - test.chance) / test.tiles) ** 0.5
    then = [Finding("colour.no_better")] if test.accuracy <= test.chance + doubt else []
    if test.confused is None:
        then.append(Finding("colour.enough"))
    else:
        true, sorted_to, _ = test.confused
        then.append(Finding("colour.confused", {"true": titles[true], "sorted_to": titles[sorted_to]}))
    figures = {"accuracy": test.accuracy, "tiles": test.tiles, "chance": test.chance}
    return Finding(f"colour.sorted.{'synthetic' if synthetic else 'real'}", figures, tuple(then))
