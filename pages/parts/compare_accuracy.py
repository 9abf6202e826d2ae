"""The part "Accuracy" of the Compare page: matrices, figures per class, mix-ups, and the tiles behind them."""

import math
from typing import Any

import streamlit as st

from eurosat_core.charts import compare as charts
from eurosat_core.charts import confusion as confusion_charts
from eurosat_core.data.pictures import class_titles
from eurosat_core.lab import confusion
from eurosat_core.lab.contenders import classifiers
from eurosat_core.lab.side_by_side import SideBySide
from eurosat_core.training.evaluation import Evaluation
from eurosat_core.wording import listed, percent
from pages.parts import compare_apart, compare_guesses, compare_matrices, lesson

__all__ = ["colours", "draw"]

VIEW = "compare_accuracy"  # key of the choice of what is open
VIEWS = {
    "matrices": "Confusion matrices",
    "classes": "Per class",
    "pairs": "Most confused",
    "apart": "One right, the other wrong",
    "surest": "Surely wrong",
}


@st.fragment
def draw(side: SideBySide, mark: str) -> None:
    """One view at a time. mark: names this choice of runs, for the keys of what belongs to it."""
    judged = classifiers(side.runs, compare_guesses.own(side))
    left_out = [each.label for each in side.runs if each.label not in judged]
    if not judged or all(name == "You" for name in judged):
        st.info(
            "None of these runs kept predictions, so there are no mix-ups to look at.", icon=":material/search_off:"
        )
        return
    if left_out:
        names = lesson.plain(listed(left_out))
        st.caption(f"Left out here, for it kept no predictions or knows other classes: {names}.")
    opened = st.segmented_control(
        "Look at",
        list(VIEWS),
        default="matrices",
        format_func=lambda name: VIEWS[name],
        key=VIEW,
        required=True,
        persist_state="session",
        label_visibility="collapsed",
    )
    match opened:
        case "matrices":
            compare_matrices.draw(side, judged, mark)
        case "classes":
            _classes(side, judged, mark)
        case "pairs":
            _pairs(side, judged, mark)
        case "apart":
            compare_apart.apart(side, mark)
        case "surest":
            compare_apart.surest(side)


def colours(side: SideBySide, judged: dict[str, Evaluation]) -> tuple[tuple[str, str], ...]:
    """A colour for each classifier: the runs keep theirs of the other charts, the participant is grey."""
    of_runs = dict(charts.run_colours([each.label for each in side.runs]))
    return tuple((name, of_runs.get(name, "#8A8F98")) for name in judged)


def _classes(side: SideBySide, judged: dict[str, Evaluation], mark: str) -> None:
    st.caption(lesson.text("compare")["classes"])
    means = [f"{lesson.plain(name)} {percent(score)}" for name, score in _macro(judged) if score is not None]
    if means:
        st.markdown(f"**Mean F1 over the classes:** {' · '.join(means)}")
    figure = st.segmented_control(
        "Figure",
        ["f1", "precision", "recall"],
        default="f1",
        format_func={"f1": "F1", "precision": "Precision", "recall": "Recall"}.__getitem__,
        key="compare_figure",
        required=True,
        persist_state="session",
    )
    frame = confusion.score_frame(judged)
    titles = tuple(class_titles(next(iter(judged.values())).class_names).values())
    st.vega_lite_chart(
        frame,
        charts.class_scores(figure, titles, colours(side, judged)),
        key=f"compare_scores_{figure}_{mark}",
        alt=f"{figure.capitalize()} of every class as bars: {listed(list(judged))}",
    )
    for name, evaluation in judged.items():
        for remark in confusion.score_remarks(evaluation):
            st.caption(f"{lesson.plain(name)}: {lesson.plain(remark)}")
    with st.expander("All figures as a table", icon=":material/table:"):
        shown = frame.drop(columns="name").rename(columns={"f1": "F1"}).rename(columns=str.capitalize)
        percents: dict[str, Any] = dict.fromkeys(("Precision", "Recall", "F1"), _percent)
        st.dataframe(
            shown.rename(columns={"Title": "Class", "Called": "Tiles called so"}).style.format(percents),
            hide_index=True,
            key="compare_scores_table",
            alt="Precision, recall and F1 of every class and classifier",
        )


def _percent(value: float) -> str:
    return "" if math.isnan(value) else percent(value)


def _macro(judged: dict[str, Evaluation]) -> list[tuple[str, float | None]]:
    return [(name, evaluation.macro().f1) for name, evaluation in judged.items()]


def _pairs(side: SideBySide, judged: dict[str, Evaluation], mark: str) -> None:
    st.caption(lesson.text("compare")["pairs"])
    frame = confusion.confused_pairs(judged)
    if frame.empty:
        st.info("Nobody here made a mistake.", icon=":material/check_circle:")
        return
    pairs = tuple(dict.fromkeys(frame["pair"]))
    st.vega_lite_chart(
        frame,
        confusion_charts.confused_pairs(pairs, colours(side, judged), float(frame["share"].max())),
        key=f"compare_pairs_{mark}",
        alt=f"The most frequent mix-ups, first {pairs[0]}, by {listed(list(judged))}",
    )
