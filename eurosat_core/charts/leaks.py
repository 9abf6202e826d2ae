"""How alike validation tiles and their nearest training tiles are, for both splits."""

from collections.abc import Mapping
from functools import lru_cache

import altair as alt
import numpy as np
import numpy.typing as npt
import pandas as pd

from eurosat_core.charts.marks import Spec, bare_spec, coloured, legend, tooltips, up_to
from eurosat_core.charts.palette import BLUE, ORANGE

SPLITS = {"random": ("Random split", BLUE), "place": ("Split by place", ORANGE)}
Similarities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
_POINTS = 80
_FROM = 0.4  # next to nothing lies below


def similarity_frame(of_splits: Mapping[str, tuple[Similarities, Labels]]) -> pd.DataFrame:
    """At steps of similarity, the share of validation tiles whose nearest training tile is at least as alike.

    Every class counts alike: open sea looks alike everywhere, and one split may hold more of it than the other.

    Args:
        of_splits: `random` and `place` → similarities and labels [n] of the validation tiles.

    Returns:
        Columns: split (in words), similarity, share.
    """
    steps = np.linspace(_FROM, 1.0, _POINTS + 1)[:-1]
    parts = []
    for name, (similarity, labels) in of_splits.items():
        each = [np.sort(similarity[labels == label]) for label in np.unique(labels)]
        share = np.mean([1 - np.searchsorted(values, steps) / len(values) for values in each], axis=0)
        parts.append(pd.DataFrame({"split": SPLITS[name][0], "similarity": steps, "share": share}))
    return pd.concat(parts, ignore_index=True)


@lru_cache(maxsize=4)
def similarity_curves(names: tuple[str, ...]) -> Spec:
    """A line per split over `similarity_frame`. names: of the splits drawn."""
    shown = [SPLITS[name] for name in names]
    dashes = alt.Scale(domain=[title for title, _ in shown], range=[[1, 0], [6, 4]][: len(shown)])
    x = alt.X(
        "similarity:Q",
        title="similarity to nearest training tile",
        scale=alt.Scale(domain=[_FROM, 1.0], nice=False),
        axis=alt.Axis(tickCount=6),
    )
    chart = (
        alt.Chart()
        .mark_line(strokeWidth=2.5)
        .encode(
            x=x,
            y=up_to(alt.Y, "share", "share of validation tiles", 1.0, format="%", tickCount=5),
            color=coloured("split", shown, legend()),
            strokeDash=alt.StrokeDash("split:N", scale=dashes, legend=legend()),
            tooltip=tooltips(
                ("split:N", "Split"), ("similarity:Q", "At least", ".2f"), ("share:Q", "Share of its tiles", ".1%")
            ),
        )
    )
    return bare_spec(chart, height=300)
