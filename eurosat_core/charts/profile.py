"""Charts of a profile: parts of a step, kernels, memory, timeline."""

import json
from functools import lru_cache

import altair as alt

from eurosat_core.charts.marks import Spec, bare_spec

# At least 3:1 on the light and on the dark ground, and dark words on them are readable; named in words everywhere.
_BLUE, _ORANGE, _GREEN, _PINK, _PURPLE, _BROWN, _GREY = (
    "#2A8CD6",
    "#DB7B0B",
    "#1E9E77",
    "#C2609A",
    "#8E74D0",
    "#A6761D",
    "#8A8F98",
)
_INK = "#0B1215"

PART_COLOURS = {
    "load": _ORANGE,
    "copy": _PINK,
    "forward": _BLUE,
    "backward": _GREEN,
    "update": _PURPLE,
    "other": _GREY,
}
ROLE_COLOURS = {
    "GPU kernel": _BLUE,
    "Memcpy": _PINK,
    "Memset": "#DB92BE",
    "Communication": _BROWN,
    "Runtime": _PURPLE,
    "DataLoader": _ORANGE,
    "CPU exec": _GREEN,
    "Other": _GREY,
}
PHASE_COLOURS = {"pass by": _GREY, "warm-up": _ORANGE, "recorded": _BLUE}
_LETTER = 6.6  # pixels of a letter at size 12, about


def _width(start: str = "start", end: str = "end") -> str:
    return f"(scale('x', datum.{end}) - scale('x', datum.{start}))"


def _legend(columns: int) -> alt.Legend:
    return alt.Legend(
        orient="top", title=None, symbolType="square", padding=0, offset=6, labelLimit=260, columns=columns
    )


@lru_cache(maxsize=64)
def plan_strip(rows: int, longest: int) -> Spec:
    """The steps of a plan, a line for each cycle, over `plan_frame`. longest: steps of a cycle."""
    x = alt.X("place:O", title=None, axis=None, scale=alt.Scale(paddingInner=0.12, paddingOuter=0))
    y = alt.Y("cycle:N", title=None, sort=None, axis=alt.Axis(ticks=False, domain=False))
    colour = alt.Color(
        "phase:N",
        sort=list(PHASE_COLOURS),
        scale=alt.Scale(domain=list(PHASE_COLOURS), range=list(PHASE_COLOURS.values())),
        legend=_legend(3),
    )
    tooltip = [
        alt.Tooltip("step:Q", title="Step"),
        alt.Tooltip("cycle:N", title="In"),
        alt.Tooltip("phase:N", title="It is"),
        alt.Tooltip("trace:N", title="Then"),
    ]
    opacity = alt.condition("datum.done", alt.value(1.0), alt.value(0.3))
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip)
    cells = base.mark_rect(cornerRadius=3).encode(color=colour, opacity=opacity)
    layers = [cells]
    if longest <= 14:
        ink = alt.condition("datum.done", alt.value(_INK), alt.value(_GREY))
        layers.append(base.mark_text(fontSize=12, fontWeight="bold").encode(text="step:Q", color=ink))
    return bare_spec(alt.layer(*layers).properties(height=30 * rows + 30))


@lru_cache(maxsize=128)
def stacked_bars(parts: tuple[str, ...], rows: int, axis: str, columns: int = 3) -> Spec:
    """Bars made of parts with their names in them, over a `stacked_frame`.

    parts: those that there are, of `PART_COLOURS` or `ROLE_COLOURS`. rows: how many bars. axis: the x axis's title.
    columns: of the legend; a phone has room for two beside long names of bars, else for three.
    """
    colours = {part: (PART_COLOURS | ROLE_COLOURS)[part] for part in parts}
    x = alt.X("start:Q", title=axis, scale=alt.Scale(nice=False, zero=True), axis=alt.Axis(tickCount=5, grid=False))
    y = alt.Y(
        "row:N",
        title=None,
        # Not the data's own order: a chart that is drawn already would put new rows behind those it knows.
        sort=alt.EncodingSortField("place", "min"),
        axis=alt.Axis(ticks=False, domain=False, labelLimit=150),
        scale=alt.Scale(paddingInner=0.22, paddingOuter=0.1),
    )
    colour = alt.Color(
        "part:N",
        sort=list(colours),
        scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        legend=_legend(columns),
    )
    tooltip = [
        alt.Tooltip("row:N", title="Of"),
        alt.Tooltip("part:N", title="Part"),
        alt.Tooltip("ms:Q", title="ms", format=",.3f"),
        alt.Tooltip("share:Q", title="Share", format=".1%"),
    ]
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip)
    bars = base.mark_bar(stroke=None).encode(x2="end:Q", color=colour)
    long_fits = f"{_width()} > {_LETTER} * length(datum.long) + 6"
    short_fits = f"{_width()} > {_LETTER} * length(datum.part) + 6"
    words = base.mark_text(
        align="left",
        dx=5,
        color=_INK,
        fontSize=12,
        text=alt.ExprRef(f"{long_fits} ? datum.long : {short_fits} ? datum.part : ''"),
    )
    return bare_spec(alt.layer(bars, words).properties(height=34 * rows + 85 + 20 * -(-len(parts) // columns)))


@lru_cache(maxsize=8)
def kernel_bars(rows: int, ceiling: float) -> Spec:
    """The kernels that took longest, over the first rows of `kernel_frame`. ceiling: where the axis ends, in %."""
    x = alt.X(
        "Share:Q",
        title="% of all GPU kernels’ time",
        scale=alt.Scale(domain=[0, ceiling], nice=False),
        axis=alt.Axis(tickCount=5, grid=False),
    )
    y = alt.Y("GPU kernel:N", title=None, sort=alt.EncodingSortField("Share", "max", "descending"), axis=None)
    tooltip = [
        alt.Tooltip("GPU kernel:N"),
        alt.Tooltip("Share:Q", title="% of the time", format=".1f"),
        alt.Tooltip("Launches:Q", format=","),
    ]
    base = alt.Chart().encode(y=y, tooltip=tooltip)
    bars = base.mark_bar(color=_BLUE, cornerRadiusEnd=3, height=12, yOffset=9).encode(x=x)
    figures = base.mark_text(align="left", dx=5, dy=9, color=_GREY, fontSize=12).encode(
        x=x, text=alt.Text("Share:Q", format=".1f")
    )
    # Above its bar: beside it, a long name would leave a phone no room for the bar.
    names = base.mark_text(align="left", dy=-7, color=_GREY, fontSize=12).encode(x=alt.value(0), text="GPU kernel:N")
    return bare_spec(alt.layer(bars, figures, names).properties(height=42 * rows + 70))


_SERIES = {"in use by tensors": _BLUE, "held ready by PyTorch": _ORANGE}


@lru_cache(maxsize=32)
def memory_line(several: bool, unit: str) -> Spec:
    """Memory over time with its steps as they were, over `memory_frame`. several: with what PyTorch held ready."""
    names = list(_SERIES)[: 2 if several else 1]
    legend = alt.Legend(
        orient="top", title=None, direction="vertical", symbolType="stroke", symbolStrokeWidth=3, labelLimit=260
    )
    colour = alt.Color(
        "series:N",
        sort=names,
        scale=alt.Scale(domain=names, range=[_SERIES[name] for name in names]),
        legend=legend,
    )
    tooltip = [
        alt.Tooltip("series:N", title="Memory"),
        alt.Tooltip("ms:Q", title="ms", format=",.2f"),
        alt.Tooltip("taken:Q", title=unit, format=",.1f"),
    ]
    chart = (
        alt.Chart()
        .mark_line(interpolate="step-after", strokeWidth=1.8)
        .encode(
            x=alt.X(
                "ms:Q",
                title="ms since recording began",
                scale=alt.Scale(nice=False),
                axis=alt.Axis(grid=False, tickCount=6, format=",~f"),
            ),
            y=alt.Y("taken:Q", title=unit, axis=alt.Axis(tickCount=5, format=",~f")),
            color=colour,
            strokeDash=alt.StrokeDash("series:N", sort=names, scale=alt.Scale(domain=names), legend=legend),
            tooltip=tooltip,
        )
        .properties(height=280)
    )
    return bare_spec(chart)


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
_SMALL_LETTER = 6.2


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
    fits = f"(scale('x', datum.end) - scale('x', datum.start)) > {_SMALL_LETTER} * length(datum.short) + 6"
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
