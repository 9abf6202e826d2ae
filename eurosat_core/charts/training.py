"""A training: its curves, its speed over time, and accuracy per class.

All layers use the same table, so that the browser swaps its rows in place; the caller fixes the axes, so that they do
not jump.
"""

import math
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.charts.marks import Colours, Spec, bare_spec, coloured, heading, legend, share_bars, tooltips, up_to
from eurosat_core.charts.palette import BLUE, GREY, ORANGE
from eurosat_core.data.pictures import class_titles
from eurosat_core.runs.history import History
from eurosat_core.training.evaluation import Evaluation

# Validation has its own shape and dash, too.
PHASE_COLOURS = {"training": BLUE, "validation": ORANGE}
_HEIGHT = 320


def _phase_colour(symbol: str = "circle") -> alt.Color:
    width = 2.5 if symbol == "stroke" else 0
    look = legend(
        direction="horizontal", symbolType=symbol, symbolOpacity=1, symbolStrokeWidth=width, padding=0, offset=6
    )
    return coloured("series", PHASE_COLOURS, look)


MAX_CURVE_POINTS = 480


def curve_frame(history: History, figure: str, classes: int) -> pd.DataFrame:
    """Loss or accuracy of both phases over the epochs, with the line of pure guessing; at most 480 rows.

    figure: `loss` or `accuracy`. Columns: epoch (1.0 = the first is complete), value, series (training, validation,
    chance), kind (step: one batch's loss, or the accuracy so far in this epoch; epoch: the mean over all of its
    tiles; chance).
    """
    started = history.started
    rows: list[tuple[float, float, str, str]] = []
    if started is not None:
        steps = [each for each in history.steps if each.phase == "train" and getattr(each, figure) is not None]
        room = max(MAX_CURVE_POINTS - 2 * len(history.epochs) - 1, 60)
        steps = steps[:: max(1, math.ceil(len(steps) / room))]
        rows += [
            (each.epoch - 1 + each.step / started.steps_per_epoch, getattr(each, figure), "training", "step")
            for each in steps
        ]
    for done in history.epochs:
        rows.append((done.epoch, getattr(done, f"train_{figure}"), "training", "epoch"))
        rows.append((done.epoch, getattr(done, f"val_{figure}"), "validation", "epoch"))
    rows.append((0.0, math.log(classes) if figure == "loss" else 1 / classes, "chance", "chance"))
    return pd.DataFrame(rows, columns=["epoch", "value", "series", "kind"]).astype({"epoch": float, "value": float})


def axis_ceiling(value: float, least: float = 1.0) -> float:
    """The next of 1, 1.5, 2, 3, 5, 7.5 × 10ⁿ above `value`: an axis that ends there seldom jumps while data grows."""
    value = max(value, least)
    if not math.isfinite(value):
        return least
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0) if value <= step * power * 1.0001)


def loss_ceiling(frame: pd.DataFrame, classes: int) -> float:
    """Where the loss axis ends: a little above pure guessing, more only when an epoch's loss is above that.

    A single wild batch may leave the picture; it must not squash the curve.
    """
    epochs = frame.loc[frame["kind"] == "epoch", "value"]
    usual = math.log(classes) * 1.12
    highest = float(epochs.max()) if len(epochs) else 0.0
    return round(usual, 2) if highest <= usual else axis_ceiling(highest)


@lru_cache(maxsize=128)
def curves(figure: str, epochs: int, classes: int, ceiling: float) -> Spec:
    """Loss or accuracy over the epochs: faint line per reported step, points per epoch, dashed line of chance.

    Over the table of `curve_frame`. figure: `loss` or `accuracy`. ceiling: where the value axis ends.
    """
    is_loss = figure == "loss"
    look: dict[str, Any] = {"format": "d", "tickMinStep": 1, "tickCount": min(epochs, 10), "grid": False}
    x = up_to(alt.X, "epoch", "Epochs done", epochs, **look)
    y = up_to(alt.Y, "value", None, ceiling, clamp=True, format=".1f" if is_loss else "%", tickCount=6)
    number = ".3f" if is_loss else ".1%"
    tooltip = tooltips(("series:N", "Phase"), ("epoch:Q", "Epoch", ".2~f"), ("value:Q", figure.capitalize(), number))
    base = alt.Chart().encode(y=y)
    phases = base.encode(x=x, color=_phase_colour())
    steps = phases.mark_line(strokeWidth=1.2, opacity=0.6, clip=True).transform_filter("datum.kind == 'step'")
    layers = [steps]
    for series, shape, dash in (("training", "circle", [1, 0]), ("validation", "diamond", [6, 3])):
        one = phases.transform_filter(f"datum.kind == 'epoch' && datum.series == '{series}'")
        layers.append(one.mark_line(strokeWidth=2.5, strokeDash=dash))
        layers.append(one.mark_point(filled=True, size=80, opacity=1, shape=shape).encode(tooltip=tooltip))
    words = f"chance: ln {classes} = {math.log(classes):.2f}" if is_loss else f"chance: {100 / classes:.0f} %"
    guessing = base.transform_filter("datum.kind == 'chance'")
    chance = guessing.mark_rule(strokeDash=[3, 3], strokeWidth=1.5, color=GREY)
    label = guessing.mark_text(align="right", dx=-4, dy=-7, color=GREY, fontSize=12, text=words)
    layers[:0] = [
        chance.encode(tooltip=tooltips(("value:Q", "Chance", number))),
        label.encode(x=alt.value("width")),
    ]
    title = "Loss (cross-entropy): lower is better" if is_loss else "Accuracy: higher is better"
    return bare_spec(alt.layer(*layers), height=_HEIGHT, title=heading(title))


def speed_frame(history: History) -> pd.DataFrame:
    """Speed and memory over time: at most as many rows as `History` keeps steps.

    Columns: seconds since the training began (without pauses), series (training, validation), part (one phase of one
    epoch: its points belong together), tiles_per_second, memory_mb (1024² bytes).
    """
    rows = [
        (
            each.seconds,
            "validation" if each.phase == "validation" else "training",
            f"{each.phase} {each.epoch}",
            each.tiles_per_second,
            each.memory_bytes,
        )
        for each in history.steps
        if each.tiles_per_second is not None
    ]
    frame = pd.DataFrame(rows, columns=["seconds", "series", "part", "tiles_per_second", "memory_mb"])
    frame["memory_mb"] = frame["memory_mb"].astype(float) / 1024**2
    return frame.astype({"seconds": float, "tiles_per_second": float})


@lru_cache(maxsize=128)
def over_time(figure: str, until: float, ceiling: float) -> Spec:
    """`tiles_per_second` or `memory_mb` against the seconds of the training, over the table of `speed_frame`.

    until, ceiling: where the time axis and the value axis end.
    """
    title = "Tiles per second" if figure == "tiles_per_second" else "Memory in use (MB)"
    lines = alt.Chart().mark_line(strokeWidth=1.8, clip=True, point=alt.OverlayMarkDef(size=9))
    chart = lines.encode(
        x=up_to(alt.X, "seconds", "Seconds of training", until, grid=False, tickCount=5),
        y=up_to(alt.Y, figure, None, ceiling, format=",.0f", tickCount=4),
        color=_phase_colour("stroke"),
        detail="part:N",
        tooltip=tooltips(("series:N", "Phase"), ("seconds:Q", "Seconds", ".1f"), (f"{figure}:Q", title, ",.0f")),
    )
    return bare_spec(chart, height=250, title=heading(title))


def class_frame(evaluation: Evaluation) -> pd.DataFrame:
    """Per class, best first. Columns: name, title, accuracy (share named correctly), right, tiles."""
    rows = []
    titles = class_titles(evaluation.class_names)
    for row, name in enumerate(evaluation.class_names):
        total = sum(evaluation.confusion[row])
        if total:
            right = evaluation.confusion[row][row]
            rows.append((name, titles[name], right / total, right, total))
    frame = pd.DataFrame(rows, columns=["name", "title", "accuracy", "right", "tiles"])
    return frame.sort_values("accuracy", ascending=False, ignore_index=True)


@lru_cache(maxsize=32)
def class_bars(colours: Colours) -> Spec:
    """Accuracy per class as bars in the class colours, the figure beside each, over the table of `class_frame`.

    colours: (class name, colour) for every class.
    """
    lines = [
        ("title:N", "Class"),
        ("accuracy:Q", "Right", ".1%"),
        ("right:Q", "Tiles named correctly", ","),
        ("tiles:Q", "Validation tiles of this class", ","),
    ]
    ticks = (0, 0.25, 0.5, 0.75, 1)
    return share_bars(
        "accuracy", "Named correctly", lines, colours, end=1.25, ticks=ticks, number=".0%", row=30, around=40
    )
