"""Runs that are compared: what is read of each, and their figures side by side.

A speed-up is given only where both runs did the same work; where they did not, a finding says why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from eurosat_core import wording
from eurosat_core.analysis.pace import is_same_pace, pace
from eurosat_core.errors import RunError
from eurosat_core.finding import Finding
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.history import History, HistoryReader
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import SETTINGS, Setting, TrainConfig, settings_of
from eurosat_core.training.evaluation import Evaluation, Predictions, evaluate_predictions, predictions_from_bytes

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

    records = [store.get(each) for each in run_ids]
    return contenders(records, history, lambda run_id: stored_predictions(store, run_id))


def stored_predictions(store: RunStore, run_id: str) -> Predictions | None:
    """A run's answers to its validation tiles; None where it kept none."""
    try:
        return predictions_from_bytes(store.load(run_id, "predictions.npz"))
    except RunError:
        return None


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
    used = 0
    for setting in (*_TELLING, *(each for each in SETTINGS if each not in _TELLING + _NO_NAME)):
        longer = {each.id: _longer(names[each.id], setting, each) for each in group}
        if used < _TOLD_APART_BY and len(set(longer.values())) > len(set(names.values())):
            names, used = longer, used + 1
    alike = {name: [each for each in names if names[each] == name] for name in names.values()}
    return {
        run_id: f"{name} ({alike[name].index(run_id) + 1})" if len(alike[name]) > 1 else name
        for run_id, name in names.items()
    }


def _longer(name: str, setting: str, record: RunRecord) -> str:
    """The name with one setting more, if that has any effect in this run."""
    about = SETTINGS[setting]
    if not about.applies(record.config):
        return name
    value = getattr(record.config, setting)
    words = about.in_words(value)
    if setting in ("optimizer", "precision"):
        return f"{name}, {words}"
    return f"{name}, {_SHORT.get(setting, {}).get(value) or f'{about.title.lower()} {words}'}"


@dataclass(frozen=True)
class Difference:
    """A setting in which runs differ: its name, its title, and each run's value in words, in the order of the runs."""

    name: str
    title: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class RunFigures:
    """One row of a comparison. Accuracies are fractions; a figure that the run does not have is None.

    seconds: of the whole training without pauses. tiles_per_second: median of its training phases with least and
    most, over `measured_epochs`; the first epoch is the warm-up and left out when there are others. speed_up: how many
    times as fast the same work was done as by the first run, in seconds; None, with the reason, where the work is not
    the same. training_speed_up: the same by `tiles_per_second`, so without warm-up and validation. within_noise: the
    speeds are no further apart than repeated measurements are, so there is no difference that we can measure.
    features_taken: outputs of its frozen part came from an earlier run, so `seconds` leaves their computing out.
    """

    run_id: str
    label: str
    owner: str
    state: str
    model: str
    device: str
    device_name: str
    threads: int | None
    epochs: int
    accuracy: float | None
    macro_f1: float | None
    seconds: float | None
    features_taken: bool
    tiles_per_second: float | None
    tiles_per_second_low: float | None
    tiles_per_second_high: float | None
    measured_epochs: int
    train_tiles: int
    validation_tiles: int
    tiles_source: str
    speed_up: float | None
    training_speed_up: float | None
    within_noise: bool
    speed_up_reason: Finding | None
    company: tuple[str, ...]
    recorded_on: str


# -- in what they differ


def differences(runs: Sequence[Contender]) -> tuple[Difference, ...]:
    """Settings, tiles and machines in which the runs differ; what is the same for all or has no effect is left out."""
    found = []
    configs = [each.record.config for each in runs]
    for name, setting in SETTINGS.items():
        if len({getattr(each, name) for each in configs}) > 1 and any(setting.applies(each) for each in configs):
            found.append(Difference(name, setting.title, tuple(_words(setting, each) for each in configs)))
    for name, (title, value) in _BESIDE_SETTINGS.items():
        values = tuple(value(each.record) for each in runs)
        if len(set(values)) > 1:
            found.append(Difference(name, title, values))
    return tuple(found)


def _words(setting: Setting, config: TrainConfig) -> str:
    return setting.in_words(getattr(config, setting.name)) if setting.applies(config) else "no effect"


def _tile_set(record: RunRecord) -> str:
    used = record.tiles
    return f"{wording.count(used.count, 'tile')} ({used.source}, {used.fingerprint[:6]})"


def _of_machine(name: str) -> Callable[[RunRecord], str]:
    return lambda record: str(record.machine.get(name, "unknown"))


_BESIDE_SETTINGS: dict[str, tuple[str, Callable[[RunRecord], str]]] = {
    "tile_set": ("Tile set", _tile_set),
    "device_name": ("Computed on", _of_machine("device_name")),
    "threads": ("CPU threads", _of_machine("threads")),
    "torch": ("PyTorch", _of_machine("torch")),
    "recorded_on": ("Recorded", lambda record: record.recorded_on or "here"),
    "company": (
        "Ran beside it",
        lambda record: wording.listed(list(record.company)) or "nothing",
    ),
}


# -- the same tiles?


def same_tiles(runs: Sequence[Contender]) -> Finding:
    """Whether all runs were judged on the `same` validation tiles; else what may be compared all the same."""
    used = [each.record.tiles for each in runs]
    if len({each.class_names for each in used}) > 1:
        return Finding("same_tiles.other_classes")
    if len({each.source == "synthetic" for each in used}) > 1:
        return Finding("same_tiles.synthetic")
    if len({each.fingerprint for each in used}) > 1:
        return Finding("same_tiles.other_set")
    without = [each.label for each in runs if each.predictions is None]
    if without:
        return Finding("same_tiles.unknown", {"runs": without})
    judged = [frozenset(each.predictions.tiles.tolist()) for each in runs if each.predictions is not None]
    if len(set(judged)) <= 1:
        return Finding("same_tiles.same", {"tiles": min(map(len, judged), default=0)})
    if len({each.record.config.split for each in runs}) > 1:
        return Finding("same_tiles.other_part.by_place")
    return Finding("same_tiles.other_part.by_draw", {"common": len(frozenset.intersection(*judged))})


def may_compare_accuracy(check: Finding) -> bool:
    """Whether accuracies may stand side by side, by what `same_tiles` says."""
    return check.kind in ("same", "other_part")


# -- figures of each run


def run_figures(runs: Sequence[Contender]) -> tuple[RunFigures, ...]:
    """Accuracy, time, speed and speed-up of every run; the first one is what the others are compared with."""
    return tuple(_figures(each, runs[0]) for each in runs)


def _figures(one: Contender, first: Contender) -> RunFigures:
    record, own, reference = one.record, pace(one.history), pace(first.history)
    reason = None if one is first else _other_work(one, first)
    threads = record.machine.get("threads")
    seconds_ratio = training_ratio = None
    if reason is None:
        seconds_ratio = _ratio(first.seconds, one.seconds)
        training_ratio = _ratio(own.median if own else None, reference.median if reference else None)
    return RunFigures(
        run_id=record.id,
        label=one.label,
        owner=record.owner,
        state=record.state,
        model=record.config.model,
        device=record.config.device,
        device_name=str(record.machine.get("device_name", "")),
        threads=threads if isinstance(threads, int) else None,
        epochs=len(one.history.epochs),
        accuracy=one.accuracy,
        macro_f1=one.evaluation.macro()["f1"] if one.evaluation else None,
        seconds=one.seconds,
        features_taken=record.features_taken,
        tiles_per_second=own.median if own else None,
        tiles_per_second_low=own.low if own else None,
        tiles_per_second_high=own.high if own else None,
        measured_epochs=own.epochs if own else 0,
        train_tiles=one.history.started.train_tiles if one.history.started else 0,
        validation_tiles=one.validation_tiles,
        tiles_source=record.tiles.source,
        speed_up=seconds_ratio,
        training_speed_up=training_ratio,
        within_noise=one is not first and bool(training_ratio and own and reference and is_same_pace(own, reference)),
        speed_up_reason=reason,
        company=record.company,
        recorded_on=record.recorded_on,
    )


def _ratio(above: float | None, below: float | None) -> float | None:
    return above / below if above and below else None


def _other_work(one: Contender, first: Contender) -> Finding | None:
    """Why a run's seconds cannot be put beside the first run's; None when both did the same work."""
    config, base = one.record.config, first.record.config
    reasons: dict[str, Callable[[Contender], bool]] = {
        "no_training": lambda run: run.record.kind != "train",
        "unfinished": lambda run: run.record.state != "finished" or run.history.finished is None,
        "features_taken": lambda run: run.record.features_taken,
        "features": lambda run: run.record.config.source == "features",
    }
    for kind, applies in reasons.items():
        for each in (first, one):
            if applies(each):
                return Finding(f"work.{kind}", {"run": each.label})
    other_tiles = one.record.tiles.fingerprint != first.record.tiles.fingerprint
    differs = {
        "network": any(
            getattr(config, name) != getattr(base, name) and SETTINGS[name].applies(config)
            for name in settings_of("network")
        ),
        "tile_set": other_tiles,
        "tiles": not other_tiles and _part_sizes(one) != _part_sizes(first),
        "batch_size": config.batch_size != base.batch_size,
        "resizing": config.progressive_resizing != base.progressive_resizing,
        "source": config.source != base.source,
        "epochs": config.epochs != base.epochs,
    }
    other = [Finding(f"work.phrase.{name}") for name, is_other in differs.items() if is_other]
    return Finding("work.other", {"run": first.label, "other": other}) if other else None


def _part_sizes(one: Contender) -> tuple[int, int]:
    started = one.history.started
    return (started.train_tiles, started.validation_tiles) if started else (0, 0)


def figures_note(figures: RunFigures) -> str:
    """On what a run's speed was measured: `AMD EPYC, 2 threads, 3 epochs; recorded on …`."""
    parts = [figures.device_name or wording.device_name(figures.device)]
    if figures.threads:
        parts.append(wording.count(figures.threads, "thread"))
    parts.append(wording.count(figures.epochs, "epoch"))
    text = ", ".join(parts)
    if figures.features_taken:
        text += "; took outputs of its frozen part from an earlier run, so its time leaves that work out"
    if figures.company:
        text += f"; beside it {wording.listed(list(figures.company))}, so its speed says little"
    if figures.recorded_on:
        text += f"; recorded on {figures.recorded_on}"
    return text
