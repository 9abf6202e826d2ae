"""A profile: its plan, the parts of a step, kernels, memory, timeline.

Words stand in a bar only where they fit: the browser knows how wide it is, so it decides (`_WIDTH`).
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import altair as alt
import pandas as pd

from eurosat_core.analysis.profile_pairs import Side, per_tile, scale
from eurosat_core.charts.marks import FIGURE, Spec, bare_spec, coloured, legend, tooltips, up_to
from eurosat_core.charts.palette import BLUE, BROWN, GREEN, GREY, INK, ORANGE, PINK, PURPLE
from eurosat_core.profiling.idle import CAUSES
from eurosat_core.profiling.launches import Queue
from eurosat_core.profiling.memory_parts import OWNERS, MemoryParts
from eurosat_core.profiling.operators import short_name
from eurosat_core.profiling.overview import PARTS, ROLES
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.profiling.timeline import MemoryCurve, Timeline
from eurosat_core.runs.profiles import Reading
from eurosat_core.wording import milliseconds

PART_COLOURS = {
    "load": ORANGE,
    "copy": PINK,
    "forward": BLUE,
    "backward": GREEN,
    "update": PURPLE,
    "other": GREY,
}
ROLE_COLOURS = {
    "GPU kernel": BLUE,
    "Memcpy": PINK,
    "Memset": "#DB92BE",
    "Communication": BROWN,
    "Runtime": PURPLE,
    "DataLoader": ORANGE,
    "CPU exec": GREEN,
    "Other": GREY,
}
CAUSE_COLOURS = {
    "data": ORANGE,
    "launch": GREEN,
    "synchronisation": PURPLE,
    "host copy": "#DB92BE",
    "device copy": PINK,
    "starting": BROWN,
    "unknown": GREY,
}
PHASE_COLOURS = {"skipped": GREY, "warm-up": ORANGE, "recorded": BLUE}
_LETTER = 6.6  # pixels of a letter at size 12, about


_WIDTH = "(scale('x', datum.end) - scale('x', datum.start))"  # of a bar in pixels


def _legend(columns: int) -> alt.Legend:
    return legend(symbolType="square", padding=0, offset=6, labelLimit=260, columns=columns)


MOST_STEPS = 20
"""Steps that are drawn one by one; of a longer trace the first ones."""
MEAN = "mean"
_PHASES = {"wait": "skipped", "warmup": "warm-up", "active": "recorded"}


def plan_frame(plan: ProfilePlan, done: int | None = None) -> pd.DataFrame:
    """Every step of a plan. Columns: step, cycle, place (in its cycle), phase (in words), done, trace.

    done: how many steps have been made; None while nothing is recorded, then all count as done. trace: the words
    behind a cycle's last step.
    """
    rows = [
        (
            each.number,
            f"cycle {each.cycle}",
            (each.number - 1) % plan.cycle_steps + 1,
            _PHASES[each.phase],
            done is None or each.number <= done,
            f"→ trace {each.cycle}" if each.writes else "",
        )
        for each in plan.strip()
    ]
    return pd.DataFrame(rows, columns=["step", "cycle", "place", "phase", "done", "trace"])


@lru_cache(maxsize=64)
def plan_strip(rows: int, longest: int) -> Spec:
    """The steps of a plan, a line for each cycle, over `plan_frame`. longest: steps of a cycle."""
    x = alt.X("place:O", title=None, axis=None, scale=alt.Scale(paddingInner=0.12, paddingOuter=0))
    y = alt.Y("cycle:N", title=None, sort=None, axis=alt.Axis(ticks=False, domain=False))
    tooltip = tooltips(("step:Q", "Step"), ("cycle:N", "In"), ("phase:N", "It is"), ("trace:N", "Then"))
    opacity = alt.condition("datum.done", alt.value(1.0), alt.value(0.3))
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip)
    colour = coloured("phase", PHASE_COLOURS, _legend(3))
    layers = [base.mark_rect(cornerRadius=3).encode(color=colour, opacity=opacity)]
    if longest <= 14:
        ink = alt.condition("datum.done", alt.value(INK), alt.value(GREY))
        layers.append(base.mark_text(fontSize=12, fontWeight="bold").encode(text="step:Q", color=ink))
    return bare_spec(alt.layer(*layers), height=30 * rows + 30)


def stacked_frame(rows: Sequence[tuple[str, Mapping[str, float]]], parts: Sequence[str]) -> pd.DataFrame:
    """Bars made of parts, for rows of (label, µs by part).

    Columns: row, place (of the row among all), part, start, end, ms, share, long (a label).

    Parts that took no time have no line.
    """
    table = []
    for place, (label, values) in enumerate(rows):
        at, whole = 0.0, sum(values.get(part, 0.0) for part in parts)
        for part in parts:
            length = values.get(part, 0.0) / 1000
            if length <= 0:
                continue
            share = 1000 * length / whole
            table.append((label, place, part, at, at + length, length, share, f"{part} {milliseconds(length)}"))
            at += length
    return pd.DataFrame(table, columns=["row", "place", "part", "start", "end", "ms", "share", "long"])


def parts_in(frame: pd.DataFrame) -> tuple[str, ...]:
    """The parts that a `stacked_frame` has, in their order."""
    there = set(frame["part"])
    return tuple(part for part in (*PARTS, *map(role_title, ROLES), *CAUSES) if part in there)


def role_title(role: str) -> str:
    """What a role is called on screen, where a kernel is never just that."""
    return "GPU kernel" if role == "Kernel" else role


def roles_titled(role_us: Mapping[str, float]) -> dict[str, float]:
    """Times by role, under the names that are shown."""
    return {role_title(role): role_us[role] for role in ROLES}


def parts_frame(reading: Reading) -> pd.DataFrame:
    """Load, copy, forward, backward, update of every step on the host, then of the mean; as in `stacked_frame`."""
    overview = reading.overview
    named = zip(overview.steps, overview.parts.per_step_us, strict=False)
    rows = [(f"step {each.step}", dict(parts)) for each, parts in named][:MOST_STEPS]
    return stacked_frame([*rows, *_mean(rows, overview.parts.mean_us)], PARTS)


def device_parts_frame(reading: Reading) -> pd.DataFrame:
    """The mean step on the host, and what the GPU worked for each part; as in `stacked_frame`."""
    parts = reading.overview.parts
    return stacked_frame([("host", parts.mean_us), ("GPU", parts.device_us or {})], PARTS)


def breakdown_frame(reading: Reading) -> pd.DataFrame:
    """What every step's time was spent on, then the mean; as in `stacked_frame`."""
    overview = reading.overview
    rows = [(f"step {each.step}", roles_titled(each.role_us)) for each in overview.steps[:MOST_STEPS]]
    return stacked_frame([*rows, *_mean(rows, roles_titled(overview.mean_step_us))], tuple(map(role_title, ROLES)))


def _mean(
    rows: Sequence[tuple[str, Mapping[str, float]]], mean: Mapping[str, float]
) -> list[tuple[str, Mapping[str, float]]]:
    """A line for the mean, where there is more than one step."""
    return [(MEAN, mean)] if len(rows) > 1 else []


def idle_frame(reading: Reading) -> pd.DataFrame:
    """Each GPU's mean step: its kernels, then why there were none; as in `stacked_frame`."""
    rows = [
        (
            f"GPU {each.index}",
            {
                part: time / each.steps
                for part, time in ({role_title("Kernel"): each.kernels_us} | each.cause_us).items()
            },
        )
        for each in reading.idle
    ]
    return stacked_frame(rows, (role_title("Kernel"), *CAUSES))


def pair_frame(one: Side, other: Side, of: str) -> pd.DataFrame:
    """Mean step (or tile) of both as bars made of parts, as in `stacked_frame`. of: `parts` or `roles`."""
    by_tile = per_tile(one, other)
    shown: tuple[str, ...] = PARTS if of == "parts" else tuple(map(role_title, ROLES))
    rows = []
    for side in (one, other):
        means = side.mean(of) if of == "parts" else roles_titled(side.mean(of))
        rows.append((side.name, {name: value * scale(side, by_tile) for name, value in means.items()}))
    return stacked_frame(rows, shown)


@lru_cache(maxsize=128)
def stacked_bars(parts: tuple[str, ...], rows: int, axis: str, columns: int = 3) -> Spec:
    """Bars made of parts with their names in them, over a `stacked_frame`.

    parts: those that there are, of `PART_COLOURS`, `ROLE_COLOURS` or `CAUSE_COLOURS`. rows: how many bars. axis: the x
    axis's title. columns: of the legend; a phone has room for two beside long names of bars, else for three.
    """
    colours = {part: (CAUSE_COLOURS | PART_COLOURS | ROLE_COLOURS)[part] for part in parts}
    x = alt.X("start:Q", title=axis, scale=alt.Scale(nice=False, zero=True), axis=alt.Axis(tickCount=5, grid=False))
    y = alt.Y(
        "row:N",
        title=None,
        # Not the data's own order: a chart that is drawn already would put new rows behind those it knows.
        sort=alt.EncodingSortField("place", "min"),
        axis=alt.Axis(ticks=False, domain=False, labelLimit=150),
        scale=alt.Scale(paddingInner=0.22, paddingOuter=0.1),
    )
    tooltip = tooltips(("row:N", "Of"), ("part:N", "Part"), ("ms:Q", "ms", ",.3f"), ("share:Q", "Share", ".1%"))
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip)
    bars = base.mark_bar(stroke=None).encode(x2="end:Q", color=coloured("part", colours, _legend(columns)))
    long_fits = f"{_WIDTH} > {_LETTER} * length(datum.long) + 6"
    short_fits = f"{_WIDTH} > {_LETTER} * length(datum.part) + 6"
    words = base.mark_text(
        align="left",
        dx=5,
        color=INK,
        fontSize=12,
        text=alt.ExprRef(f"{long_fits} ? datum.long : {short_fits} ? datum.part : ''"),
    )
    return bare_spec(alt.layer(bars, words), height=34 * rows + 85 + 20 * -(-len(parts) // columns))


def kernel_frame(reading: Reading, full_names: bool) -> pd.DataFrame:
    """GPU kernels, longest first: raw figures (µs, %); a column that nothing is known for is left out."""
    total = sum(each.total_us for each in reading.kernels)
    frame = pd.DataFrame(
        {
            "GPU kernel": each.name if full_names else each.short_name,
            "Total": each.total_us,
            "Share": 100 * each.total_us / total if total else math.nan,
            "Launches": each.calls,
            "Mean": each.mean_us,
            "Shortest": each.min_us,
            "Longest": each.max_us,
            "Blocks per SM": each.blocks_per_sm,
            "Occupancy": None if each.occupancy is None else 100 * each.occupancy,
            "Tensor cores": "yes" if each.tensor_cores else "",
        }
        for each in reading.kernels
    )
    unknown = [name for name in ("Blocks per SM", "Occupancy") if frame[name].isna().all()]
    return frame.drop(columns=unknown)


@lru_cache(maxsize=8)
def kernel_bars(rows: int, ceiling: float) -> Spec:
    """The kernels that took longest, over the first rows of `kernel_frame`. ceiling: where the axis ends, in %."""
    x = up_to(alt.X, "Share", "% of all GPU kernels’ time", ceiling, tickCount=5, grid=False)
    y = alt.Y("GPU kernel:N", title=None, sort=alt.EncodingSortField("Share", "max", "descending"), axis=None)
    tooltip = tooltips(
        ("GPU kernel:N", "GPU kernel"), ("Share:Q", "% of the time", ".1f"), ("Launches:Q", "Launches", ",")
    )
    base = alt.Chart().encode(y=y, tooltip=tooltip)
    bars = base.mark_bar(color=BLUE, cornerRadiusEnd=3, height=12, yOffset=9).encode(x=x)
    figures = base.mark_text(dx=5, dy=9, **FIGURE).encode(x=x, text=alt.Text("Share:Q", format=".1f"))
    # Above its bar: beside it, a long name would leave a phone no room for the bar.
    names = base.mark_text(dy=-7, **FIGURE).encode(x=alt.value(0), text="GPU kernel:N")
    return bare_spec(alt.layer(bars, figures, names), height=42 * rows + 70)


def queue_frame(queue: Queue) -> pd.DataFrame:
    """Launches ahead of a device. Columns: ms (since the first step began), waiting."""
    return pd.DataFrame({"ms": queue.time_us / 1000, "waiting": queue.length})


@lru_cache(maxsize=1)
def queue_line() -> Spec:
    """How many launches wait over time, over `queue_frame`."""
    chart = (
        alt.Chart()
        .mark_area(interpolate="step-after", line={"strokeWidth": 1.4, "color": BLUE}, color=BLUE, fillOpacity=0.25)
        .encode(
            x=alt.X(
                "ms:Q", title="ms since the first step began", scale=alt.Scale(nice=False), axis=alt.Axis(grid=False)
            ),
            y=alt.Y("waiting:Q", title="launches ahead", axis=alt.Axis(tickCount=4, tickMinStep=1, format=",d")),
            tooltip=tooltips(("ms:Q", "ms", ",.2f"), ("waiting:Q", "Launches ahead", ",d")),
        )
    )
    return bare_spec(chart, height=220)


_UNITS = ("bytes", "KB", "MB", "GB")


def memory_unit(curve: MemoryCurve) -> str:
    """In what a device's memory is drawn: a GPU may hold gigabytes, and the CPU beside it a few bytes."""
    most = float(curve.allocated_bytes.max(initial=0.0))
    return next((unit for power, unit in enumerate(_UNITS[:-1]) if most < 4 * 1024 ** (power + 1)), _UNITS[-1])


def memory_frame(curve: MemoryCurve) -> pd.DataFrame:
    """One device's memory. Columns: ms (since recording began), taken (in `memory_unit`s), series.

    The CPU's reserve is left out: PyTorch holds none ready there, and what a trace says of it means something else.
    """
    series = [("in use by tensors", curve.allocated_bytes)]
    if curve.reserved_bytes is not None and curve.device != "cpu":
        series.append(("held ready by PyTorch", curve.reserved_bytes))
    unit = 1024 ** _UNITS.index(memory_unit(curve))
    frames = [pd.DataFrame({"ms": curve.time_us / 1000, "taken": each / unit, "series": name}) for name, each in series]
    return pd.concat(frames, ignore_index=True)


_SERIES = {"in use by tensors": BLUE, "held ready by PyTorch": ORANGE}


@lru_cache(maxsize=32)
def memory_line(several: bool, unit: str) -> Spec:
    """Memory over time with its steps as they were, over `memory_frame`. several: with what PyTorch held ready."""
    names = list(_SERIES)[: 2 if several else 1]
    look = legend(direction="vertical", symbolType="stroke", symbolStrokeWidth=3, labelLimit=260)
    axis = alt.Axis(grid=False, tickCount=6, format=",~f")
    lines = alt.Chart().mark_line(interpolate="step-after", strokeWidth=1.8)
    chart = lines.encode(
        x=alt.X("ms:Q", title="ms since recording began", scale=alt.Scale(nice=False), axis=axis),
        y=alt.Y("taken:Q", title=unit, axis=alt.Axis(tickCount=5, format=",~f")),
        color=coloured("series", {name: _SERIES[name] for name in names}, look),
        strokeDash=alt.StrokeDash("series:N", scale=alt.Scale(domain=names), legend=look),
        tooltip=tooltips(("series:N", "Memory"), ("ms:Q", "ms", ",.2f"), ("taken:Q", unit, ",.1f")),
    )
    return bare_spec(chart, height=280)


OWNER_COLOURS = {
    "parameters": BLUE,
    "optimizer": PURPLE,
    "gradients": GREEN,
    "activations": ORANGE,
    "other": GREY,
}


def owners_frame(parts: MemoryParts) -> pd.DataFrame:
    """Whose memory it was. Columns: ms (since recording began), place (in the stack), owner, MB; peak: its time."""
    frames = [
        pd.DataFrame({"ms": parts.time_us / 1000, "place": place, "owner": owner, "MB": parts.used[:, place] / 1024**2})
        for place, owner in enumerate(OWNERS)
    ]
    return pd.concat(frames, ignore_index=True).assign(peak=parts.peak_us / 1000)


@lru_cache(maxsize=1)
def owners_area() -> Spec:
    """Memory by owner over time, one on the other, its peak marked; over `owners_frame`."""
    areas = (
        alt.Chart()
        .mark_area(interpolate="step-after")
        .encode(
            x=alt.X("ms:Q", title="ms since recording began", scale=alt.Scale(nice=False), axis=alt.Axis(grid=False)),
            y=alt.Y("MB:Q", title="MB", stack="zero", axis=alt.Axis(tickCount=5)),
            color=coloured("owner", OWNER_COLOURS, _legend(3)),
            order="place:Q",
            tooltip=tooltips(("owner:N", "Memory of"), ("ms:Q", "ms", ",.2f"), ("MB:Q", "MB", ",.2f")),
        )
    )
    peak = alt.Chart().encode(x="min(peak):Q")
    line = peak.mark_rule(color=GREY, strokeDash=[4, 3])
    words = peak.mark_text(text="peak", align="left", dx=4, y=8, color=GREY, fontSize=12)
    return bare_spec(alt.layer(areas, line, words), height=300)


_KINDS = {
    "operator": ROLE_COLOURS["CPU exec"],
    "annotation": "#5B8FA8",
    "runtime": ROLE_COLOURS["Runtime"],
    "GPU kernel": ROLE_COLOURS["GPU kernel"],
    "copy": ROLE_COLOURS["Memcpy"],
    "fill": ROLE_COLOURS["Memset"],
    "overhead": "#A9A08C",
}
_ROW = 19  # pixels
_AROUND = 130  # for the legend and the axis, which count with the height
_SMALL_LETTER = 6.2


def timeline_rows(timeline: Timeline) -> tuple[tuple[tuple[str, int], ...], int]:
    """Where the lines stand: (title, its first row) for each thread and stream; and all rows together.

    A line has a row for each of its levels, and above the first one a free row for its title.
    """
    lanes, at = [], 1
    for lane in timeline.lanes:
        lanes.append((lane.title, at))
        at += lane.levels + 1
    return tuple(lanes), max(at - 1, 1)


def timeline_frame(timeline: Timeline) -> pd.DataFrame:
    """The bars of a step. Columns: row, below (its lower edge), start, end, ms, busy, name, short, kind, events."""
    first = [at for _, at in timeline_rows(timeline)[0]]
    rows = [
        (
            first[each.lane] + each.level,
            first[each.lane] + each.level + 0.88,
            each.start_us / 1000,
            (each.start_us + each.duration_us) / 1000,
            each.duration_us / 1000,
            each.busy_us / 1000,
            each.name if len(each.name) < 200 else f"{each.name[:199]}…",
            _label(each.name, each.kind) if each.events == 1 else "",
            "GPU kernel" if each.kind == "kernel" else each.kind,
            each.events,
        )
        for each in timeline.bars
    ]
    return pd.DataFrame(rows, columns=["row", "below", "start", "end", "ms", "busy", "name", "short", "kind", "events"])


def _label(name: str, kind: str) -> str:
    """What is written into a bar that is long enough."""
    if kind == "kernel":
        return short_name(name)
    if name.startswith("enumerate(Data"):
        return name[len("enumerate(") :].partition(")")[0]  # `DataLoader`
    return name.removeprefix("autograd::engine::evaluate_function: ")


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
    look = legend(symbolType="square", symbolOpacity=1, columns=3, labelLimit=200)
    colour = coloured("kind", {kind: shade for kind, shade in _KINDS.items() if kind in kinds}, look)
    tooltip = tooltips(
        ("name:N", "Name"),
        ("kind:N", "Kind"),
        ("start:Q", "Begins (ms)", ",.3f"),
        ("ms:Q", "Lasts (ms)", ",.3f"),
        ("events:Q", "Events in it", ","),
        ("busy:Q", "of that busy (ms)", ",.3f"),
    )
    zoom = alt.selection_interval(name="timeline_zoom", encodings=["x"], bind="scales")
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip)
    paler = alt.condition("datum.events > 1", alt.value(0.5), alt.value(1.0))
    bars = (
        base.mark_rect(clip=True, stroke=None)
        .encode(x2="end:Q", y2="below:Q", color=colour, opacity=paler)
        .add_params(zoom)
    )
    fits = f"{_WIDTH} > {_SMALL_LETTER} * length(datum.short) + 6"
    words = base.mark_text(
        align="left",
        baseline="middle",
        dx=4,
        dy=_ROW * 0.44,
        fontSize=11,
        color=INK,
        clip=True,
        text=alt.ExprRef(f"{fits} ? datum.short : ''"),
    )
    return bare_spec(alt.layer(bars, words), height=_ROW * rows + _AROUND)
