"""Charts of a measurement: rates over the setting with their ranges, turns as they come in, accuracy over time.

Specs without data over the tables of `lab.experiment_frames` and `lab.sweep_frames`. A device keeps its colour and its
shape on all of them, so that colour is never alone.
"""

import math
from functools import lru_cache
from typing import Any

import altair as alt

from eurosat_core.charts.marks import Spec, bare_spec

# At least 3:1 on the light and on the dark ground, apart for colour-blind readers; each has its own shape, too.
DEVICE_COLOURS = ("#2A8CD6", "#DB7B0B", "#2F9E8F", "#B5559F")
_LABEL_COLOURS = ("#2A8CD6", "#DB7B0B", "#2F9E8F", "#B5559F", "#8F8F2E", "#CC6677", "#7A8490", "#6C74D6")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_GREY = "#8A8F98"
_TITLES = {"tiles": "Tiles per second: more is better", "work": "Billion operations per second: more is better"}


def _looks(field: str, names: tuple[str, ...], colours: tuple[str, ...], columns: int = 0) -> dict[str, Any]:
    """Colour and shape of each name, with one legend for both; none where there is nothing to tell apart."""
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1, symbolSize=90, labelLimit=260, columns=columns)
    shown = legend if len(names) > 1 else None
    shades = [colours[at % len(colours)] for at in range(len(names))]
    shapes = [_SHAPES[at % len(_SHAPES)] for at in range(len(names))]
    return {
        "color": alt.Color(f"{field}:N", sort=None, scale=alt.Scale(domain=list(names), range=shades), legend=shown),
        "shape": alt.Shape(f"{field}:N", sort=None, scale=alt.Scale(domain=list(names), range=shapes), legend=shown),
    }


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
    x = alt.X("rate:Q", title=title, scale=scale, axis=alt.Axis(format="~s", tickCount=4))
    y = alt.Y(
        "label:N",
        title=None,
        sort=list(labels),
        axis=alt.Axis(ticks=False, domain=False, labelLimit=130, labelFontSize=13),
    )
    looks = _looks("device", devices, DEVICE_COLOURS)
    tooltip = [
        alt.Tooltip("label:N", title="Setting"),
        alt.Tooltip("device:N", title="Device"),
        alt.Tooltip("rate:Q", title="Median", format=",.4~g"),
        alt.Tooltip("low:Q", title="Lower quartile", format=",.4~g"),
        alt.Tooltip("high:Q", title="Upper quartile", format=",.4~g"),
    ]
    offset = alt.YOffset("device:N", sort=None, scale=alt.Scale(domain=list(devices)))
    base = alt.Chart().encode(y=y, tooltip=tooltip)
    if len(devices) > 1:
        base = base.encode(yOffset=offset)
    layers = [
        base.mark_rule(strokeWidth=4, opacity=0.45).encode(
            x=alt.X("low:Q", title=title, scale=scale), x2="high:Q", color=looks["color"]
        ),
        base.mark_point(filled=True, size=120, opacity=1).encode(x=x, **looks),
        base.mark_text(align="left", dx=10, fontSize=12, color=_GREY).encode(
            x=alt.X("high:Q", title=title, scale=scale), text="text:N"
        ),
    ]
    rows = len(labels) * max(len(devices), 1)
    return bare_spec(alt.layer(*layers).properties(height=28 * rows + 12 * len(labels) + 90))


@lru_cache(maxsize=32)
def live_turns(labels: tuple[str, ...], rounds: int) -> Spec:
    """Tiles per second of every turn so far, over `live_frame` with a column `series` (setting, and device)."""
    x = alt.X(
        "round:Q",
        title="Round",
        scale=alt.Scale(domain=[0.5, rounds + 0.5], nice=False),
        axis=alt.Axis(format="d", tickMinStep=1, tickCount=min(rounds, 8), grid=False),
    )
    y = alt.Y("tiles_per_second:Q", title="Tiles per second", axis=alt.Axis(format="~s", tickCount=5))
    looks = _looks("series", labels, _LABEL_COLOURS, columns=2)
    base = alt.Chart().encode(x=x, y=y)
    lines = base.mark_line(strokeWidth=1.5, opacity=0.6).encode(color=looks["color"])
    points = base.mark_point(filled=True, size=80, opacity=1).encode(**looks)
    return bare_spec(alt.layer(lines, points).properties(height=260 + 14 * len(labels)))


@lru_cache(maxsize=32)
def learning_lines(labels: tuple[str, ...], until: float, ceiling: float) -> Spec:
    """Accuracy over seconds of training, and the accuracy that was to be reached, over `learning_frame` with `series`.

    until, ceiling: where the axes end.
    """
    x = alt.X(
        "seconds:Q",
        title="Seconds of training",
        scale=alt.Scale(domain=[0, until], nice=False),
        axis=alt.Axis(grid=False, tickCount=5),
    )
    y = alt.Y(
        "accuracy:Q",
        title=None,
        scale=alt.Scale(domain=[0, ceiling], clamp=True, nice=False),
        axis=alt.Axis(format="%", tickCount=5),
    )
    tooltip = [
        alt.Tooltip("series:N", title="Setting"),
        alt.Tooltip("seconds:Q", title="Seconds", format=".1f"),
        alt.Tooltip("accuracy:Q", title="Accuracy", format=".1%"),
    ]
    looks = _looks("series", labels, _LABEL_COLOURS, columns=2)
    base = alt.Chart().encode(x=x, y=y)
    layers = [
        alt.Chart().mark_rule(strokeDash=[4, 4], strokeWidth=1.5, color=_GREY).encode(y=alt.Y("target:Q", title=None)),
        base.mark_line(strokeWidth=2.2).encode(color=looks["color"]),
        base.mark_point(filled=True, size=70, opacity=1).encode(tooltip=tooltip, **looks),
    ]
    title = alt.TitleParams("Validation accuracy: higher sooner is better", fontSize=15, anchor="start", offset=6)
    return bare_spec(alt.layer(*layers).properties(height=280 + 14 * len(labels), title=title))


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
    tooltip = [
        alt.Tooltip("label:N", title="Step"),
        alt.Tooltip("device:N", title="Device"),
        alt.Tooltip("measured_ms:Q", title="Measured ms", format=",.3~g"),
        alt.Tooltip("predicted_ms:Q", title="Predicted ms", format=",.3~g"),
    ]
    looks = _looks("device", devices, DEVICE_COLOURS)
    base = alt.Chart().encode(x=x, y=y)
    layers = [
        base.transform_filter("datum.even").mark_line(strokeDash=[4, 4], color=_GREY, strokeWidth=1.5),
        base.transform_filter("!datum.even")
        .mark_point(filled=True, size=110, opacity=1)
        .encode(tooltip=tooltip, **looks),
        # Names stand on the side on which there is room.
        base.transform_filter(f"!datum.even && datum.measured_ms < {middle}")
        .mark_text(align="left", dx=9, dy=8, fontSize=12, color=_GREY)
        .encode(text="label:N"),
        base.transform_filter(f"!datum.even && datum.measured_ms >= {middle}")
        .mark_text(align="right", dx=-9, dy=-4, fontSize=12, color=_GREY)
        .encode(text="label:N"),
    ]
    return bare_spec(alt.layer(*layers).properties(height=340))
