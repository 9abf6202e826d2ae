"""Reading a run's events as they grow: one incremental reader per run serves every session.

Pages never read the whole file again; they get at most `MAX_POINTS` steps to draw.
"""

import json
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from eurosat_core.errors import RunError
from eurosat_core.lab.events import event_from_dict
from eurosat_core.profiling.events import ProfileDone, ProfileStarted, ProfileStep, TraceDone
from eurosat_core.speed.events import Learned, LimitsDone, SweepDone, SweepEvent, SweepStarted, TurnDone
from eurosat_core.training.events import EpochDone, FeaturesDone, Finished, Started, StepDone, ThreadsChanged

__all__ = ["MAX_POINTS", "History", "HistoryReader", "ProfileHistory", "SweepHistory"]

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
class History:
    """What a run has told so far. `steps` are the reported ones, thinned evenly to at most `MAX_POINTS`.

    features: how far the frozen part was computed, of a run that does so. profile, sweep: what a run of that kind told.
    threads: every change of the CPU threads it computes with. latest: the newest reported step; updated: when the last
    event was written (seconds since 1970), None for none.
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
    threads: tuple[ThreadsChanged, ...] = ()

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
        self._started: Started | None = None
        self._features: FeaturesDone | None = None
        self._finished: Finished | None = None
        self._steps: list[StepDone] = []  # every `_stride`th of those told
        self._stride = 1
        self._told = 0
        self._epochs: list[EpochDone] = []
        self._latest: StepDone | None = None
        self._updated: float | None = None
        self._events = 0
        self._profile = ProfileHistory()
        self._sweep = SweepHistory()
        self._threads: list[ThreadsChanged] = []
        self._history = History()

    def read(self) -> History:
        """The history up to now. A torn last line waits for its rest; a line that is no event is passed over."""
        with self._lock:
            try:
                with self._path.open("rb") as file:
                    file.seek(self._offset)
                    added = file.read()
            except OSError:  # not there yet, or not to be read
                return self._history
            whole = added.rfind(b"\n") + 1
            if whole:
                self._offset += whole
                for line in added[:whole].splitlines():
                    self._take(line)
                self._history = self._snapshot()
            return self._history

    def _take(self, line: bytes) -> None:
        try:
            values = json.loads(line)
            at = values.pop("at", None)
            event = event_from_dict(values)
        except (ValueError, TypeError, AttributeError, RecursionError, RunError):
            return
        self._events += 1
        self._updated = at if isinstance(at, int | float) else self._updated
        match event:
            case Started():
                self._started = event
            case FeaturesDone():
                self._features = event
            case StepDone():
                self._latest = event
                if self._told % self._stride == 0:
                    self._steps.append(event)
                self._told += 1
                if len(self._steps) > 4 * MAX_POINTS:  # a run of hours must not fill the server's memory
                    self._steps = self._steps[::2]
                    self._stride *= 2  # what comes is thinned like what is there, else the beginning would vanish
            case EpochDone():
                self._epochs.append(event)
            case Finished():
                self._finished = event
            case ThreadsChanged():
                self._threads = [*self._threads, event][-_MOST_CHANGES:]
            case ProfileStarted():
                self._profile = replace(self._profile, started=event)
            case ProfileStep():
                self._profile = replace(self._profile, latest=event)
            case TraceDone():
                self._profile = replace(self._profile, traces=(*self._profile.traces, event))
            case ProfileDone():
                self._profile = replace(self._profile, done=event)
            case SweepStarted() | LimitsDone() | TurnDone() | Learned() | SweepDone():
                self._sweep = _further(self._sweep, event)

    def _snapshot(self) -> History:
        steps = self._steps
        if len(steps) >= MAX_POINTS:
            steps = steps[:: -(-len(steps) // (MAX_POINTS - 1))]
        if self._latest is not None and steps[-1] is not self._latest:  # the newest is always there
            steps = [*steps, self._latest]
        return History(
            self._started,
            tuple(steps),
            tuple(self._epochs),
            self._finished,
            self._latest,
            self._updated,
            self._events,
            self._features,
            self._profile,
            self._sweep,
            tuple(self._threads),
        )


def _further(sweep: SweepHistory, event: SweepEvent) -> SweepHistory:
    match event:
        case SweepStarted():
            return replace(sweep, started=event)
        case LimitsDone():
            return replace(sweep, limits=(*sweep.limits, event), seconds=sweep.seconds + event.seconds)
        case TurnDone():
            return replace(sweep, turns=(*sweep.turns, event), seconds=event.seconds)
        case Learned():
            return replace(sweep, learned=(*sweep.learned, event), seconds=event.seconds)
        case SweepDone():
            return replace(sweep, done=event, seconds=event.seconds)
