"""The chart of the game: what was taken for what."""

from functools import lru_cache

import altair as alt

from eurosat_core.charts.spec import Spec, bare_spec

__all__ = ["confusion_cells"]

# Pale enough for dark figures, on light and on dark ground. Right answers also stand on the diagonal.
_RIGHT, _WRONG, _INK = "#8CC4EE", "#F2B56B", "#10202B"
_CELL = 34


@lru_cache(maxsize=64)
def confusion_cells(titles: tuple[str, ...]) -> Spec:
    """A cell for each pair of true and guessed class with its count, over true, guessed, tiles, kind.

    titles: the classes in their order.
    """
    # Titles are words from outside: as values of a scale they are only ever drawn as text.
    y = alt.Y("true:N", sort=list(titles), title="true class", axis=alt.Axis(labelLimit=150, ticks=False))
    x = alt.X(
        "guessed:N",
        sort=list(titles),
        title="what you said",
        axis=alt.Axis(labelLimit=150, labelAngle=-60, labelOverlap=False, ticks=False),
    )
    tooltip = [
        alt.Tooltip("true:N", title="True class"),
        alt.Tooltip("guessed:N", title="You said"),
        alt.Tooltip("tiles:Q", title="Tiles", format=",d"),
    ]
    colours = alt.Scale(domain=["right", "wrong"], range=[_RIGHT, _WRONG])
    base = alt.Chart().encode(x=x, y=y)
    layers = [
        base.mark_rect(color="#8A8F98", opacity=0.10, stroke="#8A8F98", strokeOpacity=0.5).encode(tooltip=tooltip),
        base.mark_rect()
        .encode(
            color=alt.Color("kind:N", scale=colours, legend=alt.Legend(orient="top", title=None)),
            tooltip=tooltip,
        )
        .transform_filter("datum.tiles > 0"),
        base.mark_text(color=_INK, fontSize=14, fontWeight="bold")
        .encode(text=alt.Text("tiles:Q", format=",d"), tooltip=tooltip)
        .transform_filter("datum.tiles > 0"),
    ]
    return bare_spec(alt.layer(*layers).properties(height=_CELL * len(titles) + 150))
