"""Transfer: what a pretrained network already knows, and how few labels it takes to use that."""

import streamlit as st

from eurosat_core.analysis import guesses
from eurosat_core.errors import RunError
from pages.parts import lesson, session
from pages.parts.transfer import result, start

WORDS = lesson.text("transfer")

lesson.header(WORDS["goal"], 8, WORDS["task"])
st.markdown(WORDS["intro"])
guessed = lesson.guess("transfer_labels", start.QUESTION, guesses.choices("transfer_labels"))

run_id = session.page_run("transfer")
record = None
if run_id is not None:
    try:
        record = session.lab().store.get(run_id)
    except RunError as error:
        result.missing(str(error))
start.draw()
record = record or start.newest()
if record is None:
    st.info(WORDS["empty"], icon=":material/school:")
elif record.is_active:
    result.draw_live(record)
else:
    result.draw(record, guessed)
start.earlier(record)

lesson.misconception("Pretraining on photos of cats cannot help with satellites", WORDS["misconception"])
lesson.show_listing("transfer")
lesson.next_page("compare.py", "Next: put trainings side by side")
