"""Accuracies side by side, confusions, and the tiles that runs disagree about."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import streamlit as st

from eurosat_core.analysis import confusion
from eurosat_core.analysis.contenders import classifiers
from eurosat_core.analysis.lineup import SideBySide
from eurosat_core.analysis.training import surest_mistakes
from eurosat_core.analysis.verdicts import against_you
from eurosat_core.charts import comparison as charts
from eurosat_core.charts.confusion import (
    CELL,
    confused_pairs,
    confused_pairs_frame,
    confusion_cells,
    confusion_change,
    confusion_difference,
    confusion_heat,
    score_frame,
)
from eurosat_core.charts.marks import series_colours
from eurosat_core.charts.palette import GREY
from eurosat_core.data.pictures import class_titles
from eurosat_core.finding import Finding
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.evaluation import Evaluation
from eurosat_core.wording import count, listed, percent
from eurosat_core.words.say import say
from pages.parts import lesson, session
from pages.parts.tile_pictures import small_png

_SHOWN_APART = 8


def pictures(side: SideBySide, record: RunRecord, numbers: Sequence[int], name: str) -> None:
    """Tiles that a run learned from, each with its class and the answer of every run that was judged on it.

    name: what they are, for their description.
    """
    tiles = session.lab().results.tiles_of(record)
    if tiles is None or any(each >= len(tiles) for each in numbers):
        st.info(lesson.text("compare")["other tiles"], icon=":material/image_not_supported:")
        return
    titles = class_titles(tiles.class_names)
    runs = [each for each in side.runs if each.record.tiles.fingerprint == tiles.fingerprint]
    with st.grid(4, min_column_width=130):
        for number in numbers:
            true = titles[tiles.class_names[int(tiles.labels[number])]]
            with st.container(gap="xxsmall"):
                st.image(
                    small_png(tiles.fingerprint, number, tiles), width="stretch", alt=f"Tile {number} ({name}): {true}"
                )
                st.markdown(f"**{lesson.plain(true)}**")
                for answer in confusion.answers(runs, number):
                    said = lesson.plain(titles.get(answer.said, answer.said))
                    icon = ":green[:material/check:]" if answer.is_right else ":orange[:material/close:]"
                    sure = f"({100 * answer.confidence:.0f} %)"
                    st.caption(f"{icon} {lesson.plain(answer.label)}: {said} {sure}")


def _two_of(labels: list[str], titles: tuple[str, str], keys: tuple[str, str], mark: str) -> tuple[str, str]:
    """Two of the labels; where there are more, a choice of each, the first two to begin with."""
    if len(labels) == 2:
        return labels[0], labels[1]
    left, right = st.columns(2)
    first = left.selectbox(titles[0], labels, key=f"{keys[0]}_{mark}") or labels[0]
    others = [each for each in labels if each != first]
    return first, right.selectbox(titles[1], others, key=f"{keys[1]}_{mark}") or others[0]


def apart(side: SideBySide, mark: str) -> None:
    """Tiles that one of two runs gets right and the other wrong."""
    st.caption(lesson.text("compare")["apart"])
    labels = [each.label for each in side.runs if each.predictions is not None]
    if len(labels) < 2:
        st.info("You need two runs with predictions. Choose a second one above.", icon=":material/compare_arrows:")
        return
    first, second = _two_of(labels, ("One", "The other"), ("compare_one", "compare_other"), mark)
    place = {each.label: at for at, each in enumerate(side.runs)}
    one, other = side.runs[place[first]], side.runs[place[second]]
    if one.record.tiles.fingerprint != other.record.tiles.fingerprint:
        st.info(
            "These two were trained on different tile sets, so they have no tile in common.", icon=":material/link_off:"
        )
        return
    found = side.disagreement(place[first], place[second])
    if found is None or not found.tiles:
        st.info("These two were not judged on any tile in common.", icon=":material/link_off:")
        return
    with st.container(horizontal=True):
        for label, number in (
            ("Both right", found.both_right),
            (f"Only {first}", len(found.first)),
            (f"Only {second}", len(found.second)),
            ("Both wrong", found.both_wrong),
        ):
            share = percent(number / found.tiles)
            st.metric(lesson.plain(label), f"{number:,}", border=True, help=f"{share} of {found.tiles:,} tiles")
    for label, numbers in ((first, found.first), (second, found.second)):
        st.markdown(f"**Only {lesson.plain(label)} is right**")
        if numbers:
            pictures(side, one.record, numbers[:_SHOWN_APART], f"only {label} is right")
        else:
            st.caption("No tile.")


def surest(side: SideBySide) -> None:
    """The wrong answers that each run was surest of."""
    st.caption(lesson.text("compare")["surest"])
    for run in side.runs:
        st.markdown(f"**{lesson.plain(run.label)}**")
        if run.predictions is None:
            st.caption("It kept no predictions.")
            continue
        mistakes = surest_mistakes(run.predictions, run.record.tiles.class_names, _SHOWN_APART)
        if mistakes:
            pictures(side, run.record, [each.tile for each in mistakes], f"{run.label} surely wrong")
        else:
            st.caption("It made no mistake.")


def own(side: SideBySide) -> Evaluation | None:
    """The participant's accuracy and mix-ups, where they guessed the very tiles these runs learned from."""
    lab = session.lab()
    if any(lab.results.tiles_of(each.record) is None for each in side.runs):
        return None
    return lab.results.guesses(session.me())


def against_best(side: SideBySide) -> Finding | None:
    """The best of these runs against the participant; None where there is nothing to say."""
    judged = [each for each in side.runs if each.accuracy is not None]
    guesses = own(side)
    if guesses is None or not judged or not side.may_compare_accuracy:
        return None
    return against_you(guesses, max(judged, key=lambda each: each.accuracy or 0.0))


def note(side: SideBySide) -> None:
    """Whether and why the participant's own mix-ups stand beside the networks'."""
    words = lesson.text("compare")
    guesses = own(side)
    if guesses is not None:
        st.caption(words["you"].format(tiles=count(guesses.tiles, "guess", "guesses")))
    elif session.lab().results.guesses(session.me()) is None:
        st.caption(words["you absent"])
    else:
        st.caption(words["you elsewhere"])


def warn_of_other_work(side: SideBySide) -> None:
    """Why the accuracies of these runs cannot be compared, if so."""
    if not side.may_compare_accuracy:
        st.warning(lesson.plain(say(side.same)), icon=":material/compare_arrows:")


_MOST_CLASSES = 20  # a larger matrix cannot be read
_SHOWN = 12
_FIGURES = {"tiles": "Tiles", "share": "Shares, %", "difference": "Difference"}
WHOSE, TRUE, SAID = "compare_whose", "compare_true", "compare_said"  # keys of the choice of a cell


def draw_matrices(side: SideBySide, judged: dict[str, Evaluation], mark: str) -> None:
    """The matrices, whose they are, and the tiles of the chosen cell."""
    words = lesson.text("compare")
    names = next(iter(judged.values())).class_names
    titles = tuple(class_titles(names).values())
    comparable = side.may_compare_accuracy and len(judged) > 1
    options = [each for each in _FIGURES if each != "difference" or comparable]
    figure = lesson.one_of("In the cells", options, "compare_cells", titles=_FIGURES.__getitem__)
    st.caption(words["difference"] if figure == "difference" else words["matrices"])
    note(side)
    warn_of_other_work(side)
    if len(titles) > _MOST_CLASSES:
        st.caption(f"{len(titles)} classes make a matrix that nobody can read: choose a pair of classes below.")
    elif figure == "difference":
        _difference(judged, titles, mark)
    else:
        _matrices(judged, titles, figure, mark)
    _cell(side, judged, titles)


def _matrices(judged: dict[str, Evaluation], titles: tuple[str, ...], figure: str, mark: str) -> None:
    cells = confusion_cells(judged)
    wrong = cells.loc[cells["kind"] == "wrong", "share"]
    most_wrong = round(float(wrong.max()), 3) if len(wrong) else 0.0
    with st.grid(2, min_column_width=340):
        for at, (name, evaluation) in enumerate(judged.items()):
            key = f"compare_heat_{figure}_{mark}_{at}"
            st.vega_lite_chart(
                cells[cells["classifier"] == name],
                confusion_heat(titles, figure, most_wrong, f"{name}: {percent(evaluation.accuracy)}"),
                key=key,
                on_select=partial(_clicked, key, name),
                selection_mode=CELL,
                alt=f"Confusion matrix of {name}: {_in_words(evaluation)}",
            )


def _difference(judged: dict[str, Evaluation], titles: tuple[str, ...], mark: str) -> None:
    labels = list(judged)
    first, second = _two_of(labels, ("Less this one", "This one"), ("compare_less", "compare_more"), mark)
    frame = confusion_difference(judged[first], judged[second])
    known = frame["gain"].abs().dropna()
    limit = round(float(known.max()), 3) if len(known) else 0.0
    key = f"compare_change_{mark}_{labels.index(first)}_{labels.index(second)}"
    st.vega_lite_chart(
        frame,
        confusion_change(titles, limit, f"{second} less {first}"),
        key=key,
        on_select=partial(_clicked, key, second),
        selection_mode=CELL,
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
    points = st.session_state[key]["selection"].get(CELL) or [{}]
    st.session_state[WHOSE] = name
    st.session_state[TRUE], st.session_state[SAID] = points[0].get("true"), points[0].get("said")


def _cell(side: SideBySide, judged: dict[str, Evaluation], titles: tuple[str, ...]) -> None:
    st.markdown("**The tiles of a cell**")
    for key, options in ((WHOSE, list(judged)), (TRUE, list(titles)), (SAID, list(titles))):
        if st.session_state.get(key) not in options:
            st.session_state[key] = options[-1] if key == WHOSE else None
    with st.grid(3, min_column_width=180):
        whose = st.selectbox("Whose answer", list(judged), key=WHOSE, persist_state="session")
        true = st.selectbox("True class", list(titles), key=TRUE, placeholder="Click a cell, or choose")
        said = st.selectbox("Was called", list(titles), key=SAID, placeholder="Click a cell, or choose")
    if whose is None or true is None or said is None:
        return
    row, column = titles.index(true), titles.index(said)
    number = judged[whose].confusion[row][column]
    what = f"of class **{lesson.plain(true)}** were called **{lesson.plain(said)}** by {lesson.plain(whose)}"
    st.markdown(f"**{count(number, 'tile')}** {what}.")
    if not number:
        return
    record = side.runs[0].record
    if whose == "You":
        tiles = session.lab().results.guessed_tiles(session.me(), row, column)
        if len(tiles) < number:
            st.caption("A tile that you guessed more than once is shown once.")
    else:
        run = next(each for each in side.runs if each.label == whose)
        assert run.predictions is not None  # it was judged
        found = confusion.tiles_in_cell(run.predictions, run.record.tiles.class_names, row, column)
        tiles, record = [each.tile for each in found], run.record
    pictures(side, record, tiles[:_SHOWN], "cell")
    if len(tiles) > _SHOWN:
        st.caption(f"The {_SHOWN} it was surest of." if whose != "You" else f"The newest {_SHOWN}.")


VIEW = "compare_accuracy"  # key of the choice of what is open
VIEWS = {
    "matrices": "Confusion matrices",
    "classes": "Per class",
    "pairs": "Most confused",
    "apart": "One right, the other wrong",
    "surest": "Surely wrong",
}


@st.fragment
def draw_accuracy(side: SideBySide, mark: str) -> None:
    """One view at a time. mark: names this choice of runs, for the keys of what belongs to it."""
    judged = classifiers(side.runs, own(side))
    left_out = [each.label for each in side.runs if each.label not in judged]
    if not judged or all(name == "You" for name in judged):
        st.info(
            "None of these runs kept predictions, so there are no mix-ups to look at.", icon=":material/search_off:"
        )
        return
    if left_out:
        names = lesson.plain(listed(left_out))
        st.caption(f"Left out here, for it kept no predictions or knows other classes: {names}.")
    opened = lesson.one_of("Look at", VIEWS, VIEW, default="matrices", hidden=True)
    match opened:
        case "matrices":
            draw_matrices(side, judged, mark)
        case "classes":
            _classes(side, judged, mark)
        case "pairs":
            _pairs(side, judged, mark)
        case "apart":
            apart(side, mark)
        case "surest":
            surest(side)


def colours(side: SideBySide, judged: dict[str, Evaluation]) -> tuple[tuple[str, str], ...]:
    """A colour for each classifier: the runs keep theirs of the other charts, the participant is grey."""
    of_runs = dict(series_colours([each.label for each in side.runs]))
    return tuple((name, of_runs.get(name, GREY)) for name in judged)


def _classes(side: SideBySide, judged: dict[str, Evaluation], mark: str) -> None:
    st.caption(lesson.text("compare")["classes"])
    scores = {name: evaluation.macro()["f1"] for name, evaluation in judged.items()}
    means = [f"{lesson.plain(name)} {percent(score)}" for name, score in scores.items() if score is not None]
    if means:
        st.markdown(f"**Mean F1 over the classes:** {' · '.join(means)}")
    figure = lesson.one_of("Figure", charts.SCORES, "compare_figure")
    frame = score_frame(judged)
    titles = tuple(class_titles(next(iter(judged.values())).class_names).values())
    st.vega_lite_chart(
        frame,
        charts.class_scores(figure, titles, colours(side, judged)),
        key=f"compare_scores_{figure}_{mark}",
        alt=f"{figure.capitalize()} of every class as bars: {listed(list(judged))}",
    )
    for name, evaluation in judged.items():
        for remark in confusion.score_remarks(evaluation):
            st.caption(f"{lesson.plain(name)}: {lesson.plain(say(remark))}")
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


def _pairs(side: SideBySide, judged: dict[str, Evaluation], mark: str) -> None:
    st.caption(lesson.text("compare")["pairs"])
    frame = confused_pairs_frame(judged)
    if frame.empty:
        st.info("Nobody here made a mistake.", icon=":material/check_circle:")
        return
    pairs = tuple(dict.fromkeys(frame["pair"]))
    st.vega_lite_chart(
        frame,
        confused_pairs(pairs, colours(side, judged), float(frame["share"].max())),
        key=f"compare_pairs_{mark}",
        alt=f"The most frequent mix-ups, first {pairs[0]}, by {listed(list(judged))}",
    )
