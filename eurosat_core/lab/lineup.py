"""Which runs stand side by side: what can be chosen, what is chosen to begin with, and the chosen ones as a whole.

A run can be compared once it completed an epoch. Own runs come first, then those of the command line, then what was
recorded elsewhere: imported, or bundled with the lab.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from eurosat_core.errors import RunError
from eurosat_core.lab.bundles import Imported, export_bundle, import_bundle
from eurosat_core.lab.contenders import contenders
from eurosat_core.lab.history import History, HistoryReader
from eurosat_core.lab.recorded_runs import RecordedRuns
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.runs import RunStore
from eurosat_core.lab.side_by_side import SideBySide, role
from eurosat_core.lab.standalone import OWNER as COMMAND_LINE
from eurosat_core.lab.train_job import predictions_from_bytes
from eurosat_core.lab.verdicts import repeated_accuracies
from eurosat_core.training.evaluation import Predictions

__all__ = ["MAX_BUNDLE_MB", "MOST_RUNS", "Lineup"]

MOST_RUNS = 6
"""Runs side by side: more would not be told apart in a chart."""
MAX_BUNDLE_MB = 100  # a run has about 50 KB without its weights, and a trace a few MB

_SHOWN = 40  # of each kind in the list
_KEPT = 32  # line-ups in memory; one of six runs on 6,750 tiles takes about a megabyte
_PAIRED = 20  # newest runs among which the same training on two devices is looked for


class Lineup:
    """The runs that can be compared, for everybody. All methods may be called from any thread.

    store, history: the lab's runs and what they told. folder: where the bundled runs are unpacked.
    """

    def __init__(self, store: RunStore, history: Callable[[str], History], folder: Path) -> None:
        self._store = store
        self._history = history
        self._recorded = RecordedRuns(folder)
        self._bundled: dict[str, HistoryReader] = {}
        self._kept: OrderedDict[tuple[Any, ...], SideBySide] = OrderedDict()
        self._lock = threading.Lock()

    # -- what there is

    def choices(self, owner: str, also: Iterable[str] = ()) -> list[RunRecord]:
        """What can be compared: own runs first, newest first, then the command line's, then recorded ones.

        also: ids of others' runs, as an address names them; those that cannot be compared are left out.
        """
        named = set(also)
        there = [each for each in self._store.all()[0] if self.has_result(each)]
        here = [each for each in there if not each.recorded_on]
        groups = (
            [each for each in here if each.owner == owner][:_SHOWN],
            [each for each in here if each.owner == COMMAND_LINE][:_SHOWN],
            [each for each in there if each.id in named],
            [each for each in there if each.recorded_on][:_SHOWN],
            self._recorded.all()[0],
        )
        return list({each.id: each for group in groups for each in group}.values())

    def has_result(self, record: RunRecord) -> bool:
        """Whether a training has ended and completed an epoch, so that there is an accuracy."""
        if record.kind != "train" or record.is_active:
            return False
        return "val_accuracy" in record.summary or bool(self._history(record.id).epochs)

    def recorded_problem(self) -> str:
        """Why the bundled runs are missing, as a sentence; empty when they are there."""
        return self._recorded.all()[1]

    def is_bundled(self, run_id: str) -> bool:
        """Whether it comes with the lab, so that nobody deletes it and nobody needs it exported."""
        return self._store_of(run_id) is not self._store

    def _store_of(self, run_id: str) -> RunStore:
        bundled = self._recorded.store()
        return bundled if bundled is not None and run_id in {each.id for each in bundled.all()[0]} else self._store

    def default(self, owner: str) -> list[str]:
        """What is compared before anybody chose: the best small network against the best strong one, if there are both.

        The participant's own first; a single own run stands alone, for the bundled ones learned from other tiles.
        """
        choices = self.choices(owner)
        own = [each for each in choices if each.owner == owner and not each.recorded_on]
        pair = _best_pair(own) or _alike(own)
        if pair:
            return pair
        if own:
            same = [each for each in choices if each.tiles.fingerprint == own[0].tiles.fingerprint]
            return _best_pair(own[:1], same) or [own[0].id]
        return _best_pair(choices) or [each.id for each in choices[:2]]

    def device_runs(self, owner: str) -> list[str]:
        """The newest runs that can be compared, if any of them was computed on another device than the CPU."""
        found = self.choices(owner)[:_PAIRED]
        return [each.id for each in found] if any(each.config.device != "cpu" for each in found) else []

    # -- the chosen ones

    def side_by_side(self, run_ids: Sequence[str]) -> SideBySide:
        """The runs brought together, in this order; from memory as long as nothing about them changed.

        Raises `RunError` for a run that is not there.
        """
        once = tuple(dict.fromkeys(run_ids))
        stores = {run_id: self._store_of(run_id) for run_id in once}
        records = [stores[run_id].get(run_id) for run_id in once]
        told = {run_id: self._told(run_id, stores[run_id]) for run_id in once}
        sizes = [stores[run_id].size(run_id, "predictions.npz") for run_id in once]
        key = tuple(
            (each.id, each.state, each.ended, told[each.id].events, size)
            for each, size in zip(records, sizes, strict=True)
        )
        with self._lock:
            known = self._kept.get(key)
        if known is not None:
            return known
        runs = contenders(records, told.__getitem__, lambda run_id: _predictions(stores[run_id], run_id))
        made = SideBySide(runs)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made

    def repeated(self, record: RunRecord) -> tuple[float, ...]:
        """Accuracies of the runs here that repeat this one with other seeds or on other devices."""
        return repeated_accuracies(record, self._store.all()[0])

    def _told(self, run_id: str, store: RunStore) -> History:
        if store is self._store:
            return self._history(run_id)
        with self._lock:
            reader = self._bundled.setdefault(run_id, HistoryReader(store.folder_of(run_id) / "events.jsonl"))
        return reader.read()

    # -- from one lab to another

    def exported(self, run_ids: Iterable[str], *, weights: bool = False) -> bytes:
        """A bundle of these runs; those that come with the lab are left out. Raises `RunError` as `export_bundle`."""
        target = BytesIO()
        export_bundle(self._store, [each for each in run_ids if not self.is_bundled(each)], target, weights=weights)
        return target.getvalue()

    def taken_in(self, bundle: BinaryIO, owner: str) -> Imported:
        """The runs of a bundle, from now on the participant's. Raises `RunError` as `import_bundle`."""
        return import_bundle(self._store, bundle, owner=owner)


def _predictions(store: RunStore, run_id: str) -> Predictions | None:
    try:
        return predictions_from_bytes(store.load(run_id, "predictions.npz"))
    except RunError:
        return None


def _accuracy(record: RunRecord) -> float:
    return float(record.summary.get("val_accuracy", 0.0))


def _best_pair(records: Sequence[RunRecord], others: Sequence[RunRecord] = ()) -> list[str]:
    """The best small and the best strong network that went through on the same tiles, the newest tile set first.

    others: one of the two may come from here; empty without such a pair.
    """
    done = [each for each in records if each.state == "finished"]
    for fingerprint in dict.fromkeys(each.tiles.fingerprint for each in done):
        own, more = ([each for each in group if each.tiles.fingerprint == fingerprint] for group in (done, others))
        small = _best(own, "small") or _best(more, "small")
        strong = _best(own, "strong") or _best(more, "strong")
        if small and strong:
            return [small.id, strong.id]
    return []


def _best(records: Iterable[RunRecord], which: str) -> RunRecord | None:
    return max((each for each in records if role(each) == which), key=_accuracy, default=None)


def _alike(records: Sequence[RunRecord]) -> list[str]:
    """The newest run and the one before it that learned from the same tiles, the earlier one first."""
    newest = records[0] if records else None
    before = [each for each in records[1:] if newest and each.tiles.fingerprint == newest.tiles.fingerprint]
    return [before[0].id, newest.id] if newest and before else []
