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
from eurosat_core.analysis.finding import Finding
from eurosat_core.analysis.lineup import lineup_of
from eurosat_core.analysis.pace import comparable_run, compare_speed
from eurosat_core.analysis.race import RACE, device_findings, read_race
from eurosat_core.analysis.sweep import experiment_finding, measured_how
from eurosat_core.analysis.training import majority_share
from eurosat_core.analysis.verdicts import against_you, device_pairs, device_verdict, speed_verdict, split_verdict
from eurosat_core.devices import Device
from eurosat_core.errors import ConfigError, LabError
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


if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab


Kind = Literal["found", "recorded", "missing"]

SENTENCES = (
    "A CNN learns filters from labelled tiles; I judge it on tiles it has not seen, ideally from elsewhere, and by "
    "what it confuses.",
    "A GPU pays when there is enough parallel work and data arrives in time; it does not make the model smarter.",
    "I measure, find the bottleneck, change one thing, and measure again.",
)
"""What a participant can say at the end."""


@dataclass(frozen=True)
class Point:
    """A part of a sentence: what it is `about`, and what was found, or that it is missing.

    kind: `found` (measured here), `recorded` (measured elsewhere, which the text says), `missing`. page, link,
    parameters: the page that gives the missing figure, in words, and what its address should say. basis: on what the
    figures rest, where the text does not say it.
    """

    about: str
    kind: Kind
    text: str | Finding
    page: str = ""
    link: str = ""
    parameters: tuple[tuple[str, str], ...] = ()
    basis: str = ""


@dataclass(frozen=True)
class Sentence:
    """One of the three, with its points."""

    text: str
    points: tuple[Point, ...]

    @property
    def found(self) -> int:
        """How many of its points rest on a figure of one's own."""
        return sum(each.kind == "found" for each in self.points)


def sentences(lab: "Lab", evidence: Evidence) -> tuple[Sentence, ...]:
    """All three, in their order."""
    points = (_learning(evidence), _devices(lab, evidence), _habit(lab, evidence))
    return tuple(Sentence(text, tuple(each)) for text, each in zip(SENTENCES, points, strict=True))


# -- 1: what a CNN learns, and how it is judged


def _learning(evidence: Evidence) -> list[Point]:
    best = evidence.best
    if best is None:
        points = [
            Point("learns filters", "missing", "You have not trained a network yet.", "train.py", "Train one"),
            Point(
                "tiles it has not seen",
                "missing",
                "So there is no accuracy of your own to judge, and nothing confused.",
                "train.py",
                "See how accuracy comes about",
            ),
        ]
    else:
        points = [
            Point("learns filters", "found", _learned(best)),
            Point("tiles it has not seen", "found", _judged(best)),
        ]
        if best.evaluation is not None:
            about = {"whose": best.label, "finding": training.confusions(best.evaluation)}
            points.append(Point("what it confuses", "found", Finding("wrapup.own", about)))
    points.insert(min(len(points), 2), _elsewhere(evidence))
    points.append(_you(evidence))
    return points


def _learned(run: Contender) -> str:
    started, seconds = run.history.started, run.seconds
    if started is None:
        return f"{run.label} was trained."
    took = f" in {wording.duration(seconds)}" if seconds else ""
    return (
        f"{run.label} set {started.trainable_parameters:,} numbers by looking at {started.train_tiles:,} labelled "
        f"tiles {wording.count(len(run.history.epochs), 'time')}{took}. Nobody told it what a forest looks like."
    )


def _judged(run: Contender) -> Finding:
    return training.outcome(run.record, run.history, majority_of(run))


def _elsewhere(evidence: Evidence) -> Point:
    found = split_verdict(evidence.runs)
    if found.kind == "both":
        return Point("ideally from elsewhere", "found", found.text)
    text = "Your trainings were judged on tiles that lie between their training tiles: how they do elsewhere is open."
    if any(each.record.config.split == "place" for each in evidence.runs):
        text = (
            "You trained with the split by place, but not the same recipe at random: so what the place costs is open."
        )
    if not evidence.runs:
        text = "How much a network loses on tiles from elsewhere, two trainings of one recipe tell."
    return Point("ideally from elsewhere", "missing", text, "tiles.py", "What the split by place does")


def _you(evidence: Evidence) -> Point:
    if evidence.tile_guesses is None:
        text = "You have not named tiles yourself, so nothing says how hard they are."
        return Point("you beside it", "missing", text, "tiles.py", "Name ten tiles")
    judged = evidence.best
    if judged is None or judged.record.tiles.fingerprint != evidence.fingerprint:
        tiles = wording.count(evidence.tile_guesses.tiles, "tile")
        text = f"You named {wording.percent(evidence.tile_guesses.accuracy)} of {tiles} correctly yourself."
        return Point("you beside it", "found", text)
    return Point("you beside it", "found", against_you(evidence.tile_guesses, judged).text)


# -- 2: when a GPU pays


def _devices(lab: "Lab", evidence: Evidence) -> list[Point]:
    points = _measured_on_both(lab, evidence)
    if not points:
        points = [*_recorded_elsewhere(lab, evidence), _no_gpu_figures(evidence)]
    points.append(_experiment(evidence, "enough parallel work", ("batch_size", "model_size"), "Try a larger batch"))
    points.append(_experiment(evidence, "data arrives in time", ("source", "workers"), "Try where tiles come from"))
    return points


def _measured_on_both(lab: "Lab", evidence: Evidence) -> list[Point]:
    points = []
    race = evidence.measured(RACE)
    if race is not None and len(race.result.devices) > 1:
        points += _race_points(race, "found")
    for cpu, other in evidence.pairs():
        points.append(Point("a GPU pays", "found", speed_verdict(cpu, other).text))
        smarter = device_verdict(cpu, other, lineup_of(lab).repeated(other.record))
        points.append(Point("not smarter", "found", smarter.text))
    return points


def _race_points(race: Measurement, kind: Kind) -> list[Point]:
    across = [each.text for each in device_findings(read_race(race.record, race.result))]
    how = measured_how(race.record, race.result)
    return [
        Point("a GPU pays", kind, text, basis=how if number == len(across) else "")
        for number, text in enumerate(across, 1)
    ]


def _recorded_elsewhere(lab: "Lab", evidence: Evidence) -> list[Point]:
    """Imported runs stand in where this machine has no GPU, and say where they were recorded."""
    points = [
        point
        for each in evidence.recorded_measurements
        if each.result.name == RACE and len(each.result.devices) > 1
        for point in _race_points(each, "recorded")
    ]
    for cpu, other in evidence.pairs(recorded=True):
        where = f"Recorded on {other.record.recorded_on}. "
        points.append(Point("a GPU pays", "recorded", where + speed_verdict(cpu, other).text))
        points.append(Point("not smarter", "recorded", where + device_verdict(cpu, other).text))
    return points


def _no_gpu_figures(evidence: Evidence) -> Point:
    if evidence.gpus:
        names = wording.listed([wording.device_name(each.id) for each in evidence.gpus])
        text = f"This machine has a GPU ({names}), but you have not measured the same work on it and on the CPU yet."
        return Point("a GPU pays", "missing", text, "compare.py", "Race on both")
    reasons = [each.reason for each in evidence.devices if not each.available and each.reason]
    text = " ".join([*reasons, "So nothing here was measured on a GPU, and nothing is claimed about one."])
    return Point("a GPU pays", "missing", text, "compare.py", "Race on the CPU, or take in runs from a GPU")


def _experiment(evidence: Evidence, about: str, names: Sequence[str], link: str) -> Point:
    """The newest of these experiments, on the GPU if it was measured there."""
    found = evidence.measured(*names)
    if found is None:
        titles = wording.listed([f"“{EXPERIMENTS[name].title}”" for name in names], "or")
        text = f"Not measured yet: {titles} on the Speed page tells."
        return Point(about, "missing", text, "speed.py", link, (("experiment", names[0]),))
    return _experiment_point(about, found)


def _experiment_point(about: str, found: Measurement) -> Point:
    device = home_device(found.result.devices)
    title = EXPERIMENTS[found.result.name].title
    text = experiment_finding(found.result, device).text
    how = measured_how(found.record, found.result)
    return Point(about, "found", f"{title}, on the {wording.device_name(device)}: {text}", basis=how)


# -- 3: the habit


def _habit(lab: "Lab", evidence: Evidence) -> list[Point]:
    points = []
    for each in evidence.profiles:
        device = wording.device_name(each.record.config.device)
        text = profile.outcome(each.reading).text.replace("*", "")
        points.append(Point("find the bottleneck", "found", f"{each.profile.title} ({device}). {text}"))
    if not evidence.profiles:
        text = "You have not recorded a profile yet, so where the time of a step goes is not known."
        points.append(Point("find the bottleneck", "missing", text, "profiler.py", "Record one"))
    said = {"batch_size", "model_size", "source", "workers"}
    used = [evidence.measured("batch_size", "model_size"), evidence.measured("source", "workers")]
    more = [each for each in evidence.measurements if each.result.name in EXPERIMENTS and each not in used]
    points += [_experiment_point("change one thing", each) for each in more]
    again = _trained_again(lab, evidence)
    if again is not None:
        points.append(again)
    if not more and again is None:
        done = any(each.result.name in said for each in evidence.measurements)
        text = "The experiments above changed one thing each." if done else "You have not changed one thing alone yet."
        text += " Two trainings that differ in a single setting, or another experiment, would stand here."
        points.append(Point("change one thing", "missing", text, "speed.py", "Choose an experiment"))
    return points


def _trained_again(lab: "Lab", evidence: Evidence) -> Point | None:
    """The newest own training that differs from an earlier one in a single setting that changes its speed."""
    records = [each.record for each in evidence.runs]
    histories = {each.record.id: each.history for each in evidence.runs}
    for run in evidence.runs:
        other = comparable_run(run.record, records)
        if other is None or len(changed(run.record.config, other.config, leave_out=("recipe", "epochs", "tiles"))) != 1:
            continue
        found = compare_speed(run.record, run.history, other, histories[other.id])
        if found is not None and found.kind != "other_work":
            return Point("measure again", "found", f"{run.label}. {found.text}")
    return None


_EPOCHS = 10  # the tutorial's
_MOST_EPOCHS = 60

_WHY_EPOCHS = {
    "nothing": "Every epoch shows it all tiles once more.",
    "chance": "It is still at chance; time alone may be what it lacks.",
    "learning": "It was still learning when it ended, so this will most likely help.",
    "levelled": "It had levelled off, so expect little: that would be worth knowing, too.",
    "levelled, rate down": "Its learning rate had come to nothing. Over more epochs that takes longer: it may help.",
    "rate high": "Its learning rate had yet to come down, so it can most likely do better. Let this one end.",
    "overfitting": "It had begun to memorise, so expect validation to stand still while training rises.",
}
_WHY_RATE = {
    "chance": ("Smaller steps, in case these were too large to settle.", 0.1),
    "overfitting": ("Smaller steps: it gets less far from where it began.", 0.3),
}
_WHY_LARGER = ("Larger steps: they may get there sooner, or never settle. Only trying tells.", 3.0)


@dataclass(frozen=True)
class NextStep:
    """A training to try: key, title, why, and its settings."""

    key: str
    title: str
    why: str
    config: TrainConfig


def next_steps(evidence: Evidence, by_place: bool = True) -> list[NextStep]:
    """More epochs, another learning rate, more layers; each changes one thing of the best training so far.

    by_place: whether the lab can split its tiles by place.
    """
    best = evidence.best
    config = workshop_config("baseline") if best is None else replace(best.record.config, sealed_test=False)
    stage = _stage(best)
    found = [_epochs(config, stage), _rate(config, stage), _layers(config)]
    if by_place and best is not None and config.split == "random":
        found.append(_place(config))
    return [each for each in found if each is not None]


def _stage(best: Contender | None) -> str:
    """How far a training has come, as `_WHY_EPOCHS` names it."""
    if best is None:
        return "nothing"
    stage = training.learning(best.history, max(len(best.record.tiles.class_names), 2), majority_of(best))
    if stage != "chance" and training.rate_is_high(best.record.config, best.history):
        return "rate high"
    return "levelled, rate down" if stage == "levelled" and best.record.config.schedule != "constant" else stage


def _changed(config: TrainConfig, **changes: object) -> TrainConfig | None:
    """The config with one thing changed; None where that cannot be trained."""
    try:
        return TrainConfig.from_dict({**config.to_dict(), **changes})
    except ConfigError:
        return None


def _epochs(config: TrainConfig, stage: str) -> NextStep | None:
    epochs = min(max(_EPOCHS, 2 * config.epochs), _MOST_EPOCHS)
    made = _changed(config, epochs=epochs) if epochs > config.epochs else None
    if made is None:
        return None
    return NextStep("epochs", f"More epochs: {epochs} instead of {config.epochs}", _WHY_EPOCHS[stage], made)


def _rate(config: TrainConfig, stage: str) -> NextStep | None:
    why, factor = _WHY_RATE.get(stage, _WHY_LARGER)
    rate = float(f"{config.learning_rate * factor:.1g}")
    made = _changed(config, learning_rate=rate)
    if made is None:
        return None
    return NextStep("rate", f"Another learning rate: {rate:g} instead of {config.learning_rate:g}", why, made)


def _layers(config: TrainConfig) -> NextStep | None:
    network = format_network(changed_baseline(extra="convolution"))
    if config.network == network:
        return None
    same = {name: getattr(config, name) for name in ("epochs", "tiles", "stratified", "split", "seed")}
    if config.model == "baseline":
        made = _changed(config, model="custom", network=network)
    else:
        made = _changed(workshop_config("custom", network=network), **same)
    if made is None:
        return None
    return NextStep(
        "layers",
        "More layers: the baseline with a third convolution",
        "It can put what the first two found together once more. Whether that pays, the accuracy tells.",
        made,
    )


def _place(config: TrainConfig) -> NextStep | None:
    made = _changed(config, split="place")
    if made is None:
        return None
    return NextStep(
        "place",
        "The same, judged on tiles from elsewhere",
        "The split by place takes neighbours apart: what is left of the accuracy then is what it knows.",
        made,
    )
