"""One step drawn over time, like a score: a line for each thread and stream, calls within calls below each other."""

import json
from functools import lru_cache

import altair as alt

from eurosat_core.charts.profiling import ROLE_COLOURS
from eurosat_core.charts.spec import Spec, bare_spec

__all__ = ["timeline_bars"]

_KINDS = {
    "operator": ROLE_COLOURS["CPU exec"],
    "annotation": "#5B8FA8",
    "runtime": ROLE_COLOURS["Runtime"],
    "GPU kernel": ROLE_COLOURS["GPU kernel"],
    "copy": ROLE_COLOURS["Memcpy"],
    "fill": ROLE_COLOURS["Memset"],
    "python": ROLE_COLOURS["Communication"],
    "overhead": "#A9A08C",
}
_ROW = 19  # pixels
_AROUND = 130  # for the legend and the axis, which count with the height
_LETTER = 6.2


@lru_cache(maxsize=128)
def timeline_bars(
    lanes: tuple[tuple[str, int], ...], rows: int, kinds: tuple[str, ...], start: float, end: float
) -> Spec:
    """The bars of `timeline_frame`; the wheel zooms in time, dragging moves. Several events in one bar are paler.

    lanes, rows: as in `timeline_rows`; a lane's title stands in the row above its first one. kinds: which there are.
    start, end: ms that the chart begins and ends with.
    """
    named = {str(at - 1): title for title, at in lanes}
    x = alt.X(
        "start:Q",
        title="ms since the step began",
        scale=alt.Scale(domain=[start, end], nice=False),
        axis=alt.Axis(grid=True, gridOpacity=0.25, tickCount=8, format=",~f"),
    )
    y = alt.Y(
        "row:Q",
        title=None,
        scale=alt.Scale(domain=[0, rows], reverse=True, nice=False, zero=True),
        axis=alt.Axis(
            values=[at - 1 for _, at in lanes],
            labelExpr=f"{json.dumps(named)}[toString(datum.value)]",
            # In the free row above its line: beside it, a phone would have little room left for the line.
            labelAlign="left",
            labelBaseline="top",
            labelPadding=-3,
            labelOffset=2,
            labelLimit=300,
            domain=False,
            ticks=False,
            grid=True,
            gridOpacity=0.6,
        ),
    )
    shown = [kind for kind in _KINDS if kind in kinds]
    colour = alt.Color(
        "kind:N",
        sort=shown,
        scale=alt.Scale(domain=shown, range=[_KINDS[kind] for kind in shown]),
        legend=alt.Legend(orient="top", title=None, symbolType="square", symbolOpacity=1, columns=3, labelLimit=200),
    )
    tooltip = [
        alt.Tooltip("name:N", title="Name"),
        alt.Tooltip("kind:N", title="Kind"),
        alt.Tooltip("start:Q", title="Begins (ms)", format=",.3f"),
        alt.Tooltip("ms:Q", title="Lasts (ms)", format=",.3f"),
        alt.Tooltip("events:Q", title="Events in it", format=","),
        alt.Tooltip("busy:Q", title="of that busy (ms)", format=",.3f"),
    ]
    zoom = alt.selection_interval(name="timeline_zoom", encodings=["x"], bind="scales")
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip)
    paler = alt.condition("datum.events > 1", alt.value(0.5), alt.value(1.0))
    bars = (
        base.mark_rect(clip=True, stroke=None)
        .encode(x2="end:Q", y2="below:Q", color=colour, opacity=paler)
        .add_params(zoom)
    )
    fits = f"(scale('x', datum.end) - scale('x', datum.start)) > {_LETTER} * length(datum.short) + 6"
    words = base.mark_text(
        align="left",
        baseline="middle",
        dx=4,
        dy=_ROW * 0.44,
        fontSize=11,
        color="#0B1215",
        clip=True,
        text=alt.ExprRef(f"{fits} ? datum.short : ''"),
    )
    return bare_spec(alt.layer(bars, words).properties(height=_ROW * rows + _AROUND))
