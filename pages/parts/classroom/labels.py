"""The class is the training set: what a linear layer learns from the tiles that the room named. Counts, no names."""

import time
from collections.abc import Mapping

import streamlit as st

from eurosat_core.analysis import room_labels
from eurosat_core.charts.room_labels import learning_chart, learning_frame, parting_chart, parting_frame
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError
from eurosat_core.finding import Finding
from eurosat_core.runs.game import classes_to_guess, held_out
from eurosat_core.runs.room_labels import FIRST, MOST, usable
from eurosat_core.words.say import say
from pages.parts import lesson, session

_EVERY = 3.0
_WHERE = "classroom_labels"
_SHOWN = "labels_shown"
_COMPUTE_SECONDS = 0.7  # of each time it is drawn, for features that are missing


def draw(words: Mapping[str, str]) -> None:
    """For whoever leads: whether the projector shows it, from when on labels count, and the curve."""
    st.markdown(words["labels about"])
    session.mirror(_SHOWN, session.lab().guide.now.labels)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle(
            "Show it on the projector",
            key=_SHOWN,
            persist_state="session",
            on_change=lambda: session.lead(_WHERE, lambda instructor: instructor.show_labels(st.session_state[_SHOWN])),
        )
        lesson.button("Count labels from now on", "restart_alt", "labels_anew", _anew, help=words["labels anew help"])
    lesson.problem(_WHERE)
    st.fragment(_live, run_every=_EVERY)()


def _anew() -> None:
    session.lead(_WHERE, lambda instructor: instructor.count_labels(time.time()))


def _live() -> None:
    if not session.leads():
        st.rerun()
    draw_labels()


def draw_labels(size: int = 14, height: int = 340) -> None:
    """The curve, what people said differently, and where they were wrong. size: of the text, height: in pixels."""
    lab, words = session.lab(), lesson.text("classroom")
    tiles = lab.library.tile_set
    if tiles is None:
        st.info(words["labels no tiles"], icon=":material/hourglass_empty:")
        return
    guesses = lab.results.room_guesses(tiles, lab.guide.now.labels_since)
    if not guesses:
        st.info(words["labels none"], icon=":material/label:")
        return
    rows = room_labels.by_class(guesses, tiles.class_names)
    left, right = st.columns([3, 2], gap="medium")
    with right:
        st.vega_lite_chart(
            parting_frame(rows),
            parting_chart(len(rows), size=size),
            key=f"labels_parting_{size}",
            alt=f"Share of the labels that are wrong, for each class. {say(room_labels.parted(rows))}",
        )
        _say(size, room_labels.parted(rows))
        _say(size, room_labels.agreed(room_labels.disagreement(guesses)))
    with left:  # last, for it may take a second
        _curve(tiles, size, height)


def _curve(tiles: TileSet, size: int, height: int) -> None:
    lab, words = session.lab(), lesson.text("classroom")
    guesses = usable(lab.results.room_guesses(tiles, lab.guide.now.labels_since), tiles, set(held_out(tiles).tolist()))
    if len(guesses) < FIRST:
        _say(size, room_labels.begins(len(guesses), FIRST))
        return
    try:
        found = lab.room_probe.learn(tiles, guesses, _COMPUTE_SECONDS)
    except LabError as error:
        st.info(lesson.plain(str(error)), icon=":material/hourglass_empty:")
        return
    if found.problem:
        st.info(lesson.plain(found.problem), icon=":material/error:")
        return
    if not found.points:
        st.progress(found.ready / found.wanted, text=words["labels looking"].format(done=found.ready, all=found.wanted))
        return
    last = found.points[-1]
    outcome = room_labels.learned(last.labels, last.room, last.truth, last.only_room, last.only_truth, found.held_out)
    st.vega_lite_chart(
        learning_frame(found.points),
        learning_chart(1 / len(classes_to_guess(tiles)), size=size, height=height),
        key=f"labels_curve_{size}",
        alt=f"Accuracy on tiles that nobody named, after 10, 20, 40 and more labels. {say(outcome)}",
    )
    _say(size, outcome)
    if tiles.source == "synthetic":
        _say(size, Finding("room_labels.synthetic"))
    if last.labels == MOST:
        st.caption(words["labels most"].format(most=MOST))


def _say(size: int, finding: Finding) -> None:
    """A sentence, larger where the chart's text is."""
    words = lesson.plain(say(finding))
    if size > 20:
        st.header(words, anchor=False)
    else:
        st.markdown(words)
