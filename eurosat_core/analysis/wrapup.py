"""The lesson's three sentences with a participant's own figures, and what to try next.

Nothing is concluded here that no figure of the participant's says. Own figures and those recorded elsewhere are kept
apart, so that no sentence can mix them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from eurosat_core import wording
from eurosat_core.analysis import profile, training
from eurosat_core.analysis.contenders import Contender
from eurosat_core.analysis.lineup import lineup_of
from eurosat_core.analysis.pace import comparable_run, compare_speed
from eurosat_core.analysis.race import RACE, device_findings, read_race
from eurosat_core.analysis.sweep import experiment_finding, measured_how
from eurosat_core.analysis.training import majority_share
from eurosat_core.analysis.verdicts import against_you, device_pairs, device_verdict, speed_verdict, split_verdict
from eurosat_core.devices import Device
from eurosat_core.errors import ConfigError, LabError
from eurosat_core.finding import Finding
from eurosat_core.models.catalog import changed_baseline
from eurosat_core.models.layers import format_network
from eurosat_core.runs.profiles import Profile, Reading
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import EXPERIMENTS, home_device
from eurosat_core.speed.result import SweepResult
from eurosat_core.training.choices import changed
from eurosat_core.training.config import Architecture, TrainConfig, workshop_config
from eurosat_core.training.evaluation import Evaluation

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab


MOST_TRAININGS = 12
"""Newest own trainings that are looked at."""
_MOST_PROFILES = 10


@dataclass(frozen=True)
class Measurement:
    """A run of kind `sweep` and what it measured."""

    record: RunRecord
    result: SweepResult


@dataclass(frozen=True)
class Profiled:
    """An own profile and what its last cycle says."""

    record: RunRecord
    profile: Profile
    reading: Reading


@dataclass(frozen=True)
class Evidence:
    """All that the wrap-up rests on. Every list has the newest first.

    runs: own trainings that completed an epoch. recorded: trainings that came from another lab. profiles: the newest
    one on the CPU and the newest one on a GPU. measurements: own ones, the newest of each name. recorded_measurements:
    those that came from another lab. tile_guesses: own ones on the lab's tiles (`fingerprint`). devices: this
    machine's. guesses: by the key of their question.
    """

    owner: str
    runs: tuple[Contender, ...] = ()
    recorded: tuple[Contender, ...] = ()
    profiles: tuple[Profiled, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    recorded_measurements: tuple[Measurement, ...] = ()
    tile_guesses: Evaluation | None = None
    fingerprint: str = ""
    devices: tuple[Device, ...] = ()
    guesses: Mapping[str, str] = field(default_factory=dict)

    @property
    def gpus(self) -> tuple[Device, ...]:
        """GPUs that can be computed on here."""
        return tuple(each for each in self.devices if each.available and each.id != "cpu")

    @property
    def best(self) -> Contender | None:
        """The own training with the highest accuracy; real tiles come before synthetic ones."""
        judged = [each for each in self.runs if each.accuracy is not None]
        return max(judged, key=lambda each: (each.record.tiles.source != "synthetic", each.accuracy), default=None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was measured yet."""
        return not (self.runs or self.profiles or self.measurements)

    def best_of(self, model: str) -> Contender | None:
        """The best own training of one model of the catalog."""
        found = [each for each in self.runs if each.record.config.model == model and each.accuracy is not None]
        return max(found, key=lambda each: (each.record.tiles.source != "synthetic", each.accuracy), default=None)

    def measured(self, *names: str) -> Measurement | None:
        """The newest own measurement of one of these names."""
        return next((each for each in self.measurements if each.result.name in names), None)

    def profile_on(self, gpu: bool) -> Profiled | None:
        """The newest own profile with or without GPU work."""
        return next((each for each in self.profiles if (each.record.config.device != "cpu") == gpu), None)

    def pairs(self, recorded: bool = False) -> list[tuple[Contender, Contender]]:
        """Trainings on the CPU and on another device that differ in nothing else, (CPU, other); one pair per model."""
        return _one_per_model(self.recorded if recorded else self.runs)

    def timed_pairs(self) -> list[tuple[Contender, Contender]]:
        """The own `pairs` whose rates are those of the whole network, not of its last layer on kept outputs."""
        return _one_per_model([each for each in self.runs if each.record.config.source != "features"])


def _one_per_model(runs: Sequence[Contender]) -> list[tuple[Contender, Contender]]:
    found: dict[tuple[Architecture, str], tuple[Contender, Contender]] = {}
    for pair in device_pairs(runs):
        config = pair[1].record.config
        found.setdefault((config.architecture, config.device), pair)
    return list(found.values())


def gather(lab: "Lab", owner: str, guesses: Mapping[str, str]) -> Evidence:
    """What a participant has measured so far. Profiles that nobody looked at yet are read, which takes a moment."""
    records = [each for each in lab.store.all()[0] if each.owner == owner]
    trained = [each for each in records if lineup_of(lab).has_result(each)]
    own = [each.id for each in trained if not each.recorded_on][:MOST_TRAININGS]
    elsewhere = [each.id for each in trained if each.recorded_on][:MOST_TRAININGS]
    there, tiles = lab.sweeps.runs(owner), lab.tiles().tile_set
    return Evidence(
        owner,
        _contenders(lab, own),
        _contenders(lab, elsewhere),
        _profiles(lab, [each for each in records if each.kind == "profile" and not each.recorded_on]),
        _newest(lab, [each for each in there if not each.recorded_on]),
        _newest(lab, [each for each in there if each.recorded_on]),
        lab.results.guesses(owner),
        tiles.fingerprint if tiles is not None else "",
        lab.devices(),
        dict(guesses),
    )


def _contenders(lab: "Lab", run_ids: Sequence[str]) -> tuple[Contender, ...]:
    try:
        return lineup_of(lab).side_by_side(run_ids).runs if run_ids else ()
    except LabError:  # one was deleted at this very moment
        return ()


def _profiles(lab: "Lab", records: Sequence[RunRecord]) -> tuple[Profiled, ...]:
    """The newest on the CPU and the newest on a GPU that can be read."""
    found: dict[bool, Profiled] = {}
    for record in records[:_MOST_PROFILES]:
        on_gpu = record.config.device != "cpu"
        profile = lab.profiles.of_run(record)
        if record.is_active or on_gpu in found or not profile.cycles:
            continue
        try:
            reading = lab.profiles.reading(profile, profile.cycles[-1])
        except LabError:  # damaged, or deleted meanwhile: the Profiler page says so
            continue
        found[on_gpu] = Profiled(record, profile, reading)
    return tuple(sorted(found.values(), key=lambda each: -each.record.created))


def _newest(lab: "Lab", records: Sequence[RunRecord]) -> tuple[Measurement, ...]:
    """Of each name the newest whose figures can be read."""
    found: dict[str, Measurement] = {}
    for record in records:
        name = str(record.plan.get("name", ""))
        if name in found:
            continue
        try:
            found[name] = Measurement(record, lab.sweeps.result(record.id))
        except LabError:
            continue
    return tuple(found.values())


def majority_of(run: Contender) -> float:
    """The largest class's share of the tiles a run was judged on; 0 where that is not known."""
    return majority_share([sum(row) for row in run.evaluation.confusion]) if run.evaluation is not None else 0.0


Kind = Literal["found", "recorded", "missing"]


@dataclass(frozen=True)
class Point:
    """A part of a sentence: what it is `about`, and what was found, or that it is missing.

    kind: `found` (measured here), `recorded` (measured elsewhere, which the finding says), `missing`. page, link,
    parameters: the page that gives the missing figure, in words, and what its address should say. basis: on what the
    figures rest, where the finding does not say it.
    """

    about: str
    kind: Kind
    found: Finding
    page: str = ""
    link: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    basis: Finding | None = None


@dataclass(frozen=True)
class Sentence:
    """One of the three, with its points."""

    sentence: Finding
    points: tuple[Point, ...]

    @property
    def found(self) -> int:
        """How many of its points rest on a figure of one's own."""
        return sum(each.kind == "found" for each in self.points)


def sentences(lab: "Lab", evidence: Evidence) -> tuple[Sentence, ...]:
    """All three, in their order."""
    points = {"learning": _learning(evidence), "devices": _devices(lab, evidence), "habit": _habit(lab, evidence)}
    return tuple(Sentence(Finding(f"wrapup.sentence.{name}"), tuple(each)) for name, each in points.items())


# -- 1: what a CNN learns, and how it is judged


def _learning(evidence: Evidence) -> list[Point]:
    best = evidence.best
    if best is None:
        untrained, unjudged = Finding("wrapup.untrained.network"), Finding("wrapup.untrained.accuracy")
        points = [
            Point("learns filters", "missing", untrained, "train.py", "Train one"),
            Point("tiles it has not seen", "missing", unjudged, "train.py", "See how accuracy comes about"),
        ]
    else:
        judged = training.outcome(best.record, best.history, majority_of(best))
        points = [
            Point("learns filters", "found", _learned(best)),
            Point("tiles it has not seen", "found", judged),
        ]
        if best.evaluation is not None:
            points.append(Point("what it confuses", "found", _own(best.label, training.confusions(best.evaluation))))
    points.insert(min(len(points), 2), _elsewhere(evidence))
    points.append(_you(evidence))
    return points


def _own(whose: str, found: Finding) -> Finding:
    return Finding("wrapup.own", {"whose": whose, "finding": found})


def _learned(run: Contender) -> Finding:
    started = run.history.started
    if started is None:
        return Finding("wrapup.learned.unknown", {"run": run.label})
    figures = {"run": run.label, "parameters": started.trainable_parameters, "tiles": started.train_tiles}
    figures |= {"epochs": len(run.history.epochs), "seconds": run.seconds}
    return Finding(f"wrapup.learned.{'timed' if run.seconds else 'untimed'}", figures)


def _elsewhere(evidence: Evidence) -> Point:
    about, found = "ideally from elsewhere", split_verdict(evidence.runs)
    if found.kind == "both":
        return Point(about, "found", found)
    by_place = any(each.record.config.split == "place" for each in evidence.runs)
    missing = "by_place" if by_place else "at_random" if evidence.runs else "untrained"
    return Point(about, "missing", Finding(f"wrapup.elsewhere.{missing}"), "tiles.py", "What the split by place does")


def _you(evidence: Evidence) -> Point:
    about, own = "you against it", evidence.tile_guesses
    if own is None:
        return Point(about, "missing", Finding("wrapup.you.missing"), "tiles.py", "Name ten tiles")
    judged = evidence.best
    if judged is None or judged.record.tiles.fingerprint != evidence.fingerprint:
        return Point(about, "found", Finding("wrapup.you.alone", {"accuracy": own.accuracy, "tiles": own.tiles}))
    return Point(about, "found", against_you(own, judged))


# -- 2: when a GPU pays


def _devices(lab: "Lab", evidence: Evidence) -> list[Point]:
    points = _measured_on_both(lab, evidence)
    if not points:
        points = [*_recorded_elsewhere(evidence), _no_gpu_figures(evidence)]
    points.append(_experiment(evidence, "enough parallel work", ("batch_size", "model_size"), "Try a larger batch"))
    points.append(_experiment(evidence, "data arrives in time", ("source", "workers"), "Try where tiles come from"))
    return points


def _measured_on_both(lab: "Lab", evidence: Evidence) -> list[Point]:
    points = []
    race = evidence.measured(RACE)
    if race is not None and len(race.result.devices) > 1:
        points += _race_points(race, "found")
    for cpu, other in evidence.pairs():
        points.append(Point("a GPU pays", "found", speed_verdict(cpu, other)))
        smarter = device_verdict(cpu, other, lineup_of(lab).repeated(other.record))
        points.append(Point("not smarter", "found", smarter))
    return points


def _race_points(race: Measurement, kind: Kind) -> list[Point]:
    across = device_findings(read_race(race.record, race.result))
    how = measured_how(race.record, race.result)
    return [
        Point("a GPU pays", kind, each, basis=how if number == len(across) else None)
        for number, each in enumerate(across, 1)
    ]


def _recorded_elsewhere(evidence: Evidence) -> list[Point]:
    """Imported runs stand in where this machine has no GPU, and say where they were recorded."""
    points = [
        point
        for each in evidence.recorded_measurements
        if each.result.name == RACE and len(each.result.devices) > 1
        for point in _race_points(each, "recorded")
    ]
    for cpu, other in evidence.pairs(recorded=True):
        for about, found in (("a GPU pays", speed_verdict(cpu, other)), ("not smarter", device_verdict(cpu, other))):
            recorded = Finding("wrapup.recorded", {"where": other.record.recorded_on}, (found,))
            points.append(Point(about, "recorded", recorded))
    return points


def _no_gpu_figures(evidence: Evidence) -> Point:
    if evidence.gpus:
        missing = Finding("wrapup.gpu.unused", {"gpus": [wording.device_name(each.id) for each in evidence.gpus]})
        return Point("a GPU pays", "missing", missing, "compare.py", "Race on both")
    reasons = [each.reason for each in evidence.devices if not each.available and each.reason]
    missing = Finding("wrapup.gpu.nothing")
    if reasons:
        missing = Finding("wrapup.gpu.missing", {"reasons": " ".join(reasons)}, (missing,))
    return Point("a GPU pays", "missing", missing, "compare.py", "Race on the CPU, or take in runs from a GPU")


def _experiment(evidence: Evidence, about: str, names: Sequence[str], link: str) -> Point:
    """The newest of these experiments, on the GPU if it was measured there."""
    found = evidence.measured(*names)
    if found is None:
        missing = Finding("wrapup.experiment.missing", {"titles": [f"“{EXPERIMENTS[name].title}”" for name in names]})
        return Point(about, "missing", missing, "speed.py", link, (("experiment", names[0]),))
    return _experiment_point(about, found)


def _experiment_point(about: str, found: Measurement) -> Point:
    device = home_device(found.result.devices)
    figures = {"title": EXPERIMENTS[found.result.name].title, "device": device}
    compared = Finding("wrapup.experiment.found", {**figures, "finding": experiment_finding(found.result, device)})
    return Point(about, "found", compared, basis=measured_how(found.record, found.result))


# -- 3: the habit


def _habit(lab: "Lab", evidence: Evidence) -> list[Point]:
    points = []
    for each in evidence.profiles:
        whose = f"{each.profile.title} ({wording.device_name(each.record.config.device)})"
        points.append(Point("find the bottleneck", "found", _own(whose, profile.outcome(each.reading))))
    if not evidence.profiles:
        missing = Finding("wrapup.no_profile")
        points.append(Point("find the bottleneck", "missing", missing, "profiler.py", "Record one"))
    said = {"batch_size", "model_size", "source", "workers"}
    used = [evidence.measured("batch_size", "model_size"), evidence.measured("source", "workers")]
    more = [each for each in evidence.measurements if each.result.name in EXPERIMENTS and each not in used]
    points += [_experiment_point("change one thing", each) for each in more]
    again = _trained_again(evidence)
    if again is not None:
        points.append(again)
    if not more and again is None:
        done = any(each.result.name in said for each in evidence.measurements)
        missing = Finding(f"wrapup.one_thing.{'above' if done else 'nothing'}")
        points.append(Point("change one thing", "missing", missing, "speed.py", "Choose an experiment"))
    return points


def _trained_again(evidence: Evidence) -> Point | None:
    """The newest own training that differs from an earlier one in a single setting that changes its speed."""
    records = [each.record for each in evidence.runs]
    histories = {each.record.id: each.history for each in evidence.runs}
    for run in evidence.runs:
        other = comparable_run(run.record, records)
        if other is None or len(changed(run.record.config, other.config, leave_out=("recipe", "epochs", "tiles"))) != 1:
            continue
        found = compare_speed(run.record, run.history, other, histories[other.id])
        if found is not None and found.kind != "other_work":
            return Point("measure again", "found", _own(run.label, found))
    return None


_EPOCHS = 10  # the tutorial's
_MOST_EPOCHS = 60
_RATE_FACTORS = {"chance": 0.1, "overfitting": 0.3}
_LARGER = 3.0


@dataclass(frozen=True)
class NextStep:
    """A training to try: key, title, why, and its settings."""

    key: str
    title: Finding
    why: Finding
    config: TrainConfig


def next_steps(evidence: Evidence, by_place: bool = True) -> list[NextStep]:
    """More epochs, another learning rate, more layers; each changes one thing of the best training so far.

    by_place: whether the lab can split its tiles by place.
    """
    best = evidence.best
    config = workshop_config("baseline") if best is None else replace(best.record.config, sealed_test=False)
    stage = _stage(best)
    epochs = min(max(_EPOCHS, 2 * config.epochs), _MOST_EPOCHS)
    rate = float(f"{config.learning_rate * _RATE_FACTORS.get(stage, _LARGER):.1g}")
    steps: dict[str, TrainConfig | None] = {
        "epochs": _changed(config, epochs=epochs) if epochs > config.epochs else None,
        "rate": _changed(config, learning_rate=rate),
        "layers": _with_layers(config),
        "place": _changed(config, split="place") if by_place and best and config.split == "random" else None,
    }
    figures = {"epochs": epochs, "before": config.epochs, "rate": rate, "rate_before": config.learning_rate}
    return [
        NextStep(name, Finding(f"next.phrase.{name}", figures), _why(name, stage), made)
        for name, made in steps.items()
        if made is not None
    ]


def _why(name: str, stage: str) -> Finding:
    has_own = name == "epochs" or (name == "rate" and stage in _RATE_FACTORS)
    return Finding(f"next.{stage if has_own else 'any'}.{name}")


def _stage(best: Contender | None) -> str:
    """How far a training has come, as the sentences of `next` name it."""
    if best is None:
        return "nothing"
    stage = training.learning(best.history, max(len(best.record.tiles.class_names), 2), majority_of(best))
    if stage != "chance" and training.rate_is_high(best.record.config, best.history):
        return "rate_high"
    return "rate_down" if stage == "levelled" and best.record.config.schedule != "constant" else stage


def _changed(config: TrainConfig, **changes: object) -> TrainConfig | None:
    """The config with one thing changed; None where that cannot be trained."""
    try:
        return TrainConfig.from_dict({**config.to_dict(), **changes})
    except ConfigError:
        return None


def _with_layers(config: TrainConfig) -> TrainConfig | None:
    network = format_network(changed_baseline(extra="convolution"))
    if config.network == network:
        return None
    if config.model == "baseline":
        return _changed(config, model="custom", network=network)
    same = {name: getattr(config, name) for name in ("epochs", "tiles", "stratified", "split", "seed")}
    return _changed(workshop_config("custom", network=network), **same)
