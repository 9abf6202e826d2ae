"""What a training shows: its curves as tables, and what can be said about them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from eurosat_core import wording
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


@dataclass(frozen=True)
class Finding:
    """One sentence or two (`text`) and what kind of outcome they are written for."""

    kind: str
    text: str


@dataclass(frozen=True)
class _Guessing:
    """What must be beaten: naming one of so many `classes` at random, or always the largest one."""

    classes: int
    majority: float

    @property
    def share(self) -> float:
        """The share of right answers that needs no learning at all."""
        return max(1 / self.classes, self.majority)

    @property
    def words(self) -> str:
        """`guessing gives 10 %`"""
        who = "always naming the largest class" if self.share > _UNBALANCED / self.classes else "guessing"
        return f"{who} gives {100 * self.share:.0f}\N{NO-BREAK SPACE}%"


def majority_share(counts: Sequence[int]) -> float:
    """The share of the largest class, from the tiles per class; 0 without tiles."""
    return max(counts, default=0) / max(sum(counts), 1)


def learning(history: History, classes: int, majority: float = 0.0) -> Learning:
    """How far the network has come, by its complete epochs. majority: the largest class's share, 0 if unknown."""
    epochs = history.epochs
    if not epochs:
        return "nothing"
    last = epochs[-1]
    chance = _Guessing(classes, majority).share
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

    majority: the largest class's share of the tiles (`majority_share`), 0 where it is not known.
    """
    guessing = _Guessing(max(len(record.tiles.class_names), 2), majority)
    stage = learning(history, guessing.classes, majority)
    done, planned = len(history.epochs), record.config.epochs
    say = _STAGES[stage]
    if stage in ("learning", "levelled", "overfitting") and rate_is_high(record.config, history):
        say = _rate_high
    sentence = say(record, history, guessing)
    if record.tiles.source == "synthetic" and stage != "nothing":
        sentence += " (These are synthetic tiles: the figures say nothing about real satellite pictures.)"
    if record.state == "queued":
        return Finding("waiting", "The run waits for a free place. It starts by itself.")
    if record.state in ("running", "paused"):
        return Finding(stage, sentence)
    if record.state == "finished" and done >= planned:
        return Finding(f"finished_{stage}", sentence)
    kept = f" {sentence}" if done else ""
    how_far = f"after {done} of {wording.count(planned, 'epoch')}" if done else "before its first epoch was done"
    # A worker or server that died took weights and predictions with it; a job that ended brought its figures back.
    what = "its curves, predictions and weights" if record.summary else "its curves"
    reached = f" {_reach(history)}; {what} up to there are kept." if done else ""
    if record.state == "failed":
        reason = record.message or "The run failed, and left no reason."
        return Finding("failed", f"The run failed {how_far}. {reason}{reached}")
    if record.state == "interrupted":
        reason = record.message or "The program that ran it was stopped."
        return Finding(
            "interrupted",
            f"The run was cut off {how_far}. {reason}{reached} Start it again with the same settings.",
        )
    none = "" if done else " So there is no validation result yet: let at least one epoch finish to get one."
    return Finding("stopped", f"The run was stopped {how_far}.{none}{kept}")


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


def _reach(history: History) -> str:
    """`After 3 epochs the network named 52.1 % of 1,500 tiles it was not trained on correctly`."""
    last = history.epochs[-1]
    tiles = wording.count(history.started.validation_tiles, "tile") if history.started else "the tiles"
    return (
        f"After {wording.count(len(history.epochs), 'epoch')} the network named "
        f"{wording.percent(last.val_accuracy)} of {tiles} it was not trained on correctly"
    )


def _nothing(record: RunRecord, history: History, guessing: _Guessing) -> str:
    latest = history.latest
    if latest is None or latest.accuracy is None:
        return "The network has not seen a tile yet."
    return (
        f"In its first epoch so far, the network named {wording.percent(latest.accuracy)} of its training tiles "
        f"correctly; {guessing.words}. Validation tiles follow at the end of the epoch."
    )


def _chance(record: RunRecord, history: History, guessing: _Guessing) -> str:
    last, config = history.epochs[-1], record.config
    too_fast = config.learning_rate > (0.1 if config.optimizer in ("sgd", "adagrad") else 0.01)
    advice = "a smaller learning rate: these steps are large" if too_fast else "more epochs, or a larger learning rate"
    loss = f"a loss of ln {guessing.classes} = {math.log(guessing.classes):.2f} (this run: {last.val_loss:.2f})"
    if guessing.share > _UNBALANCED / guessing.classes:
        return (
            f"{_reach(history)}. That takes no learning: {guessing.words}. Guessing any of {guessing.classes} classes "
            f"gives {loss}. Look at the accuracy per class, and try {advice}."
        )
    return (
        f"{_reach(history)}. That is still chance: guessing one of {guessing.classes} classes gives "
        f"{100 * guessing.share:.0f}\N{NO-BREAK SPACE}%, and {loss}. Try {advice}."
    )


def _rate_high(record: RunRecord, history: History, guessing: _Guessing) -> str:
    done = len(history.epochs)
    rate, next_rate = (_rate(record.config, history, epoch) for epoch in (done, done + 1))
    now = f"at {100 * rate:.0f}\N{NO-BREAK SPACE}% of its highest"
    text = f"{_reach(history)}; {guessing.words}. It is learning."
    if not record.is_active:
        return (
            f"{text} Its learning rate had yet to come down to nothing (it was {now}), so these settings can most "
            "likely reach more than this. Let one go to its end before you judge them."
        )
    way = "still goes up and will then" if next_rate > rate else "has yet to"
    return (
        f"{text} Its learning rate, {now}, {way} come down to nothing. With large steps validation accuracy may jump "
        "from epoch to epoch; it settles, and mostly rises, as they get smaller. So judge it at the end."
    )


def _learning(record: RunRecord, history: History, guessing: _Guessing) -> str:
    epochs = history.epochs
    text = f"{_reach(history)}; {guessing.words}. It is learning."
    if len(epochs) < 2:
        return text
    gain = epochs[-1].val_accuracy - epochs[-2].val_accuracy
    if gain >= _STANDSTILL and record.config.schedule != "constant":
        return (
            f"{text} The last epoch alone brought {wording.points(gain)}: weights settle as the learning rate comes "
            "down to nothing. Going on from here would change little; planned for more epochs, it would most likely "
            "get further."
        )
    if gain >= _STANDSTILL:
        return f"{text} The last epoch alone brought {wording.points(gain)}, so more epochs would most likely help."
    if gain <= -_STANDSTILL:
        return (
            f"{text} The last epoch took {wording.points(gain)} away again: validation accuracy moves up and down, so "
            "judge by the trend of several epochs."
        )
    return f"{text} The last epoch changed little (less than one percentage point)."


def _levelled(record: RunRecord, history: History, guessing: _Guessing) -> str:
    best = max(history.epochs, key=lambda each: each.val_accuracy)
    if record.config.schedule != "constant":
        return (
            f"{_reach(history)}; {guessing.words}. Its learning rate has come down to next to nothing, so the last "
            "epochs change little, however long it goes on. Whether it can do better, only another training tells: "
            "planned for more epochs, with another learning rate or model, or on more tiles."
        )
    return (
        f"{_reach(history)}; {guessing.words}. The last two epochs brought less than one "
        f"percentage point (best: {wording.percent(best.val_accuracy)} in epoch {best.epoch}), so more of the "
        "same will bring little. Change something else: the learning rate, the model, or the number of tiles."
    )


def _overfitting(record: RunRecord, history: History, guessing: _Guessing) -> str:
    last = history.epochs[-1]
    best = min(history.epochs, key=lambda each: each.val_loss)
    rising = (
        f" Validation loss was lowest in epoch {best.epoch} ({best.val_loss:.2f}) and is {last.val_loss:.2f} now."
        if best.epoch < last.epoch and last.val_loss > 1.02 * best.val_loss
        else ""
    )
    return (
        f"{_reach(history)}, but {wording.percent(last.train_accuracy)} of those it was trained on: a gap of "
        f"{wording.points(last.train_accuracy - last.val_accuracy)}. It begins to memorise its training tiles instead "
        f"of learning what the classes look like (overfitting).{rising} More tiles, or fewer epochs, narrow the gap."
    )


_STAGES = {
    "nothing": _nothing,
    "chance": _chance,
    "learning": _learning,
    "levelled": _levelled,
    "overfitting": _overfitting,
}


def guess_against(guess: float, history: History) -> Finding | None:
    """A guessed share of right answers (0…1) against the last epoch's; within ten points counts as right."""
    if not history.epochs:
        return None
    reached = history.epochs[-1].val_accuracy
    said = f"You guessed about {100 * guess:.0f} %, it is {wording.percent(reached)}"
    if abs(reached - guess) <= 0.10:
        return Finding("right", f"{said}: well judged.")
    if reached > guess:
        return Finding("higher", f"{said}: more than you expected.")
    return Finding("lower", f"{said}: less than you expected.")


def luck(history: History) -> str:
    """How far luck alone moves this run's validation accuracy: two standard errors; empty before the first epoch."""
    if history.started is None or not history.epochs:
        return ""
    tiles, reached = history.started.validation_tiles, history.epochs[-1].val_accuracy
    doubt = 2 * math.sqrt(reached * (1 - reached) / max(tiles, 1))
    return (
        f"At {wording.percent(reached)} of this run’s {wording.count(tiles, 'validation tile')}, "
        f"{wording.points(doubt)} up or down may be luck (two standard errors)."
    )


def confusions(evaluation: Evaluation) -> Finding:
    """The easiest and the hardest class, and the most frequent mistake."""
    known = {name: share for name, share in evaluation.per_class.items() if share is not None}
    mistake = evaluation.most_confused()
    if mistake is None or not known:
        return Finding("none", f"All {wording.count(evaluation.tiles, 'validation tile')} were named correctly.")
    easy, hard = max(known, key=lambda name: known[name]), min(known, key=lambda name: known[name])
    true, called, times = mistake
    of = sum(evaluation.confusion[evaluation.class_names.index(true)])
    titles = class_titles(evaluation.class_names)
    return Finding(
        "mistakes",
        f"Easiest class: {titles[easy]} ({wording.percent(known[easy])}). Hardest: {titles[hard]} "
        f"({wording.percent(known[hard])}). Most frequent mistake: {titles[true]} called {titles[called]} "
        f"({times} of {of:,} tiles).",
    )
