"""What a participant has measured, brought together for the wrap-up: trainings, profiles, experiments, guesses.

Own figures and those recorded elsewhere are kept apart, so that no sentence can mix them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eurosat_core.devices import Device
from eurosat_core.errors import LabError
from eurosat_core.lab.contenders import Contender
from eurosat_core.lab.findings import majority_share
from eurosat_core.lab.profiles import Profile, Reading
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.verdicts import device_pairs
from eurosat_core.speed.result import SweepResult
from eurosat_core.training.config import Architecture
from eurosat_core.training.evaluation import Evaluation

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab

__all__ = ["MOST_TRAININGS", "Evidence", "Measurement", "Profiled", "gather", "majority_of"]

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
    records = [each for each in lab.runs()[0] if each.owner == owner]
    trained = [each for each in records if lab.lineup.has_result(each)]
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
        lab.guesses(owner),
        tiles.fingerprint if tiles is not None else "",
        lab.devices(),
        dict(guesses),
    )


def _contenders(lab: "Lab", run_ids: Sequence[str]) -> tuple[Contender, ...]:
    try:
        return lab.lineup.side_by_side(run_ids).runs if run_ids else ()
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
