"""Charts of a training, as Vega-Lite specs made with Altair; each is drawn over one table of `lab.frames`.

A spec holds no data: `st.vega_lite_chart(table, spec)`. Live views draw it twice a second, and making one with Altair
takes 30–60 ms (two cores, 400 points) where drawing a finished one takes 1–5 ms, so specs are made once. All layers
use the same table, so that the browser swaps its rows in place; the caller fixes the axes, so that they do not jump.
"""

import math
from functools import lru_cache

import altair as alt

from eurosat_core.charts.marks import Spec, bare_spec, share_bars

# Blue and orange stay apart for colour-blind readers and read well on light and on dark ground (contrast at
# least 3:1 on white and on #0e1117). Validation also has its own shape and dash, so colour is never alone.
PHASE_COLOURS = {"training": "#2A8CD6", "validation": "#DB7B0B"}
_GREY = "#8A8F98"
_HEIGHT = 320


def _phase_colour(symbol: str = "circle") -> alt.Color:
    return alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=list(PHASE_COLOURS), range=list(PHASE_COLOURS.values())),
        legend=alt.Legend(
            orient="top",
            direction="horizontal",
            symbolType=symbol,
            symbolOpacity=1,
            symbolStrokeWidth=2.5 if symbol == "stroke" else 0,
            padding=0,
            offset=6,
        ),
    )


def _title(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, fontSize=15, offset=6, anchor="start")


@lru_cache(maxsize=128)
def curves(figure: str, epochs: int, classes: int, ceiling: float) -> Spec:
    """Loss or accuracy over the epochs: faint line per reported step, points per epoch, dashed line of chance.

    Over the table of `curve_frame`. figure: `loss` or `accuracy`. ceiling: where the value axis ends.
    """
    is_loss = figure == "loss"
    x = alt.X(
        "epoch:Q",
        title="Epochs done",
        scale=alt.Scale(domain=[0, epochs], nice=False),
        axis=alt.Axis(format="d", tickMinStep=1, tickCount=min(epochs, 10), grid=False),
    )
    y = alt.Y(
        "value:Q",
        title=None,
        scale=alt.Scale(domain=[0, ceiling], clamp=True, nice=False),
        axis=alt.Axis(format=".1f" if is_loss else "%", tickCount=6),
    )
    number = ".3f" if is_loss else ".1%"
    tooltip = [
        alt.Tooltip("series:N", title="Phase"),
        alt.Tooltip("epoch:Q", title="Epoch", format=".2~f"),
        alt.Tooltip("value:Q", title=figure.capitalize(), format=number),
    ]
    base = alt.Chart()
    layers = [
        base.mark_line(strokeWidth=1.2, opacity=0.6, clip=True)
        .encode(x=x, y=y, color=_phase_colour())
        .transform_filter("datum.kind == 'step'")
    ]
    for series, shape, dash in (("training", "circle", [1, 0]), ("validation", "diamond", [6, 3])):
        one = base.transform_filter(f"datum.kind == 'epoch' && datum.series == '{series}'")
        layers.append(one.mark_line(strokeWidth=2.5, strokeDash=dash).encode(x=x, y=y, color=_phase_colour()))
        layers.append(
            one.mark_point(filled=True, size=80, opacity=1, shape=shape).encode(
                x=x, y=y, color=_phase_colour(), tooltip=tooltip
            )
        )
    chance = (
        base.mark_rule(strokeDash=[3, 3], strokeWidth=1.5, color=_GREY)
        .encode(y=y, tooltip=[alt.Tooltip("value:Q", title="Chance", format=number)])
        .transform_filter("datum.kind == 'chance'")
    )
    words = f"chance: ln {classes} = {math.log(classes):.2f}" if is_loss else f"chance: {100 / classes:.0f} %"
    label = (
        base.mark_text(align="right", dx=-4, dy=-7, color=_GREY, fontSize=12, text=words)
        .encode(x=alt.value("width"), y=y)
        .transform_filter("datum.kind == 'chance'")
    )
    title = "Loss (cross-entropy): lower is better" if is_loss else "Accuracy: higher is better"
    return bare_spec(alt.layer(chance, label, *layers).properties(height=_HEIGHT, title=_title(title)))


@lru_cache(maxsize=128)
def over_time(figure: str, until: float, ceiling: float) -> Spec:
    """`tiles_per_second` or `memory_mb` against the seconds of the training, over the table of `speed_frame`.

    until, ceiling: where the time axis and the value axis end.
    """
    speed = figure == "tiles_per_second"
    title = "Tiles per second" if speed else "Memory in use (MB)"
    chart = (
        alt.Chart()
        .mark_line(strokeWidth=1.8, clip=True, point=alt.OverlayMarkDef(size=9))
        .encode(
            x=alt.X(
                "seconds:Q",
                title="Seconds of training",
                scale=alt.Scale(domain=[0, until], nice=False),
                axis=alt.Axis(grid=False, tickCount=5),
            ),
            y=alt.Y(
                f"{figure}:Q",
                title=None,
                scale=alt.Scale(domain=[0, ceiling], nice=False),
                axis=alt.Axis(format=",.0f", tickCount=4),
            ),
            color=_phase_colour("stroke"),
            detail="part:N",
            tooltip=[
                alt.Tooltip("series:N", title="Phase"),
                alt.Tooltip("seconds:Q", title="Seconds", format=".1f"),
                alt.Tooltip(f"{figure}:Q", title=title, format=",.0f"),
            ],
        )
        .properties(height=250, title=_title(title))
    )
    return bare_spec(chart)


@lru_cache(maxsize=32)
def class_bars(colours: tuple[tuple[str, str], ...]) -> Spec:
    """Accuracy per class as bars in the class colours, the figure beside each, over the table of `class_frame`.

    colours: (class name, colour) for every class.
    """
    x = alt.X(
        "accuracy:Q",
        title="Named correctly",
        scale=alt.Scale(domain=[0, 1.25], nice=False),  # room for the figure beside a full bar
        axis=alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75, 1]),
    )
    tooltip = [
        alt.Tooltip("title:N", title="Class"),
        alt.Tooltip("accuracy:Q", title="Right", format=".1%"),
        alt.Tooltip("right:Q", title="Tiles named correctly", format=","),
        alt.Tooltip("tiles:Q", title="Validation tiles of this class", format=","),
    ]
    text = alt.Text("accuracy:Q", format=".0%")
    return share_bars(x, text, tooltip, colours, height=30 * len(colours) + 40)
