"""Reading a run's events as they grow: one incremental reader per run serves every session.

Pages never read the whole file again; they get at most `MAX_POINTS` steps to draw.
"""

import json
import threading
from dataclasses import dataclass
from pathlib import Path

from eurosat_core.errors import RunError
from eurosat_core.training.events import EpochDone, FeaturesDone, Finished, Started, StepDone, event_from_dict

__all__ = ["MAX_POINTS", "History", "HistoryReader"]

MAX_POINTS = 400


@dataclass(frozen=True)
class History:
    """What a run has told so far. `steps` are the reported ones, thinned evenly to at most `MAX_POINTS`.

    features: how far the frozen part was computed, of a run that does so. latest: the newest reported step; updated:
    when the last event was written (seconds since 1970), None for none.
    """

    started: Started | None = None
    steps: tuple[StepDone, ...] = ()
    epochs: tuple[EpochDone, ...] = ()
    finished: Finished | None = None
    latest: StepDone | None = None
    updated: float | None = None
    events: int = 0
    features: FeaturesDone | None = None


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
        )
