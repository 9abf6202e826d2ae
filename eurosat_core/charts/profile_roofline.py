"""The roof line of a device, with the operators of a profile under it."""

from functools import lru_cache

import altair as alt
import pandas as pd

from eurosat_core.charts.marks import FIGURE, Spec, bare_spec, coloured, legend, tooltips
from eurosat_core.charts.palette import BLUE, GREY, ORANGE
from eurosat_core.profiling.roofline import Roofline

_LIMITS = {"memory": ORANGE, "arithmetic": BLUE}
_MOST_POINTS = 120
_AROUND_POINTS = 2.0  # as many times beyond the outermost points the axes go


def roofline_frame(line: Roofline) -> pd.DataFrame:
    """The rows that took longest as points, and the roofs over them as lines, of a device that has roofs.

    Columns: operator, shapes, limit (in words), intensity (FLOPs per byte), tflops (per second), gbytes (per second),
    ms, calls, part (of all time), reached (of the roof); roof: the precision whose roof a line's point is of, with its
    peak in words where it bends (`peak`). Rows without FLOPs, as copies are, have no place on such axes.
    """
    points = [
        (
            each.operator,
            each.shapes,
            "arithmetic" if bound.limit == "compute" else "memory",
            each.intensity,
            each.flops_per_second / 1e12,
            each.bytes_per_second / 1e9,
            each.time_us / 1000,
            each.calls,
            each.time_us / line.time_us,
            bound.share,
            "",
            "",
        )
        for each in line.rows
        if each.flops and (bound := line.bound(each))
    ][:_MOST_POINTS]
    columns = ["operator", "shapes", "limit", "intensity", "tflops", "gbytes", "ms", "calls", "part", "reached"]
    frame = pd.DataFrame(points, columns=[*columns, "roof", "peak"])
    if frame.empty or line.roofs is None:
        return frame
    slope = line.roofs.bytes_per_second / 1e12
    drawn = [each for each in line.roofs.flops if any(row.precision == each for row in line.rows)]
    left = frame["intensity"].min() / _AROUND_POINTS
    right = _AROUND_POINTS * max(frame["intensity"].max(), *(line.roofs.flops[each] / 1e12 / slope for each in drawn))
    ends = [
        ("", "", "", at, min(at * slope, peak), 0.0, 0.0, 0, 0.0, 0.0, name, words)
        for name in drawn
        for peak in (line.roofs.flops[name] / 1e12,)
        for at, words in ((left, ""), (peak / slope, f"{name}: {peak:,.4g} TFLOP/s"), (right, ""))
    ]
    return pd.concat([frame, pd.DataFrame(ends, columns=frame.columns)], ignore_index=True)


@lru_cache(maxsize=32)
def roofline_points(least: float, most: float, left: float, right: float) -> Spec:
    """Operators as points under the roofs, over `roofline_frame`; the longer one took, the larger it is.

    least, most: TFLOP/s where the y axis ends. left, right: FLOPs per byte where the x axis does.
    """
    axis = alt.Axis(format="~g", grid=True, gridOpacity=0.25, tickCount=5)
    x = alt.X(
        "intensity:Q",
        title="FLOPs per byte (log)",
        scale=alt.Scale(type="log", domain=[left, right], nice=False),
        axis=axis,
    )
    y = alt.Y(
        "tflops:Q",
        title="TFLOP/s (log)",
        scale=alt.Scale(type="log", domain=[least, most], nice=False),
        axis=axis,
    )
    tooltip = tooltips(
        ("operator:N", "Operator"),
        ("shapes:N", "On"),
        ("limit:N", "Nearer roof"),
        ("reached:Q", "Of this roof", ".1%"),
        ("tflops:Q", "TFLOP/s", ",.3~g"),
        ("gbytes:Q", "GB/s, at least", ",.3~g"),
        ("intensity:Q", "FLOPs per byte, at most", ",.3~g"),
        ("ms:Q", "ms", ",.3f"),
        ("part:Q", "Of all time", ".1%"),
        ("calls:Q", "Calls", ","),
    )
    base = alt.Chart().encode(x=x, y=y)
    roofs, points = base.transform_filter("datum.roof"), base.transform_filter("!datum.roof")
    lines = roofs.mark_line(color=GREY, strokeWidth=2, clip=True).encode(detail="roof:N")
    # Left of the bend and above it, where no point is.
    words = roofs.mark_text(**{**FIGURE, "align": "right"}, dx=-6, dy=-2).encode(text="peak:N")
    look = legend(symbolOpacity=1, symbolSize=90)
    marks = points.mark_point(filled=True, opacity=0.65).encode(
        color=coloured("limit", _LIMITS, look),
        shape=alt.Shape("limit:N", scale=alt.Scale(domain=list(_LIMITS), range=["circle", "square"]), legend=look),
        size=alt.Size("ms:Q", scale=alt.Scale(range=[30, 700]), legend=None),
        tooltip=tooltip,
    )
    return bare_spec(alt.layer(lines, words, marks), height=400)
