"""Charts of the splits, as Vega-Lite specs over one table (see `charts.training`)."""

from functools import lru_cache

import altair as alt

from eurosat_core.charts.spec import Spec, bare_spec

__all__ = ["PART_COLOURS", "split_bars"]

# Training and validation as in the curves; what is sealed is grey.
PART_COLOURS = ("#2A8CD6", "#DB7B0B", "#8A8F98")


@lru_cache(maxsize=16)
def split_bars(parts: tuple[str, ...], classes: int) -> Spec:
    """Tiles per class as bars, divided into the parts; over a table with class, part, tiles."""
    chart = (
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("tiles:Q", title="tiles", axis=alt.Axis(format=",d", tickCount=6)),
            y=alt.Y("class:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color(
                "part:N",
                sort=list(parts),
                scale=alt.Scale(domain=list(parts), range=list(PART_COLOURS)),
                legend=alt.Legend(orient="top", title=None, columns=2),
            ),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("class:N", title="class"),
                alt.Tooltip("part:N", title="part"),
                alt.Tooltip("tiles:Q", title="tiles", format=",d"),
            ],
        )
        .transform_calculate(rank=f"indexof({list(parts)!r}, datum.part)")
        .properties(height=32 * classes + 120)
    )
    return bare_spec(chart)
