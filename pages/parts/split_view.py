"""The view "Splits" of the Tiles page: which tiles a network learns from, and on which it is judged."""

import streamlit as st

from eurosat_core.charts.splits import split_bars
from eurosat_core.data.tiles import TileSet
from eurosat_core.lab import leakage
from eurosat_core.lab.choices import SPLIT_NAMES
from eurosat_core.training.config import workshop_config
from eurosat_core.wording import count
from pages.parts import get_tiles, lesson, session, train_state

__all__ = ["draw"]

_SEED = workshop_config().seed


@st.fragment
def draw(tiles: TileSet) -> None:
    """Both splits with their parts, the sealed part, and what the same recipe reached on each."""
    words = lesson.text("splits")
    st.markdown(words["intro"])
    st.markdown(words["place"])
    chosen = st.segmented_control(
        "Split",
        list(SPLIT_NAMES),
        default="random",
        format_func=lambda name: SPLIT_NAMES[name],
        key="tiles_split",
        required=True,
        persist_state="session",
    )
    library = session.lab().library
    problem = library.place_problem() if chosen == "place" else ""
    if problem:
        text = words["synthetic"] if tiles.source == "synthetic" else lesson.plain(problem)
        st.info(text, title="Not on these tiles yet", icon=":material/wrong_location:")
        if tiles.source == "eurosat" and not library.has_place_lists():
            get_tiles.lists_button()
    else:
        _parts(tiles, chosen)
    st.markdown(words["sealed"])
    _both(tiles)


def _parts(tiles: TileSet, chosen: str) -> None:
    parts = session.lab().library.place_parts() if chosen == "place" else None
    frame = leakage.parts_frame(tiles, parts, _SEED)
    with st.container(horizontal=True):
        for name in leakage.PART_NAMES:
            there = int(frame.loc[frame["part"] == name, "tiles"].sum())
            st.metric(name, f"{there:,}", border=True, help=f"{100 * there / len(tiles):.0f} % of the tiles here")
    st.vega_lite_chart(
        frame,
        split_bars(leakage.PART_NAMES, len(tiles.class_names)),
        key="tiles_split_bars",
        alt=f"Tiles per class in the training, validation and sealed test part of the split {SPLIT_NAMES[chosen]}",
    )
    missing = len(tiles) - int(frame["tiles"].sum())
    if missing:
        st.caption(f"{count(missing, 'tile')} in no list of this split: left out.")


def _both(tiles: TileSet) -> None:
    """The two accuracies: the participant's own, else those recorded elsewhere; and how to get one's own."""
    lab, me = session.lab(), session.nickname()
    own = leakage.both_splits(each for each in lab.runs()[0] if each.owner == me)
    if own is not None:
        lesson.saw(leakage.in_words(own))
    elif (recorded := leakage.recorded_both_splits()) is not None:
        found, made = recorded
        st.info(
            f"{leakage.in_words(found)} {made['how']}",
            title="Recorded elsewhere, not on this machine",
            icon=":material/history:",
        )
    if tiles.source == "synthetic":
        return
    st.markdown(lesson.text("splits")["try"])
    with st.container(horizontal=True):
        for split, title in SPLIT_NAMES.items():
            problem = lab.library.place_problem() if split == "place" else ""
            if st.button(
                f"Set up a training: {title.lower()}",
                icon=":material/model_training:",
                key=f"tiles_train_{split}",
                disabled=bool(problem),
                help=lesson.plain(problem) or None,
            ):
                train_state.set_up(workshop_config(split=split, sealed_test=True))
