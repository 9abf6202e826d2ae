"""Predict: ask any trained network about a tile, a picture of one's own, or something it was never meant for."""

import streamlit as st

from eurosat_core.analysis import guesses
from pages.parts import lesson
from pages.parts.predict import view

words = lesson.text("predict")

lesson.header(words["goal"], 8, words["task"])
st.markdown(words["intro"])
guess = lesson.guess("predict_face", words["guess"], guesses.choices("predict_face"))

view.draw(guess)

lesson.misconception("99 % means it knows", words["misconception"])

lesson.show_listing("predict")
lesson.next_page("train.py", "Next: train another network, and ask that")
