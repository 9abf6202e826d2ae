"""Train: see it learn, on the CPU or a GPU."""

import streamlit as st

from eurosat_core.analysis import guesses, training
from eurosat_core.errors import RunError
from eurosat_core.words.say import say
from pages.parts import lesson, session
from pages.parts.model import choose
from pages.parts.train import result, settings, start, state

WORDS = lesson.text("train")

lesson.header(WORDS["goal"], 10, WORDS["task"])
guessed = lesson.guess("train_accuracy", WORDS["guess"], guesses.choices("train_accuracy"))

run_id = session.page_run("train")
record = None
problem = ""
if run_id is not None:
    try:
        record = session.lab().store.get(run_id)
    except RunError as error:
        problem = str(error)

if problem:
    result.missing(problem)
state.prepare()
# Folded away once there is a run to look at, so that its curves come into view; another key folds it for each new run.
folded = record is not None
with st.expander(
    f"Settings: {state.in_short()}" if folded else "Settings",
    expanded=not folded,
    icon=":material/tune:",
    key=f"train_settings_{record.id if record else ''}",
):
    left, right = st.columns(2, gap="medium")
    with left:
        settings.draw_settings()
        start.draw_start()
    with right:
        choose.draw_table(state.architecture())

if record is None and not problem:
    st.info(WORDS["empty"], icon=":material/model_training:")
elif record is not None:
    result.draw_run(record)
    st.caption(WORDS["reading"])
    if not record.is_active:
        result.draw_result(record, guessed)
if record is not None and not record.is_active:
    lesson.misconception("100 % training accuracy is the goal", WORDS["misconception perfect"])
else:
    luck = training.luck(session.lab().results.history(record.id)) if record else None
    jumps = f"{WORDS['misconception jumps']} {say(luck) if luck else ''}".strip()
    lesson.misconception("Validation accuracy jumps up and down: something is broken", jumps)
shown = record.config if record is not None else state.draft_or_lesson()
lesson.show_pytorch(*start.code(session.lab().estimates.settled(shown)))
lesson.next_page("profiler.py", "Next: where does the time go?")
