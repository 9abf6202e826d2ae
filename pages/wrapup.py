"""Wrap-up: the participant's own numbers along the lesson's three sentences, and a report to take home."""

import streamlit as st

from eurosat_core.analysis.answers import guess_outcomes
from eurosat_core.analysis.guesses import choices, judge_score, score
from eurosat_core.analysis.wrapup import gather, sentences
from pages.parts import lesson, session, wrapup

WORDS = lesson.text("wrapup")


lesson.header(WORDS["goal"], 6, WORDS["task"])
guessed = lesson.guess("wrapup_held", WORDS["guess"], choices("wrapup_held"))

lab, me = session.lab(), session.me()
with st.spinner("Putting your figures together…"):
    evidence = gather(lab, me, lesson.guesses())
    outcomes = guess_outcomes(lab, evidence)
    said = sentences(lab, evidence)
if evidence.is_empty:
    st.info(WORDS["nothing"], icon=":material/flag:")
wrapup.saw(evidence, [score(outcomes), judge_score(guessed, outcomes)])

st.header("What you can say now", anchor=False)
st.markdown(WORDS["sentences"])
wrapup.draw_sentences(said)

st.header("Guessed and measured", anchor=False)
wrapup.guesses(outcomes)

st.header("Take it home", anchor=False)
wrapup.draw_report(evidence, outcomes, said)
wrapup.draw_more(evidence, outcomes)

st.header("What to try next", anchor=False)
wrapup.draw_next(evidence)

st.header("What the tutorial concludes", anchor=False)
wrapup.draw_tutorial(evidence)

lesson.misconception("A faster GPU is the first thing to buy", WORDS["misconception"])
lesson.show_listing("wrapup")
lesson.next_page("predict.py", "Next: show your network a picture of your own")
