"""Tiles: browse the examples class by class, and see what a network gets of one."""

import streamlit as st

from eurosat_core.analysis import guesses
from pages.parts import lesson, room, session
from pages.parts.tiles import game, get, views

words = lesson.text("tiles")

lesson.header(
    goal="Know the data before you trust a network with it.",
    minutes=8,
    task="Name ten tiles yourself. Then look through two classes that you mixed up, and find what tells them apart.",
)
st.markdown(words["intro"])
guess = lesson.guess(
    "colour_alone",
    "Going by a tile’s average colour alone, how many of 10 tiles can be put into the right class?",
    guesses.choices("colour_alone"),
)

tiles = session.lab().tiles().tile_set
get.draw()
if tiles is None:
    room.no_tiles("to show", "They are shown here")
else:
    if tiles.source == "synthetic":
        st.info(words["synthetic"], icon=":material/science:", title="Synthetic tiles")

    st.header("Be the classifier", anchor=False)
    game.draw(tiles)

    st.header("All classes at a glance", anchor=False)
    views.one_of_each(tiles)

    st.header("Look closer", anchor=False)
    views.views(tiles)

    views.saw_colours(tiles, guess)

lesson.misconception("Zooming in would show more", words["misconception"])

lesson.show_listing("tiles")
lesson.next_page("convolution.py", "Next: see a convolution")
