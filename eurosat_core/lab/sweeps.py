"""What was measured, for pages that are drawn anew at every click: each run's figures are read once."""

import threading
from collections import OrderedDict

from eurosat_core.errors import RunError
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.runs import RunStore
from eurosat_core.speed.result import SWEEP_FILE, SweepResult

__all__ = ["Sweeps"]

_KEPT = 60


class Sweeps:
    """The results of runs of kind `sweep`. All methods may be called from any thread."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._kept: OrderedDict[tuple[str, int], SweepResult] = OrderedDict()
        self._lock = threading.Lock()

    def result(self, run_id: str) -> SweepResult:
        """What a run measured. Raises `RunError` when it measured nothing (yet), or its figures are damaged."""
        size = self._store.size(run_id, SWEEP_FILE)
        if size is None:
            raise RunError(f"The run {run_id} has measured nothing yet. Wait for its end, or start it again.")
        key = (run_id, size)
        with self._lock:
            known = self._kept.get(key)
        if known is not None:
            return known
        read = SweepResult.from_json(self._store.load(run_id, SWEEP_FILE))
        with self._lock:
            self._kept[key] = read
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return read

    def runs(self, owner: str | None = None, name: str = "") -> list[RunRecord]:
        """Runs that measured something, newest first: a participant's, or of one experiment, if told."""
        return [
            each
            for each in self._store.all()[0]
            if each.kind == "sweep"
            and not each.is_active
            and (owner is None or each.owner == owner)
            and (not name or each.plan.get("name") == name)
            and self._store.size(each.id, SWEEP_FILE) is not None
        ]
