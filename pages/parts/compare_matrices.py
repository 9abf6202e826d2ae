"""Confusion matrices side by side or as difference; a click on a cell, or a choice below, shows its tiles."""

from functools import partial

import streamlit as st

from eurosat_core import wording
from eurosat_core.charts import confusion as charts
from eurosat_core.data.pictures import class_titles
from eurosat_core.lab import confusion
from eurosat_core.lab.side_by_side import SideBySide
from eurosat_core.training.evaluation import Evaluation
from pages.parts import compare_apart, compare_guesses, lesson, session

__all__ = ["draw"]

_MOST_CLASSES = 20  # a larger matrix cannot be read
_SHOWN = 12
_FIGURES = {"tiles": "Tiles", "share": "Shares, %", "difference": "Difference"}
WHOSE, TRUE, SAID = "compare_whose", "compare_true", "compare_said"  # keys of the choice of a cell


def draw(side: SideBySide, judged: dict[str, Evaluation], mark: str) -> None:
    """The matrices, whose they are, and the tiles of the chosen cell."""
    words = lesson.text("compare")
    names = next(iter(judged.values())).class_names
    titles = tuple(class_titles(names).values())
    comparable = side.same.accuracy and len(judged) > 1
    options = [each for each in _FIGURES if each != "difference" or comparable]
    if st.session_state.get("compare_cells") not in options:
        st.session_state["compare_cells"] = "tiles"
    st.segmented_control(
        "In the cells",
        options,
        format_func=lambda name: _FIGURES[name],
        key="compare_cells",
        required=True,
        persist_state="session",
    )
    figure: str = st.session_state["compare_cells"]
    st.caption(words["difference"] if figure == "difference" else words["matrices"])
    compare_guesses.note(side)
    if not side.same.accuracy and len(side.runs) > 1:
        st.warning(lesson.plain(side.same.text), icon=":material/compare_arrows:")
    if len(titles) > _MOST_CLASSES:
        st.caption(f"{len(titles)} classes make a matrix that nobody can read: choose a pair of classes below.")
    elif figure == "difference":
        _difference(judged, titles, mark)
    else:
        _matrices(judged, titles, figure, mark)
    _cell(side, judged, titles)


def _matrices(judged: dict[str, Evaluation], titles: tuple[str, ...], figure: str, mark: str) -> None:
    cells = confusion.confusion_cells(judged)
    wrong = cells.loc[cells["kind"] == "wrong", "share"]
    most_wrong = round(float(wrong.max()), 3) if len(wrong) else 0.0
    with st.grid(2, min_column_width=340):
        for at, (name, evaluation) in enumerate(judged.items()):
            key = f"compare_heat_{figure}_{mark}_{at}"
            st.vega_lite_chart(
                cells[cells["classifier"] == name],
                charts.confusion_heat(titles, figure, most_wrong, f"{name}: {wording.percent(evaluation.accuracy)}"),
                key=key,
                on_select=partial(_clicked, key, name),
                selection_mode=charts.CELL,
                alt=f"Confusion matrix of {name}: {_in_words(evaluation)}",
            )


def _difference(judged: dict[str, Evaluation], titles: tuple[str, ...], mark: str) -> None:
    labels = list(judged)
    if len(labels) > 2:
        left, right = st.columns(2)
        first = left.selectbox("Less this one", labels, index=0, key=f"compare_less_{mark}")
        others = [each for each in labels if each != first]
        second = right.selectbox("This one", others, index=0, key=f"compare_more_{mark}")
    else:
        first, second = labels
    if first is None or second is None:
        return
    frame = confusion.confusion_difference(judged[first], judged[second])
    known = frame["gain"].abs().dropna()
    limit = round(float(known.max()), 3) if len(known) else 0.0
    key = f"compare_change_{mark}_{labels.index(first)}_{labels.index(second)}"
    st.vega_lite_chart(
        frame,
        charts.confusion_change(titles, limit, f"{second} less {first}"),
        key=key,
        on_select=partial(_clicked, key, second),
        selection_mode=charts.CELL,
        alt=f"Confusion matrix of {second} less that of {first}, in percentage points",
    )


def _in_words(evaluation: Evaluation) -> str:
    mistake = evaluation.most_confused()
    if mistake is None:
        return "no mistakes"
    titles = class_titles(evaluation.class_names)
    return f"most often {titles[mistake[0]]} called {titles[mistake[1]]}, {mistake[2]} times"


# -- the tiles of a cell


def _clicked(key: str, name: str) -> None:
    """A click chose a cell of this matrix, or let go of it."""
    points = st.session_state[key]["selection"].get(charts.CELL) or [{}]
    st.session_state[WHOSE] = name
    st.session_state[TRUE], st.session_state[SAID] = points[0].get("true"), points[0].get("said")


def _cell(side: SideBySide, judged: dict[str, Evaluation], titles: tuple[str, ...]) -> None:
    st.markdown("**The tiles of a cell**")
    for key, options in ((WHOSE, list(judged)), (TRUE, list(titles)), (SAID, list(titles))):
        if st.session_state.get(key) not in options:
            st.session_state[key] = options[-1] if key == WHOSE else None
    with st.grid(3, min_column_width=180):
        whose = st.selectbox("Whose answer", list(judged), key=WHOSE)
        true = st.selectbox("True class", list(titles), key=TRUE, placeholder="Click a cell, or choose")
        said = st.selectbox("Was called", list(titles), key=SAID, placeholder="Click a cell, or choose")
    if whose is None or true is None or said is None:
        return
    row, column = titles.index(true), titles.index(said)
    number = judged[whose].confusion[row][column]
    what = f"of class **{lesson.plain(true)}** were called **{lesson.plain(said)}** by {lesson.plain(whose)}"
    st.markdown(f"**{wording.count(number, 'tile')}** {what}.")
    if not number:
        return
    record = side.runs[0].record
    if whose == "You":
        tiles = session.lab().guessed_tiles(session.nickname(), row, column)
        if len(tiles) < number:
            st.caption("A tile that you guessed more than once is shown once.")
    else:
        run = next(each for each in side.runs if each.label == whose)
        assert run.predictions is not None  # it was judged
        found = confusion.tiles_in_cell(run.predictions, run.record.tiles.class_names, row, column)
        tiles, record = [each.tile for each in found], run.record
    compare_apart.pictures(side, record, tiles[:_SHOWN], "cell")
    if len(tiles) > _SHOWN:
        st.caption(f"The {_SHOWN} it was surest of." if whose != "You" else f"The newest {_SHOWN}.")
