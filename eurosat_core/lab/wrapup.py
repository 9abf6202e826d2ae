"""The lesson's three sentences, each with what the participant measured for it, or what is still missing and where.

Nothing is concluded here that no figure of the participant's says; what was recorded elsewhere is marked so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eurosat_core import wording
from eurosat_core.lab import findings, profile_words, race_frames
from eurosat_core.lab.choices import changed
from eurosat_core.lab.contenders import Contender
from eurosat_core.lab.evidence import Evidence, Measurement, majority_of
from eurosat_core.lab.pace import comparable_run, compare_speed
from eurosat_core.lab.race import RACE, read_race
from eurosat_core.lab.sweep_words import experiment_finding, measured_how
from eurosat_core.lab.verdicts import against_you, device_verdict, speed_verdict, split_verdict
from eurosat_core.speed.experiment_terms import home_device
from eurosat_core.speed.experiments import EXPERIMENTS

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab

__all__ = ["SENTENCES", "Point", "Sentence", "sentences"]

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
    text: str
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
            text = findings.confusions(best.evaluation).text
            points.append(Point("what it confuses", "found", f"{best.label}. {text}"))
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


def _judged(run: Contender) -> str:
    return findings.outcome(run.record, run.history, majority_of(run)).text


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
        smarter = device_verdict(cpu, other, lab.lineup.repeated(other.record))
        points.append(Point("not smarter", "found", smarter.text))
    return points


def _race_points(race: Measurement, kind: Kind) -> list[Point]:
    found = read_race(race.record, race.result)
    across = [each.text for each in race_frames.race_findings(found) if "against the CPU" in each.text]
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
        text = profile_words.outcome(each.reading).text.replace("*", "")
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
