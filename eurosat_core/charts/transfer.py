"""What features are worth: accuracy by split, and accuracy against labels per class."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from eurosat_core.charts.marks import Spec, bare_spec, colour_and_shape, legend, tooltips
from eurosat_core.charts.palette import GREY
from eurosat_core.training.transfer import ALL, LEARNERS, Learner, TransferResult

_TITLES: dict[Learner, str] = {
    "linear": "frozen, linear layer",
    "neighbours": "frozen, nearest neighbours",
    "scratch": "small CNN from scratch",
}
SPLITS = {"random": "Random", "place": "By place"}


def learning_frame(result: TransferResult) -> pd.DataFrame:
    """A row for each learner and number of labels: accuracy over the draws; labels in words, as all of them are `all`.

    per class: of all labels the mean over the classes, which places them on the axis. `classes` have that many.
    """
    rows = []
    for learner in _TITLES:
        for labels in result.labels:
            spread = result.spread(learner, labels)
            if spread is not None:
                tiles = result.of(learner, labels)[0].tiles
                rows.append((_TITLES[learner], labels, tiles, spread.mean, spread.low, spread.high, spread.draws))
    frame = pd.DataFrame(rows, columns=["learner", "labels", "tiles", "accuracy", "low", "high", "draws"])
    few = frame[frame["labels"] > 0]
    classes = int((few["tiles"] / few["labels"]).iloc[0]) if len(few) else 10
    frame["per class"] = frame["tiles"] / classes
    frame["words"] = [f"{labels} per class" if labels else "all" for labels in frame["labels"]]
    return frame


def learning_chart(frame: pd.DataFrame, chance: float, reference: float | None, *, size: int = 13) -> Spec:
    """Lines with bars from the lowest to the highest draw over `learning_frame`.

    chance: accuracy of guessing. reference: of the baseline with all labels, drawn across where it is known.
    """
    look: dict[str, Any] = {"labelFontSize": size, "titleFontSize": size}
    whole = frame.loc[frame["labels"] == ALL, "per class"]
    ticks = sorted({*frame.loc[frame["labels"] > 0, "labels"].tolist(), *whole.tolist()})
    last = float(whole.max()) if len(whole) else float("inf")
    x = alt.X(
        "per class:Q",
        title="Labels per class (log scale)",
        scale=alt.Scale(type="log", nice=False, padding=12),
        axis=alt.Axis(
            values=ticks,
            labelExpr=f"datum.value >= {last - 0.5:g} ? 'all' : format(datum.value, ',d')"
            if len(whole)
            else "format(datum.value, ',d')",
            labelOverlap=True,
            **look,
        ),
    )
    y = alt.Y(
        "accuracy:Q",
        title="Accuracy on validation tiles",
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(format="%", tickCount=6, **look),
    )
    lines = tooltips(
        ("learner:N", "Learner"),
        ("words:N", "Labels"),
        ("accuracy:Q", "Accuracy, mean", ".1%"),
        ("low:Q", "Worst draw", ".1%"),
        ("high:Q", "Best draw", ".1%"),
        ("draws:Q", "Draws"),
    )
    names = [each for each in _TITLES.values() if each in set(frame["learner"])]
    shown = legend(labelFontSize=size, labelLimit=30 * size, columns=1, symbolOpacity=1)
    base = alt.Chart().encode(x=x, tooltip=lines, **colour_and_shape("learner", names, shown))
    layers = [alt.Chart().mark_rule(color=GREY, strokeDash=[2, 4]).encode(y=alt.datum(chance))]
    if reference is not None:
        across = alt.Chart().transform_aggregate(rows="count()").encode(y=alt.datum(reference))  # once, not per row
        layers.append(across.mark_rule(color=GREY, strokeDash=[8, 4], strokeWidth=2))
        layers.append(
            across.mark_text(text="baseline, all labels", align="left", dy=-7, color=GREY, fontSize=size).encode(
                x=alt.value(4)
            )
        )
    layers += [
        base.mark_rule(strokeWidth=2, opacity=0.7).encode(y="low:Q", y2="high:Q"),
        base.mark_line(strokeWidth=2.5).encode(y=y),
        base.mark_point(filled=True, size=80, opacity=1).encode(y=y),
    ]
    return bare_spec(alt.layer(*layers), height=360)


def split_table(results: Sequence[TransferResult]) -> pd.DataFrame:
    """A row for each split and learner with all labels: accuracy, seconds of learning and judging, and what of."""
    rows = [
        (
            SPLITS[each.split],
            _TITLES[learner].removeprefix("frozen, ").capitalize(),
            100 * trial.accuracy,
            trial.fit_seconds,
            each.train_tiles,
            each.validation_tiles,
            each.feature_seconds,
            each.computed,
        )
        for each in results
        for learner in LEARNERS
        for trial in each.of(learner, ALL)
    ]
    return pd.DataFrame(
        rows,
        columns=[
            "Split",
            "On the features",
            "Accuracy",
            "Learning",
            "Labels",
            "Judged on",
            "Features",
            "Computed",
        ],
    )
