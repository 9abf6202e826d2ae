"""Speed: the tutorial's four tips, and what it leaves out, each as an experiment on this machine."""

import streamlit as st

from eurosat_core.speed.experiment_terms import GUESSES
from eurosat_core.speed.experiments import EXPERIMENTS
from pages.parts import (
    lesson,
    speed_choose,
    speed_code,
    speed_free,
    speed_limits,
    speed_live,
    speed_result,
    speed_state,
)

WORDS = lesson.text("speed")
MORE = {"free": "Free sweep of one setting", "limits": "Limits of this device"}

lesson.header(WORDS["goal"], 10, WORDS["task"])
led_by = speed_state.follow_address()
if led_by.problem:
    speed_live.missing(led_by.problem)
elif led_by.is_race:
    st.info(WORDS["race"], icon=":material/sports_score:")

name, devices = speed_choose.draw()
one = EXPERIMENTS[name]
guessed = lesson.guess(f"speed_{name}", one.question, list(GUESSES))
speed_choose.run_button(name, devices)
speed_live.others(name)
record = speed_state.shown(name)
speed_state.keep_in_address(name, record)
if record is None:
    st.info(WORDS["empty"], icon=":material/speed:")
elif record.is_active:
    speed_live.draw(record)
else:
    speed_result.draw(record, guessed)
speed_choose.earlier()

st.header("More", anchor=False)
st.caption(WORDS["more"])
opened = st.pills(
    "More about speed",
    list(MORE),
    format_func=lambda each: MORE[each],
    key=speed_state.MORE,
    on_change=speed_state.take_more,
    persist_state="session",
    label_visibility="collapsed",
)
match opened:
    case "free":
        speed_free.draw(devices)
    case "limits":
        speed_limits.draw(devices)

lesson.misconception("I measured it once, and it was faster", WORDS["misconception"].format(of=one.misconception))
lesson.show_pytorch(*speed_code.code(name))
lesson.next_page("compare.py", "Next: who wins the race?")
