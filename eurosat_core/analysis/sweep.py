"""What can be said about a measurement: speeds, experiments, and the limits of a device."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import pandas as pd

from eurosat_core import wording
from eurosat_core.analysis.card import card_findings
from eurosat_core.errors import ConfigError
from eurosat_core.finding import Finding
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import EXPERIMENTS, Figure, home_device
from eurosat_core.speed.plan import SweepPlan, free_sweep
from eurosat_core.speed.prediction import Overtaking, overtaking_measured, overtaking_predicted
from eurosat_core.speed.result import CellResult, SweepResult
from eurosat_core.speed.verdict import Spread
from eurosat_core.training.config import SETTINGS, TrainConfig, recipe_config
from eurosat_core.wording import device_name, rounded


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


def figure_of(result: SweepResult) -> Figure:
    """What the verdicts of a result compare: tiles per second, or arithmetic per second."""
    known = EXPERIMENTS.get(result.name)
    return known.figure if known else "tiles"


def rate_text(spread: Spread, figure: Figure = "tiles") -> str:
    """`1,234 tiles/s` or `45.6 billion operations/s`."""
    if figure == "tiles":
        return wording.rate(spread.median)
    return f"{wording.rounded(spread.median / 1e9, 3)} billion operations/s"


def experiment_finding(result: SweepResult, device: str) -> Finding:
    """What the focus of a measurement shows against its reference on a device, and what that means.

    `compared`, with the `verdict` among its figures, or `problem` or `unknown`.
    """
    figure = figure_of(result)
    focus, reference = result.cell(result.focus, device), result.cell(result.reference, device)
    for each in (focus, reference):
        if each is not None and each.problem:
            return Finding("sweep.problem", {"label": each.label, "problem": each.problem})
    verdict = result.verdict(result.focus, device, figure=figure)
    if verdict.outcome == "unknown" or focus is None or reference is None:
        return Finding("sweep.unknown")
    known = EXPERIMENTS.get(result.name)
    meaning = known.meaning(verdict.outcome, device, focus.limit) if known else ""
    figures = {
        "focus": _named(result, focus),
        "reference": _named(result, reference),
        "verdict": verdict,
        "rate": _rate_of(focus, figure),
        "reference_rate": _rate_of(reference, figure),
    }
    then = [Finding("sweep.meaning", {"meaning": meaning})] if meaning else []
    if (compiling := compiling_finding(result, result.focus, device)) is not None:
        then.append(compiling)
    return Finding("sweep.compared", figures, tuple(then))


def compiling_finding(result: SweepResult, label: str, device: str) -> Finding | None:
    """After how many epochs compiling a network has saved what it took: it `pays`, or does `not`.

    None where nothing was compiled, or the cell's speed is not known.
    """
    cell, saved = result.cell(label, device), result.saved_seconds(label, device)
    if cell is None or cell.compile_seconds is None or saved is None:
        return None
    figures = {"compiling": cell.compile_seconds, "tiles": result.epoch_tiles}
    if result.verdict(label, device).outcome != "faster" or saved <= 0:
        return Finding("sweep.compiling.never", figures)
    return Finding(
        "sweep.compiling.pays", {**figures, "saved": saved, "epochs": math.ceil(cell.compile_seconds / saved)}
    )


def _rate_of(cell: CellResult, figure: Figure) -> str:
    spread = cell.tiles_per_second if figure == "tiles" else cell.operations_per_second
    return rate_text(spread, figure) if spread else "not measured"


def _named(result: SweepResult, cell: CellResult) -> Finding:
    if result.setting in ("batch_size", "workers") and cell.label.isdigit():
        return Finding(f"sweep.phrase.{result.setting}", {"label": cell.label})
    return Finding("sweep.phrase.named", {"label": cell.label})


def guessed_factor(result: SweepResult, device: str) -> float | None:
    """How many times as fast the focus is, 1 where there is no difference to measure; None where it is not known."""
    verdict = result.verdict(result.focus, device, figure=figure_of(result))
    return 1.0 if verdict.outcome == "same" else verdict.factor


def learning_finding(result: SweepResult, device: str) -> Finding | None:
    """Which setting reached the accuracy first: `reached`, and whether it had the most tiles per second; or `none`.

    None where no time to an accuracy was measured.
    """
    cells = [each for each in result.cells if each.device == device and each.learning is not None]
    learned = [(each, each.learning) for each in cells if each.learning is not None]
    if not learned:
        return None
    target = learned[0][1].target
    reached = sorted(((each, its) for each, its in learned if its.reached), key=lambda each: each[1].seconds)
    if not reached:
        return Finding("learning.none", {"target": target})
    (first, its), *others = reached
    then = [
        Finding("learning.next", {"label": _named(result, each), "seconds": more.seconds, "tiles": more.tiles})
        for each, more in others
    ]
    late = [_named(result, each) for each, its in learned if not its.reached]
    if late:
        then.append(Finding("learning.late", {"late": late}))
    fastest = max(cells, key=lambda each: each.tiles_per_second.median if each.tiles_per_second else 0.0)
    fastest_name = {"fastest": _named(result, fastest)}
    then.append(Finding("learning.fastest.too" if fastest is first else "learning.fastest.other", fastest_name))
    figures = {"label": _named(result, first), "target": target, "seconds": its.seconds, "tiles": its.tiles}
    return Finding("learning.reached", figures, tuple(then))


def device_finding(result: SweepResult, label: str, device: str) -> Finding | None:
    """A setting on a device against the CPU, or that they did `other_work`; None where one of them was not measured."""
    one, other = result.cell(label, device), result.cell(label, "cpu")
    if one is not None and other is not None and one.config.batch_size != other.config.batch_size:
        return Finding(
            "sweep.other_work", {"device": device, "tiles": one.config.batch_size, "cpu_tiles": other.config.batch_size}
        )
    verdict = result.verdict(label, device, against=label, on="cpu")
    if verdict.outcome == "unknown":
        return None
    return Finding("sweep.devices", {"label": label, "device": device, "verdict": verdict})


def measured_how(record: RunRecord, result: SweepResult) -> Finding:
    """On what the figures rest: device, threads, steps, rounds, what else ran, where it was recorded."""
    used = [each for each in result.cells if each.turns]
    if not used:
        return Finding("sweep.nothing")
    devices = dict.fromkeys((record.config.device, *(each.device for each in used)))
    names = [record.name_of(each) for each in devices]
    steps = sum(turn.steps for each in used for turn in each.turns)
    fitted = [each.threads for each in used if each.threads is not None]
    figures = {"machine": names, "threads": record.machine.get("threads"), "steps": steps, "rounds": result.rounds}
    then = [] if result.complete else [Finding("sweep.stopped")]
    if record.company:
        then.append(Finding("sweep.company", {"company": record.company}))
    then += card_findings(record)
    if record.recorded_on:
        then.append(Finding("sweep.recorded", {"recorded_on": record.recorded_on}))
    kind = "fitted" if fitted else "threads" if figures["threads"] else "device"
    return Finding(f"sweep.measured.{kind}", figures | ({"fitted": _threads(fitted)} if fitted else {}), tuple(then))


def _threads(numbers: Sequence[int]) -> str:
    """`8 CPU threads`, `8 to 32 CPU threads`."""
    low, high = min(numbers), max(numbers)
    return wording.count(low, "CPU thread") if low == high else f"{low} to {high} CPU threads"


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


def prediction_finding(result: SweepResult) -> Finding:
    """How near the predictions come: `close`, `rough`, `off`, or `nothing`; and what most steps are spent on."""
    frame = prediction_frame(result)
    if frame.empty:
        return Finding("limits.nothing")
    misses = [max(error, 1 / error) for error in frame["error"]]
    most = Counter(frame["bottleneck"]).most_common(1)[0][0]
    figures = {"steps": len(frame), "median": statistics.median(misses), "worst": max(misses)}
    kind = "close" if max(misses) <= _CLOSE else "rough" if max(misses) <= _ROUGH else "off"
    return Finding(f"limits.{kind}", figures, (Finding("limits.spent", {"bottleneck": BOTTLENECKS[str(most)]}),))


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


def overtaking_finding(found: Overtaking) -> Finding:
    """Whether it is `measured` or `predicted`, and from `at` which size on, `always` or `never`; or `unknown`."""
    if found.kind == "unknown":
        return Finding("overtaking.unknown", {"reason": found.reason})
    sizes = [size for size, _ratio in found.points]
    figures = {"what": Finding(f"overtaking.phrase.{found.by}")}
    figures |= {"at": _size(found, found.at or 0.0), "from": _size(found, sizes[0]), "to": _size(found, sizes[-1])}
    return Finding(f"overtaking.{found.basis}.{found.kind}", figures)


def _size(found: Overtaking, size: float) -> Finding:
    if found.by == "batch_size":
        return Finding("overtaking.phrase.tiles", {"tiles": round(size)})
    return Finding("overtaking.phrase.operations", {"millions": rounded(size / 1e6, 3)})


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
