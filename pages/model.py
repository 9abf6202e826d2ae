"""Model: what a network is made of, where its parameters and its work are, and how to build another one."""

import streamlit as st

from eurosat_core.analysis import guesses
from pages.parts import lesson
from pages.parts.model import builder, choose, state

WORDS = lesson.text("model")
MORE = {
    "builder": "Free builder",
    "activations": "Activation functions",
    "linear": "Linear layers",
}


lesson.header(WORDS["goal"], 8, WORDS["task"])
problem = state.prepare()
guessed = lesson.guess("model_where", WORDS["guess"], guesses.choices("model_where"))
st.markdown(WORDS["intro"])

st.header("Select a model", anchor=False)
choose.draw_selection(guessed)

st.header("Change it", anchor=False)
choose.draw_change()

lesson.misconception("A network with more parameters takes longer", WORDS["misconception"])

st.header("More", anchor=False)
if problem:
    st.error(lesson.plain(problem), icon=":material/link_off:", title="The network in the address cannot be read")
opened = lesson.open_part("More about networks", MORE, state.MORE)
match opened:
    case "builder":
        builder.draw()
    case "activations":
        choose.activations()
    case "linear":
        choose.weighted_sum()

lesson.show_listing("model")
lesson.next_page("train.py", "Next: train it")
