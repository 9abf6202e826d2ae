"""Profiler: record a few steps, see where their time goes, and what to change."""

import streamlit as st

from eurosat_core.analysis import guesses
from eurosat_core.errors import LabError
from pages.parts import lesson
from pages.parts.profiler import advice, modules, operators, read, roofline, state, waits
from pages.parts.profiler import record as recorder

WORDS = lesson.text("profiler")
PARTS = {
    "overview": "Overview",
    "operators": "Operators",
    "modules": "Modules",
    "kernels": "GPU kernels",
    "roofline": "Roof line",
    "idle": "Idle GPU",
    "memory": "Memory",
    "timeline": "Timeline",
    "compare": "Side by side",
    "advice": "Advice",
    "tutorial": "The tutorial’s figures",
}


lesson.header(WORDS["goal"], 10, WORDS["task"])
guessed = lesson.guess("profile_part", WORDS["guess"], guesses.choices("profile_part"))

problem = ""
try:
    record, profile, problem = state.current()
except LabError as error:
    record, profile, problem = None, None, str(error)
state.prepare()
filled, why = state.refilled()
# Folded away once there is a profile of one's own; another key opens it anew when advice filled it in.
folded = record is not None and not why
with st.expander(
    f"Record: {state.in_short()}" if folded else "Record a profile",
    expanded=not folded,
    icon=":material/radio_button_checked:",
    key=f"profiler_form_{record.id if record else ''}_{filled if why else 0}",
):
    recorder.draw_form()
if problem:
    recorder.missing(problem)

if record is not None and record.is_active:
    recorder.draw_live(record)
elif record is not None:
    recorder.ended(record, profile)

cycle = recorder.draw_choice(record, profile)
reading = recorder.reading_of(profile, cycle) if profile is not None else None
if profile is not None and reading is not None:
    read.draw_parts(profile, reading, guessed)
    st.header("Look closer", anchor=False)
    opened = lesson.open_part("Parts of the profile", PARTS, state.PART)
    match opened:
        case "overview":
            read.draw_overview(reading)
        case "operators":
            operators.draw_operators(profile, cycle, reading)
        case "modules":
            modules.draw_modules(reading)
        case "kernels":
            read.kernels(reading)
        case "roofline":
            roofline.draw_roofline(profile, reading)
        case "idle":
            waits.draw_idle(reading)
        case "memory":
            read.memory(reading)
        case "timeline":
            read.draw_timeline(reading)
        case "compare":
            operators.draw_pair(profile, reading)
        case "advice":
            advice.draw_advice(profile, reading)
        case "tutorial":
            operators.draw_tutorial(profile, reading)

advice.draw_tensorboard()
lesson.misconception("100 % utilization means the GPU is used well", WORDS["misconception"])
lesson.show_listing("profiler")
lesson.next_page("speed.py", "Next: change one thing, and measure")
