"""How far colour alone gets: sort tiles by their average colour, with no network at all."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eurosat_core.finding import Finding


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
    means: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
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
