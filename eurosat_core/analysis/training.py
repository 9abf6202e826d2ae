"""What a training shows: its curves as tables, and how far the network has come."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from eurosat_core.analysis.finding import Finding, Told
from eurosat_core.data.pictures import class_titles
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig, rate_share
from eurosat_core.training.evaluation import Evaluation, Predictions

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


Learning = Literal["nothing", "chance", "learning", "levelled", "overfitting"]

ACCURACY_GUESSES = {"about 10 (chance)": 0.1, "about 30": 0.3, "about 50": 0.5, "about 70": 0.7, "about 90": 0.9}
"""How many of 100 new tiles a network will name correctly: guesses, and their shares."""

_GAP = 0.10  # training accuracy this much above validation accuracy is called overfitting
_STANDSTILL = 0.01  # less than one percentage point more is called levelled off
_LOW_RATE = 0.05  # of its highest, a learning rate that goes to nothing counts as there
_MANY_STEPS = 100  # of an epoch, where a run did not say how many it has
_UNBALANCED = 1.25  # the largest class holds this much more than its share: guessing it is what must be beaten


def majority_share(counts: Sequence[int]) -> float:
    """The share of the largest class, from the tiles per class; 0 without tiles."""
    return max(counts, default=0) / max(sum(counts), 1)


def learning(history: History, classes: int, majority: float = 0.0) -> Learning:
    """How far the network has come, by its complete epochs. majority: the largest class's share, 0 if unknown."""
    epochs = history.epochs
    if not epochs:
        return "nothing"
    last = epochs[-1]
    chance = max(1 / classes, majority)
    tiles = history.started.validation_tiles if history.started else 1000
    # What guessing could reach by luck on so many tiles (three standard errors), but at least two points.
    margin = max(3 * math.sqrt(chance * (1 - chance) / max(tiles, 1)), 0.02)
    if last.val_accuracy <= chance + margin:
        return "chance"
    if last.train_accuracy - last.val_accuracy > _GAP:
        return "overfitting"
    if len(epochs) >= 4 and max(each.val_accuracy for each in epochs[-2:]) < _STANDSTILL + max(
        each.val_accuracy for each in epochs[:-2]
    ):
        return "levelled"
    return "learning"


def outcome(record: RunRecord, history: History, majority: float = 0.0) -> Finding:
    """What a run shows, while it goes on or at its end: how it ended, then how far the network has come.

    Args:
        record: The run.
        history: What it has told.
        majority: The largest class's share of the tiles (`majority_share`), 0 where it is not known.
    """
    if record.state == "queued":
        return Finding("training.waiting")
    shown = _progress(record, history, majority)
    if record.tiles.source == "synthetic" and history.epochs:
        shown = replace(shown, then=(*shown.then, Finding("training.synthetic")))
    done = len(history.epochs)
    figures = {"done": done, "planned": record.config.epochs}
    when = "later" if done else "early"
    if record.state in ("running", "paused") or (record.state == "finished" and done >= record.config.epochs):
        return shown
    if record.state in ("failed", "interrupted"):
        reason = record.message or Finding(f"training.{record.state}.no_reason")
        # A worker or server that died took weights and predictions with it; a job that ended brought its figures back.
        what = "all" if record.summary else "curves"
        kept = (Finding(f"training.kept.{what}", _reached(history)),) if done else ()
        return Finding(f"training.{record.state}.{when}", {**figures, "reason": reason}, kept)
    return Finding(f"training.stopped.{when}", figures, (shown,) if done else ())


def rate_is_high(config: TrainConfig, history: History) -> bool:
    """Whether a learning rate that goes to nothing has yet to come down, after the complete epochs."""
    if config.schedule == "constant":
        return False
    done = len(history.epochs)
    rates = (_rate(config, history, epoch) for epoch in range(done, config.epochs))
    return max(rates, default=0.0) > _LOW_RATE


def _rate(config: TrainConfig, history: History, epoch: int) -> float:
    """The share of its highest that the learning rate has after so many epochs."""
    steps = history.started.steps_per_epoch if history.started else _MANY_STEPS
    return rate_share(config.schedule, epoch * steps, config.epochs * steps)


def _reached(history: History) -> dict[str, Any]:
    """The figures that all outcomes after the first epoch share."""
    last = history.epochs[-1]
    tiles = history.started.validation_tiles if history.started else None
    return {"epochs": len(history.epochs), "accuracy": last.val_accuracy, "tiles": tiles, "loss": last.val_loss}


def _progress(record: RunRecord, history: History, majority: float) -> Finding:
    """How far the network has come, and what guessing would have got."""
    classes = max(len(record.tiles.class_names), 2)
    chance = max(1 / classes, majority)
    has_largest = chance > _UNBALANCED / classes
    guessing = (Finding("training.largest_class" if has_largest else "training.guessing", {"chance": chance}),)
    stage, config, epochs = learning(history, classes, majority), record.config, history.epochs
    if stage == "nothing":
        latest = history.latest
        if latest is None or latest.accuracy is None:
            return Finding("training.nothing.waiting")
        return Finding("training.nothing.begun", {"accuracy": latest.accuracy}, guessing)
    figures, last = _reached(history), epochs[-1]
    if stage == "chance":
        steps_large = config.learning_rate > (0.1 if config.optimizer in ("sgd", "adagrad") else 0.01)
        variant = "largest_class" if has_largest else "steps_large" if steps_large else "steps_small"
        figures |= {"classes": classes, "chance": chance, "chance_loss": math.log(classes)}
        return Finding(f"training.chance.{variant}", figures)
    if rate_is_high(config, history):
        figures["rate"] = _rate(config, history, len(epochs))
        return Finding(f"training.rate_high.{'running' if record.is_active else 'ended'}", figures, guessing)
    if stage == "overfitting":
        best = min(epochs, key=lambda each: each.val_loss)
        is_rising = best.epoch < last.epoch and last.val_loss > 1.02 * best.val_loss
        figures |= {"train_accuracy": last.train_accuracy, "gap": last.train_accuracy - last.val_accuracy}
        figures |= {"best_epoch": best.epoch, "best_loss": best.val_loss}
        return Finding(f"training.overfitting.{'rising_loss' if is_rising else 'gap'}", figures, guessing)
    if len(epochs) < 2:
        return Finding("training.learning.first", figures, guessing)
    if config.schedule != "constant":  # and its rate has come down
        return Finding("training.levelled.rate_down", figures, guessing)
    if stage == "levelled":
        return Finding("training.levelled.standing", figures, guessing)
    figures["change"] = last.val_accuracy - epochs[-2].val_accuracy
    variant = "rising" if figures["change"] >= _STANDSTILL else "uneven"
    return Finding(f"training.learning.{variant}", figures, guessing)


def guess_against(guess: float, history: History) -> Told | None:
    """A guessed share of right answers (0…1) against the last epoch's; within ten points counts as right."""
    if not history.epochs:
        return None
    reached = history.epochs[-1].val_accuracy
    said = f"You guessed about {100 * guess:.0f} %, it is {100 * reached:.1f} %"
    if abs(reached - guess) <= 0.10:
        return Told("right", f"{said}: well judged.")
    if reached > guess:
        return Told("higher", f"{said}: more than you expected.")
    return Told("lower", f"{said}: less than you expected.")


def luck(history: History) -> Finding | None:
    """How far luck alone moves this run's validation accuracy: two standard errors; None before the first epoch."""
    if history.started is None or not history.epochs:
        return None
    tiles, reached = history.started.validation_tiles, history.epochs[-1].val_accuracy
    doubt = 2 * math.sqrt(reached * (1 - reached) / max(tiles, 1))
    return Finding("training.luck", {"tiles": tiles, "accuracy": reached, "doubt": doubt})


def confusions(evaluation: Evaluation) -> Finding:
    """The easiest and the hardest class, and the most frequent mistake."""
    known = {name: share for name, share in evaluation.per_class.items() if share is not None}
    mistake = evaluation.most_confused()
    if mistake is None or not known:
        return Finding("training.confusions.none", {"tiles": evaluation.tiles})
    easy, hard = max(known, key=lambda name: known[name]), min(known, key=lambda name: known[name])
    true, predicted, times = mistake
    titles = class_titles(evaluation.class_names)
    return Finding(
        "training.confusions.some",
        {
            "easiest": titles[easy],
            "easiest_accuracy": known[easy],
            "hardest": titles[hard],
            "hardest_accuracy": known[hard],
            "true": titles[true],
            "predicted": titles[predicted],
            "mistakes": times,
            "of": sum(evaluation.confusion[evaluation.class_names.index(true)]),
        },
    )
