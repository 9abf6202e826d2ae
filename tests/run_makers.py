"""Records and histories of runs that never ran, for tests of what is said and drawn about them."""

from dataclasses import replace
from typing import Any

import torch
from msgspec import structs

from eurosat_core.analysis.contenders import Contender, contenders
from eurosat_core.finding import Finding
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.training.config import workshop_config
from eurosat_core.training.evaluation import Predictions
from eurosat_core.training.events import EpochDone, Finished, Started, StepDone

TEN = tuple(f"class {number}" for number in range(10))
USED = TilesUsed("print", "eurosat", "/tiles", 6000, TEN)
NBSP = "\N{NO-BREAK SPACE}"


def make_record(**changes: Any) -> RunRecord:
    record = RunRecord("run", "ada", "finished", workshop_config(device="cpu"), USED, created=100.0)
    return replace(record, **changes)


def begun(**changes: Any) -> Started:
    return structs.replace(Started(3, 100, 40, 4500, 1500, 338_486, 338_486, "cpu", 2), **changes)


def epoch(number: int, val: float, train: float | None = None, rate: float = 1000.0, **changes: Any) -> EpochDone:
    done = EpochDone(number, 2.0, val if train is None else train, 1.9, val, 10.0, 8.0, 2.0, rate, 10.0 * number)
    return structs.replace(done, **changes)


def step(number: int, at_epoch: int = 1, phase: Any = "train", seconds: float = 1.0) -> StepDone:
    return StepDone(phase, at_epoch, number, seconds, 2.0, 0.3, 900.0, 2**29)


def seen(*accuracies: float, **changes: Any) -> History:
    epochs = tuple(epoch(number, value) for number, value in enumerate(accuracies, 1))
    return replace(History(started=begun(), epochs=epochs), **changes)


def said(
    true: list[int], predicted: list[int], tiles: list[int] | None = None, sure: list[float] | None = None
) -> Predictions:
    """Answers to tiles 0, 1, 2, … (or `tiles`), each 90 % sure (or `sure`)."""
    numbers = list(range(len(true))) if tiles is None else tiles
    confidence = [0.9] * len(true) if sure is None else sure
    return Predictions(torch.tensor(numbers), torch.tensor(true), torch.tensor(predicted), torch.tensor(confidence))


def through(*accuracies: float, **changes: Any) -> History:
    """The history of a training that went through its epochs, each with this validation accuracy."""
    history = seen(*accuracies, **changes)
    last = history.epochs[-1]
    return replace(history, finished=Finished(len(accuracies), last.elapsed_seconds, 1.9, last.val_accuracy))


def told(found: Finding | None) -> list[str]:
    """The names of a finding and of those that are told after it, without their topic."""
    return [each.name.partition(".")[2] for each in (found, *found.then)] if found else []


def compared(*runs: tuple[RunRecord, History, Predictions | None]) -> tuple[Contender, ...]:
    """Runs (record, history, predictions) brought together; they get the ids a, b, c, …"""
    ids = "abcdefgh"
    records = [replace(record, id=ids[at]) for at, (record, _, _) in enumerate(runs)]
    return contenders(records, lambda id_: runs[ids.index(id_)][1], lambda id_: runs[ids.index(id_)][2])
