"""Profiler: record a few steps, see where their time goes, and what to change."""

import streamlit as st

from eurosat_core.errors import LabError
from eurosat_core.lab.profile_words import GUESSES
from pages.parts import (
    lesson,
    profiler_advice,
    profiler_choose,
    profiler_compare,
    profiler_first,
    profiler_kernels,
    profiler_live,
    profiler_operators,
    profiler_overview,
    profiler_record,
    profiler_state,
    profiler_tensorboard,
    profiler_timeline,
    profiler_tutorial,
)

WORDS = lesson.text("profiler")
PARTS = {
    "overview": "Overview",
    "operators": "Operators",
    "kernels": "GPU kernels",
    "memory": "Memory",
    "timeline": "Timeline",
    "compare": "Side by side",
    "advice": "Advice",
    "tutorial": "The tutorial’s figures",
}

CPU_CODE = """
from torch.profiler import ProfilerActivity, profile, record_function, schedule

activities = [ProfilerActivity.CPU]
plan = schedule(wait=2, warmup=2, active=3, repeat=4)

def keep(finished):                             # after every cycle
    finished.export_chrome_trace(f"trace_{finished.step_num}.json")
    print(finished.key_averages().table(sort_by="cpu_time_total", row_limit=10))

with profile(activities=activities, schedule=plan, profile_memory=True,
             on_trace_ready=keep) as profiler:
    for step, (pictures, labels) in zip(range(28), batches):
        with record_function("forward"):        # a name of our own in the trace
            loss = cross_entropy(network(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        profiler.step()                         # the next step begins
"""
GPU_CODE = CPU_CODE.replace("[ProfilerActivity.CPU]", "[ProfilerActivity.CPU, ProfilerActivity.CUDA]").replace(
    '        with record_function("forward"):',
    '        with record_function("copy"):\n            pictures, labels = pictures.to("cuda"), labels.to("cuda")\n'
    '        with record_function("forward"):',
)

lesson.header(WORDS["goal"], 10, WORDS["task"])
guessed = lesson.guess("profile_part", WORDS["guess"], list(GUESSES))

problem = ""
try:
    record, profile, problem = profiler_state.current()
except LabError as error:
    record, profile, problem = None, None, str(error)
profiler_state.prepare()
filled, why = profiler_state.refilled()
# Folded away once there is a profile of one's own; another key opens it anew when advice filled it in.
folded = record is not None and not why
with st.expander(
    f"Record: {profiler_state.in_short()}" if folded else "Record a profile",
    expanded=not folded,
    icon=":material/radio_button_checked:",
    key=f"profiler_form_{record.id if record else ''}_{filled if why else 0}",
):
    profiler_record.draw()
if problem:
    profiler_live.missing(problem)

if record is not None and record.is_active:
    profiler_live.draw(record)
elif record is not None:
    profiler_live.ended(record, profile)

cycle = profiler_choose.draw(record, profile)
reading = profiler_choose.reading_of(profile, cycle) if profile is not None else None
if profile is not None and reading is not None:
    profiler_first.draw(profile, reading, guessed)
    st.header("Look closer", anchor=False)
    opened = st.pills(
        "Parts of the profile",
        list(PARTS),
        format_func=lambda name: PARTS[name],
        key=profiler_state.PART,
        persist_state="session",
        label_visibility="collapsed",
    )
    match opened:
        case "overview":
            profiler_overview.draw(reading)
        case "operators":
            profiler_operators.draw(profile, cycle, reading)
        case "kernels":
            profiler_kernels.kernels(reading)
        case "memory":
            profiler_kernels.memory(reading)
        case "timeline":
            profiler_timeline.draw(reading)
        case "compare":
            profiler_compare.draw(profile, reading)
        case "advice":
            profiler_advice.draw(profile, reading)
        case "tutorial":
            profiler_tutorial.draw(profile, reading)

profiler_tensorboard.draw()
lesson.misconception("100 % utilization means the GPU is used well", WORDS["misconception"])
lesson.show_pytorch(CPU_CODE.strip(), GPU_CODE.strip())
lesson.next_page("speed.py", "Next: change one thing, and measure")
