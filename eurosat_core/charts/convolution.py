"""The chart of the Convolution page: what a network answers, as a Vega-Lite spec (see `charts.training`)."""

from functools import lru_cache

import altair as alt

from eurosat_core.charts.bars import share_bars
from eurosat_core.charts.spec import Spec

__all__ = ["probability_bars"]


@lru_cache(maxsize=64)
def probability_bars(colours: tuple[tuple[str, str], ...]) -> Spec:
    """The probability of each class as bars in the class colours, over a table with name, title, probability.

    colours: (class name, colour) of the classes in the table.
    """
    x = alt.X(
        "probability:Q",
        title="probability (softmax)",
        scale=alt.Scale(domain=[0, 1.3], nice=False),  # room for the figure beside a full bar
        axis=alt.Axis(format="%", values=[0, 0.5, 1]),
    )
    tooltip = [alt.Tooltip("title:N", title="Class"), alt.Tooltip("probability:Q", title="Probability", format=".2%")]
    text = alt.Text("probability:Q", format=".1%")
    return share_bars(x, text, tooltip, colours, height=28 * len(colours) + 50)
