"""The votes of a room as bars: counts only, the first vote above the second."""

import textwrap
from collections.abc import Sequence

import altair as alt
import pandas as pd

from eurosat_core.analysis.rounds import Bar
from eurosat_core.charts.marks import Spec, bare_spec, coloured, legend, tooltips, up_to
from eurosat_core.charts.palette import BLUE, GREY

_TURNS = (("first vote", GREY), ("second vote", BLUE))
_TITLE_SIGNS, _BELOW_SIGNS = 52, 70  # of a line on the projector


def votes_frame(bars: Sequence[Bar]) -> pd.DataFrame:
    """A row for every choice and vote there was: choice (the right one is marked), vote, people."""
    turns = len(_TURNS) if any(each.second for each in bars) else 1
    rows = [
        (f"{'✓ ' if each.is_right else ''}{each.choice}", turn, people)
        for each in bars
        for (turn, _), people in zip(_TURNS[:turns], (each.first, each.second)[:turns], strict=True)
    ]
    return pd.DataFrame(rows, columns=["choice", "vote", "people"])


def votes_chart(bars: Sequence[Bar], *, size: int = 16, title: str = "", below: str = "") -> Spec:
    """Bars over `votes_frame`. size: of the text, in pixels. title, below: over the chart, larger, for a projector."""
    turns = _TURNS if any(each.second for each in bars) else _TURNS[:1]
    most = max((max(each.first, each.second) for each in bars), default=0)
    look = alt.Axis(labelFontSize=size, labelLimit=30 * size, ticks=False, domain=False, labelOverlap=False)
    base = alt.Chart().encode(
        x=up_to(alt.X, "people", None, max(most, 1) * 1.1, labels=False, ticks=False, grid=False, domain=False),
        y=alt.Y("choice:N", title=None, sort=None, axis=look, scale=alt.Scale(paddingInner=0.25)),
        yOffset=alt.YOffset("vote:N", sort=[name for name, _ in turns]),
        tooltip=tooltips(("choice:N", "answer"), ("vote:N", "vote"), ("people:Q", "people")),
    )
    shown = legend(labelFontSize=size, symbolSize=10 * size, labelLimit=20 * size) if len(turns) > 1 else None
    bars_drawn = base.mark_bar(cornerRadiusEnd=3).encode(color=coloured("vote", turns, shown))
    figures = (
        base.mark_text(align="left", dx=6, fontSize=size, fontWeight="bold", color=GREY)
        .encode(text="people:Q")
        .transform_filter("datum.people > 0")
    )
    chart = alt.layer(bars_drawn, figures)
    height = len(bars) * (0.9 + 1.3 * len(turns)) + (2.5 if shown else 0.5)
    if title:
        lines, under = textwrap.wrap(title, _TITLE_SIGNS), textwrap.wrap(below, _BELOW_SIGNS)
        height += 1.9 * len(lines) + 1.6 * len(under) + 1
        over = alt.TitleParams(
            lines,
            anchor="start",
            fontSize=1.6 * size,
            subtitle=under,
            subtitleFontSize=1.2 * size,
            subtitleColor=GREY,
            offset=size,
        )
        chart = chart.properties(title=over)
    return bare_spec(chart, height=round(height * size))
