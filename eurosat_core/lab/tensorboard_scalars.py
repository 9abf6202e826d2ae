"""A training run's figures as TensorBoard reads them: event files that grow with the run's `events.jsonl`.

Imported by TensorBoard's own process and by tests, never by the server: it loads TensorBoard's message formats.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event as Record
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from eurosat_core.errors import RunError
from eurosat_core.lab.events import event_from_dict
from eurosat_core.training.events import EpochDone, Started, StepDone

__all__ = ["RunScalars"]

_BLOCK = 1 << 20  # bytes of events read at a time
_MEGABYTE = 1024**2
# Steps are written this many seconds apart, and later in a run further apart, so that no run, however long, fills the
# disk or TensorBoard's memory: 60 points in a minute, 1,300 in ten hours.
_LEAST_GAP_SECONDS = 1.0
_GAPS_PER_RUN = 200


class RunScalars:
    """One run: `folder/train` and `folder/validation`, so that TensorBoard draws both into one chart."""

    def __init__(self, events: Path, folder: Path, began: float) -> None:
        self._events = events
        self._folder = folder
        self._began = began
        self._offset = 0
        self._steps_per_epoch = 0
        self._written_seconds = float("-inf")

    def sync(self) -> None:
        """Write what was added since the last time. Raises `OSError` when the files cannot be written."""
        while block := self._block():
            records: dict[str, list[Record]] = {"train": [], "validation": []}
            for line in block.splitlines():
                for part, record in self._records(line):
                    records[part].append(record)
            for part, found in records.items():
                if found:
                    self._append(part, found)
            self._offset += len(block)

    def _block(self) -> bytes:
        """Whole lines that were not read yet; a torn last one waits for its rest."""
        try:
            with self._events.open("rb") as file:
                file.seek(self._offset)
                added = file.read(_BLOCK)
        except OSError:  # not there yet, deleted, or not to be read
            return b""
        whole = added.rfind(b"\n") + 1
        if not whole and len(added) == _BLOCK:  # no event is that long
            return added
        return added[:whole]

    def _records(self, line: bytes) -> Iterator[tuple[str, Record]]:
        try:
            values = json.loads(line)
            at = values.pop("at", None)
            event = event_from_dict(values)
        except (ValueError, TypeError, AttributeError, RecursionError, RunError):
            return
        when = float(at) if isinstance(at, int | float) else self._began
        if isinstance(event, Started):
            self._steps_per_epoch = event.steps_per_epoch
        elif isinstance(event, StepDone):
            if self._is_due(event):
                step = (event.epoch - 1) * self._steps_per_epoch + event.step
                memory = None if event.memory_bytes is None else event.memory_bytes / _MEGABYTE
                figures = {
                    "step/loss": event.loss,
                    "step/accuracy": event.accuracy,
                    "step/tiles_per_second": event.tiles_per_second,
                    "step/memory_mb": memory,
                }
                yield "train", _record(when, step, figures)
        elif isinstance(event, EpochDone):
            figures = {
                "epoch/loss": event.train_loss,
                "epoch/accuracy": event.train_accuracy,
                "epoch/tiles_per_second": event.tiles_per_second,
                "epoch/seconds": event.seconds,
            }
            yield "train", _record(when, event.epoch, figures)
            figures = {"epoch/loss": event.val_loss, "epoch/accuracy": event.val_accuracy}
            yield "validation", _record(when, event.epoch, figures)

    def _is_due(self, event: StepDone) -> bool:
        if event.phase != "train" or not event.reported:
            return False
        gap = max(_LEAST_GAP_SECONDS, event.seconds / _GAPS_PER_RUN)
        if event.seconds < self._written_seconds + gap:
            return False
        self._written_seconds = event.seconds
        return True

    def _append(self, part: str, records: list[Record]) -> None:
        """In one write, so that a reader meets whole records."""
        folder = self._folder / part
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{int(self._began):010d}.lab"
        written = io.BytesIO()
        writer = RecordWriter(written)
        if not path.exists():
            writer.write(Record(wall_time=self._began, file_version="brain.Event:2").SerializeToString())
        for record in records:
            writer.write(record.SerializeToString())
        with path.open("ab") as file:
            file.write(written.getvalue())


def _record(when: float, step: int, figures: dict[str, Any]) -> Record:
    known = {tag: value for tag, value in figures.items() if value is not None}
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in known.items()]
    return Record(wall_time=when, step=step, summary=Summary(value=values))
