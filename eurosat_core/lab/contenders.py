"""Runs brought together to be compared: each with its record, its events, its answers and a short name."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from eurosat_core import wording
from eurosat_core.errors import RunError
from eurosat_core.lab.choices import SETTING_NAMES, in_words, matters
from eurosat_core.lab.history import History, HistoryReader
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.runs import RunStore
from eurosat_core.lab.train_job import predictions_from_bytes
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.evaluation import Evaluation, Predictions, evaluate_predictions

__all__ = ["Contender", "classifiers", "contenders", "labels", "stored_contenders"]

YOU = "You"
_TOLD_APART_BY = 2  # settings at most in a name: a legend must stay readable


@dataclass(frozen=True)
class Contender:
    """One run of a comparison. predictions, evaluation: of its validation tiles; None before its first epoch."""

    record: RunRecord
    history: History
    label: str
    predictions: Predictions | None = None
    evaluation: Evaluation | None = None

    @property
    def accuracy(self) -> float | None:
        """Share of its validation tiles named correctly after its last complete epoch."""
        if self.history.epochs:
            return self.history.epochs[-1].val_accuracy
        return self.record.summary.get("val_accuracy")

    @property
    def seconds(self) -> float | None:
        """All of its training without pauses: up to its end, else up to its last complete epoch."""
        if self.history.finished is not None:
            return self.history.finished.seconds
        if self.history.epochs:
            return self.history.epochs[-1].elapsed_seconds
        return self.record.summary.get("seconds")

    @property
    def validation_tiles(self) -> int:
        """How many tiles its accuracy rests on; 0 when that is not known."""
        if self.predictions is not None:
            return len(self.predictions)
        if self.history.started is not None:
            return self.history.started.validation_tiles
        return int(self.record.summary.get("val_tiles", 0))


def contenders(
    records: Sequence[RunRecord],
    history: Callable[[str], History],
    predictions: Callable[[str], Predictions | None],
) -> tuple[Contender, ...]:
    """The runs in their order, each once. history, predictions: of a run by its id, as `Lab` has them."""
    once = list({each.id: each for each in records}.values())
    names = labels(once)
    return tuple(_contender(each, history(each.id), names[each.id], predictions(each.id)) for each in once)


def stored_contenders(store: RunStore, run_ids: Iterable[str]) -> tuple[Contender, ...]:
    """The same from a run store, without a lab. Raises `RunError` for a run that cannot be read."""

    def history(run_id: str) -> History:
        return HistoryReader(store.folder_of(run_id) / "events.jsonl").read()

    def predictions(run_id: str) -> Predictions | None:
        try:
            return predictions_from_bytes(store.load(run_id, "predictions.npz"))
        except RunError:
            return None

    return contenders([store.get(each) for each in run_ids], history, predictions)


def _contender(record: RunRecord, history: History, label: str, predictions: Predictions | None) -> Contender:
    evaluation = None
    if predictions is not None and len(predictions):
        names = record.tiles.class_names
        evaluation = evaluate_predictions(predictions.true, predictions.predicted, names)
    return Contender(record, history, label, predictions, evaluation)


def classifiers(runs: Sequence[Contender], guesses: Evaluation | None = None) -> dict[str, Evaluation]:
    """Everybody's accuracy and confusions by name: the participant first, then the runs that know the same classes.

    guesses: the participant's own, as `Lab.guesses` has them; left out when they are about other classes.
    """
    judged = {each.label: each.evaluation for each in runs if each.evaluation is not None}
    class_names = next((each.class_names for each in judged.values()), guesses.class_names if guesses else ())
    found = {YOU: guesses} if guesses is not None else {}
    return {name: each for name, each in (found | judged).items() if each.class_names == class_names}


def labels(records: Sequence[RunRecord]) -> dict[str, str]:
    """A short name for each run, different from all others: model and device, then what tells alike ones apart."""
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(_name(record), []).append(record)
    return {run_id: name for start, group in groups.items() for run_id, name in _told_apart(start, group).items()}


def _name(record: RunRecord) -> str:
    entry = CATALOG.get(record.config.model)
    title = entry.title if entry else record.config.model
    recorded = ", recorded" if record.recorded_on else ""
    return f"{title} · {wording.device_name(record.config.device)}{recorded}"


# What tells alike runs apart, the most telling first; everything else after it.
_TELLING = ("batch_size", "optimizer", "learning_rate", "source", "split", "tiles", "epochs", "precision", "seed")
_NO_NAME = ("model", "device", "recipe", "keep_epochs", "network")  # layers would fill a legend
_SHORT = {
    "split": {"random": "random split", "place": "split by place"},
    "source": {"loader": "from files", "memory": "from memory", "features": "frozen part kept"},
}


def _told_apart(start: str, group: Sequence[RunRecord]) -> Mapping[str, str]:
    names = {each.id: start for each in group}
    telling = sorted(set(SETTING_NAMES) - set(_NO_NAME), key=lambda name: (*_rank(name), name))
    used = 0
    for setting in telling:
        longer = {each.id: _longer(names[each.id], setting, each) for each in group}
        if used < _TOLD_APART_BY and len(set(longer.values())) > len(set(names.values())):
            names, used = longer, used + 1
    alike = {name: [each for each in names if names[each] == name] for name in names.values()}
    return {
        run_id: f"{name} ({alike[name].index(run_id) + 1})" if len(alike[name]) > 1 else name
        for run_id, name in names.items()
    }


def _rank(name: str) -> tuple[int, int]:
    return (0, _TELLING.index(name)) if name in _TELLING else (1, list(SETTING_NAMES).index(name))


def _longer(name: str, setting: str, record: RunRecord) -> str:
    """The name with one setting more, if that has any effect in this run."""
    if not matters(setting, record.config):
        return name
    value = getattr(record.config, setting)
    words = in_words(setting, value)
    if setting in ("optimizer", "precision"):
        return f"{name}, {words}"
    return f"{name}, {_SHORT.get(setting, {}).get(value) or f'{SETTING_NAMES[setting].lower()} {words}'}"
