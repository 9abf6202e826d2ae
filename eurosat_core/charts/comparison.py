"""Runs side by side: learning curves, what accuracy cost, seconds, and figures per class.

A run keeps its colour and its shape on all charts (`run_colours`). Figures that were not measured here look different:
pale with a dashed edge.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core import wording
from eurosat_core.analysis.contenders import Contender, RunFigures, differences, figures_note
from eurosat_core.analysis.race import TUTORIAL_RATIO, Bar, Race
from eurosat_core.charts.marks import Spec, bare_spec, grouped_bars
from eurosat_core.charts.palette import GREY, SERIES, SHAPES
from eurosat_core.models.catalog import CATALOG
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

Runs = tuple[tuple[str, str], ...]


def run_colours(labels: Sequence[str]) -> Runs:
    """(label, colour) for every run in its order; the colours come again after eight."""
    return tuple((label, SERIES[at % len(SERIES)]) for at, label in enumerate(labels))


def _by_run(runs: Runs) -> dict[str, Any]:
    """Colour and shape of each run, with one legend for both."""
    labels = [label for label, _ in runs]
    legend = alt.Legend(orient="top", title=None, columns=1, labelLimit=320, symbolOpacity=1, symbolSize=90, offset=6)
    shapes = [SHAPES[at % len(SHAPES)] for at in range(len(runs))]
    return {
        "color": alt.Color(
            "run:N", scale=alt.Scale(domain=labels, range=[colour for _, colour in runs]), legend=legend
        ),
        "shape": alt.Shape("run:N", scale=alt.Scale(domain=labels, range=shapes), legend=legend),
    }


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
def curve_overlay(figure: str, along: str, runs: Runs, until: float, ceiling: float) -> Spec:
    """Validation (solid, with points) and training (faint, dashed) of all runs over `learning_curves`.

    figure: `loss` or `accuracy`. along: `epoch`, or `seconds` of training. until, ceiling: where the axes end.
    """
    is_loss, by_time = figure == "loss", along == "seconds"
    x = alt.X(
        f"{along}:Q",
        title="Seconds of training" if by_time else "Epochs",
        scale=alt.Scale(domain=[0, until], nice=False),
        axis=alt.Axis(grid=False, tickCount=5, format="~s" if by_time else "d", tickMinStep=1),
    )
    y = alt.Y(
        "value:Q",
        title=None,
        scale=alt.Scale(domain=[0, ceiling], clamp=True, nice=False),
        axis=alt.Axis(format=".1f" if is_loss else "%", tickCount=6),
    )
    tooltip = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("series:N", title="Part"),
        alt.Tooltip("epoch:Q", title="Epoch"),
        alt.Tooltip("seconds:Q", title="Seconds", format=",.1f"),
        alt.Tooltip("value:Q", title=figure.capitalize(), format=".3f" if is_loss else ".1%"),
    ]
    look = _by_run(runs)
    base = alt.Chart().encode(x=x, y=y, color=look["color"])
    training = base.transform_filter("datum.series == 'training'")
    validation = base.transform_filter("datum.series == 'validation'")
    layers = [
        training.mark_line(strokeWidth=1.5, strokeDash=[4, 4], opacity=0.6).encode(detail="run:N"),
        validation.mark_line(strokeWidth=2.5).encode(detail="run:N"),
        validation.mark_point(filled=True, size=75, opacity=1).encode(shape=look["shape"], tooltip=tooltip),
    ]
    better = "lower is better" if is_loss else "higher is better"
    title = alt.TitleParams(f"{figure.capitalize()}: {better}", fontSize=15, offset=6, anchor="start", limit=340)
    return bare_spec(alt.layer(*layers).properties(height=_HEIGHT + _LEGEND_ROW * len(runs), title=title))


_COSTS = {
    "seconds": "Seconds of training",
    "parameters": "Parameters",
    "trained": "Trained parameters",
    "macs": "Multiply-accumulates per tile",
}


def cost_frame(runs: Sequence[Contender], summary: Callable[[Architecture], ModelSummary]) -> pd.DataFrame:
    """What each run's accuracy cost, a row per run in the columns named below.

    covers: what the seconds are of, all of the training or what an earlier run had not computed of its frozen part.
    summary: costs of a network, as `Lab.model_summary` has them. macs: multiply-accumulates of one tile going forward.
    origin: `here`, or where it was recorded. Runs without an epoch are left out.
    """
    rows = []
    for each in runs:
        config = each.record.config
        if each.accuracy is None or each.seconds is None:
            continue
        costs, entry = summary(config.architecture), CATALOG[config.model]
        started = each.history.started
        rows.append(
            (
                each.label,
                entry.title,
                wording.device_name(config.device),
                each.accuracy,
                each.seconds,
                "what no earlier run had computed" if each.record.features_taken else "the whole training",
                len(each.history.epochs),
                costs.total_params,
                started.trainable_parameters if started else costs.trainable_params,
                costs.macs,
                each.record.recorded_on or "here",
            )
        )
    costs_of_run = ["seconds", "covers", "epochs", "parameters", "trained", "macs"]
    columns = ["run", "model", "device", "accuracy", *costs_of_run, "origin"]
    return pd.DataFrame(rows, columns=columns)


@lru_cache(maxsize=64)
def cost_scatter(figure: str, runs: Runs, low: float, high: float) -> Spec:
    """Accuracy against `seconds`, `parameters`, `trained` or `macs` over `cost_frame`: a point per run.

    Points of runs recorded elsewhere are pale. low, high: ends of the (logarithmic) cost axis, above 0.
    """
    x = alt.X(
        f"{figure}:Q",
        title=f"{_COSTS[figure]} (log scale)",
        scale=alt.Scale(type="log", domain=[low, high], nice=True),
        axis=alt.Axis(format="~s", values=[10.0**power for power in range(-2, 13)]),
    )
    y = alt.Y("accuracy:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=6))
    tooltip = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("accuracy:Q", title="Accuracy", format=".1%"),
        alt.Tooltip("seconds:Q", title="Seconds", format=",.1f"),
        alt.Tooltip("covers:N", title="Seconds of"),
        alt.Tooltip("epochs:Q", title="Epochs"),
        alt.Tooltip("parameters:Q", title="Parameters", format=",d"),
        alt.Tooltip("trained:Q", title="Of these trained", format=",d"),
        alt.Tooltip("macs:Q", title="Multiply-accumulates", format=",d"),
        alt.Tooltip("origin:N", title="Measured"),
    ]
    points = (
        alt.Chart()
        .mark_point(filled=True, size=170)
        .encode(
            x=x,
            y=y,
            opacity=alt.condition("datum.origin == 'here'", alt.value(1.0), alt.value(0.45)),
            tooltip=tooltip,
            **_by_run(runs),
        )
    )
    title = alt.TitleParams(
        "Accuracy: higher is better, further left is cheaper", fontSize=15, anchor="start", limit=340
    )
    return bare_spec(points.properties(height=_HEIGHT + _LEGEND_ROW * len(runs), title=title))


def seconds_frame(figures: Sequence[RunFigures]) -> pd.DataFrame:
    """Seconds of each run for bars: run, model, device, seconds, tiles_per_second, speed_up, origin, note.

    origin: `measured here` or `recorded elsewhere`. note: on which device, with how many threads, beside what. Runs
    without a time are left out.
    """
    rows = []
    for each in figures:
        if each.seconds is None:
            continue
        entry = CATALOG.get(each.model)
        rows.append(
            (
                each.label,
                entry.title if entry else each.model,
                wording.device_name(each.device),
                each.seconds,
                each.tiles_per_second,
                each.speed_up,
                "recorded elsewhere" if each.recorded_on else "measured here",
                figures_note(each),
            )
        )
    columns = ["run", "model", "device", "seconds", "tiles_per_second", "speed_up", "origin", "note"]
    return pd.DataFrame(rows, columns=columns)


_RACE_COLUMNS = ["run", "model", "device", "seconds", "tiles_per_second", "speed_up", "origin", "note"]


def race_frame(race: Race) -> pd.DataFrame:
    """The projected trainings for bars, in the columns of `seconds_frame`.

    Cells without a projection are left out: nothing is invented for them.
    """
    origin = "recorded elsewhere" if race.recorded_on else "projected"
    rows = [
        (
            f"{each.title} · {device_name(each.device)}",
            each.title,
            device_name(each.device),
            each.projection.seconds,
            each.tiles_per_second.median if each.tiles_per_second else math.nan,
            _factor(race, each),
            origin,
            bar_note(each),
        )
        for each in race.bars
        if each.projection is not None
    ]
    return pd.DataFrame(rows, columns=_RACE_COLUMNS).astype({"seconds": float, "speed_up": float})


def ratio_frame(race: Race | None) -> pd.DataFrame:
    """How many times as fast as the CPU each model trained on every other device, and what the tutorial reports.

    The figure stands in the column `speed_up`; the others are those of `race_frame`.
    """
    rows = []
    for each in race.bars if race is not None else ():
        factor = _factor(race, each) if race is not None else math.nan
        if each.device != "cpu" and not math.isnan(factor):
            origin = "recorded elsewhere" if race is not None and race.recorded_on else "measured here"
            name = device_name(each.device)
            label = f"{each.title}: {name} against CPU"
            rows.append((label, each.title, name, math.nan, math.nan, factor, origin, bar_note(each)))
    reported = "on the tutorial’s own GPU and CPU, with VGG11-BN"
    rows.append(
        ("VGG11-BN", "VGG11-BN", "GPU", math.nan, math.nan, TUTORIAL_RATIO, "reported by the tutorial", reported)
    )
    return pd.DataFrame(rows, columns=_RACE_COLUMNS).astype({"seconds": float, "speed_up": float})


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
    colours = [SERIES[at % len(SERIES)] for at in range(len(devices))]
    origins = list(ORIGINS)
    y = alt.Y("run:N", sort=list(runs), title=None, axis=alt.Axis(labels=False, ticks=False, domain=False))
    x = alt.X(
        f"{figure}:Q",
        title=_BAR_TITLES[figure],
        scale=alt.Scale(domain=[0, 1.25 * max(most, 1e-9)], nice=False),  # room for the figure beside the longest bar
        axis=alt.Axis(format="~s", tickCount=4),
    )
    tooltip = [
        alt.Tooltip("run:N", title="Run"),
        alt.Tooltip("device:N", title="Device"),
        alt.Tooltip("seconds:Q", title="Seconds", format=",.1f"),
        alt.Tooltip("tiles_per_second:Q", title="Tiles per second", format=",.0f"),
        alt.Tooltip("speed_up:Q", title="Speed-up", format=".2f"),
        alt.Tooltip("origin:N", title="Origin"),
        alt.Tooltip("note:N", title="Measured on"),
    ]
    scale = alt.Scale(domain=list(devices), range=colours)
    legend = alt.Legend(orient="top", title=None, symbolType="square")
    base = alt.Chart().encode(y=y, tooltip=tooltip)
    # The name stands above its bar, which so has the whole width, also on a phone.
    bars = base.mark_bar(size=18, yOffset=9, cornerRadiusEnd=3, strokeWidth=2).encode(
        x=x,
        color=alt.Color("device:N", scale=scale, legend=legend),
        stroke=alt.Stroke("device:N", scale=scale, legend=legend),
        fillOpacity=_by_origin(alt.FillOpacity, [ORIGINS[each][0] for each in origins]),
        strokeDash=_by_origin(alt.StrokeDash, [ORIGINS[each][1] for each in origins]),
    )
    said = "datum.origin == 'measured here' || indexof(datum.run, 'recorded') >= 0"
    names = (
        base.mark_text(align="left", dx=1, yOffset=-11, fontSize=13, fontWeight="bold", color=GREY, limit=330)
        .encode(x=alt.value(0), text="words:N")
        .transform_calculate(words=f"datum.run + ({said} ? '' : ' (' + datum.origin + ')')")
    )
    number = alt.Text(f"{figure}:Q", format=_BAR_FORMATS[figure])
    figures = base.mark_text(align="left", dx=6, yOffset=9, fontSize=12, color=GREY).encode(x=x, text=number)
    return bare_spec(alt.layer(bars, names, figures).properties(height=52 * max(len(runs), 1) + 150))


def _by_origin(channel: Any, values: list[Any]) -> Any:
    origins = list(ORIGINS)
    # Ordinal, for an opacity's own scale would spread its ends evenly over the origins.
    scale = alt.Scale(type="ordinal", domain=origins, range=values)
    return channel("origin:N", sort=origins, scale=scale, legend=None)


@lru_cache(maxsize=64)
def class_scores(figure: str, titles: tuple[str, ...], classifiers: Runs) -> Spec:
    """`f1`, `precision` or `recall` per class as bars, one per classifier, over `score_frame`.

    A figure without meaning has no bar and says “none” in its place. titles: the classes in their order.
    """
    x = alt.X(
        f"{figure}:Q",
        title={"f1": "F1", "precision": "Precision", "recall": "Recall"}[figure],
        scale=alt.Scale(domain=[0, 1.18], nice=False),
        axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    tooltip = [
        alt.Tooltip("title:N", title="Class"),
        alt.Tooltip("classifier:N", title="By"),
        alt.Tooltip("precision:Q", title="Precision", format=".1%"),
        alt.Tooltip("recall:Q", title="Recall", format=".1%"),
        alt.Tooltip("f1:Q", title="F1", format=".1%"),
        alt.Tooltip("tiles:Q", title="Tiles of this class", format=",d"),
        alt.Tooltip("called:Q", title="Tiles called so", format=",d"),
    ]
    text = alt.Text(f"{figure}:Q", format=".0%")
    return grouped_bars("title", titles, "classifier", classifiers, x, text, tooltip, missing="none")
