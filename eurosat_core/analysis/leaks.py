"""What near-duplicates among the training tiles say about an accuracy, and what a run's own features say beside a
backbone's, for each way it can come out."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eurosat_core.finding import Finding
from eurosat_core.lab.leak_lens import Judged, OneTile
from eurosat_core.training.near_duplicates import FALSE_ALARMS

_LEAST = 20  # near-duplicates, before their accuracy says anything
_PAIRS = 4


def shares_finding(random: Judged, place: Judged | None) -> Finding | None:
    """How many validation tiles have a near-duplicate in training: `more` at random, the `same`, `less`; None unknown.

    place: None where the tiles cannot be split by place; then nothing says what a near-duplicate is, either.
    """
    if place is None or random.share is None or place.share is None:
        return None
    gap = random.share - place.share
    doubt = 2 * math.hypot(_error(random.share, len(random.tiles)), _error(place.share, len(place.tiles)))
    kind = "same" if abs(gap) <= doubt else "more" if gap > 0 else "less"
    figures = {"random": random.share, "place": place.share, "alarms": FALSE_ALARMS, "rest": 1 - random.share}
    return Finding(f"leaks.{kind}", figures)


def _error(share: float, tiles: int) -> float:
    return math.sqrt(share * (1 - share) / max(tiles, 1))


@dataclass(frozen=True)
class NearAndFar:
    """How a run did on near-duplicates, and on the other tiles of the same classes in the same proportions.

    tiles: near-duplicates that have others of their class; error: two standard errors of the difference.
    """

    tiles: int
    near: float
    others: float
    error: float


def near_and_far(judged: Judged, labels: Tensor) -> NearAndFar | None:
    """Accuracy on both; None without near-duplicates to compare. labels: of all tiles [N].

    Directly standardised: near-duplicates are not spread evenly over the classes, and some classes are easier, so
    the others' accuracy is taken class by class, and weighted as the near-duplicates are.
    """
    if judged.near is None or judged.right is None:
        return None
    of_class = labels[judged.tiles]
    count, right, others, variance = 0, 0, 0.0, 0.0
    for label in of_class[judged.near].unique().tolist():
        near = judged.right[judged.near & (of_class == label)].float()
        far = judged.right[~judged.near & (of_class == label)].float()
        if len(far):
            mean = float(far.mean())
            count, right = count + len(near), right + int(near.sum())
            others += len(near) * mean
            variance += len(near) ** 2 * mean * (1 - mean) / len(far)
    if count < _LEAST:
        return None
    share = (right + 1) / (count + 2)  # with all of them right some doubt remains
    error = 2 * math.sqrt(share * (1 - share) / count + variance / count**2)
    return NearAndFar(count, right / count, others / count, error)


def run_finding(judged: Judged, labels: Tensor, label: str) -> Finding | None:
    """A run's accuracy on near-duplicates against the others: `recognised`, `alike`, `worse`, or `too_few` of them.

    label: what the run is called.
    """
    if judged.near is None or judged.right is None:
        return None
    found = near_and_far(judged, labels)
    figures: dict[str, Any] = {"run": label, "tiles": int(judged.near.sum()), "total": len(judged.tiles)}
    if found is None:
        return Finding("leaks.too_few", figures)
    gap = found.near - found.others
    figures |= {"near": found.near, "others": found.others, "gap": abs(gap)}
    # What the whole accuracy would lose if these had been like the others.
    figures["lost"] = max(gap, 0.0) * found.tiles / len(judged.tiles)
    kind = "alike" if abs(gap) <= found.error else "recognised" if gap > 0 else "worse"
    return Finding(f"leaks.run.{kind}", figures)


def tile_finding(seen: OneTile, labels: Tensor, titles: tuple[str, ...], true: int | None) -> Finding:
    """A tile and its nearest training tiles: a `duplicate`, `alike`, `mixed` or `other` classes.

    true: its label; None for a picture of the user's own. labels: of all tiles [N]. titles: of the classes.
    """
    classes = [int(labels[number]) for number in seen.numbers]
    same = sum(each == (classes[0] if true is None else true) for each in classes)
    figures = {"similarity": seen.similarity[0], "title": titles[classes[0]], "same": same, "count": len(classes)}
    near = "near" if seen.near else "not_near"
    if true is None:
        return Finding(f"leaks.own.{near}", figures)
    figures["true"] = titles[true]
    return Finding(f"leaks.{'same_class' if classes[0] == true else 'other_class'}.{near}", figures)


def own_tile_finding(
    own: OneTile, backbone: OneTile | None, labels: Tensor, titles: tuple[str, ...], true: int | None, *, frozen: bool
) -> Finding:
    """How many of a tile's nearest are of its class by a run's own features: `more` than by the backbone's, `less`, …

    true: its label; None for a picture of the user's own, which counts as what most of the nearest are. frozen: the run
    trained its last layer only, so it has learned no features. backbone: None where its features are not known.
    """
    classes = labels[list(own.numbers)]
    of = int(classes.mode().values) if true is None else true
    figures: dict[str, Any] = {"title": titles[of], "count": len(classes), "own": int((classes == of).sum())}
    if backbone is None:
        return Finding("leaks.own_alone", figures)
    figures["backbone"] = int((labels[list(backbone.numbers)] == of).sum())
    figures["shared"] = len(set(own.numbers) & set(backbone.numbers))
    if frozen:
        return Finding("leaks.frozen_tile", figures)
    gap = figures["own"] - figures["backbone"]
    return Finding(f"leaks.own_tile.{'more' if gap > 0 else 'less' if gap else 'same'}", figures)


def own_run_finding(own: Judged, backbone: Judged, labels: Tensor, label: str, *, frozen: bool) -> Finding:
    """How often the nearest training tile of a run's validation tiles is of their class, by either's features.

    Own: `more` often, the `same`, or `less`, by McNemar's test: the difference against twice what it would spread by if
    both were alike. label: what the run is called.
    """
    ours, theirs = same_class(own, labels), same_class(backbone, labels)
    total, gap = len(ours), float(ours.float().mean() - theirs.float().mean())
    differ = float((ours != theirs).float().mean())
    doubt = 2 * math.sqrt(differ / total)
    figures = {
        "run": label,
        "total": total,
        "own": float(ours.float().mean()),
        "backbone": float(theirs.float().mean()),
    }
    if frozen:
        return Finding("leaks.frozen_run", figures)
    return Finding(f"leaks.own_run.{'same' if abs(gap) <= doubt else 'more' if gap > 0 else 'less'}", figures)


def same_class(judged: Judged, labels: Tensor) -> Tensor:
    """Which validation tiles have a nearest training tile of their own class: bool [n]. labels: of all tiles [N]."""
    return labels[judged.nearest] == labels[judged.tiles]


def disagreements(own: Judged, backbone: Judged, labels: Tensor, count: int = _PAIRS) -> list[int]:
    """Places of tiles whose nearest is of their class by the run's own features and not by the backbone's, most alike
    first, of as many classes as there are."""
    return _of_each_class(own, same_class(own, labels) & ~same_class(backbone, labels), labels)[:count]


def suspicious(judged: Judged, labels: Tensor, count: int = _PAIRS) -> list[int]:
    """Places in `judged` of the near-duplicates that are most alike: the first of each class, then the second.

    Else open sea, which always looks alike, would fill the list.
    """
    return [] if judged.near is None else _of_each_class(judged, judged.near, labels)[:count]


def _of_each_class(judged: Judged, chosen: Tensor, labels: Tensor) -> list[int]:
    order = torch.argsort(judged.similarity, descending=True, stable=True)
    order = order[chosen[order]]
    seen: dict[int, int] = {}
    ranked = []
    for at in order.tolist():
        label = int(labels[judged.tiles[at]])
        seen[label] = seen.get(label, 0) + 1
        ranked.append((seen[label], at))
    return [at for _, at in sorted(ranked, key=lambda each: each[0])]
