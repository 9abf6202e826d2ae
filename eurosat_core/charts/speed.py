"""A measurement: rates over the setting with their ranges, turns as they come in, accuracy over time, limits.

A device keeps its colour and its shape on all charts.
"""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.analysis.sweep import BOTTLENECKS, prediction_frame, speed_by_setting
from eurosat_core.charts.marks import FIGURE, Spec, bare_spec, colour_and_shape, heading, legend, tooltips, up_to
from eurosat_core.charts.palette import GREY
from eurosat_core.charts.profile import stacked_frame
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.history import SweepHistory
from eurosat_core.speed.experiments import Figure
from eurosat_core.speed.plan import SweepPlan
from eurosat_core.speed.result import Limits, SweepResult
from eurosat_core.speed.verdict import PARTS, verdict_text
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import device_name, milliseconds, percent

_TITLES = {"tiles": "Tiles per second: more is better", "work": "Billion operations per second: more is better"}


def _looks(field: str, names: tuple[str, ...], columns: int = 0) -> dict[str, Any]:
    """Colour and shape of each name; without a legend where there is nothing to tell apart."""
    look = legend(symbolOpacity=1, symbolSize=90, labelLimit=260, columns=columns)
    return colour_and_shape(field, names, look if len(names) > 1 else None)


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


@lru_cache(maxsize=64)
def rate_points(figure: str, labels: tuple[str, ...], devices: tuple[str, ...], most: float, least: float) -> Spec:
    """Medians as points with a line over the quartiles, a row for each setting, over `rate_frame`.

    figure: `tiles` or `work`. most, least: largest and smallest rate; where they lie far apart the axis is logarithmic.
    """
    wide = least > 0 and most / least > 30
    title = _TITLES[figure] + (" (log scale)" if wide else "")
    scale = (
        alt.Scale(type="log", domain=[least / 2, most * 3], nice=False)
        if wide
        else alt.Scale(domain=[0, 1.22 * max(most, 1e-9)], nice=False)  # room for the figure beside the last point
    )
    axis = alt.Axis(ticks=False, domain=False, labelLimit=130, labelFontSize=13)
    tooltip = tooltips(
        ("label:N", "Setting"),
        ("device:N", "Device"),
        ("rate:Q", "Median", ",.4~g"),
        ("low:Q", "Lower quartile", ",.4~g"),
        ("high:Q", "Upper quartile", ",.4~g"),
    )
    base = alt.Chart().encode(y=alt.Y("label:N", title=None, sort=list(labels), axis=axis), tooltip=tooltip)
    if len(devices) > 1:
        base = base.encode(yOffset=alt.YOffset("device:N", sort=None, scale=alt.Scale(domain=list(devices))))
    looks = _looks("device", devices)
    rate = alt.X("rate:Q", title=title, scale=scale, axis=alt.Axis(format="~s", tickCount=4))
    low, high = (alt.X(f"{each}:Q", title=title, scale=scale) for each in ("low", "high"))
    layers = [
        base.mark_rule(strokeWidth=4, opacity=0.45).encode(x=low, x2="high:Q", color=looks["color"]),
        base.mark_point(filled=True, size=120, opacity=1).encode(x=rate, **looks),
        base.mark_text(dx=10, **FIGURE).encode(x=high, text="text:N"),
    ]
    rows = len(labels) * max(len(devices), 1)
    return bare_spec(alt.layer(*layers), height=28 * rows + 12 * len(labels) + 90)


def series_names(cells: Iterable[tuple[str, str]]) -> list[str]:
    """What each (label, device) is called in a chart: with its device where there are several."""
    told = [(label, device_name(device)) for label, device in cells]
    several = len({name for _, name in told}) > 1
    return [f"{label} · {name}" if several else label for label, name in told]


def cell_names(config: TrainConfig, plan: SweepPlan) -> list[str]:
    """What each cell of a plan is called. config, plan: of the run's record."""
    return series_names((cell.label, each.device) for cell, each in zip(plan.cells, plan.configs(config), strict=True))


def live_frame(history: SweepHistory, config: TrainConfig, plan: SweepPlan) -> pd.DataFrame:
    """Turns as they come in, while a measurement runs: series (of the cell), round, tiles_per_second."""
    names = cell_names(config, plan)
    rows = [
        (names[turn.cell], turn.round, turn.tiles_per_second)
        for turn in history.turns
        if turn.phase == "train" and turn.tiles_per_second is not None and turn.cell < len(names)
    ]
    return pd.DataFrame(rows, columns=["series", "round", "tiles_per_second"])


@lru_cache(maxsize=32)
def live_turns(labels: tuple[str, ...], rounds: int) -> Spec:
    """Tiles per second of every turn so far, over `live_frame`."""
    x = alt.X(
        "round:Q",
        title="Round",
        scale=alt.Scale(domain=[0.5, rounds + 0.5], nice=False),
        axis=alt.Axis(format="d", tickMinStep=1, tickCount=min(rounds, 8), grid=False),
    )
    y = alt.Y("tiles_per_second:Q", title="Tiles per second", axis=alt.Axis(format="~s", tickCount=5))
    looks = _looks("series", labels, columns=2)
    base = alt.Chart().encode(x=x, y=y)
    lines = base.mark_line(strokeWidth=1.5, opacity=0.6).encode(color=looks["color"])
    points = base.mark_point(filled=True, size=80, opacity=1).encode(**looks)
    return bare_spec(alt.layer(lines, points), height=260 + 14 * len(labels))


def learning_frame(result: SweepResult) -> pd.DataFrame:
    """Accuracy over the seconds of training: series (of the cell), seconds, accuracy, target."""
    cells = [(cell, cell.learning) for cell in result.cells if cell.learning is not None]
    names = series_names((cell.label, cell.device) for cell, _ in cells)
    rows = [
        (name, seconds, accuracy, learning.target)
        for name, (_, learning) in zip(names, cells, strict=True)
        for seconds, accuracy in learning.points
    ]
    return pd.DataFrame(rows, columns=["series", "seconds", "accuracy", "target"])


@lru_cache(maxsize=32)
def learning_lines(labels: tuple[str, ...], until: float, ceiling: float) -> Spec:
    """Accuracy over seconds of training, and the accuracy that was to be reached; over `learning_frame`.

    until, ceiling: where the axes end.
    """
    x = up_to(alt.X, "seconds", "Seconds of training", until, grid=False, tickCount=5)
    y = up_to(alt.Y, "accuracy", None, ceiling, clamp=True, format="%", tickCount=5)
    tooltip = tooltips(("series:N", "Setting"), ("seconds:Q", "Seconds", ".1f"), ("accuracy:Q", "Accuracy", ".1%"))
    looks = _looks("series", labels, columns=2)
    base = alt.Chart().encode(x=x, y=y)
    layers = [
        alt.Chart().mark_rule(strokeDash=[4, 4], strokeWidth=1.5, color=GREY).encode(y=alt.Y("target:Q", title=None)),
        base.mark_line(strokeWidth=2.2).encode(color=looks["color"]),
        base.mark_point(filled=True, size=70, opacity=1).encode(tooltip=tooltip, **looks),
    ]
    title = heading("Validation accuracy: higher sooner is better")
    return bare_spec(alt.layer(*layers), height=280 + 14 * len(labels), title=title)


def prediction_points_frame(result: SweepResult) -> pd.DataFrame:
    """Predicted over measured steps, and the two ends of the line where both are equal (`even`)."""
    frame = prediction_frame(result).assign(even=False)
    times = pd.concat([frame["predicted_ms"], frame["measured_ms"]])
    ends = pd.DataFrame(
        [("", "", end, end, 1.0, "", True) for end in (times.min() / 1.5, times.max() * 1.5)], columns=frame.columns
    )
    return pd.concat([frame, ends], ignore_index=True)


@lru_cache(maxsize=16)
def prediction_points(devices: tuple[str, ...], least: float, most: float) -> Spec:
    """Predicted over measured step times, and the line where both are equal, over `prediction_points_frame`.

    least, most: where the logarithmic axes end.
    """
    scale = alt.Scale(type="log", domain=[least, most], nice=False)
    axis = alt.Axis(format="~g", tickCount=5, grid=False)
    middle = math.sqrt(least * most)
    x = alt.X("measured_ms:Q", title="Measured ms of a step (log)", scale=scale, axis=axis)
    y = alt.Y("predicted_ms:Q", title="Predicted ms (log)", scale=scale, axis=axis)
    tooltip = tooltips(
        ("label:N", "Step"),
        ("device:N", "Device"),
        ("measured_ms:Q", "Measured ms", ",.3~g"),
        ("predicted_ms:Q", "Predicted ms", ",.3~g"),
    )
    base = alt.Chart().encode(x=x, y=y)
    even, steps = base.transform_filter("datum.even"), base.transform_filter("!datum.even")
    looks = _looks("device", devices)
    layers = [
        even.mark_line(strokeDash=[4, 4], color=GREY, strokeWidth=1.5),
        steps.mark_point(filled=True, size=110, opacity=1).encode(tooltip=tooltip, **looks),
    ]
    # Names stand on the side on which there is room.
    for side, align, dx, dy in (("<", "left", 9, 8), (">=", "right", -9, -4)):
        names = base.transform_filter(f"!datum.even && datum.measured_ms {side} {middle}")
        layers.append(names.mark_text(**{**FIGURE, "align": align}, dx=dx, dy=dy).encode(text="label:N"))
    return bare_spec(alt.layer(*layers), height=340)


def is_per_tile(result: SweepResult) -> bool:
    """Whether steps must be shown tile by tile: their batches differ in size."""
    return len({each.config.batch_size for each in result.cells if each.turns}) > 1


def breakdown_frame(result: SweepResult) -> pd.DataFrame:
    """Where the time of a step went, as `profile.stacked_frame`; of a thousand tiles where batches differ."""
    cells = [(cell, cell.parts) for cell in result.cells if cell.parts is not None]
    names = series_names((cell.label, cell.device) for cell, _ in cells)
    rows = []
    for name, (cell, parts) in zip(names, cells, strict=True):
        unit = 1e6 * (1000 / cell.config.batch_size if is_per_tile(result) else 1)
        rows.append((name, {part: seconds * unit for part, seconds in parts.items()}))
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
    for model in dict.fromkeys(name for each in limits for name in each.step_launch_seconds):
        steps = [each.step_launch_seconds.get(model) for each in limits]
        words = ["–" if each is None else milliseconds(1000 * each) for each in steps]
        rows.append((f"Starting a step of {CATALOG[model].title if model in CATALOG else model}", words))
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
