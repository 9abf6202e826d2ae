"""Be the classifier: ten tiles to be named, one at a time, and what came of it."""

import secrets
import time

import streamlit as st

from eurosat_core import wording
from eurosat_core.charts.tiles import confusion_cells
from eurosat_core.data import pictures
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.runs import game
from eurosat_core.runs.game import Game
from eurosat_core.words.say import say
from pages.parts import lesson, session
from pages.parts.tile_pictures import class_label, large, row_of, small_png, titles_of

_GAME = "tile_game"
_CHOICE = "tile_game_choice"
_ENLARGED = 5  # whole pixels, so that a tile's own pixels stay visible
_THUMB = 56
_MOST_BUTTONS = 16  # more classes are chosen from a list
_MOST_CELLS = 16  # classes in the chart of mix-ups; with more it would not be readable


@st.fragment
def draw(tiles: TileSet) -> None:
    """The game in whatever state it is; the caller writes the heading. A fragment: only this is drawn again."""
    if len(game.classes_to_guess(tiles)) < 2:
        st.info(lesson.text("game")["too_few"], icon=":material/category:")
        return
    played = _current(tiles)
    with st.container(border=True):
        if played is not None and not played.is_over:
            _one_tile(tiles, played)
            return
        if played is None:
            st.markdown(lesson.text("game")["intro"])
        else:
            _after(tiles, played)
        label, icon = ("Start", "play_arrow") if played is None else ("Play again", "replay")
        icon = f":material/{icon}:"
        st.button(label, type="primary", icon=icon, key="tile_game_start", on_click=_start, args=(tiles,))
        _confusions(tiles)  # of earlier games, too: they outlive the session


def _current(tiles: TileSet) -> Game | None:
    """The session's game on these tiles; None before the start, and when the tiles were exchanged for others."""
    played: Game | None = st.session_state.get(_GAME)
    return played if played is not None and played.fingerprint == tiles.fingerprint else None


def _start(tiles: TileSet) -> None:
    lab = session.lab()
    guide = lab.guide.now  # while the room is a training set, some tiles come to several people
    shared = lab.results.named_by_others(session.me(), tiles, guide.labels_since) if guide.labels else ()
    st.session_state[_GAME] = game.new_game(tiles, secrets.randbelow(2**31), time.monotonic(), shared)


def _answer(tiles: TileSet, at: int, label: int | None) -> None:
    """Take an answer to tile `at` of the game; None: skipped."""
    played = _current(tiles)
    if played is None:
        return
    after = played.answered(at, label, time.monotonic())
    if after is not played and label is not None:
        seconds = after.turned - played.turned
        session.lab().results.add_guess(session.me(), tiles, played.tiles[at], label, seconds)
    st.session_state[_GAME] = after


def _answer_from_list(tiles: TileSet, at: int) -> None:
    chosen: str | None = st.session_state.get(_CHOICE)
    if chosen in tiles.class_names:
        _answer(tiles, at, tiles.class_names.index(chosen))
    st.session_state[_CHOICE] = None


def _one_tile(tiles: TileSet, played: Game) -> None:
    at, total = played.at, len(played.tiles)
    st.progress(at / total, text=f"Tile {at + 1} of {total}")
    if at:
        _verdict(tiles, played)
    left, right = st.columns([1, 1.4], gap="medium")
    with left:
        large(tiles.array[played.tiles[at]], _ENLARGED, f"Tile {at + 1} of {total}, to be named", scaled=False)
    with right:
        _choices(tiles, at)
    st.session_state[_GAME] = played.seen(time.monotonic())


def _choices(tiles: TileSet, at: int) -> None:
    """A button for each class, the same ones for every tile, so that the keyboard's focus stays where it was."""
    labels = game.classes_to_guess(tiles)
    st.markdown("**What does this tile show?**")
    if len(labels) > _MOST_BUTTONS:
        titles = titles_of(tiles)
        st.selectbox(
            "Its class: what you choose is your guess",
            [tiles.class_names[label] for label in labels],
            index=None,
            format_func=lambda name: titles[name],
            placeholder="Type to search",
            key=_CHOICE,
            on_change=_answer_from_list,
            args=(tiles, at),
        )
    else:
        with st.container(horizontal=True, gap="xsmall"):
            for label in labels:
                st.button(
                    class_label(tiles, tiles.class_names[label]),
                    key=f"tile_game_class_{label}",
                    on_click=_answer,
                    args=(tiles, at, label),
                )
    st.button(
        "Skip this tile",
        type="tertiary",
        icon=":material/skip_next:",
        key="tile_game_skip",
        on_click=_answer,
        args=(tiles, at, None),
    )


def _verdict(tiles: TileSet, played: Game) -> None:
    """Right or wrong, about the tile before this one."""
    last = played.at - 1
    titles = titles_of(tiles)
    true, label = titles[tiles.class_names[played.true[last]]], played.answers[last]
    if label is None:
        words = f":material/skip_next: **Skipped.** It was **{true}**."
    elif label == played.true[last]:
        words = f":green[:material/check_circle: **Right:**] **{true}**."
    else:
        said = titles[tiles.class_names[label]]
        words = f":orange[:material/cancel: **Not quite:**] it was **{true}**, you said {said}."
    with st.container(horizontal=True, wrap=False, vertical_alignment="center", gap="small"):
        picture = small_png(tiles.fingerprint, played.tiles[last], tiles)
        st.image(picture, width=_THUMB, alt=f"Tile {last + 1}, small")
        st.markdown(f"Tile {last + 1}: {words}", width="stretch")


def _after(tiles: TileSet, played: Game) -> None:
    score = played.score()
    _verdict(tiles, played)
    with st.container(horizontal=True):
        for label, value, help in (
            ("You got right", f"{score.right} of {score.answered}", None),
            ("Chance", wording.share(score.chance), f"One of {score.classes} classes, picked without looking"),
            ("Skipped", f"{score.skipped}", None),
            ("Time", wording.duration(score.seconds), "From the start to the last answer"),
        ):
            st.metric(label, value, border=True, help=help)
    lesson.saw(lesson.plain(say(game.outcome(score, synthetic=tiles.source == "synthetic"))))
    meanwhile = game.network_meanwhile(session.lab().store.all()[0], score.seconds)
    if meanwhile:
        st.markdown(f":material/bolt: {lesson.plain(say(meanwhile))}")
    _mistakes(tiles, played)


def _mistakes(tiles: TileSet, played: Game) -> None:
    wrong = played.mistakes()
    if not wrong:
        return
    st.markdown("**Look again at the ones you got wrong**")
    words, titles = titles_of(tiles), pictures.class_titles(tiles.class_names)
    names = [(tiles.class_names[true], tiles.class_names[said]) for _, true, said in wrong]
    row_of(
        tiles,
        [tile for tile, _, _ in wrong],
        [f"{words[true]}, not {words[said]}" for true, said in names],
        [f"A tile of {titles[true]}, taken for {titles[said]}" for true, said in names],
    )


def _confusions(tiles: TileSet) -> None:
    """What was taken for what, over all of the participant's guesses on these tiles."""
    evaluation = session.lab().results.guesses(session.me(), tiles)
    if evaluation is None:
        return
    st.markdown("**Your mix-ups in all your games on these tiles**")
    st.markdown(lesson.plain(say(game.mix_ups(evaluation))))
    frame = game.confusion_frame(evaluation)
    titles = tuple(frame["true"].unique())
    if len(titles) > _MOST_CELLS:
        table = game.mix_up_table(evaluation).map(lesson.plain)  # a table draws Markdown
        st.table(table, border="horizontal", hide_index=True, alt="Your most frequent mix-ups")
        return
    st.vega_lite_chart(
        frame,
        confusion_cells(titles),
        width=200 + 60 * len(titles),
        key="tile_game_confusions",
        alt=f"Your guesses as a table: true class by what you said. {say(game.mix_ups(evaluation))}",
    )
    st.caption(lesson.text("game")["confusions"])
