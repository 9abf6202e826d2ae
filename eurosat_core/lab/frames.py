"""A run's history as tables for charts, and how far it is: progress and the time left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from eurosat_core.data.pictures import class_titles
from eurosat_core.lab.calibration import FORWARD_SHARE
from eurosat_core.lab.history import History, ProfileHistory, SweepHistory
from eurosat_core.training.evaluation import Evaluation, Predictions

__all__ = [
    "Mistake",
    "axis_ceiling",
    "class_frame",
    "curve_frame",
    "loss_ceiling",
    "progress",
    "seconds_left",
    "speed_frame",
    "surest_mistakes",
]

MAX_CURVE_POINTS = 480


def curve_frame(history: History, figure: str, classes: int) -> pd.DataFrame:
    """Loss or accuracy of both phases over the epochs, with the line of pure guessing; at most 480 rows.

    figure: `loss` or `accuracy`. Columns: epoch (1.0 = the first is complete), value, series (training, validation,
    chance), kind (step: one batch's loss, or the accuracy so far in this epoch; epoch: the mean over all of its
    tiles; chance).
    """
    started = history.started
    rows: list[tuple[float, float, str, str]] = []
    if started is not None:
        steps = [each for each in history.steps if each.phase == "train" and getattr(each, figure) is not None]
        room = max(MAX_CURVE_POINTS - 2 * len(history.epochs) - 1, 60)
        steps = steps[:: max(1, math.ceil(len(steps) / room))]
        rows += [
            (each.epoch - 1 + each.step / started.steps_per_epoch, getattr(each, figure), "training", "step")
            for each in steps
        ]
    for done in history.epochs:
        rows.append((done.epoch, getattr(done, f"train_{figure}"), "training", "epoch"))
        rows.append((done.epoch, getattr(done, f"val_{figure}"), "validation", "epoch"))
    rows.append((0.0, math.log(classes) if figure == "loss" else 1 / classes, "chance", "chance"))
    return pd.DataFrame(rows, columns=["epoch", "value", "series", "kind"]).astype({"epoch": float, "value": float})


def speed_frame(history: History) -> pd.DataFrame:
    """Speed and memory over time: at most as many rows as `History` keeps steps.

    Columns: seconds since the training began (without pauses), series (training, validation), part (one phase of one
    epoch: its points belong together), tiles_per_second, memory_mb (1024² bytes).
    """
    rows = [
        (
            each.seconds,
            "validation" if each.phase == "validation" else "training",
            f"{each.phase} {each.epoch}",
            each.tiles_per_second,
            each.memory_bytes,
        )
        for each in history.steps
        if each.tiles_per_second is not None
    ]
    frame = pd.DataFrame(rows, columns=["seconds", "series", "part", "tiles_per_second", "memory_mb"])
    frame["memory_mb"] = frame["memory_mb"].astype(float) / 1024**2
    return frame.astype({"seconds": float, "tiles_per_second": float})


def class_frame(evaluation: Evaluation) -> pd.DataFrame:
    """Per class, best first. Columns: name, title, accuracy (share named correctly), right, tiles."""
    rows = []
    titles = class_titles(evaluation.class_names)
    for row, name in enumerate(evaluation.class_names):
        total = sum(evaluation.confusion[row])
        if total:
            right = evaluation.confusion[row][row]
            rows.append((name, titles[name], right / total, right, total))
    frame = pd.DataFrame(rows, columns=["name", "title", "accuracy", "right", "tiles"])
    return frame.sort_values("accuracy", ascending=False, ignore_index=True)


@dataclass(frozen=True)
class Mistake:
    """A tile that was named wrongly: its number, both classes by name, and how sure the network was (0…1)."""

    tile: int
    true: str
    predicted: str
    confidence: float


def surest_mistakes(predictions: Predictions, class_names: Sequence[str], most: int) -> list[Mistake]:
    """The wrong answers that the network was surest of, surest first."""
    columns = (predictions.tiles, predictions.true, predictions.predicted, predictions.confidence)
    wrong = [row for row in zip(*(each.tolist() for each in columns), strict=True) if row[1] != row[2]]
    wrong.sort(key=lambda row: (-row[3], row[0]))
    return [Mistake(tile, class_names[true], class_names[said], sure) for tile, true, said, sure in wrong[:most]]


def axis_ceiling(value: float, least: float = 1.0) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 × 10ⁿ above `value`: an axis that ends there seldom jumps while data grows."""
    value = max(value, least)
    if not math.isfinite(value):
        return least
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0) if value <= step * power * 1.0001)


def loss_ceiling(frame: pd.DataFrame, classes: int) -> float:
    """Where the loss axis ends: a little above pure guessing, more only when an epoch's loss is above that.

    A single wild batch may leave the picture; it must not squash the curve.
    """
    epochs = frame.loc[frame["kind"] == "epoch", "value"]
    usual = math.log(classes) * 1.12
    highest = float(epochs.max()) if len(epochs) else 0.0
    return round(usual, 2) if highest <= usual else axis_ceiling(highest)


def _training_share(history: History) -> float:
    """Which share of an epoch's time the training phase takes."""
    if history.epochs:
        trained = sum(each.train_seconds for each in history.epochs)
        whole = trained + sum(each.val_seconds for each in history.epochs)
        if whole > 0:
            return trained / whole
    started = history.started
    if started is None:
        return 1.0
    return started.train_tiles / (started.train_tiles + FORWARD_SHARE * started.validation_tiles)


def progress(history: History) -> float:
    """How much of a run is done, 0…1; of a training weighted by what its two phases cost."""
    if history.profile.started is not None:
        return _profile_progress(history.profile)
    if history.sweep.started is not None:
        return _sweep_progress(history.sweep)
    started, latest = history.started, history.latest
    if history.finished is not None:
        return 1.0
    if started is None:
        return 0.0
    done = float(len(history.epochs))
    if latest is not None and latest.epoch > done:
        share = _training_share(history)
        if latest.phase == "train":
            done += share * latest.step / started.steps_per_epoch
        else:
            done += share + (1 - share) * latest.step / max(started.validation_steps, 1)
    return min(done / started.epochs, 1.0)


def _sweep_progress(sweep: SweepHistory) -> float:
    """Its time is set beforehand; one that takes longer stands just before its end."""
    if sweep.done is not None or sweep.started is None:
        return float(sweep.done is not None)
    return min(sweep.seconds / max(sweep.started.planned_seconds, 1e-9), 0.99)


def _profile_progress(profile: ProfileHistory) -> float:
    """Steps that are done: the newest one told, or the last one of the newest trace."""
    if profile.done is not None:
        return 1.0
    assert profile.started is not None
    by_traces = len(profile.traces) / profile.started.cycles
    by_steps = profile.latest.step / profile.started.steps if profile.latest else 0.0
    return min(max(by_traces, by_steps), 1.0)


def seconds_left(history: History) -> float | None:
    """Seconds that a run still needs at its pace so far; None until there is enough to go by."""
    done = progress(history)
    if done >= 1.0:
        return 0.0
    if history.sweep.started is not None:
        return max(history.sweep.started.planned_seconds - history.sweep.seconds, 1.0)
    if history.profile.latest is not None:
        return history.profile.latest.seconds * (1 - done) / done
    if history.started is None or history.latest is None:
        return None
    if history.epochs:
        # The first epoch carries the warm-up, so it counts only while there is no other.
        measured = history.epochs[1:] or history.epochs
        each = sum(epoch.seconds for epoch in measured) / len(measured)
        return each * history.started.epochs * (1 - done)
    if history.latest.seconds < 0.5 or done <= 0:
        return None
    return history.latest.seconds * (1 - done) / done
