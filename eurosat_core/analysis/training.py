"""What a training shows: its curves as tables, and how far the network has come."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from eurosat_core.data.pictures import class_titles
from eurosat_core.finding import Finding
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import TrainConfig, rate_share
from eurosat_core.training.evaluation import Evaluation, Predictions


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


Learning = Literal["nothing", "chance", "learning", "levelled", "overfitting"]

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
