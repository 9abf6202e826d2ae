"""Which runs stand side by side, what can be chosen, and what can be said about them together.

A run can be compared once it completed an epoch. Own runs come first, then those of the command line, then what was
recorded elsewhere: imported, or bundled with the lab. What is said of a choice is computed when it is first asked for
and then kept, for a page asks again at every click.

The bundled runs were recorded elsewhere, on real tiles, so that there is something to compare before one's own.
`assets/recorded/runs.zip` is an ordinary bundle of three trainings that differ in nothing but the network. It was made
on a machine with nothing else to do, with EUROSAT_DATA naming real tiles, one training after the other:

    export EUROSAT_THREADS=1  # steadier than two on two cores: epochs differed by about a tenth
    for model in baseline efficientnet_lite0 tilenet; do
        python -m eurosat_core train --model $model --recipe tutorial --source memory --batch-size 64 \\
            --optimizer adam --learning-rate 0.001 --schedule cosine --epochs 5 --tiles 6000 --stratified
    done
    python -m eurosat_core bundle export RUN RUN RUN --to assets/recorded/runs.zip
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from cachetools import LRUCache

from eurosat_core.analysis.confusion import Disagreement, disagreement
from eurosat_core.analysis.contenders import (
    Contender,
    Difference,
    RunFigures,
    contenders,
    differences,
    may_compare_accuracy,
    run_figures,
    same_tiles,
    stored_predictions,
)
from eurosat_core.analysis.verdicts import accuracy_verdict, repeated_accuracies, speed_verdict
from eurosat_core.errors import RunError
from eurosat_core.finding import Finding, distinct
from eurosat_core.folders import ASSETS
from eurosat_core.lab.messages import OWNER as COMMAND_LINE
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.bundles import Imported, export_bundle, import_bundle
from eurosat_core.runs.history import History, HistoryReader
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab

logger = logging.getLogger(__name__)

RECORDED_OWNER = "recorded"
"""To whom the bundled runs belong, so that nobody deletes them."""
_BUNDLE = ASSETS / "recorded" / "runs.zip"
_AS_LONG = 1.1  # times of different work closer than this are called alike


def role(record: RunRecord) -> Literal["small", "strong", ""]:
    """What a run is in the lesson's comparison: the tutorial's small network, or one that should beat it."""
    entry = CATALOG.get(record.config.model)
    if record.config.model == "baseline":
        return "small"
    return "strong" if entry is not None and (entry.is_pretrained or entry.name == "tilenet") else ""


class SideBySide:
    """Runs in the order in which they were chosen; the first is what the others are held against."""

    def __init__(self, runs: tuple[Contender, ...]) -> None:
        self.runs = runs
        self._disagreements: dict[tuple[int, int], Disagreement] = {}

    @cached_property
    def same(self) -> Finding:
        """Whether all of them were judged on the same tiles."""
        return same_tiles(self.runs)

    @property
    def may_compare_accuracy(self) -> bool:
        """Whether their accuracies may stand side by side; so may a single one."""
        return len(self.runs) < 2 or may_compare_accuracy(self.same)

    @cached_property
    def figures(self) -> tuple[RunFigures, ...]:
        """Accuracy, time and speed of each."""
        return run_figures(self.runs)

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """In what they differ."""
        return differences(self.runs)

    @cached_property
    def verdicts(self) -> tuple[Finding, ...]:
        """Each run against the first: accuracy, then time; what comes twice is told once."""
        first, others = self.runs[0], self.runs[1:]
        found = [accuracy_verdict(each, first) for each in others] + [time_verdict(first, each) for each in others]
        return tuple(distinct(found))

    def disagreement(self, first: int, second: int) -> Disagreement | None:
        """Which tiles only one of two runs (by their places) got right; None where one kept no predictions."""
        one, other = self.runs[first].predictions, self.runs[second].predictions
        if one is None or other is None:
            return None
        key = (first, second)
        if key not in self._disagreements:
            self._disagreements[key] = disagreement(one, other)
        return self._disagreements[key]


def time_verdict(first: Contender, other: Contender) -> Finding:
    """How long two trainings took: a speed-up for the same work (`speed_verdict`), else what each of them cost.

    `longer`, `shorter` or `alike` for other work, with what makes it other work; `not_comparable` where one of them
    did not get through, or left work to an earlier run.
    """
    found = speed_verdict(first, other)
    whole = all(
        each.record.state == "finished" and each.history.finished is not None and not each.record.features_taken
        for each in (first, other)
    )
    if found.kind != "not_comparable" or not whole or not first.seconds or not other.seconds:
        return found
    ratio = other.seconds / first.seconds
    kind = "alike" if 1 / _AS_LONG < ratio < _AS_LONG else "longer" if ratio > 1 else "shorter"
    figures = {"run": other.label, "first": first.label, "seconds": other.seconds, "first_seconds": first.seconds}
    figures |= {"ratio": max(ratio, 1 / ratio), "why": found}
    then = []
    machine, elsewhere = (str(each.record.machine.get("device_name", "")) for each in (first, other))
    if machine != elsewhere:
        then.append(Finding("speed_up.machines", {"machine": machine, "other": elsewhere}))
    if first.record.company or other.record.company:
        then.append(Finding("speed_up.noisy"))
    return Finding(f"speed_up.{kind}", figures, tuple(then))


def strong_against_small(runs: Sequence[Contender]) -> Finding | None:
    """How much better the best strong network is than the small one: `better`, `worse` or `same`; None without both."""
    small = next((each for each in runs if role(each.record) == "small" and each.accuracy is not None), None)
    strong = [each for each in runs if role(each.record) == "strong" and each.accuracy is not None]
    if small is None or not strong:
        return None
    best = max(strong, key=lambda each: each.accuracy or 0.0)
    if small.accuracy is None or best.accuracy is None or not may_compare_accuracy(same_tiles([small, best])):
        return None
    gap = best.accuracy - small.accuracy
    kind = "same" if gap == 0 else "better" if gap > 0 else "worse"
    return Finding(f"lineup.strong.{kind}", {"strong": best.label, "small": small.label, "gap": gap})


MOST_RUNS = 6
"""Runs side by side: more would not be told apart in a chart."""
MAX_BUNDLE_MB = 100  # a run has about 50 KB without its weights, and a trace a few MB

_SHOWN = 40  # of each kind in the list
_KEPT = 32  # line-ups in memory; one of six runs on 6,750 tiles takes about a megabyte
_PAIRED = 20  # newest runs among which the same training on two devices is looked for


class RecordedRuns:
    """A store of its own for the bundled runs, unpacked from the bundle when it is first asked for. For any thread.

    folder: where it is unpacked, such as the lab's cache; runs of another version of the bundle lie in another one.
    """

    def __init__(self, folder: Path, bundle: Path = _BUNDLE) -> None:
        self._folder = folder
        self._bundle = bundle
        self._lock = threading.Lock()
        self._store: RunStore | None = None
        self._problem = ""

    def all(self) -> tuple[list[RunRecord], str]:
        """The runs, newest first, and a sentence when there are none although there should be."""
        store = self.store()
        records = store.all()[0] if store is not None else []
        return records, self._problem

    def store(self) -> RunStore | None:
        """Where they lie; None when the bundle is missing, damaged, or cannot be unpacked."""
        with self._lock:
            if self._store is None and not self._problem:
                try:
                    self._store = self._unpacked()
                except (OSError, RunError) as error:
                    logger.warning("the recorded runs cannot be shown: %s", error)
                    self._problem = "The recorded runs that come with the lab cannot be read. Install the lab anew."
            return self._store

    def _unpacked(self) -> RunStore:
        digest = hashlib.sha256(self._bundle.read_bytes()).hexdigest()
        store = RunStore(self._folder / f"recorded-{digest[:12]}")
        if not store.all()[0]:  # a bundle arrives as a whole or not at all
            try:
                import_bundle(store, self._bundle, owner=RECORDED_OWNER)
            except RunError:
                if not store.all()[0]:  # else another server unpacked it at the same moment
                    raise
        return store


class Lineup:
    """The runs that can be compared, for everybody. All methods may be called from any thread.

    store, history: the lab's runs and what they told. folder: where the bundled runs are unpacked.
    """

    def __init__(self, store: RunStore, history: Callable[[str], History], folder: Path) -> None:
        self._store = store
        self._history = history
        self._recorded = RecordedRuns(folder)
        self._bundled: dict[str, HistoryReader] = {}
        self._kept: LRUCache[tuple[Any, ...], SideBySide] = LRUCache(_KEPT)
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
        runs = contenders(records, told.__getitem__, lambda run_id: stored_predictions(stores[run_id], run_id))
        made = SideBySide(runs)
        with self._lock:
            self._kept[key] = made
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


@lru_cache(maxsize=1)
def lineup_of(lab: "Lab") -> Lineup:
    """The line-up of the lab that is open: one for all participants."""
    return Lineup(lab.store, lab.results.history, lab.settings.cache)
