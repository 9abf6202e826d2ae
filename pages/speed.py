"""Speed: the tutorial's four tips, and what it leaves out, each as an experiment on this machine."""

import streamlit as st

from eurosat_core.analysis import guesses
from eurosat_core.speed.experiments import EXPERIMENTS
from pages.parts import lesson
from pages.parts.speed import choose, more, result

WORDS = lesson.text("speed")
MORE = {"free": "Free sweep of one setting", "limits": "Limits of this device"}

lesson.header(WORDS["goal"], 10, WORDS["task"])
is_race, problem = choose.follow_address()
if problem:
    result.missing(problem)
elif is_race:
    st.info(WORDS["race"], icon=":material/sports_score:")

name, devices = choose.draw()
one = EXPERIMENTS[name]
guessed = lesson.guess(f"speed_{name}", one.question, guesses.choices(f"speed_{name}"))
choose.run_button(name, devices)
result.others(name)
record = choose.shown(name)
choose.keep_in_address(name, record)
if record is None:
    st.info(WORDS["empty"], icon=":material/speed:")
elif record.is_active:
    result.draw_live(record)
else:
    result.draw_result(record, guessed)
choose.earlier()

st.header("More", anchor=False)
st.caption(WORDS["more"])
opened = lesson.open_part("More about speed", MORE, choose.MORE, on_change=choose.take_more)
match opened:
    case "free":
        more.draw_free(devices)
    case "limits":
        more.draw_limits(devices)

lesson.misconception("I measured it once, and it was faster", WORDS["misconception"].format(of=one.misconception))
lesson.show_pytorch(*choose.code(name))
lesson.next_page("compare.py", "Next: who wins the race?")
