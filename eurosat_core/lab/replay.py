"""Stored runs played side by side at their true speed, or faster: what each of them had told at one moment.

A moment is measured on the runs' own clock, which stands still in pauses. Every state holds a `History` cut off there,
so whatever draws a living run draws a replayed one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from eurosat_core import wording
from eurosat_core.lab.findings import Finding
from eurosat_core.lab.frames import progress
from eurosat_core.lab.history import History
from eurosat_core.training.events import StepDone

__all__ = ["SPEEDS", "ReplayState", "frame_at", "history_at", "own_seconds", "standing", "total_seconds"]

SPEEDS = (1, 2, 5, 10, 50)
"""Times as fast as it was, to choose from."""

Stage = Literal["starting", "training", "validating", "done", "broke_off"]


@dataclass(frozen=True)
class ReplayState:
    """One run at a moment of the replay.

    seconds: on the run's own clock, no further than its end. history: what it had told by then. progress: 0…1.
    epoch: the one it is in, from 1; 0 before the first. accuracy: after its last complete epoch, on validation tiles.
    tiles_per_second: of its newest reported step.
    """

    seconds: float
    of_seconds: float
    history: History
    stage: Stage
    progress: float
    epoch: int
    epochs: int
    accuracy: float | None
    tiles_per_second: float | None

    @property
    def is_over(self) -> bool:
        """Whether the run has told everything it ever told."""
        return self.stage in ("done", "broke_off")


def own_seconds(history: History) -> float:
    """How long a run took on its own clock, as far as it told; 0 for one that told nothing."""
    told = [0.0]
    told += [each.elapsed_seconds for each in history.epochs[-1:]]
    told += [each.seconds for each in (history.features, history.latest, history.finished) if each is not None]
    return max(told)


def total_seconds(histories: Mapping[str, History], speed: float = 1.0) -> float:
    """How long the replay takes: that of the slowest run, at so many times its speed. speed: more than 0."""
    return max((own_seconds(each) for each in histories.values()), default=0.0) / speed


def frame_at(histories: Mapping[str, History], seconds: float, speed: float = 1.0) -> dict[str, ReplayState]:
    """The state of every run so many seconds after the replay began, at `speed` times the true speed.

    histories: by run id or label, in the order in which they are drawn. Before the beginning nothing has happened yet.
    """
    moment = max(seconds, 0.0) * speed
    return {name: _state(each, moment) for name, each in histories.items()}


def history_at(history: History, moment: float) -> History:
    """What a run had told when its own clock showed `moment` seconds."""
    steps = tuple(each for each in history.steps if each.seconds <= moment)
    latest = steps[-1] if steps else None
    if history.latest is not None and history.latest.seconds <= moment:
        latest = history.latest
    epochs = tuple(each for each in history.epochs if each.elapsed_seconds <= moment)
    features, finished = history.features, history.finished
    if features is not None and features.seconds > moment:
        features = None
    if finished is not None and finished.seconds > moment:
        finished = None
    told = (history.started is not None) + (features is not None) + len(steps) + len(epochs) + (finished is not None)
    return replace(
        history, steps=steps, latest=latest, epochs=epochs, features=features, finished=finished, events=told
    )


def _state(history: History, moment: float) -> ReplayState:
    end = own_seconds(history)
    known = history_at(history, moment)
    started, latest = history.started, known.latest
    return ReplayState(
        seconds=min(moment, end),
        of_seconds=end,
        history=known,
        stage=_stage(history, known, moment >= end),
        progress=progress(known),
        epoch=_epoch(known, latest),
        epochs=started.epochs if started else 0,
        accuracy=known.epochs[-1].val_accuracy if known.epochs else None,
        tiles_per_second=latest.tiles_per_second if latest else None,
    )


def _stage(history: History, known: History, is_over: bool) -> Stage:
    if is_over:
        return "done" if history.finished is not None else "broke_off"
    if known.latest is None and not known.epochs:
        return "starting"
    latest = known.latest
    in_epoch = latest is not None and latest.epoch > len(known.epochs)
    return "validating" if in_epoch and latest is not None and latest.phase == "validation" else "training"


def _epoch(known: History, latest: StepDone | None) -> int:
    return max(len(known.epochs), latest.epoch if latest else 0)


def standing(states: Mapping[str, ReplayState]) -> Finding:
    """Who is ahead at this moment: `starting`, `under_way`, `some_done` or `over`, with a sentence."""
    done = {name: each for name, each in states.items() if each.stage == "done"}
    ranked = sorted(done, key=lambda name: done[name].seconds)
    if len(states) > 1 and all(each.is_over for each in states.values()):
        if not ranked:
            return Finding("over", "None of these runs got through all its epochs.")
        times = [f"{name} {wording.duration(done[name].seconds)}" for name in ranked]
        return Finding("over", f"All is told. Done after: {', then '.join(times)}.")
    if done:
        first = ranked[0]
        text = f"{first} was done after {wording.duration(done[first].seconds)}."
        others = [name for name, each in states.items() if not each.is_over]
        if others:
            shares = [f"{name} {100 * states[name].progress:.0f}\N{NO-BREAK SPACE}%" for name in others]
            text += f" By now the others are at: {wording.listed(shares)}."
        return Finding("some_done", text)
    ahead = max(states, key=lambda name: states[name].progress, default=None)
    if ahead is None or states[ahead].progress <= 0:
        return Finding("starting", "They are starting.")
    percent = f"{100 * states[ahead].progress:.0f}\N{NO-BREAK SPACE}%"
    return Finding("under_way", f"{ahead} is ahead, with {percent} of its training done.")
