"""The race of two networks on two devices: its runs, its verdict, and the replay of recorded runs.

Short form: one measurement (`sweep`) whose cells take turns, timed step by step, with the whole trainings projected. It
is raced the tutorial's way, where pictures are decoded and batches are small, or with resident tiles: decoded already,
in the device's own memory, in large batches, which times the computing and little else.
Full form: ordinary trainings, one after the other, each with the machine to itself. Where a device is missing nothing
is invented: its place says why it is empty. What the tutorial reports was measured elsewhere on other networks' devices
and is never mixed with what was measured here.

A moment of a replay is measured on the runs' own clock, which stands still in pauses. Every state holds a `History` cut
off there, so whatever draws a living run draws a replayed one.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eurosat_core import wording
from eurosat_core.data.weights import WEIGHTS, weights_problem
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.finding import Finding
from eurosat_core.lab.kind import Estimate
from eurosat_core.lab.sweep import least_seconds
from eurosat_core.models.catalog import CATALOG, model_entry
from eurosat_core.runs.history import History, progress
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import home_device
from eurosat_core.speed.plan import Cell, SweepPlan
from eurosat_core.speed.result import CellResult, Projection, SweepResult, project
from eurosat_core.speed.verdict import Spread, Verdict
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import StepDone

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab


RACE = "race"
RESIDENT_RACE = "race_resident"
RACES = (RACE, RESIDENT_RACE)
"""Names of the measurements that are races: the tutorial's way, and with resident tiles."""
_RESIDENT = {"source": "memory", "batch_size": 256}
EPOCHS = 10
TUTORIAL_RATIO = 6.0
"""How many times as fast the tutorial reports VGG11-BN on its GPU as on its CPU. Not measured here."""

_STEPS = 5  # timed steps of a cell in a round, at least
_ROUNDS = 6  # so at least 30 in all
_SECONDS = 20.0  # per cell
_LONGEST = 150.0  # so that it is over within three minutes of the click


@dataclass(frozen=True)
class Entrants:
    """The models that race, and why the pretrained one is not the tutorial's."""

    models: tuple[str, ...]
    note: Finding | None = None


def entrants(cache: Path) -> Entrants:
    """The baseline against VGG11-BN where its weights are in the cache, else against EfficientNet-Lite0."""
    if not weights_problem("vgg11_bn", cache):
        return Entrants(("baseline", "vgg11_bn"))
    figures = {"megabytes": WEIGHTS["vgg11_bn"].megabytes, "title": CATALOG["efficientnet_lite0"].title}
    if weights_problem("efficientnet_lite0", cache):
        return Entrants(("baseline", "tilenet"), Finding("race.stand_in.untrained", figures))
    return Entrants(("baseline", "efficientnet_lite0"), Finding("race.stand_in.pretrained", figures))


# -- short form


def plan_race(
    models: Sequence[str],
    devices: Sequence[str],
    tile_seconds: Callable[[TrainConfig], float | None] = lambda _config: None,
    seconds: float | None = None,
    name: str = RACE,
) -> tuple[TrainConfig, SweepPlan]:
    """What the short form measures: the config that all share (the tutorial's, but for its tiles), and the plan.

    tile_seconds: of a training tile with some settings, so that a slow machine gets the time it needs. seconds: for
    all timed steps, else as many as that takes. name: which of `RACES`. Raises `ConfigError` when nothing can race.
    """
    if not models or not devices:
        raise ConfigError("Choose at least one model and one device for the race.")
    tiles = _RESIDENT if name == RESIDENT_RACE else {}
    config = recipe_config(models[0], "tutorial", device=home_device(devices), **tiles)
    cells = tuple(
        Cell(model_entry(model).title, {"model": model, "device": device}) for device in devices for model in models
    )
    first = cells[0].label
    plan = SweepPlan(cells, name, "model", first, cells[-1].label, rounds=_ROUNDS, steps=_STEPS, validation=True)
    if seconds is None:
        needed = least_seconds(config, plan, tile_seconds)
        seconds = float(round(min(max(_SECONDS * len(cells), 1.1 * needed), _LONGEST)))
    plan = replace(plan, seconds=seconds).checked()
    plan.configs(config)
    return config, plan


@dataclass(frozen=True)
class Bar:
    """One model on one device, and the whole training projected from its steps (or why that cannot be).

    text: what stands at the bar: device, threads, steps, spread.
    """

    model: str
    title: str
    device: str
    tiles_per_second: Spread | None
    projection: Projection | None
    text: str
    problem: str = ""


@dataclass(frozen=True)
class Race:
    """What a race showed. recorded_on, company: as in the run's record: say them with its figures."""

    bars: tuple[Bar, ...]
    recorded_on: str
    company: tuple[str, ...]
    result: SweepResult

    def device_verdict(self, model: str, device: str) -> Verdict:
        """Whether a model trains faster on a device than on the CPU."""
        title = model_entry(model).title
        return self.result.verdict(title, device, against=title, on="cpu")

    def model_verdict(self, model: str, against: str, device: str) -> Verdict:
        """Whether a model takes its steps faster than another one on the same device."""
        return self.result.verdict(model_entry(model).title, device, against=model_entry(against).title)


def read_race(record: RunRecord, result: SweepResult) -> Race:
    """The race in a run's result, with the trainings on all of its tiles projected."""
    train = int(record.tiles.count * record.config.train_fraction)
    bars = tuple(_bar(record, each, train) for each in result.cells)
    return Race(bars, record.recorded_on, record.company, result)


def _bar(record: RunRecord, cell: CellResult, train_tiles: int) -> Bar:
    return Bar(
        model=cell.config.model,
        title=cell.label,
        device=cell.device,
        tiles_per_second=cell.tiles_per_second,
        projection=project(cell, train_tiles, record.tiles.count - train_tiles, EPOCHS),
        text=_measured_text(record, cell),
        problem=cell.problem,
    )


def _measured_text(record: RunRecord, cell: CellResult) -> str:
    steps, threads = cell.step_seconds, cell.threads or record.machine.get("threads")
    if steps is None:
        return cell.problem
    threaded = f", {threads} threads" if cell.device == "cpu" and threads else ""
    spread = f"half of the rounds within {wording.share(steps.share)}"
    rounds = wording.count(steps.rounds, "round")
    return f"{record.name_of(cell.device)}{threaded}; {steps.steps:,} timed steps in {rounds}, {spread}"


# -- full form


def full_race_configs(models: Sequence[str], devices: Sequence[str], epochs: int = EPOCHS) -> tuple[TrainConfig, ...]:
    """The trainings of the full form: every model on every device, the tutorial's way."""
    return tuple(
        recipe_config(model, "tutorial", device=device, epochs=epochs) for device in devices for model in models
    )


def estimate_full_race(lab: "Lab", configs: Sequence[TrainConfig]) -> Estimate | None:
    """How long the full form takes, one training after the other; None while one of them cannot be estimated."""
    found = [lab.estimates.training(each) for each in configs]
    if not found or any(each is None for each in found):
        return None
    known = [each for each in found if each is not None]
    basis = " ".join(dict.fromkeys(each.basis for each in known))
    return Estimate(sum(each.seconds for each in known), basis, any(each.is_rough for each in known))


def start_full_race(lab: "Lab", configs: Sequence[TrainConfig], owner: str) -> tuple[str, tuple[RunRecord, ...]]:
    """Put all trainings of the full form in the queue, each to have the machine to itself: their group, and the runs.

    Raises `LabError` with a sentence when one of them cannot be; those that were put there are taken back.
    """
    group = f"{RACE}-{secrets.token_hex(4)}"
    runs: list[RunRecord] = []
    try:
        for each in configs:
            runs.append(lab.submit(each, owner, group=group))  # noqa: PERF401 (what came before an error is needed)
    except Exception:
        for run in runs:
            lab.control(run.id, owner, "stop")
        raise
    return group, tuple(runs)


def group_of(records: Sequence[RunRecord], group: str) -> tuple[RunRecord, ...]:
    """The runs of a full race, in the order in which they were asked for. Raises `RunError` when there are none."""
    found = [each for each in records if each.plan.get("group") == group and each.kind == "train"]
    if not found:
        raise RunError("The runs of this race are gone. Start another one.")
    return tuple(sorted(found, key=lambda each: (each.created, each.id)))


def race_findings(race: Race) -> list[Finding]:
    """What the race showed: every model on every other device against the CPU, then the models against each other."""
    found = [
        Finding("race.problem", {"title": each.title, "device": each.device, "problem": each.problem})
        for each in race.bars
        if each.problem
    ]
    measured = [each for each in race.bars if not each.problem]
    found += device_findings(race)
    for device in dict.fromkeys(each.device for each in measured):
        first, *others = (each for each in measured if each.device == device)
        found += [_models(race, first, each) for each in others]
    return found


def device_findings(race: Race) -> list[Finding]:
    """Every model on every other device against the CPU, where both were measured."""
    found = []
    for bar in race.bars:
        verdict = race.device_verdict(bar.model, bar.device)
        if not bar.problem and bar.device != "cpu" and verdict.outcome != "unknown":
            figures = {"title": bar.title, "device": bar.device, "verdict": verdict}
            found.append(Finding("race.devices", figures))
    return found


def _models(race: Race, first: Bar, other: Bar) -> Finding:
    verdict = race.model_verdict(other.model, first.model, other.device)
    figures = {"title": other.title, "first": first.title, "device": other.device, "verdict": verdict}
    if first.projection is None or other.projection is None:
        return Finding("race.models", figures)
    seconds = {"seconds": other.projection.seconds, "first_seconds": first.projection.seconds}
    then = Finding("race.projected", {"epochs": first.projection.epochs, **seconds})
    return Finding("race.models", figures, (then,))


def as_long(race: Race) -> Finding | None:
    """How many times as long the second network is projected to train; None without both of them.

    On the CPU, or on whatever device was raced on where that is not among them.
    """
    devices = [each.device for each in race.bars]
    device = "cpu" if "cpu" in devices else next(iter(devices), "")
    seconds = _projected([each for each in race.bars if each.device == device])
    if len(seconds) < 2:
        return None
    return Finding("race.as_long", {"device": device, "ratio": seconds[1] / seconds[0]})


def _projected(bars: Sequence[Bar]) -> list[float]:
    return [each.projection.seconds for each in bars if each.projection is not None]


SPEEDS = (1, 2, 5, 10, 50)
"""Times as fast as it was, to choose from."""

Stage = Literal["starting", "training", "validating", "done", "broke_off"]


@dataclass(frozen=True)
class ReplayState:
    """One run at a moment of the replay.

    seconds: on the run's own clock, no further than its end. history: what it had told by then. progress: 0…1.
    epoch: the one it is in, from 1; 0 before the first. accuracy: after its last complete epoch, on validation tiles.
    tiles_per_second: of its newest reported step.
    """

    seconds: float
    of_seconds: float
    history: History
    stage: Stage
    progress: float
    epoch: int
    epochs: int
    accuracy: float | None
    tiles_per_second: float | None

    @property
    def is_over(self) -> bool:
        """Whether the run has told everything it ever told."""
        return self.stage in ("done", "broke_off")


def own_seconds(history: History) -> float:
    """How long a run took on its own clock, as far as it told; 0 for one that told nothing."""
    told = [0.0]
    told += [each.elapsed_seconds for each in history.epochs[-1:]]
    told += [each.seconds for each in (history.features, history.latest, history.finished) if each is not None]
    return max(told)


def total_seconds(histories: Mapping[str, History]) -> float:
    """How long the replay takes at its true speed: as long as the slowest run."""
    return max(map(own_seconds, histories.values()), default=0.0)


def frame_at(histories: Mapping[str, History], moment: float) -> dict[str, ReplayState]:
    """The state of every run so many seconds after all of them began; before that nothing has happened yet.

    histories: by run id or label, in the order in which they are drawn.
    """
    return {name: _state(each, max(moment, 0.0)) for name, each in histories.items()}


def history_at(history: History, moment: float) -> History:
    """What a run had told when its own clock showed `moment` seconds."""
    steps = tuple(each for each in history.steps if each.seconds <= moment)
    latest = steps[-1] if steps else None
    if history.latest is not None and history.latest.seconds <= moment:
        latest = history.latest
    epochs = tuple(each for each in history.epochs if each.elapsed_seconds <= moment)
    features, finished = history.features, history.finished
    if features is not None and features.seconds > moment:
        features = None
    if finished is not None and finished.seconds > moment:
        finished = None
    told = (history.started is not None) + (features is not None) + len(steps) + len(epochs) + (finished is not None)
    return replace(
        history, steps=steps, latest=latest, epochs=epochs, features=features, finished=finished, events=told
    )


def _state(history: History, moment: float) -> ReplayState:
    end = own_seconds(history)
    known = history_at(history, moment)
    started, latest = history.started, known.latest
    return ReplayState(
        seconds=min(moment, end),
        of_seconds=end,
        history=known,
        stage=_stage(history, known, moment >= end),
        progress=progress(known),
        epoch=_epoch(known, latest),
        epochs=started.epochs if started else 0,
        accuracy=known.epochs[-1].val_accuracy if known.epochs else None,
        tiles_per_second=latest.tiles_per_second if latest else None,
    )


def _stage(history: History, known: History, is_over: bool) -> Stage:
    if is_over:
        return "done" if history.finished is not None else "broke_off"
    if known.latest is None and not known.epochs:
        return "starting"
    latest = known.latest
    in_epoch = latest is not None and latest.epoch > len(known.epochs)
    return "validating" if in_epoch and latest is not None and latest.phase == "validation" else "training"


def _epoch(known: History, latest: StepDone | None) -> int:
    return max(len(known.epochs), latest.epoch if latest else 0)


def standing(states: Mapping[str, ReplayState]) -> Finding:
    """Who is ahead at this moment: `starting`, `under_way`, `some_done` or `over`."""
    done = {name: each for name, each in states.items() if each.stage == "done"}
    ranked = sorted(done, key=lambda name: done[name].seconds)
    if len(states) > 1 and all(each.is_over for each in states.values()):
        times = [Finding("race.phrase.done", {"name": name, "seconds": done[name].seconds}) for name in ranked]
        return Finding("race.over.done", {"times": times}) if times else Finding("race.over.none")
    if done:
        figures = {"name": ranked[0], "seconds": done[ranked[0]].seconds}
        others = [
            Finding("race.phrase.at", {"name": name, "progress": each.progress})
            for name, each in states.items()
            if not each.is_over
        ]
        then = (Finding("race.others", {"others": others}),) if others else ()
        return Finding("race.some_done", figures, then)
    ahead = max(states, key=lambda name: states[name].progress, default=None)
    if ahead is None or states[ahead].progress <= 0:
        return Finding("race.starting")
    return Finding("race.under_way", {"name": ahead, "progress": states[ahead].progress})
