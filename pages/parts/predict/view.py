"""The Predict page: which network is asked (`?network=…`: a run's, or the recorded one), and about what."""

import streamlit as st

from eurosat_core.analysis import guesses, prediction
from eurosat_core.data.pictures import MADE_UP
from eurosat_core.errors import LabError
from eurosat_core.models.recorded import RECORDED
from eurosat_core.runs.record import RunRecord
from eurosat_core.words.say import say_each
from pages.parts import leaks, lesson, room, run_widget, session
from pages.parts.predict import answer, picture

_KEY = "predict_network"
_IN_URL = "network"
_TILE, _OWN, _MADE_UP = "A tile", "My own picture", "A made-up picture"


@st.fragment
def draw(guess: str | None) -> None:
    """Network, picture, answer. A fragment: only this is drawn again."""
    run_id = _choose()
    source = lesson.one_of("Ask it about", [_TILE, _OWN, _MADE_UP], "predict_source")
    try:
        if source == _OWN:
            _own(run_id)
        elif source == _MADE_UP:
            _made_up(run_id, guess)
        else:
            _tile(run_id)
    except LabError as error:
        st.warning(lesson.plain(str(error)), icon=":material/visibility_off:")


def _choose() -> str:
    """Draw the choice of a network, and what it learned from; the id of its run, or `RECORDED`."""
    runs, problem = _runs()
    run_id = run_widget.choose_network(_KEY, runs, st.query_params.get(_IN_URL, ""))
    if problem:
        st.warning(lesson.plain(problem), icon=":material/search_off:")
    session.write(_IN_URL, run_id)
    words, tiles = lesson.text("predict"), session.lab().tiles().tile_set
    record = next((each for each in runs if each.id == run_id), None)
    about = ""
    if record is None:
        about = run_widget.about_recorded(words["recorded"])
    elif record.tiles.source == "synthetic":
        about = words["synthetic"]
    elif tiles is not None and tiles.fingerprint != record.tiles.fingerprint:
        about = words["other tiles"]
    if about:
        st.caption(about)
    return run_id


def _runs() -> tuple[list[RunRecord], str]:
    """Runs that can be asked; and why the one that the address names cannot."""
    predictor, me = session.lab().predictor, session.me()
    named = st.session_state.get(_KEY) or st.query_params.get(_IN_URL, "")[:80]
    try:
        runs = predictor.networks(me, named)
    except LabError as error:
        return predictor.networks(me), f"{error} Another network is asked instead."
    if named and named != RECORDED and named not in (each.id for each in runs):
        return runs, f"The run {named} left no network to ask. Another one is asked instead."
    return runs, ""


def _tile(run_id: str) -> None:
    """The answer beside what the tile is."""
    lab = session.lab()
    tiles = lab.tiles().tile_set
    if tiles is None:
        room.no_tiles("to ask about", "They can be chosen here")
        return
    number = picture.choose_tile(tiles, run_id)
    if lab.predictor.is_sealed(run_id, tiles, number):
        st.info(lesson.text("predict")["sealed"], icon=":material/mail_lock:")
        return
    tile, true_class = tiles.array[number], tiles.class_names[int(tiles.labels[number])]
    probabilities = answer.draw_answer(run_id, tile, f"Tile {number}, {true_class}", scaled=tiles.source != "folder")
    answer.draw_change(run_id, tile, probabilities)
    leaks.draw_neighbours(run_id, tile, number)
    names, part = lab.inspector.class_names(run_id), lab.predictor.part_of(run_id, tiles, number)
    truth = prediction.truth_finding(probabilities, names, true_class, part)
    lesson.saw(lesson.plain(" ".join(say_each([prediction.answer_finding(probabilities, names), truth]))))


def _own(run_id: str) -> None:
    prepared, usual = picture.choose_picture()
    if prepared is None:
        return
    if prepared.count > 1:
        answer.draw_map(run_id, prepared, usual)
        return
    names = session.lab().inspector.class_names(run_id)
    probabilities = answer.draw_answer(run_id, prepared.cut.tile(0), "Your picture")
    leaks.draw_neighbours(run_id, prepared.cut.tile(0))
    found = [prediction.answer_finding(probabilities, names)]
    if usual is not None and usual.count == 1:
        before = session.lab().predictor.answer(run_id, usual.cut.tile(0))
        found.append(prediction.changed_finding(before, probabilities, names))
    lesson.saw(lesson.plain(" ".join(say_each(found))))


def _made_up(run_id: str, guess: str | None) -> None:
    st.caption(lesson.text("predict")["made up"])
    face = next(iter(MADE_UP))
    name = st.pills("Show it", list(MADE_UP), default=face, required=True, key="predict_made_up")
    probabilities = answer.draw_answer(run_id, MADE_UP[name](), name)
    names = session.lab().inspector.class_names(run_id)
    judged = guesses.judge("predict_face", guess if name == face else None, float(probabilities.max()))
    found = [prediction.made_up_finding(name, probabilities, names), judged]
    lesson.saw(lesson.plain(" ".join(say_each(found))))
