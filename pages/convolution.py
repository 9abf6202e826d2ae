"""Convolution: from pixels to features, one filter step by step, what it costs, and a whole network."""

import streamlit as st

from eurosat_core.analysis import guesses
from pages.parts import lesson, room, session
from pages.parts.convolution import filters, layers, steps

words = lesson.text("convolution")

lesson.header(words["goal"], 9, words["task"])
st.markdown(words["intro"])
guess = lesson.guess("conv_multiplications", words["guess"], guesses.choices("conv_multiplications"))

tiles = session.lab().tiles().tile_set
if tiles is None:
    room.no_tiles("to look at", "The filter is shown here")
else:
    st.header("One filter, step by step", anchor=False)
    number = filters.choose_tile(tiles)
    steps.draw_steps(tiles, number, guess)

st.header("Count the multiplications", anchor=False)
steps.draw_work()

lesson.misconception("Somebody chose what the filters look for", words["misconception"])

if tiles is not None:
    st.header("More", anchor=False)
    opened = lesson.open_part("More about features", {"layers": "What each layer sees"}, "conv_more")
    if opened:
        layers.draw(tiles, number)

lesson.show_listing("convolution")
lesson.next_page("model.py", "Next: build a network")
