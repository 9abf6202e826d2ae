"""Train: see it learn, on the CPU or a GPU."""

import streamlit as st

from eurosat_core.errors import RunError
from eurosat_core.lab import findings
from pages.parts import (
    lesson,
    live_run,
    model_table,
    run_result,
    session,
    train_code,
    train_settings,
    train_start,
    train_state,
)

WORDS = lesson.text("train")
GUESSES = findings.ACCURACY_GUESSES

lesson.header(WORDS["goal"], 10, WORDS["task"])
guessed = lesson.guess("train_accuracy", WORDS["guess"], list(GUESSES))

run_id = session.page_run("train")
record = None
problem = ""
if run_id is not None:
    try:
        record = session.lab().run(run_id)
    except RunError as error:
        problem = str(error)

if problem:
    run_result.missing(problem)
train_state.prepare()
# Folded away once there is a run to look at, so that its curves come into view; another key folds it for each new run.
folded = record is not None
with st.expander(
    f"Settings: {train_state.in_short()}" if folded else "Settings",
    expanded=not folded,
    icon=":material/tune:",
    key=f"train_settings_{record.id if record else ''}",
):
    settings, model = st.columns(2, gap="medium")
    with settings:
        train_settings.draw()
        train_start.draw()
    with model:
        model_table.draw(train_state.architecture())

if record is None and not problem:
    st.info(WORDS["empty"], icon=":material/model_training:")
elif record is not None:
    live_run.draw(record)
    st.caption(WORDS["reading"])
    if not record.is_active:
        run_result.draw(record, GUESSES.get(guessed or ""))
if record is not None and not record.is_active:
    lesson.misconception("100 % training accuracy is the goal", WORDS["misconception perfect"])
else:
    luck = findings.luck(session.lab().history(record.id)) if record else ""
    jumps = f"{WORDS['misconception jumps']} {luck}".strip()
    lesson.misconception("Validation accuracy jumps up and down: something is broken", jumps)
shown = record.config if record is not None else train_state.draft_or_lesson()
lesson.show_pytorch(*train_code.code(session.lab().settled(shown)))
lesson.next_page("profiler.py", "Next: where does the time go?")
