"""What can be said about a measurement: speeds, experiments, and the limits of a device."""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from eurosat_core import wording
from eurosat_core.analysis.finding import Told
from eurosat_core.errors import ConfigError
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import EXPERIMENTS, Experiment, Figure, home_device
from eurosat_core.speed.plan import SweepPlan, free_sweep
from eurosat_core.speed.prediction import Overtaking, overtaking_measured, overtaking_predicted
from eurosat_core.speed.result import CellResult, SweepResult
from eurosat_core.speed.verdict import SMALLEST, Spread, Verdict
from eurosat_core.training.config import SETTINGS, TrainConfig, recipe_config
from eurosat_core.wording import count, device_name, factor, listed, rounded, times


def speed_by_setting(result: SweepResult) -> pd.DataFrame:
    """One row per cell that was measured, in the order of the plan.

    Columns: label, device (in words), device_id, tiles_per_second, low, high (quartiles), step_ms,
    operations_per_second (NaN where not known), steps, rounds; factor, factor_low, factor_high, outcome (against the
    reference on the same device; NaN and `unknown` where there is none; `reference` for itself), is_reference.
    """
    rows = []
    for cell in result.cells:
        rate, step, work = cell.tiles_per_second, cell.step_seconds, cell.operations_per_second
        if rate is None or step is None:
            continue
        verdict = result.verdict(cell.label, cell.device)
        rows.append(
            {
                "label": cell.label,
                "device": device_name(cell.device),
                "device_id": cell.device,
                "tiles_per_second": rate.median,
                "low": rate.low,
                "high": rate.high,
                "step_ms": 1000 * step.median,
                "operations_per_second": work.median if work else float("nan"),
                "steps": rate.steps,
                "rounds": rate.rounds,
                "factor": _or_nan(verdict.factor),
                "factor_low": _or_nan(verdict.low),
                "factor_high": _or_nan(verdict.high),
                "outcome": "reference" if cell.label == result.reference else verdict.outcome,
                "is_reference": cell.label == result.reference,
            }
        )
    return pd.DataFrame(rows, columns=_SPEED)


_SPEED = [
    *("label", "device", "device_id", "tiles_per_second", "low", "high", "step_ms", "operations_per_second", "steps"),
    *("rounds", "factor", "factor_low", "factor_high", "outcome", "is_reference"),
]


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


_UNKNOWN = "Too few rounds were measured to tell. Let it run to its end."


def figure_of(result: SweepResult) -> Figure:
    """What the verdicts of a result compare: tiles per second, or arithmetic per second."""
    known = EXPERIMENTS.get(result.name)
    return known.figure if known else "tiles"


def rate_text(spread: Spread, figure: Figure = "tiles") -> str:
    """`1,234 tiles/s` or `45.6 billion operations/s`."""
    if figure == "tiles":
        return wording.rate(spread.median)
    return f"{wording.rounded(spread.median / 1e9, 3)} billion operations/s"


def verdict_text(verdict: Verdict) -> str:
    """`1.8 times as fast (1.7 to 1.9 times)`, `no difference we can measure (…)`."""
    if verdict.factor is None or verdict.low is None or verdict.high is None:
        return _UNKNOWN
    if verdict.outcome == "same":
        return (
            f"no difference we can measure (between {factor(verdict.low)} and {factor(verdict.high)} times as fast; "
            f"less than {100 * (SMALLEST - 1):.0f}\N{NO-BREAK SPACE}% is not called a difference)"
        )
    if verdict.outcome == "faster":
        return f"{factor(verdict.factor)} times as fast ({factor(verdict.low)} to {factor(verdict.high)} times)"
    slower, least, most = (1 / each for each in (verdict.factor, verdict.high, verdict.low))
    return f"slower: the other is {factor(slower)} times as fast ({factor(least)} to {factor(most)} times)"


def experiment_finding(result: SweepResult, device: str) -> Told:
    """What the focus of a measurement shows against its reference on a device, and what that means.

    kind: `faster`, `same`, `slower` or `unknown`.
    """
    figure = figure_of(result)
    focus, reference = result.cell(result.focus, device), result.cell(result.reference, device)
    for each in (focus, reference):
        if each is not None and each.problem:
            return Told("unknown", f"“{each.label}” could not be measured. {each.problem}")
    verdict = result.verdict(result.focus, device, figure=figure)
    if verdict.outcome == "unknown" or focus is None or reference is None:
        return Told("unknown", _UNKNOWN)
    rates = " against ".join(_rate_of(each, figure) for each in (focus, reference))
    text = f"{_named(result, focus)} against {_named(result, reference)}: {verdict_text(verdict)}. {rates}."
    known = EXPERIMENTS.get(result.name)
    meaning = known.outcomes.get(verdict.outcome, "") if known else ""
    return Told(verdict.outcome, f"{text} {meaning}".strip())


def _rate_of(cell: CellResult, figure: Figure) -> str:
    spread = cell.tiles_per_second if figure == "tiles" else cell.operations_per_second
    return rate_text(spread, figure) if spread else "not measured"


_BEFORE = {"batch_size": "batches of {}", "workers": "{} loader workers"}


def _named(result: SweepResult, cell: CellResult) -> str:
    if result.setting in _BEFORE and cell.label.isdigit():
        return _BEFORE[result.setting].format(cell.label)
    return f"“{cell.label}”"


def guessed_factor(result: SweepResult, device: str) -> float | None:
    """How many times as fast the focus is, 1 where there is no difference to measure; None where it is not known."""
    verdict = result.verdict(result.focus, device, figure=figure_of(result))
    return 1.0 if verdict.outcome == "same" else verdict.factor


def learning_finding(result: SweepResult, device: str) -> Told | None:
    """Which setting reached the accuracy first: `reached`, `none` or, where that is the same one, `fastest_too`.

    None where no time to an accuracy was measured.
    """
    cells = [each for each in result.cells if each.device == device and each.learning is not None]
    learned = [(each, each.learning) for each in cells if each.learning is not None]
    if not learned:
        return None
    target = wording.percent(learned[0][1].target)
    reached = sorted(((its.seconds, each, its) for each, its in learned if its.reached), key=lambda each: each[0])
    late = [_named(result, each) for each, its in learned if not its.reached]
    if not reached:
        return Told(
            "none",
            f"None of them named {target} of the validation tiles correctly within the time it was given. One training "
            "each, with the same seed.",
        )
    seconds, first, its = reached[0]
    text = (
        f"{_named(result, first)} came to {target} first: after {wording.duration(seconds)} and "
        f"{its.tiles:,} tiles of training."
    )
    text += "".join(
        f" {_named(result, each)}: {wording.duration(spent)}, {more.tiles:,} tiles."
        for spent, each, more in reached[1:]
    )
    if late:
        text += f" Not reached in the time given: {wording.listed(late)}."
    fastest = max(cells, key=lambda each: each.tiles_per_second.median if each.tiles_per_second else 0.0)
    if fastest is first:
        return Told("fastest_too", f"{text} It also had the most tiles per second. One training each, so luck counts.")
    return Told(
        "reached",
        f"{text} The most tiles per second had {_named(result, fastest)}: faster steps are not faster learning. One "
        "training each, so luck counts.",
    )


def device_finding(result: SweepResult, label: str, device: str, against: str = "cpu") -> Told | None:
    """A setting on one device against another; None where one of them was not measured."""
    verdict = result.verdict(label, device, against=label, on=against)
    if verdict.outcome == "unknown":
        return None
    names = wording.device_name(device), wording.device_name(against)
    return Told(verdict.outcome, f"“{label}” on the {names[0]} against the {names[1]}: {verdict_text(verdict)}.")


def measured_how(record: RunRecord, result: SweepResult, cells: Sequence[CellResult] = ()) -> str:
    """On what the figures rest: device, threads, steps, rounds, what else ran, where it was recorded."""
    used = [each for each in cells or result.cells if each.turns]
    if not used:
        return "Nothing was measured."
    name = record.machine.get("device_name") or wording.device_name(record.config.device)
    if any(each.device == "cpu" for each in used) and record.machine.get("cpu_name"):
        name = f"{name} and {record.machine['cpu_name']}"
    threads = record.machine.get("threads")
    steps = sum(turn.steps for each in used for turn in each.turns)
    text = f"{name}{f', {threads} CPU threads' if threads else ''}; {wording.count(steps, 'timed step')} in "
    text += f"{wording.count(result.rounds, 'round')} in which the settings took turns; medians of the rounds, and "
    text += "the quartiles as their range. Warm-up steps do not count."
    if not result.complete:
        text += " It was stopped before its end."
    if record.company:
        text += f" Beside it ran {wording.listed(list(record.company))}: measure again on a free machine."
    if record.recorded_on:
        text += f" Recorded on {record.recorded_on}."
    return text


def misconception_of(result: SweepResult) -> str:
    """What an experiment puts right; empty for a measurement that is none of them."""
    known: Experiment | None = EXPERIMENTS.get(result.name)
    return known.misconception if known else ""


BOTTLENECKS = {
    "compute": "arithmetic",
    "memory": "moving data to and from memory",
    "overhead": "starting operations",
    "loading": "fetching tiles",
}


By = Literal["batch_size", "model_size"]

_CLOSE, _ROUGH = 1.5, 2.0  # how many times too long or short a prediction is


def prediction_frame(result: SweepResult) -> pd.DataFrame:
    """Predicted beside measured steps: label, device, predicted_ms, measured_ms, error (their ratio), bottleneck."""
    rows = [
        (
            cell.label,
            device_name(cell.device),
            1000 * cell.prediction.seconds,
            1000 * step.median,
            cell.prediction.error(step.median),
            cell.prediction.bottleneck,
        )
        for cell in result.cells
        if cell.prediction is not None and (step := cell.step_seconds) is not None
    ]
    return pd.DataFrame(rows, columns=["label", "device", "predicted_ms", "measured_ms", "error", "bottleneck"])


def prediction_finding(result: SweepResult) -> Told:
    """How near the predictions come: `close`, `rough`, `off`, or `nothing`; and what most steps are spent on."""
    frame = prediction_frame(result)
    if frame.empty:
        return Told("nothing", "No step was both predicted and measured. Let the measurement run to its end.")
    misses = [max(error, 1 / error) for error in frame["error"]]
    most = Counter(frame["bottleneck"]).most_common(1)[0][0]
    text = (
        f"From these limits the time of {count(len(frame), 'step')} was predicted: half of them at most "
        f"{times(statistics.median(misses))} as long or short as measured, the worst {times(max(misses))}. "
    )
    spent = f"Most of these steps are spent on {BOTTLENECKS[str(most)]}."
    if max(misses) <= _CLOSE:
        return Told("close", f"{text}So these few limits explain where the time goes. {spent}")
    if max(misses) <= _ROUGH:
        return Told("rough", f"{text}So they explain it roughly. {spent}")
    return Told(
        "off",
        f"{text}Where the prediction is far off, something else holds the step up than these limits: a profile tells "
        f"what. {spent}",
    )


def overtakings(
    limits: SweepResult | None, batches: SweepResult | None, models: SweepResult | None, config: TrainConfig
) -> list[Overtaking]:
    """From which batch and which size of model on the GPU is faster than the CPU: measured, else predicted.

    limits, batches, models: newest measurements of the limits, and of the experiments with batches and models. config:
    whose batches are varied. Empty without a GPU in any of them.
    """
    known = limits.limits if limits is not None else {}
    sides: tuple[tuple[By, SweepResult | None], ...] = (("batch_size", batches), ("model_size", models))
    found: list[Overtaking] = []
    for by, measured in sides:
        raced = [each for each in measured.devices if each != "cpu"] if measured is not None else []
        if measured is not None and raced and "cpu" in measured.devices:
            found.append(overtaking_measured(measured, by, raced[0]))
            continue
        gpu = next((each for each in known if each != "cpu"), "")
        if gpu:
            found.append(overtaking_predicted(known.get("cpu"), known[gpu], by, config))
    return found


def overtaking_finding(found: Overtaking) -> Told:
    """A sentence for every way it can turn out."""
    sizes = [_size(found, size) for size, _ratio in found.points]
    what = {"batch_size": "batches", "model_size": "models"}[found.by]
    basis = "Measured" if found.basis == "measured" else "Predicted from the limits of both, not measured"
    if found.kind == "unknown":
        return Told("unknown", found.reason)
    if found.kind == "at" and found.at is not None:
        return Told("at", f"{basis}: from {what} of about {_size(found, found.at)} on, the GPU is faster than the CPU.")
    ends = listed([sizes[0], sizes[-1]], "to") if sizes else ""
    if found.kind == "always":
        return Told("always", f"{basis}: the GPU is faster with all {what} that were looked at ({ends}).")
    return Told("never", f"{basis}: the CPU is faster with all {what} that were looked at ({ends}).")


def _size(found: Overtaking, size: float) -> str:
    if found.by == "batch_size":
        return f"{size:,.0f} tiles"
    return f"{rounded(size / 1e6, 3)} million operations per tile"


SECONDS = (5, 10, 20, 40)
"""Seconds per value that can be chosen."""

OFFERED = tuple(sorted((name for name, each in SETTINGS.items() if each.offered), key=lambda name: name == "model"))
"""Settings that can be varied freely; what takes long comes last."""

_LABEL = 60


def is_number(setting: str) -> bool:
    """Whether values of one's own can be typed for this setting."""
    return SETTINGS[setting].kind in (int, float)


def offered(setting: str) -> dict[str, Any]:
    """Values to choose from: in words → value."""
    return {SETTINGS[setting].in_words(value): value for value in SETTINGS[setting].offered}


def value_of(setting: str, word: str) -> Any:
    """A chosen or typed word as the setting's value. Raises `ConfigError` for one that is none."""
    known = offered(setting)
    value = known[word] if word in known else SETTINGS[setting].parsed(word)
    if value == word and word not in known:
        raise ConfigError(f"“{word[:30]}” cannot be used as {SETTINGS[setting].title.lower()}. Type a number.")
    return value


def plan_free(
    setting: str,
    words: Sequence[str],
    model: str,
    devices: Sequence[str],
    seconds: float = 10.0,
    target_accuracy: float | None = None,
    **base: Any,
) -> tuple[TrainConfig, SweepPlan]:
    """The config that all values share, and the plan. seconds: per value and device. base: other settings.

    The first value is the reference. Raises `ConfigError` with a sentence for what cannot be measured.
    """
    if setting not in OFFERED:
        raise ConfigError(f"'{setting}' cannot be varied here. Choose one of: {', '.join(OFFERED)}.")
    values = [value_of(setting, each) for each in words]
    if len(set(values)) < len(values):
        raise ConfigError("One value is there twice. Name every value once.")
    if len(values) < 2:
        raise ConfigError("Choose at least two values, so that there is something to compare.")
    used = [each for each in devices if setting != "pin_memory" or each.startswith("cuda")]
    if not used:
        what = "Pinned memory is for copies to a CUDA GPU" if devices else "Choose at least one device"
        raise ConfigError(f"{what}{', and none is chosen' if devices else ' to measure on'}.")
    source = {} if SETTINGS[setting].part == "feed" else {"source": "memory"}
    config = recipe_config(model, "tutorial", **{**source, "device": home_device(used), **base})
    labels = [SETTINGS[setting].in_words(each)[:_LABEL] for each in values]
    plan = free_sweep(
        setting, values, labels, used, seconds=seconds * len(values) * len(used), target_accuracy=target_accuracy
    )
    plan.configs(config)
    return config, plan
