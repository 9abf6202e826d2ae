"""What the limits of a device say: how well steps are predicted, what holds them up, where a GPU overtakes."""

import statistics
from collections import Counter
from typing import Literal

from eurosat_core.lab.experiment_frames import BOTTLENECKS
from eurosat_core.lab.findings import Finding
from eurosat_core.lab.sweep_frames import prediction_frame
from eurosat_core.speed.overtaking import Overtaking, overtaking_measured, overtaking_predicted
from eurosat_core.speed.result import SweepResult
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import count, listed, rounded, times

__all__ = ["Overtaking", "overtaking_finding", "overtakings", "prediction_finding"]

By = Literal["batch_size", "model_size"]

_CLOSE, _ROUGH = 1.5, 2.0  # how many times too long or short a prediction is


def prediction_finding(result: SweepResult) -> Finding:
    """How near the predictions come: `close`, `rough`, `off`, or `nothing`; and what most steps are spent on."""
    frame = prediction_frame(result)
    if frame.empty:
        return Finding("nothing", "No step was both predicted and measured. Let the measurement run to its end.")
    misses = [max(error, 1 / error) for error in frame["error"]]
    most = Counter(frame["bottleneck"]).most_common(1)[0][0]
    text = (
        f"From these limits the time of {count(len(frame), 'step')} was predicted: half of them at most "
        f"{times(statistics.median(misses))} as long or short as measured, the worst {times(max(misses))}. "
    )
    spent = f"Most of these steps are spent on {BOTTLENECKS[str(most)]}."
    if max(misses) <= _CLOSE:
        return Finding("close", f"{text}So these few limits explain where the time goes. {spent}")
    if max(misses) <= _ROUGH:
        return Finding("rough", f"{text}So they explain it roughly. {spent}")
    return Finding(
        "off",
        f"{text}Where the prediction is far off, something else holds the step up than these limits: a profile tells "
        f"what. {spent}",
    )


def overtakings(
    limits: SweepResult | None, batches: SweepResult | None, models: SweepResult | None, config: TrainConfig
) -> list[Overtaking]:
    """From which batch and which size of model on the GPU is faster than the CPU: measured, else predicted.

    limits, batches, models: newest measurements of the limits, and of the experiments with batches and models. config:
    whose batches are varied. Empty without a GPU in any of them.
    """
    known = limits.limits if limits is not None else {}
    sides: tuple[tuple[By, SweepResult | None], ...] = (("batch_size", batches), ("model_size", models))
    found: list[Overtaking] = []
    for by, measured in sides:
        raced = [each for each in measured.devices if each != "cpu"] if measured is not None else []
        if measured is not None and raced and "cpu" in measured.devices:
            found.append(overtaking_measured(measured, by, raced[0]))
            continue
        gpu = next((each for each in known if each != "cpu"), "")
        if gpu:
            found.append(overtaking_predicted(known.get("cpu"), known[gpu], by, config))
    return found


def overtaking_finding(found: Overtaking) -> Finding:
    """A sentence for every way it can turn out."""
    sizes = [_size(found, size) for size, _ratio in found.points]
    what = {"batch_size": "batches", "model_size": "models"}[found.by]
    basis = "Measured" if found.basis == "measured" else "Predicted from the limits of both, not measured"
    if found.kind == "unknown":
        return Finding("unknown", found.reason)
    if found.kind == "at" and found.at is not None:
        return Finding(
            "at", f"{basis}: from {what} of about {_size(found, found.at)} on, the GPU is faster than the CPU."
        )
    ends = listed([sizes[0], sizes[-1]], "to") if sizes else ""
    if found.kind == "always":
        return Finding("always", f"{basis}: the GPU is faster with all {what} that were looked at ({ends}).")
    return Finding("never", f"{basis}: the CPU is faster with all {what} that were looked at ({ends}).")


def _size(found: Overtaking, size: float) -> str:
    if found.by == "batch_size":
        return f"{size:,.0f} tiles"
    return f"{rounded(size / 1e6, 3)} million operations per tile"
