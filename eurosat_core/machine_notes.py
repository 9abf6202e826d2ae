"""What was found out about this machine by trying, kept on disk so that nobody waits for it twice.

One JSON file in the cache folder; entries belong to a machine and a device. Another processor, driver or PyTorch has
other entries, and a folder that several machines share holds those of each. Losing the file costs a few seconds.
"""

import hashlib
import json
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from eurosat_core.cores import available_cores
from eurosat_core.devices import cpu_name
from eurosat_core.folders import write_whole

_MOST_MACHINES = 16
_LOCK_SECONDS = 1.0
# What makes PyTorch compute otherwise on the same processor.
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA")
_DRIVER, _GPUS = Path("/proc/driver/nvidia/version"), Path("/proc/driver/nvidia/gpus")


class Note(NamedTuple):
    """One thing that was found out about a device; value: plain JSON."""

    topic: str
    device: str
    key: str
    value: Any


class MachineNotes:
    """The notes in one file, about this machine. Safe to use from several processes; never raises for the disk.

    path: None keeps them in memory only. threads: of a training, on which some of what is noted depends.
    """

    def __init__(self, path: Path | None, threads: int) -> None:
        self._path = path
        self._machine = _fingerprint(threads)
        self._stamp: tuple[int, int] | None = None
        self._read: dict[str, Any] = {}

    def get(self, topic: str, device: str, key: str) -> Any:
        """What is noted, as JSON values; None for nothing."""
        return self.all(topic, device).get(key)

    def all(self, topic: str, device: str) -> dict[str, Any]:
        """Everything that is noted on a topic about a device, by key."""
        value: Any = self._current()
        for name in (self._machine, topic, device):
            value = value.get(name) if isinstance(value, dict) else None
        return dict(value) if isinstance(value, dict) else {}

    def put(self, note: Note) -> None:
        """Note something, in place of what was noted before."""
        topic, device, key, value = note
        if self.get(topic, device, key) == value:
            return
        if self._path is None:
            self._read.setdefault(self._machine, {}).setdefault(topic, {}).setdefault(device, {})[key] = value
            return
        with suppress(OSError, Timeout):  # a folder that cannot be written: it is found out again next time
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self._path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
                machines = self._current()
                here = machines.pop(self._machine, {})
                here.setdefault(topic, {}).setdefault(device, {})[key] = value
                others = list(machines.items())[-_MOST_MACHINES + 1 :]
                write_whole(self._path, json.dumps({**dict(others), self._machine: here}, indent=1).encode())

    def _current(self) -> dict[str, Any]:
        if self._path is None:
            return self._read
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_ino)
            if stamp != self._stamp:
                values = json.loads(self._path.read_text(encoding="utf-8"))
                self._read = values if isinstance(values, dict) else {}
                self._stamp = stamp
        except (OSError, ValueError):  # not there, or damaged: nothing is known
            self._read, self._stamp = {}, None
        return self._read


def machine_notes(cache: Path | None, threads: int) -> MachineNotes:
    """The notes in a cache folder (None: in memory) about this machine, with so many threads for a training."""
    return MachineNotes(cache / "machine.json" if cache is not None else None, threads)


def _fingerprint(threads: int) -> str:
    """A name for this machine, as far as its speed goes."""
    facts = [cpu_name(), available_cores(), threads, version("torch"), *(os.environ.get(each, "") for each in _LIMITS)]
    with suppress(OSError):
        facts.append(_DRIVER.read_text())
        facts += sorted(each.read_text() for each in _GPUS.glob("*/information"))
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=9).hexdigest()
