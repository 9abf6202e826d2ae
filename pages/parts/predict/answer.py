"""A network's answer: to one tile, where it looked, what a change does; to a large picture, as a map of its tiles."""

import time
from hashlib import blake2b

import streamlit as st

from eurosat_core import wording
from eurosat_core.analysis import prediction
from eurosat_core.charts.networks import area_shares, class_map, map_frame, probability_frame
from eurosat_core.data import pictures
from eurosat_core.data.classes import colours_for
from eurosat_core.data.uploads import STRETCHES, coarser, stretched
from eurosat_core.errors import LabError
from eurosat_core.lab.predict import Answers, Prepared
from eurosat_core.words.say import say, say_each
from pages.parts import lesson, session, tile_pictures

_TIMES = 6
_HEAT_TIMES = 5


def draw_answer(
    run_id: str, tile: pictures.Pixels, name: str, *, scaled: bool = False, known: pictures.Values | None = None
) -> pictures.Values:
    """Picture and answer side by side, then where it looked. Returns the probabilities [classes]. Raises `LabError`.

    name: for who cannot see the picture. scaled: whether it shows 640 m of ground. known: the
    probabilities, where they have been asked for.
    """
    probabilities = known
    if probabilities is None:
        with st.spinner("Asking the network …", show_time=False):
            probabilities = session.lab().predictor.answer(run_id, tile)
    names = session.lab().inspector.class_names(run_id)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        tile_pictures.large(tile, _TIMES, name, scaled=scaled)
    with right:
        st.markdown(f"**{lesson.plain(say(prediction.answer_finding(probabilities, names)))}**")
        tile_pictures.probabilities(probabilities, names, "predict_answer", _BARS)
    _looked(run_id, tile, probabilities, names)
    return probabilities


def _looked(run_id: str, tile: pictures.Pixels, probabilities: pictures.Values, names: tuple[str, ...]) -> None:
    """Computed only when it is opened."""
    opened = st.expander("Where it looked", icon=":material/frame_inspect:", key="predict_looked", on_change="rerun")
    if not opened.open:
        return
    titles = pictures.class_titles(names)
    with opened:
        asked = st.selectbox(
            "What speaks for",
            probability_frame(probabilities, names)["name"].tolist(),
            format_func=titles.__getitem__,
            required=True,
            key=f"predict_looked_for_{_mark(run_id, tile)}",
            width=320,
        )
        looked = session.lab().predictor.where(run_id, tile, names.index(asked))
        left, right = st.columns(2, gap="medium")
        left.image(pictures.png_uri(pictures.enlarged(tile, _HEAT_TIMES)), alt="The picture as the network gets it")
        right.image(
            pictures.png_uri(pictures.heat_overlay(tile, looked.heat, _HEAT_TIMES)),
            alt=f"The same picture; bright where it speaks for {titles[asked]}, dark where it does not",
        )
        st.markdown(lesson.plain(say(prediction.looked_finding(looked, titles[asked]))))
        st.caption(f"{lesson.plain(say(prediction.method_finding(looked)))} {lesson.text('predict')['looked']}")


def _mark(run_id: str, pixels: pictures.Pixels) -> str:
    """Names a network and a picture, for the keys of what belongs to both."""
    return blake2b(pixels.tobytes() + run_id.encode(), digest_size=8).hexdigest()


_BARS = "Probability of each class, surest first"
_METRES = (10, 20, 30, 60)


def draw_change(run_id: str, tile: pictures.Pixels, before: pictures.Values) -> None:
    """Two changes and what they do to the answer. before: the probabilities without them. Raises `LabError`."""
    opened = st.expander(
        "Change the picture and ask again", icon=":material/tune:", key="predict_change", on_change="rerun"
    )
    if not opened.open:
        return
    words = lesson.text("predict")
    with opened:
        with st.container(horizontal=True):
            stretch = lesson.one_of("Colour stretch", STRETCHES, "predict_tile_stretch", default=STRETCHES[1])
            metres = lesson.one_of("Metres per pixel", _METRES, "predict_tile_metres")
        st.caption(words["stretch"] if metres == _METRES[0] else words["coarser"].format(metres=metres))
        changed = coarser(stretched(tile) if stretch == STRETCHES[1] else tile, metres)
        if (changed == tile).all():
            st.caption("Nothing has been changed yet.")
            return
        after = session.lab().predictor.answer(run_id, changed)
        names = session.lab().inspector.class_names(run_id)
        left, right = st.columns([2, 3], gap="medium")
        left.image(pictures.png_uri(pictures.enlarged(changed, _TIMES)), alt="The changed tile")
        with right:
            st.markdown(f"**{lesson.plain(say(prediction.changed_finding(before, after, names)))}**")
            tile_pictures.probabilities(after, names, "predict_changed", _BARS)


_SENT = 768  # pixels of the picture's longer side, as the browser gets it
_HIGHEST, _WIDE = 560, 480  # of the map on the screen: pixels at most, and about as many as there are across
_COVER = 45  # per cent, at first
_STOPPED = "predict_stopped"
_FIRST_SECONDS = 1.0  # of asking before the page says how far it is: enough for most networks and pictures
_SLICE_SECONDS, _REFRESH_SECONDS = 0.4, 0.1


def draw_map(run_id: str, prepared: Prepared, before: Prepared | None) -> None:
    """Ask about every tile, draw what came out. before: the picture without the chosen changes. Raises `LabError`."""
    mark = _mark(run_id, prepared.cut.pixels)
    answers = _asked(run_id, prepared.cut.tiles(), mark)
    if answers.done == 0:
        st.caption("No tile has been asked about yet.")
        return
    names, layout = answers.class_names, prepared.cut.layout
    st.caption(lesson.text("predict")["map"])
    left, right = st.columns([3, 2], gap="medium")
    with right:
        shares = prediction.class_shares(answers.probabilities, names, layout)
        st.markdown("**The colours, and their share of the area**")
        colours = colours_for(names)
        st.vega_lite_chart(
            shares,
            area_shares(tuple((name, colours[name]) for name in shares["name"])),
            key="predict_shares",
            alt="Share of the picture’s area that was taken for each class, largest first",
        )
        cover = st.slider("Colours over the picture", 0, 100, _COVER, step=5, format="%d %%", key="predict_cover")
    with left:
        _map(prepared, answers, mark, cover / 100)
    found = [prediction.map_finding(answers.probabilities, names, layout)]
    if before is not None:
        usual = session.lab().predictor.so_far(run_id, before.cut.tiles())
        if usual.is_complete and answers.is_complete:
            old = prediction.class_shares(usual.probabilities, names, before.cut.layout)
            found.append(prediction.shares_changed_finding(old, shares))
    lesson.saw(lesson.plain(" ".join(say_each(found))))
    st.subheader("One tile of it", anchor=False)
    _one(run_id, prepared, answers, mark)


def _asked(run_id: str, tiles: pictures.Pixels, mark: str) -> Answers:
    """All answers, or those so far: the rest is asked for bit by bit, so that Stop and every other click are heard."""
    predictor = session.lab().predictor
    slot = st.empty()  # in every case, so that what is drawn below it keeps its place
    if st.session_state.get(_STOPPED) == mark:
        answers = predictor.so_far(run_id, tiles)
        if not answers.is_complete:
            with slot.container(horizontal=True, vertical_alignment="center"):
                st.button("Go on", icon=":material/play_arrow:", key="predict_go_on", on_click=_stop_at, args=("",))
                st.caption(f"Stopped after {answers.done:,} of {wording.count(answers.total, 'tile')}.")
        return answers
    with st.spinner("Asking the network …", show_time=False):
        answers = predictor.ask(run_id, tiles, _FIRST_SECONDS)
    if not answers.is_complete:
        with slot.container():
            _go_on(run_id, tiles, mark)
    return answers


@st.fragment(run_every=_REFRESH_SECONDS)
def _go_on(run_id: str, tiles: pictures.Pixels, mark: str) -> None:
    """Ask for a moment, say how far it is; at the end the whole page is drawn again, with the whole map."""
    predictor = session.lab().predictor
    first = predictor.so_far(run_id, tiles).done
    began = time.monotonic()
    try:
        answers = predictor.ask(run_id, tiles, _SLICE_SECONDS)
    except LabError as error:  # the lane is taken: it is tried again
        st.caption(lesson.plain(str(error)))
        return
    if answers.is_complete or st.session_state.get(_STOPPED) == mark:
        st.rerun()
    left = (time.monotonic() - began) / (answers.done - first) * (answers.total - answers.done)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(
            answers.done / answers.total,
            text=f"{answers.done:,} of {wording.count(answers.total, 'tile')}, about {wording.duration(left)} left",
        )
        st.button("Stop", icon=":material/stop:", key="predict_stop", on_click=_stop_at, args=(mark,))


def _stop_at(mark: str) -> None:
    st.session_state[_STOPPED] = mark


def _map(prepared: Prepared, answers: Answers, mark: str, cover: float) -> None:
    layout, names = prepared.cut.layout, answers.class_names
    colours, titles = colours_for(names), pictures.class_titles(names)
    frame = map_frame(answers.probabilities, names, layout)
    row, column = (st.session_state.get(f"predict_{which}_{mark}", 1) for which in ("row", "column"))
    there = set(frame["name"])
    key = f"predict_map_{mark}"
    st.vega_lite_chart(
        frame.assign(chosen=(frame["row"] == row) & (frame["column"] == column)),
        class_map(
            pictures.jpeg_uri(prepared.cut.pixels, _SENT),
            layout.width,
            layout.height,
            [(titles[name], colours[name]) for name in names if name in there],
            # No more than a picture of this shape can fill.
            most_height=min(max(round(_WIDE * layout.height / layout.width), 40), _HIGHEST),
            strength=cover,
        ),
        key=key,
        on_select=lambda: _clicked(key, mark, layout.columns),
        selection_mode="tile",
        alt=f"Your picture in {layout.rows} × {layout.columns} tiles, each in the colour of the class it was taken for",
    )


def _clicked(key: str, mark: str, columns: int) -> None:
    chosen = st.session_state[key]["selection"].get("tile")
    if chosen:
        row, column = divmod(int(chosen[0]["number"]), columns)
        st.session_state[f"predict_row_{mark}"], st.session_state[f"predict_column_{mark}"] = row + 1, column + 1


def _one(run_id: str, prepared: Prepared, answers: Answers, mark: str) -> None:
    """The chosen tile; by number for who uses no mouse."""
    layout = prepared.cut.layout
    with st.container(horizontal=True):
        row = st.number_input("Row", 1, layout.rows, key=f"predict_row_{mark}", width=130)
        column = st.number_input("Column", 1, layout.columns, key=f"predict_column_{mark}", width=130)
    number = (int(row) - 1) * layout.columns + int(column) - 1
    if number >= answers.done:
        st.caption("This tile has not been asked about yet.")
        return
    name = f"Row {row}, column {column} of your picture"
    draw_answer(run_id, prepared.cut.tile(number), name, known=answers.probabilities[number])
