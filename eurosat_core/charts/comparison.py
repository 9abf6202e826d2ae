"""Runs side by side: learning curves, what accuracy cost, seconds, and figures per class.

A run keeps its colour and its shape on all charts. Figures that were not measured here look different:
pale with a dashed edge.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.analysis.contenders import Contender, RunFigures, differences, figures_note
from eurosat_core.analysis.race import TUTORIAL_RATIO, Bar, Race
from eurosat_core.charts.marks import (
    FIGURE,
    Colours,
    Spec,
    bare_spec,
    colour_and_shape,
    grouped_bars,
    heading,
    legend,
    series_colours,
    tooltips,
    up_to,
)
from eurosat_core.charts.palette import GREY
from eurosat_core.models.summary import ModelSummary
from eurosat_core.training.config import Architecture
from eurosat_core.wording import device_name, duration

_HEIGHT, _LEGEND_ROW = 330, 26  # pixels: without the legend, and of each run in it

# How sure a figure is, by its look: opacity of the fill, dashes of the edge.
ORIGINS = {
    "measured here": (1.0, [1, 0]),
    "projected": (0.55, [6, 3]),
    "recorded elsewhere": (0.3, [4, 3]),
    "reported by the tutorial": (0.1, [2, 3]),
}


def _by_run(labels: Sequence[str]) -> dict[str, Any]:
    """Colour and shape of each run."""
    look = legend(columns=1, labelLimit=320, symbolOpacity=1, symbolSize=90, offset=6)
    return colour_and_shape("run", labels, look)


def differences_frame(runs: Sequence[Contender]) -> pd.DataFrame:
    """The differences as a table: setting, and a column for each run by its label."""
    rows = [(each.title, *each.values) for each in differences(runs)]
    return pd.DataFrame(rows, columns=["setting", *(each.label for each in runs)], dtype=str)


def learning_curves(runs: Sequence[Contender], figure: str) -> pd.DataFrame:
    """`loss` or `accuracy` of all runs after every epoch: run, epoch, seconds (since it began), value, series."""
    rows = [
        (each.label, done.epoch, done.elapsed_seconds, getattr(done, f"{part}_{figure}"), series)
        for each in runs
        for done in each.history.epochs
        for part, series in (("train", "training"), ("val", "validation"))
    ]
    frame = pd.DataFrame(rows, columns=["run", "epoch", "seconds", "value", "series"])
    return frame.astype({"epoch": int, "seconds": float, "value": float})


@lru_cache(maxsize=64)
def curve_overlay(figure: str, along: str, labels: tuple[str, ...], until: float, ceiling: float) -> Spec:
    """Validation (solid, with points) and training (faint, dashed) of all runs over `learning_curves`.

    figure: `loss` or `accuracy`. along: `epoch`, or `seconds` of training. labels: of the runs, in their order. until,
    ceiling: where the axes end.
    """
    is_loss, by_time = figure == "loss", along == "seconds"
    title, number = ("Seconds of training", "~s") if by_time else ("Epochs", "d")
    x = up_to(alt.X, along, title, until, grid=False, tickCount=5, format=number, tickMinStep=1)
    y = up_to(alt.Y, "value", None, ceiling, clamp=True, format=".1f" if is_loss else "%", tickCount=6)
    tooltip = tooltips(
        ("run:N", "Run"),
        ("series:N", "Part"),
        ("epoch:Q", "Epoch"),
        ("seconds:Q", "Seconds", ",.1f"),
        ("value:Q", figure.capitalize(), ".3f" if is_loss else ".1%"),
    )
    look = _by_run(labels)
    base = alt.Chart().encode(x=x, y=y, color=look["color"])
    training = base.transform_filter("datum.series == 'training'")
    validation = base.transform_filter("datum.series == 'validation'")
    layers = [
        training.mark_line(strokeWidth=1.5, strokeDash=[4, 4], opacity=0.6).encode(detail="run:N"),
        validation.mark_line(strokeWidth=2.5).encode(detail="run:N"),
        validation.mark_point(filled=True, size=75, opacity=1).encode(shape=look["shape"], tooltip=tooltip),
    ]
    title = f"{figure.capitalize()}: {'lower' if is_loss else 'higher'} is better"
    height = _HEIGHT + _LEGEND_ROW * len(labels)
    return bare_spec(alt.layer(*layers), height=height, title=heading(title, limit=340))


COSTS = {
    "seconds": "Seconds of training",
    "parameters": "Parameters",
    "trained": "Trained parameters",
    "macs": "Multiply-accumulates per tile",
}


def cost_frame(runs: Sequence[Contender], summary: Callable[[Architecture], ModelSummary]) -> pd.DataFrame:
    """What each run's accuracy cost, a row per run.

    covers: what the seconds are of, all of the training or what an earlier run had not computed of its frozen part.
    summary: costs of a network, as `Lab.model_summary` has them. macs: multiply-accumulates of one tile going forward.
    origin: `here`, or where it was recorded. Runs without an epoch are left out.
    """
    rows = []
    for each in runs:
        if each.accuracy is None or each.seconds is None:
            continue
        costs, started = summary(each.record.config.architecture), each.history.started
        rows.append(
            {
                "run": each.label,
                "accuracy": each.accuracy,
                "seconds": each.seconds,
                "covers": "what no earlier run had computed" if each.record.features_taken else "the whole training",
                "epochs": len(each.history.epochs),
                "parameters": costs.total_params,
                "trained": started.trainable_parameters if started else costs.trainable_params,
                "macs": costs.macs,
                "origin": each.record.recorded_on or "here",
            }
        )
    return pd.DataFrame(rows)


@lru_cache(maxsize=64)
def cost_scatter(figure: str, labels: tuple[str, ...], low: float, high: float) -> Spec:
    """Accuracy against `seconds`, `parameters`, `trained` or `macs` over `cost_frame`: a point per run.

    Points of runs recorded elsewhere are pale. labels: of the runs, in their order. low, high: ends of the
    (logarithmic) cost axis, above 0.
    """
    x = alt.X(
        f"{figure}:Q",
        title=f"{COSTS[figure]} (log scale)",
        scale=alt.Scale(type="log", domain=[low, high], nice=True),
        axis=alt.Axis(format="~s", values=[10.0**power for power in range(-2, 13)]),
    )
    y = alt.Y("accuracy:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=6))
    tooltip = tooltips(
        ("run:N", "Run"),
        ("accuracy:Q", "Accuracy", ".1%"),
        ("seconds:Q", "Seconds", ",.1f"),
        ("covers:N", "Seconds of"),
        ("epochs:Q", "Epochs"),
        ("parameters:Q", "Parameters", ",d"),
        ("trained:Q", "Of these trained", ",d"),
        ("macs:Q", "Multiply-accumulates", ",d"),
        ("origin:N", "Measured"),
    )
    pale = alt.condition("datum.origin == 'here'", alt.value(1.0), alt.value(0.45))
    points = alt.Chart().mark_point(filled=True, size=170)
    chart = points.encode(x=x, y=y, opacity=pale, tooltip=tooltip, **_by_run(labels))
    title = heading("Accuracy: higher is better, further left is cheaper", limit=340)
    return bare_spec(chart, height=_HEIGHT + _LEGEND_ROW * len(labels), title=title)


_BARS = ["run", "device", "seconds", "tiles_per_second", "speed_up", "origin", "note"]


def _bars_frame(rows: Iterable[tuple[Any, ...]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=_BARS).astype({"seconds": float, "speed_up": float})


def seconds_frame(figures: Sequence[RunFigures]) -> pd.DataFrame:
    """Seconds of each run for bars: run, device, seconds, tiles_per_second, speed_up, origin, note.

    origin: `measured here` or `recorded elsewhere`. note: on which device, with how many threads, beside what. Runs
    without a time are left out.
    """
    return _bars_frame(
        (
            each.label,
            device_name(each.device),
            each.seconds,
            each.tiles_per_second,
            each.speed_up,
            "recorded elsewhere" if each.recorded_on else "measured here",
            figures_note(each),
        )
        for each in figures
        if each.seconds is not None
    )


def race_frame(race: Race) -> pd.DataFrame:
    """The projected trainings for bars, in the columns of `seconds_frame`.

    Cells without a projection are left out: nothing is invented for them.
    """
    return _bars_frame(
        (
            f"{each.title} · {device_name(each.device)}",
            device_name(each.device),
            each.projection.seconds,
            each.tiles_per_second.median if each.tiles_per_second else math.nan,
            _factor(race, each),
            "recorded elsewhere" if race.recorded_on else "projected",
            bar_note(each),
        )
        for each in race.bars
        if each.projection is not None
    )


def ratio_frame(race: Race | None) -> pd.DataFrame:
    """How many times as fast as the CPU each model trained on every other device, and what the tutorial reports.

    The figure stands in the column `speed_up`; the others are those of `race_frame`.
    """
    told = []
    if race is not None:
        origin = "recorded elsewhere" if race.recorded_on else "measured here"
        for each in race.bars:
            factor, name = _factor(race, each), device_name(each.device)
            if not math.isnan(factor):
                told.append((f"{each.title}: {name} against CPU", name, factor, origin, bar_note(each)))
    reported = "on the tutorial’s own GPU and CPU, with VGG11-BN"
    told.append(("VGG11-BN", "GPU", TUTORIAL_RATIO, "reported by the tutorial", reported))
    return _bars_frame((run, device, math.nan, math.nan, *more) for run, device, *more in told)


def bar_note(bar: Bar) -> str:
    """On what a bar rests: device, threads, steps and spread, then the projection with its range."""
    if bar.projection is None:
        return bar.problem or bar.text
    low, high = duration(bar.projection.low), duration(bar.projection.high)
    return f"{bar.text}. {bar.projection.basis} By the quartiles {low} to {high}."


def _factor(race: Race, bar: Bar) -> float:
    if bar.device == "cpu":
        return math.nan
    factor = race.device_verdict(bar.model, bar.device).factor
    return math.nan if factor is None else factor


_BAR_TITLES = {
    "seconds": "Seconds: less is better",
    "tiles_per_second": "Tiles per second: more is better",
    "speed_up": "Times as fast as on the CPU",
}
_BAR_FORMATS = {"seconds": ",.1f", "tiles_per_second": ",.0f", "speed_up": ".1f"}


@lru_cache(maxsize=64)
def seconds_bars(figure: str, runs: tuple[str, ...], devices: tuple[str, ...], most: float) -> Spec:
    """Bars of `seconds`, `tiles_per_second` or `speed_up` per run over `seconds_frame`, a colour per device.

    What was not measured here is pale with a dashed edge (`ORIGINS`), and says so beside its name. runs, devices: in
    their order. most: the largest figure.
    """
    y = alt.Y("run:N", sort=list(runs), title=None, axis=alt.Axis(labels=False, ticks=False, domain=False))
    room = 1.25 * max(most, 1e-9)  # for the figure beside the longest bar
    x = up_to(alt.X, figure, _BAR_TITLES[figure], room, format="~s", tickCount=4)
    tooltip = tooltips(
        ("run:N", "Run"),
        ("device:N", "Device"),
        ("seconds:Q", "Seconds", ",.1f"),
        ("tiles_per_second:Q", "Tiles per second", ",.0f"),
        ("speed_up:Q", "Speed-up", ".2f"),
        ("origin:N", "Origin"),
        ("note:N", "Measured on"),
    )
    scale = alt.Scale(domain=list(devices), range=[colour for _, colour in series_colours(devices)])
    look = legend(symbolType="square")
    base = alt.Chart().encode(y=y, tooltip=tooltip)
    # The name stands above its bar, which so has the whole width, also on a phone.
    bars = base.mark_bar(size=18, yOffset=9, cornerRadiusEnd=3, strokeWidth=2).encode(
        x=x,
        color=alt.Color("device:N", scale=scale, legend=look),
        stroke=alt.Stroke("device:N", scale=scale, legend=look),
        fillOpacity=_by_origin(alt.FillOpacity, [opacity for opacity, _ in ORIGINS.values()]),
        strokeDash=_by_origin(alt.StrokeDash, [dash for _, dash in ORIGINS.values()]),
    )
    said = "datum.origin == 'measured here' || indexof(datum.run, 'recorded') >= 0"
    names = (
        base.mark_text(align="left", dx=1, yOffset=-11, fontSize=13, fontWeight="bold", color=GREY, limit=330)
        .encode(x=alt.value(0), text="words:N")
        .transform_calculate(words=f"datum.run + ({said} ? '' : ' (' + datum.origin + ')')")
    )
    number = alt.Text(f"{figure}:Q", format=_BAR_FORMATS[figure])
    figures = base.mark_text(dx=6, yOffset=9, **FIGURE).encode(x=x, text=number)
    return bare_spec(alt.layer(bars, names, figures), height=52 * max(len(runs), 1) + 150)


def _by_origin(channel: Any, values: list[Any]) -> Any:
    origins = list(ORIGINS)
    # Ordinal, for an opacity's own scale would spread its ends evenly over the origins.
    scale = alt.Scale(type="ordinal", domain=origins, range=values)
    return channel("origin:N", sort=origins, scale=scale, legend=None)


SCORES = {"f1": "F1", "precision": "Precision", "recall": "Recall"}


@lru_cache(maxsize=64)
def class_scores(figure: str, titles: tuple[str, ...], classifiers: Colours) -> Spec:
    """`f1`, `precision` or `recall` per class as bars, one per classifier, over `score_frame`.

    A figure without meaning has no bar and says “none” in its place. titles: the classes in their order.
    """
    x = up_to(alt.X, figure, SCORES[figure], 1.18, format="%", values=[0, 0.25, 0.5, 0.75, 1])
    tooltip = tooltips(
        ("title:N", "Class"),
        ("classifier:N", "By"),
        ("precision:Q", "Precision", ".1%"),
        ("recall:Q", "Recall", ".1%"),
        ("f1:Q", "F1", ".1%"),
        ("tiles:Q", "Tiles of this class", ",d"),
        ("called:Q", "Tiles called so", ",d"),
    )
    return grouped_bars("title", titles, "classifier", classifiers, x, tooltip, missing="none")
