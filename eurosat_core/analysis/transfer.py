"""What can be said of a pretrained network's features: with few labels and with all, at random and by place."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from eurosat_core.errors import LabError
from eurosat_core.finding import Finding
from eurosat_core.models.recorded import recorded_baseline
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.transfer import ALL, SCRATCH, Spread, TransferPlan, TransferResult

_SURE = 2.0  # standard errors of a difference between two accuracies


@dataclass(frozen=True)
class Reference:
    """The baseline with all labels: its accuracy, and where that comes from."""

    accuracy: float
    source: Finding


def reference_of(record: RunRecord, runs: Iterable[RunRecord]) -> Reference | None:
    """What the baseline reached with all labels of the same tiles and the same split; None where nobody knows.

    The best finished training among `runs`; else the recorded one, for EuroSAT's tiles at random.
    """
    alike = [
        each
        for each in runs
        if each.kind == "train"
        and each.state == "finished"
        and each.config.model == SCRATCH
        and each.config.split == record.config.split
        and each.config.tiles == record.config.tiles
        and each.tiles.fingerprint == record.tiles.fingerprint
        and "val_accuracy" in each.summary
    ]
    if alike:
        best = max(alike, key=lambda each: each.summary["val_accuracy"])
        return Reference(best.summary["val_accuracy"], Finding("transfer.phrase.own", {"run": best.id}))
    if record.tiles.source != "eurosat" or record.config.split != "random":
        return None
    try:
        known = recorded_baseline()
    except LabError:
        return None
    return Reference(known.accuracy, Finding("transfer.phrase.recorded", {"tiles": f"{known.train_tiles:,}"}))


def labels_needed(result: TransferResult, reference: float) -> float | None:
    """The fewest labels per class with which the linear layer is as good; infinite where none of those tried are.

    None where it learned from nothing.
    """
    tried = [(each, result.spread("linear", each)) for each in result.labels]
    means = [(labels, spread.mean) for labels, spread in tried if spread is not None]
    if not means:
        return None
    enough = (labels or math.inf for labels, mean in means if mean >= reference)
    return next(enough, math.inf)


def _which(frozen: Spread, scratch: Spread) -> str:
    """`frozen` or `scratch` where all of its draws are above all of the other's, else `same`."""
    if frozen.low > scratch.high:
        return "frozen"
    return "scratch" if scratch.low > frozen.high else "same"


def few_labels(result: TransferResult) -> Finding | None:
    """The frozen network beside one from scratch, with the fewest labels and with the most; None without any."""
    both = [
        (labels, frozen, result.spread("scratch", labels))
        for labels in result.labels
        if labels != ALL and (frozen := result.spread("linear", labels)) is not None
    ]
    if not both:
        return None
    labels, frozen, scratch = both[0]
    if scratch is None:
        return Finding("transfer.alone", {"labels": labels, "frozen": frozen.mean})

    def finding(kind: str, labels: int, frozen: Spread, scratch: Spread, *then: Finding) -> Finding:
        figures = {"labels": labels, "frozen": frozen.mean, "scratch": scratch.mean}
        return Finding(f"transfer.{kind}.{_which(frozen, scratch)}", figures, then)

    most, last_frozen, last_scratch = both[-1]
    if len(both) == 1 or last_scratch is None:
        return finding("start", labels, frozen, scratch)
    return finding("start", labels, frozen, scratch, finding("end", most, last_frozen, last_scratch))


def beats(result: TransferResult, reference: Reference | None) -> Finding | None:
    """With how many labels the linear layer is as good as the baseline with all; None where it learned nothing."""
    if reference is None:
        return Finding("transfer.unknown")
    needed, whole = labels_needed(result, reference.accuracy), result.spread("linear", ALL)
    if needed is None or whole is None:
        return None
    figures = {"reference": reference.accuracy, "source": reference.source, "frozen": whole.mean}
    if math.isfinite(needed):
        return Finding("transfer.beats.few", {**figures, "labels": int(needed)})
    return Finding(f"transfer.beats.{'all' if whole.mean >= reference.accuracy else 'never'}", figures)


def _margin(one: float, other: float, tiles: int) -> float:
    """How far two accuracies on so many tiles may differ by luck."""
    return _SURE * math.sqrt((one * (1 - one) + other * (1 - other)) / tiles)


def learners(result: TransferResult) -> Finding | None:
    """The linear layer beside the nearest neighbours, with all labels; None where one of them is missing."""
    linear, neighbours = (result.spread(each, ALL) for each in ("linear", "neighbours"))
    if linear is None or neighbours is None:
        return None
    gap, luck = linear.mean - neighbours.mean, _margin(linear.mean, neighbours.mean, result.validation_tiles)
    kind = "same" if abs(gap) <= luck else "linear" if gap > 0 else "neighbours"
    return Finding(f"transfer.learner.{kind}", {"linear": linear.mean, "neighbours": neighbours.mean})


def by_place(results: Iterable[TransferResult]) -> Finding | None:
    """The linear layer at random beside by place; None where one of them is missing."""
    found = {
        each.split: (spread.mean, each.validation_tiles) for each in results if (spread := each.spread("linear", ALL))
    }
    if set(found) != {"random", "place"}:
        return None
    (random, some), (place, others) = found["random"], found["place"]
    luck, drop = _margin(random, place, min(some, others)), random - place
    kind = "same" if abs(drop) <= luck else "harder" if drop > 0 else "easier"
    return Finding(f"transfer.place.{kind}", {"random": random, "place": place, "drop": abs(drop)})


def out_of_time(result: TransferResult, plan: TransferPlan) -> Finding | None:
    """That time was over before all networks from scratch had learned; None when they have."""
    done = sum(each.learner == "scratch" for each in result.trials)
    planned = plan.scratch_draws * sum(each != ALL for each in result.labels)
    return Finding("transfer.short", {"done": done, "planned": planned}) if done < planned else None


def caveats(record: RunRecord, result: TransferResult) -> list[Finding | None]:
    """What makes the figures say less."""
    return [
        Finding("transfer.synthetic") if record.tiles.source == "synthetic" else None,
        out_of_time(result, plan_of(record)) if result.complete else Finding("transfer.stopped"),
    ]


def plan_of(record: RunRecord) -> TransferPlan:
    """What a run was asked for."""
    return TransferPlan.from_dict(record.plan)
