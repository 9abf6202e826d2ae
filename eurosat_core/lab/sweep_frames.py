"""A measurement as tables for charts, also while it goes on."""

from collections.abc import Sequence

import pandas as pd

from eurosat_core.lab.history import SweepHistory
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.speed.result import SweepResult
from eurosat_core.speed.turns import PARTS
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import device_name

__all__ = ["learning_frame", "live_frame", "parts_frame", "prediction_frame", "speed_by_setting"]


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


def parts_frame(result: SweepResult) -> pd.DataFrame:
    """Where a step's time went: label, device, part, order (of the part), ms, share (of the step)."""
    rows = [
        (cell.label, device_name(cell.device), part, PARTS.index(part), 1000 * seconds, seconds / sum(parts.values()))
        for cell in result.cells
        if (parts := cell.parts) is not None
        for part, seconds in parts.items()
    ]
    return pd.DataFrame(rows, columns=["label", "device", "part", "order", "ms", "share"])


def learning_frame(result: SweepResult) -> pd.DataFrame:
    """Accuracy over the seconds of training: label, device, seconds, accuracy, target, reached (of the cell)."""
    rows = [
        (cell.label, device_name(cell.device), seconds, accuracy, cell.learning.target, cell.learning.reached)
        for cell in result.cells
        if cell.learning is not None
        for seconds, accuracy in cell.learning.points
    ]
    return pd.DataFrame(rows, columns=["label", "device", "seconds", "accuracy", "target", "reached"])


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


def live_frame(history: SweepHistory, config: TrainConfig, plan: SweepPlan) -> pd.DataFrame:
    """Turns as they come in, while a measurement runs: label, device, round, tiles_per_second; one row per turn.

    config, plan: of the run's record.
    """
    configs: Sequence[TrainConfig] = plan.configs(config)
    rows = [
        (plan.cells[turn.cell].label, device_name(configs[turn.cell].device), turn.round, turn.tiles_per_second)
        for turn in history.turns
        if turn.phase == "train" and turn.tiles_per_second is not None and turn.cell < len(plan.cells)
    ]
    return pd.DataFrame(rows, columns=["label", "device", "round", "tiles_per_second"])
