"""The Predict page's choice of a network and of what it is asked about."""

import streamlit as st

from eurosat_core.data.made_up import MADE_UP
from eurosat_core.data.tiles import TileSet
from eurosat_core.errors import LabError
from eurosat_core.lab import predict_words
from pages.parts import lesson, predict_answer, predict_change, predict_map, predict_network, predict_tile, session
from pages.parts import predict_upload as upload

__all__ = ["draw"]

_TILE, _OWN, _MADE_UP = "A tile", "My own picture", "A made-up picture"


@st.fragment
def draw(guess: str | None) -> None:
    """Network, picture, answer. A fragment: only this is drawn again."""
    words = lesson.text("predict")
    run_id = predict_network.choose()
    source = st.segmented_control(
        "Ask it about",
        [_TILE, _OWN, _MADE_UP],
        default=_TILE,
        required=True,
        key="predict_source",
        persist_state="session",
    )
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
    state = session.lab().tiles()
    tiles = state.tile_set
    if tiles is None:
        if state.problem:
            st.error(lesson.plain(state.problem), title="There are no tiles to ask about")
        else:
            st.info("They can be chosen here as soon as they are ready.", title="The tiles are being opened")
        return
    number = predict_tile.choose(tiles, run_id)
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
    probabilities = predict_answer.draw(run_id, tile, f"Tile {number}, {true_class}", scaled=tiles.source != "folder")
    predict_change.draw(run_id, tile, probabilities)
    part = lab.predictor.part_of(run_id, tiles, number)
    said = predict_words.answer_words(probabilities, names)
    lesson.saw(lesson.plain(f"{said} {predict_words.truth_words(probabilities, names, true_class, part)}"))


def _own(run_id: str) -> None:
    prepared = upload.choose()
    if prepared is None:
        return
    names = session.lab().inspector.class_names(run_id)
    if prepared.count == 1:
        probabilities = predict_answer.draw(run_id, prepared.cut.tile(0), "Your picture", scaled=False)
        sentences = [predict_words.answer_words(probabilities, names)]
        usual = upload.usual()
        if usual is not None and usual.count == 1:
            before = session.lab().predictor.answer(run_id, usual.cut.tile(0))
            sentences.append(predict_words.changed_words(before, probabilities, names))
        lesson.saw(lesson.plain(" ".join(sentences)))
    else:
        predict_map.draw(run_id, prepared, upload.usual())


def _made_up(run_id: str, words: dict[str, str], guess: str | None) -> None:
    st.caption(words["made up"])
    name = st.pills("Show it", list(MADE_UP), default=next(iter(MADE_UP)), required=True, key="predict_made_up")
    probabilities = predict_answer.draw(run_id, MADE_UP[name](), name, scaled=False)
    names = session.lab().inspector.class_names(run_id)
    about_the_face = guess if name == next(iter(MADE_UP)) else None
    lesson.saw(lesson.plain(predict_words.made_up_words(name, probabilities, names, about_the_face)))
