"""The events of all kinds of runs: their lines in `events.jsonl`, and a reader per run that follows them.

The reader serves every session. Pages never read the whole file again; they get at most `MAX_POINTS` steps to draw.
"""

import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from eurosat_core.errors import RunError
from eurosat_core.profiling.plan import ProfileDone, ProfileEvent, ProfileStarted, ProfileStep, TraceDone
from eurosat_core.records import lines_after
from eurosat_core.speed.plan import Learned, LimitsDone, SweepDone, SweepEvent, SweepStarted, TurnDone
from eurosat_core.training.events import (
    FORWARD_SHARE,
    Compiled,
    EpochDone,
    Event,
    FeaturesDone,
    Finished,
    FormChosen,
    Started,
    StepDone,
    ThreadsChanged,
)
from eurosat_core.training.transfer import TransferDone, TransferEvent, TransferStarted, Trial, TrialDone

RunEvent = Event | ProfileEvent | SweepEvent | TransferEvent


class _Line(msgspec.Struct):
    """What a line says besides its event: when it was written, in seconds since 1970."""

    at: float | None = None
    kind: str = ""


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_event = msgspec.json.Decoder(RunEvent).decode


def encoded_event(event: RunEvent | bytes) -> bytes:
    """The event as JSON; one that is so already stays as it is."""
    return event if isinstance(event, bytes) else _encode(event)


def line_of(event: bytes, at: float) -> bytes:
    """The line of `events.jsonl` for an encoded event that is written at this time."""
    return b'{"at":%s,%s\n' % (_encode(at), event[1:])


def chosen_form(event: bytes) -> FormChosen | None:
    """The event if it says which precision and layout were chosen; None for any other."""
    return msgspec.json.decode(event, type=FormChosen) if _decode_line(event).kind == "form" else None


def read_event(line: bytes) -> tuple[RunEvent, float | None]:
    """The event in a line of `events.jsonl`, and when it was written, if the line says so.

    Raises:
        RunError: The line is not an event of a run, or one of its figures is not a number.
    """
    try:
        return _decode_event(line), _decode_line(line).at
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RunError(f"This is not an event of a run: {line[:80]!r}") from error


MAX_POINTS = 400
_MOST_CHANGES = 1000  # of threads: a run of hours beside others


@dataclass(frozen=True)
class ProfileHistory:
    """What a profile has told so far. latest: the newest step told; recorded ones are not, a trace after them is."""

    started: ProfileStarted | None = None
    latest: ProfileStep | None = None
    traces: tuple[TraceDone, ...] = ()
    done: ProfileDone | None = None


@dataclass(frozen=True)
class SweepHistory:
    """What a measurement has told so far. seconds: since it began, as of the newest event."""

    started: SweepStarted | None = None
    limits: tuple[LimitsDone, ...] = ()
    turns: tuple[TurnDone, ...] = ()
    learned: tuple[Learned, ...] = ()
    done: SweepDone | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class TransferHistory:
    """What a transfer has told so far. seconds: since it began, as of the newest event."""

    started: TransferStarted | None = None
    trials: tuple[Trial, ...] = ()
    done: TransferDone | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class History:
    """What a run has told so far. `steps` are the reported ones, thinned evenly to at most `MAX_POINTS`.

    features: how far the frozen part was computed, of a run that does so. profile, sweep, transfer: what a run of that
    kind told. threads: every change of the CPU threads it computes with. compile_seconds: what compiling took so far.
    latest: the newest reported step; updated: when the last event was written (seconds since 1970), None for none.
    """

    started: Started | None = None
    steps: tuple[StepDone, ...] = ()
    epochs: tuple[EpochDone, ...] = ()
    finished: Finished | None = None
    latest: StepDone | None = None
    updated: float | None = None
    events: int = 0
    features: FeaturesDone | None = None
    profile: ProfileHistory = ProfileHistory()
    sweep: SweepHistory = SweepHistory()
    transfer: TransferHistory = TransferHistory()
    threads: tuple[ThreadsChanged, ...] = ()
    compile_seconds: float = 0.0

    def threads_between(self, begin: float, end: float) -> tuple[int, int] | None:
        """Fewest and most CPU threads between two times (seconds since it began); None before it has started."""
        if self.started is None:
            return None
        used = [self.started.threads]
        for change in self.threads:
            if change.seconds <= begin:
                used = [change.threads]
            elif change.seconds < end:
                used.append(change.threads)
        return min(used), max(used)


class HistoryReader:
    """Follows one `events.jsonl`; `read` looks only at what was added since the last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._offset = 0
        self._steps: list[StepDone] = []  # every `_stride`th of those told
        self._stride = 1
        self._told = 0
        self._history = History()  # its steps are those of the last reading

    def read(self) -> History:
        """The history up to now. A torn last line waits for its rest; a line that is no event is passed over."""
        with self._lock:
            if added := lines_after(self._path, self._offset):
                self._offset += len(added)
                for line in added.splitlines():
                    with suppress(RunError):
                        self._take(*read_event(line))
                self._history = replace(self._history, steps=self._thinned())
            return self._history

    def _take(self, event: RunEvent, at: float | None) -> None:
        if isinstance(event, StepDone):
            if self._told % self._stride == 0:
                self._steps.append(event)
            self._told += 1
            if len(self._steps) > 4 * MAX_POINTS:  # a run of hours must not fill the server's memory
                self._steps = self._steps[::2]
                self._stride *= 2  # what comes is thinned like what is there, else the beginning would vanish
        known = self._history
        updated = known.updated if at is None else at
        self._history = replace(known, events=known.events + 1, updated=updated, **_news(known, event))

    def _thinned(self) -> tuple[StepDone, ...]:
        steps, latest = self._steps, self._history.latest
        if len(steps) >= MAX_POINTS:
            steps = steps[:: -(-len(steps) // (MAX_POINTS - 1))]
        if latest is not None and steps[-1] is not latest:  # the newest is always there
            steps = [*steps, latest]
        return tuple(steps)


def _news(history: History, event: RunEvent) -> dict[str, Any]:
    """What an event changes in a history."""
    profile, sweep, transfer = history.profile, history.sweep, history.transfer
    match event:
        case Started():
            return {"started": event}
        case FeaturesDone():
            return {"features": event}
        case StepDone():
            return {"latest": event}
        case EpochDone():
            return {"epochs": (*history.epochs, event)}
        case Finished():
            return {"finished": event}
        case ThreadsChanged():
            return {"threads": (*history.threads, event)[-_MOST_CHANGES:]}
        case Compiled():
            return {"compile_seconds": history.compile_seconds + event.compile_seconds}
        case ProfileStarted():
            return {"profile": replace(profile, started=event)}
        case ProfileStep():
            return {"profile": replace(profile, latest=event)}
        case TraceDone():
            return {"profile": replace(profile, traces=(*profile.traces, event))}
        case ProfileDone():
            return {"profile": replace(profile, done=event)}
        case SweepStarted():
            return {"sweep": replace(sweep, started=event)}
        case LimitsDone():
            return {"sweep": replace(sweep, limits=(*sweep.limits, event), seconds=sweep.seconds + event.seconds)}
        case TurnDone():
            return {"sweep": replace(sweep, turns=(*sweep.turns, event), seconds=event.seconds)}
        case Learned():
            return {"sweep": replace(sweep, learned=(*sweep.learned, event), seconds=event.seconds)}
        case SweepDone():
            return {"sweep": replace(sweep, done=event, seconds=event.seconds)}
        case TransferStarted():
            return {"transfer": replace(transfer, started=event)}
        case TrialDone(trial=trial):
            return {"transfer": replace(transfer, trials=(*transfer.trials, trial), seconds=event.seconds)}
        case TransferDone():
            return {"transfer": replace(transfer, done=event, seconds=event.seconds)}
    return {}


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
    profile, sweep, started, latest = history.profile, history.sweep, history.started, history.latest
    if history.finished is not None or profile.done is not None or sweep.done is not None:
        return 1.0
    if history.transfer.started is not None:
        return _transferred(history)
    if profile.started is not None:  # steps that are done: the newest one told, or the last one of the newest trace
        by_traces = len(profile.traces) / profile.started.cycles
        by_steps = profile.latest.step / profile.started.steps if profile.latest else 0.0
        return min(max(by_traces, by_steps), 1.0)
    if sweep.started is not None:  # its time is set beforehand; one that takes longer stands just before its end
        return min(sweep.seconds / max(sweep.started.planned_seconds, 1e-9), 0.99)
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


_FEATURES_SHARE = 0.7  # of a transfer's time, where all features have to be computed


def _transferred(history: History) -> float:
    """How much of a transfer is done: features that were missing first, then its trials."""
    started, features = history.transfer.started, history.features
    assert started is not None
    if history.transfer.done is not None:
        return 1.0
    first = _FEATURES_SHARE * started.missing / (started.train_tiles + started.validation_tiles)
    if not started.trials:  # features alone
        first = 1.0
    computed = features.done / features.total if features is not None and features.total else 0.0
    return min(first * computed + (1 - first) * len(history.transfer.trials) / max(started.trials, 1), 0.99)


def seconds_left(history: History) -> float | None:
    """Seconds that a run still needs at its pace so far; None until there is enough to go by."""
    done = progress(history)
    if done >= 1.0:
        return 0.0
    if history.sweep.started is not None:
        return max(history.sweep.started.planned_seconds - history.sweep.seconds, 1.0)
    if history.transfer.started is not None:
        spent = max(history.transfer.seconds, history.features.seconds if history.features else 0.0)
        return spent * (1 - done) / done if spent > 0.5 and done > 0 else None
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
