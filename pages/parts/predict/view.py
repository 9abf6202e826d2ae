"""The Predict page: which network is asked (`?network=…`: a run's, or the recorded one), and about what."""

import streamlit as st

from eurosat_core import wording
from eurosat_core.analysis import guesses, prediction
from eurosat_core.data.pictures import MADE_UP
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import LabError
from eurosat_core.lab.inspection import RECORDED
from eurosat_core.models.catalog import model_entry
from eurosat_core.models.recorded import recorded_baseline
from eurosat_core.runs.record import RunRecord
from eurosat_core.words.say import say_each
from pages.parts import lesson, room, run_widget, session
from pages.parts.predict import answer, picture

_KEY = "predict_network"
_IN_URL = "network"


def choose() -> str:
    """Draw the choice; the id of the chosen run, or `RECORDED`."""
    runs, problem = _runs()
    titles = {each.id: run_widget.network_title(each) for each in runs} | {RECORDED: "Recorded baseline"}
    if st.session_state.get(_KEY) not in titles:  # the first time, or deleted meanwhile
        asked = st.query_params.get(_IN_URL, "")
        st.session_state[_KEY] = asked if asked in titles else next(iter(titles))
    chosen = st.selectbox(
        "Network",
        list(titles),
        format_func=lambda each: titles.get(each, each),
        key=_KEY,
        required=True,
        persist_state="session",
    )
    run_id = chosen if chosen in titles else RECORDED
    if problem:
        st.warning(lesson.plain(problem), icon=":material/search_off:")
    session.write(_IN_URL, run_id)
    _about(run_id, {each.id: each for each in runs})
    return run_id


def _runs() -> tuple[list[RunRecord], str]:
    """Runs that can be asked; and why the one that the address names cannot."""
    predictor, me = session.lab().predictor, session.nickname()
    named = st.session_state.get(_KEY) or st.query_params.get(_IN_URL, "")[:80]
    try:
        runs = predictor.networks(me, named)
    except LabError as error:
        return predictor.networks(me), f"{error} Another network is asked instead."
    if named and named != RECORDED and named not in (each.id for each in runs):
        return runs, f"The run {named} left no network to ask. Another one is asked instead."
    return runs, ""


def _about(run_id: str, runs: dict[str, RunRecord]) -> None:
    """What it learned from, as far as that says what its answers are worth."""
    words = lesson.text("predict")
    if run_id in runs:
        tiles = session.lab().tiles().tile_set
        if runs[run_id].tiles.source == "synthetic":
            st.caption(words["synthetic"])
        elif tiles is not None and tiles.fingerprint != runs[run_id].tiles.fingerprint:
            st.caption(words["other tiles"])
        return
    try:
        record = recorded_baseline()
    except LabError:
        return  # asking it says so
    st.caption(
        words["recorded"].format(
            title=model_entry(record.model).title,
            epochs=record.epochs,
            judged=f"{record.tiles:,}",
            accuracy=wording.percent(record.accuracy),
        )
    )


_TILE, _OWN, _MADE_UP = "A tile", "My own picture", "A made-up picture"


@st.fragment
def draw(guess: str | None) -> None:
    """Network, picture, answer. A fragment: only this is drawn again."""
    words = lesson.text("predict")
    run_id = choose()
    source = lesson.one_of("Ask it about", [_TILE, _OWN, _MADE_UP], "predict_source")
    try:
        if source == _OWN:
            _own(run_id)
        elif source == _MADE_UP:
            _made_up(run_id, words, guess)
        else:
            _tile(run_id, words)
    except LabError as error:
        st.warning(lesson.plain(str(error)), icon=":material/visibility_off:")


def _tile(run_id: str, words: dict[str, str]) -> None:
    tiles = session.lab().tiles().tile_set
    if tiles is None:
        room.no_tiles("to ask about", "They can be chosen here")
        return
    number = picture.choose_tile(tiles, run_id)
    predictor = session.lab().predictor
    if predictor.is_sealed(run_id, tiles, number):
        st.info(words["sealed"], icon=":material/mail_lock:")
        return
    _known_tile(run_id, tiles, number)


def _known_tile(run_id: str, tiles: TileSet, number: int) -> None:
    """The answer beside what the tile is."""
    lab = session.lab()
    true_class = tiles.class_names[int(tiles.labels[number])]
    tile = tiles.array[number]
    names = lab.inspector.class_names(run_id)
    probabilities = answer.draw_answer(run_id, tile, f"Tile {number}, {true_class}", scaled=tiles.source != "folder")
    answer.draw_change(run_id, tile, probabilities)
    part = lab.predictor.part_of(run_id, tiles, number)
    said = prediction.answer_words(probabilities, names)
    lesson.saw(lesson.plain(f"{said} {prediction.truth_words(probabilities, names, true_class, part)}"))


def _own(run_id: str) -> None:
    prepared = picture.choose_picture()
    if prepared is None:
        return
    names = session.lab().inspector.class_names(run_id)
    if prepared.count == 1:
        probabilities = answer.draw_answer(run_id, prepared.cut.tile(0), "Your picture", scaled=False)
        sentences = [prediction.answer_words(probabilities, names)]
        usual = picture.usual()
        if usual is not None and usual.count == 1:
            before = session.lab().predictor.answer(run_id, usual.cut.tile(0))
            sentences.append(prediction.changed_words(before, probabilities, names))
        lesson.saw(lesson.plain(" ".join(sentences)))
    else:
        answer.draw_map(run_id, prepared, picture.usual())


def _made_up(run_id: str, words: dict[str, str], guess: str | None) -> None:
    st.caption(words["made up"])
    name = st.pills("Show it", list(MADE_UP), default=next(iter(MADE_UP)), required=True, key="predict_made_up")
    probabilities = answer.draw_answer(run_id, MADE_UP[name](), name, scaled=False)
    names = session.lab().inspector.class_names(run_id)
    about_the_face = guess if name == next(iter(MADE_UP)) else None
    judged = guesses.judge("predict_face", about_the_face, float(probabilities.max()))
    lesson.saw(lesson.plain(" ".join([prediction.made_up_words(name, probabilities, names), *say_each([judged])])))
