"""A measurement as tables for the Speed page: rates with their ranges, where a step's time went, the limits."""

import math
from collections.abc import Sequence

import pandas as pd

from eurosat_core.lab.profile_frames import milliseconds, stacked_frame
from eurosat_core.lab.sweep_frames import prediction_frame, speed_by_setting
from eurosat_core.lab.sweep_words import verdict_text
from eurosat_core.speed.experiment_terms import Figure
from eurosat_core.speed.limits import Limits
from eurosat_core.speed.result import SweepResult
from eurosat_core.speed.turns import PARTS
from eurosat_core.wording import device_name, percent

__all__ = [
    "BOTTLENECKS",
    "breakdown_frame",
    "figures_table",
    "is_per_tile",
    "limits_table",
    "prediction_points_frame",
    "prediction_table",
    "rate_frame",
]


def rate_frame(result: SweepResult, figure: Figure) -> pd.DataFrame:
    """Rates with their quartiles, in the order of the plan: label, device, rate, low, high, text, order, mark.

    figure: tiles per second, or (`work`) billion operations per second. mark: what the cell is (`reference`, or
    nothing). Cells that were not measured have no row.
    """
    frame = speed_by_setting(result)
    column = "tiles_per_second" if figure == "tiles" else "operations_per_second"
    unit = 1.0 if figure == "tiles" else 1e9
    made = pd.DataFrame(
        {
            "label": frame["label"],
            "device": frame["device"],
            "rate": frame[column].astype(float) / unit,
            "order": range(len(frame)),
            "mark": ["reference" if each else "" for each in frame["is_reference"]],
        }
    )
    # The quartiles are told of tiles; those of operations lie as far apart in relation.
    for name in ("low", "high"):
        made[name] = made["rate"] * frame[name].astype(float) / frame["tiles_per_second"].astype(float)
    made["text"] = [f"{rate:,.0f}" if rate >= 9.95 else f"{rate:.2g}" for rate in made["rate"]]
    return made[made["rate"].map(math.isfinite)].reset_index(drop=True)


def is_per_tile(result: SweepResult) -> bool:
    """Whether steps must be shown tile by tile: their batches differ in size."""
    return len({each.config.batch_size for each in result.cells if each.turns}) > 1


def breakdown_frame(result: SweepResult) -> pd.DataFrame:
    """Where the time of a step went, as `profile_frames.stacked_frame`; of a thousand tiles where batches differ."""
    several = len(result.devices) > 1
    rows = []
    for cell in result.cells:
        parts = cell.parts
        if parts is None:
            continue
        label = f"{cell.label} · {device_name(cell.device)}" if several else cell.label
        unit = 1e6 * (1000 / cell.config.batch_size if is_per_tile(result) else 1)
        rows.append((label, {part: seconds * unit for part, seconds in parts.items()}))
    return stacked_frame(rows, PARTS)


def figures_table(result: SweepResult) -> pd.DataFrame:
    """All figures in words: Setting, Device, Tiles per second, Half of the rounds, Step, Against the reference."""
    rows = []
    for cell in result.cells:
        rate, step = cell.tiles_per_second, cell.step_seconds
        where = (cell.label, device_name(cell.device))
        if rate is None or step is None:
            rows.append((*where, "–", "–", "–", cell.problem or "not measured"))
            continue
        verdict = result.verdict(cell.label, cell.device)
        against = "the reference" if cell.label == result.reference else verdict_text(verdict)
        spread = f"{rate.low:,.0f} to {rate.high:,.0f}"
        rows.append((*where, f"{rate.median:,.0f}", spread, milliseconds(1000 * step.median), against))
    columns = ["Setting", "Device", "Tiles per second", "Half of the rounds", "Step", f"Against {result.reference}"]
    return pd.DataFrame(rows, columns=columns)


def limits_table(limits: Sequence[Limits]) -> pd.DataFrame:
    """What each device can do at most, in words: Limit, and a column for every device."""
    precisions = list(dict.fromkeys(name for each in limits for name in each.matmul))
    rows = [
        (f"Matrix multiplication, {name}", [_rate(each.matmul.get(name)) for each in limits]) for name in precisions
    ]
    rows.append(("Memory, read and written", [_bytes(each.memory_bandwidth) for each in limits]))
    for name in ("pageable", "pinned"):
        if any(name in each.host_to_device for each in limits):
            values = [_bytes(each.host_to_device.get(name)) for each in limits]
            rows.append((f"Copy to the GPU, {name} memory", values))
    launches = [f"{1e6 * each.launch_seconds:.1f} µs" if each.launch_seconds else "–" for each in limits]
    rows.append(("Starting one operation", launches))
    names = [device_name(each.device) for each in limits]
    return pd.DataFrame([(what, *values) for what, values in rows], columns=["Limit", *names])


def _rate(operations: float | None) -> str:
    return f"{operations / 1e9:,.0f} billion operations/s" if operations else "–"


def _bytes(rate: float | None) -> str:
    return f"{rate / 1e9:,.1f} GB/s" if rate else "–"


def prediction_table(result: SweepResult) -> pd.DataFrame:
    """Predicted beside measured steps in words: Step, Device, Predicted, Measured, Error, Mostly spent on."""
    frame = prediction_frame(result)
    rows = [
        (
            row["label"],
            row["device"],
            milliseconds(row["predicted_ms"]),
            milliseconds(row["measured_ms"]),
            f"{'+' if row['error'] >= 1 else '−'}{percent(abs(row['error'] - 1))}",
            BOTTLENECKS[row["bottleneck"]],
        )
        for row in frame.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=["Step", "Device", "Predicted", "Measured", "Error", "Mostly spent on"])


def prediction_points_frame(result: SweepResult) -> pd.DataFrame:
    """Predicted over measured steps, and the two ends of the line where both are equal (`even`)."""
    frame = prediction_frame(result).assign(even=False)
    times = pd.concat([frame["predicted_ms"], frame["measured_ms"]])
    ends = pd.DataFrame(
        [("", "", end, end, 1.0, "", True) for end in (times.min() / 1.5, times.max() * 1.5)], columns=frame.columns
    )
    return pd.concat([frame, ends], ignore_index=True)


BOTTLENECKS = {
    "compute": "arithmetic",
    "memory": "moving data to and from memory",
    "overhead": "starting operations",
    "loading": "fetching tiles",
}
