"""Compare: two or more trainings side by side: who wins, by how much, at what cost, and why."""

import streamlit as st

from eurosat_core.analysis import guesses
from pages.parts import lesson
from pages.parts.compare import accuracy, choose, curves, race

WORDS = lesson.text("compare")
PARTS = {
    "accuracy": "Accuracy",
    "curves": "Learning curves",
    "cost": "Time and cost",
    "split": "Random or by place",
    "bundles": "Take runs along",
}


lesson.header(WORDS["goal"], 10, WORDS["task"])
guessed = lesson.guess("compare_winner", WORDS["guess"], guesses.choices("compare_winner"))

ids = choose.draw_choice()
side = choose.current(ids)
mark = choose.mark(ids)
if side is not None:
    curves.draw_verdict(side, guessed)

st.header("The race", anchor=False)
race.draw_race()
if side is not None:
    st.header("Replay", anchor=False)
    curves.draw_replay(side, mark)

st.header("Look closer", anchor=False)
opened = lesson.open_part("Parts of the comparison", PARTS, "compare_part", default="accuracy")
match opened:
    case "accuracy" if side is not None:
        accuracy.draw_accuracy(side, mark)
    case "curves" if side is not None:
        curves.curves(side, mark)
    case "cost" if side is not None:
        curves.cost(side, mark)
    case "split":
        curves.split(side)
    case "bundles":
        choose.draw_bundles(side)

lesson.misconception("A GPU makes the model smarter", WORDS["misconception"])
curves.devices()
lesson.show_listing("compare")
lesson.next_page("wrapup.py", "Next: your own numbers, your own conclusion")
