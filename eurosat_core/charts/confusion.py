"""Confusion matrices as heat maps, alone, side by side on one scale, or one less the other.

Specs without data over the tables of `lab.confusion`; several are drawn beside each other (below each other on a
phone) by filtering the table to one classifier. Titles are words from outside: as values they are only drawn as text.
"""

from functools import lru_cache

import altair as alt

from eurosat_core.charts.marks import Spec, bare_spec, grouped_bars

CELL = "cell"
"""The name of the selection: a click on a cell chooses its `true` and `said`."""

# From pale to strong, and never so strong that the dark figures could not be read; on light and on dark ground. Blue
# (right, better) and orange (wrong, worse) stay apart for colour-blind readers, and right answers on the diagonal.
_RIGHT, _WRONG = ("#E3F1FB", "#4FA3E0"), ("#FDF0DF", "#E8923A")
_INK, _GREY = "#10202B", "#8A8F98"
_CHOSEN = "#B5559F"
_ROW = 32


def _axes(titles: tuple[str, ...]) -> tuple[alt.X, alt.Y]:
    y = alt.Y("true:N", sort=list(titles), title="true class", axis=alt.Axis(labelLimit=120, ticks=False))
    x = alt.X(
        "said:N",
        sort=list(titles),
        title="what was said",
        axis=alt.Axis(labelLimit=130, labelAngle=-60, labelOverlap=False, ticks=False),
    )
    return x, y


def _ground(base: alt.Chart, tooltip: list[alt.Tooltip]) -> alt.Chart:
    """All cells, also where nothing happened, so that each can be pointed at."""
    ground: alt.Chart = base.mark_rect(color=_GREY, opacity=0.10, stroke=_GREY, strokeOpacity=0.5).encode(
        tooltip=tooltip
    )
    return ground


def _frame(base: alt.Chart, tooltip: list[alt.Tooltip]) -> alt.Chart:
    """The cell that was clicked, with a thick edge; a click beside the cells lets go."""
    cell = alt.selection_point(name=CELL, fields=["true", "said"], empty=False)
    edge = alt.condition(cell, alt.value(3), alt.value(0))
    frame: alt.Chart = (
        base.mark_rect(fillOpacity=0, stroke=_CHOSEN, cursor="pointer")
        .encode(strokeWidth=edge, tooltip=tooltip)
        .add_params(cell)
    )
    return frame


@lru_cache(maxsize=64)
def confusion_heat(titles: tuple[str, ...], figure: str, most_wrong: float, title: str = "") -> Spec:
    """One matrix over `confusion_cells` of one classifier: right answers blue, mistakes orange, stronger for more.

    titles: the classes in their order. figure: `tiles`, or `share` of the true class, written in each cell (shares in
    percent). most_wrong: the share at which a mistake's orange is strongest; the same for all matrices beside each
    other, so that their colours can be compared.
    """
    x, y = _axes(titles)
    tooltip = [
        alt.Tooltip("true:N", title="True class"),
        alt.Tooltip("said:N", title="Called"),
        alt.Tooltip("tiles:Q", title="Tiles", format=",d"),
        alt.Tooltip("share:Q", title="Of the true class", format=".1%"),
    ]
    base = alt.Chart().encode(x=x, y=y)
    layers = [_ground(base, tooltip)]
    for kind, shades, most in (("right", _RIGHT, 1.0), ("wrong", _WRONG, max(most_wrong, 0.01))):
        scale = alt.Scale(type="sqrt", domain=[0, most], range=list(shades), clamp=True, interpolate="rgb")
        layers.append(
            base.mark_rect()
            .encode(color=alt.Color("share:Q", scale=scale, legend=None), tooltip=tooltip)
            .transform_filter(f"datum.kind == '{kind}'")
        )
    words = "format(datum.tiles, ',d')" if figure == "tiles" else "format(100 * datum.share, '.0f')"
    layers.append(
        base.mark_text(color=_INK, fontSize=12)
        .encode(text="words:N", tooltip=tooltip)
        .transform_filter("datum.tiles > 0")
        .transform_calculate(words=words)
    )
    chart = alt.layer(*layers, _frame(base, tooltip)).resolve_scale(color="independent")
    return bare_spec(chart.properties(height=_ROW * len(titles) + 150, title=_title(title)))


@lru_cache(maxsize=64)
def confusion_change(titles: tuple[str, ...], limit: float, title: str = "") -> Spec:
    """The difference of two matrices over `confusion_difference`, in percentage points: blue better, orange worse.

    limit: the gain at which the colours are strongest, to either side.
    """
    x, y = _axes(titles)
    tooltip = [
        alt.Tooltip("true:N", title="True class"),
        alt.Tooltip("said:N", title="Called"),
        alt.Tooltip("difference:Q", title="Difference", format="+.1%"),
        alt.Tooltip("tiles_first:Q", title="Tiles, first run", format=",d"),
        alt.Tooltip("tiles_second:Q", title="Tiles, second run", format=",d"),
    ]
    most = max(limit, 0.01)
    scale = alt.Scale(domain=[-most, 0, most], range=[_WRONG[1], "#F7F7F4", _RIGHT[1]], clamp=True, interpolate="rgb")
    base = alt.Chart().encode(x=x, y=y)
    layers = [
        _ground(base, tooltip),
        base.mark_rect()
        .encode(color=alt.Color("gain:Q", scale=scale, legend=None), tooltip=tooltip)
        .transform_filter("datum.kind == 'better' || datum.kind == 'worse'"),
        base.mark_text(color=_INK, fontSize=11)
        .encode(text="words:N", tooltip=tooltip)
        .transform_filter("datum.kind == 'better' || datum.kind == 'worse'")
        .transform_filter("abs(datum.difference) >= 0.005")
        .transform_calculate(words="format(100 * datum.difference, '+.0f')"),
        _frame(base, tooltip),
    ]
    return bare_spec(alt.layer(*layers).properties(height=_ROW * len(titles) + 150, title=_title(title)))


@lru_cache(maxsize=64)
def confused_pairs(pairs: tuple[str, ...], classifiers: tuple[tuple[str, str], ...], most: float) -> Spec:
    """Bars of the most frequent mistakes, one per classifier, over `confused_pairs`.

    pairs: in their order. classifiers: (name, colour). most: where the axis ends, a share.
    """
    x = alt.X(
        "share:Q",
        title="share of the true class",
        scale=alt.Scale(domain=[0, max(1.2 * most, 0.01)], nice=False),
        axis=alt.Axis(format="%", tickCount=4),
    )
    tooltip = [
        alt.Tooltip("pair:N", title="Mistake"),
        alt.Tooltip("classifier:N", title="By"),
        alt.Tooltip("tiles:Q", title="Tiles", format=",d"),
        alt.Tooltip("share:Q", title="Of the true class", format=".1%"),
    ]
    return grouped_bars("pair", pairs, "classifier", classifiers, x, alt.Text("share:Q", format=".0%"), tooltip)


def _title(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, fontSize=14, offset=6, anchor="start", limit=340)
