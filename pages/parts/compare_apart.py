"""Tiles as pictures, with what each of the compared networks said about them."""

from collections.abc import Sequence

import streamlit as st

from eurosat_core import wording
from eurosat_core.data.pictures import class_titles
from eurosat_core.lab import confusion
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.side_by_side import SideBySide
from pages.parts import lesson, session
from pages.parts.tile_pictures import small_png

__all__ = ["apart", "pictures", "surest"]

_SHOWN = 8


def pictures(side: SideBySide, record: RunRecord, numbers: Sequence[int], name: str) -> None:
    """Tiles that a run learned from, each with its class and the answer of every run that was judged on it.

    name: what they are, for their description.
    """
    tiles = session.lab().tiles_of(record)
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


def apart(side: SideBySide, mark: str) -> None:
    """Tiles that one of two runs gets right and the other wrong."""
    st.caption(lesson.text("compare")["apart"])
    labels = [each.label for each in side.runs if each.predictions is not None]
    if len(labels) < 2:
        st.info("This takes two runs with predictions. Choose a second one above.", icon=":material/compare_arrows:")
        return
    first, second = labels[:2]
    if len(labels) > 2:
        left, right = st.columns(2)
        first = left.selectbox("One", labels, key=f"compare_one_{mark}") or first
        others = [each for each in labels if each != first]
        second = right.selectbox("The other", others, key=f"compare_other_{mark}") or others[0]
    place = {each.label: at for at, each in enumerate(side.runs)}
    one, other = side.runs[place[first]], side.runs[place[second]]
    if one.record.tiles.fingerprint != other.record.tiles.fingerprint:
        st.info(
            "These two learned from different tile sets, so no tile is the same in both.", icon=":material/link_off:"
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
            share = wording.percent(number / found.tiles)
            st.metric(lesson.plain(label), f"{number:,}", border=True, help=f"{share} of {found.tiles:,} tiles")
    for label, numbers in ((first, found.first), (second, found.second)):
        st.markdown(f"**Only {lesson.plain(label)} is right**")
        if numbers:
            pictures(side, one.record, numbers[:_SHOWN], f"only {label} is right")
        else:
            st.caption("No tile.")


def surest(side: SideBySide) -> None:
    """The wrong answers that each run was surest of."""
    st.caption(lesson.text("compare")["surest"])
    frame = confusion.surest_frame(side.runs, _SHOWN)
    for run in side.runs:
        numbers = frame.loc[frame["run"] == run.label, "tile"].tolist()
        st.markdown(f"**{lesson.plain(run.label)}**")
        if not numbers:
            st.caption("It kept no predictions." if run.predictions is None else "It made no mistake.")
            continue
        pictures(side, run.record, numbers, f"{run.label} surely wrong")
