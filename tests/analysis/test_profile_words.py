"""*What you just saw* in a profile: a sentence for each way it can turn out."""

import pytest
from profile_makers import cpu_trace, gpu_trace, reading
from trace_makers import host, kernel, step, text

from eurosat_core.analysis.profile import (
    covered,
    longest_part,
    outcome,
    plan_words,
    seen_and_unseen,
    utilization,
)
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.profiles import Profile

NBSP = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("times", "part", "words"),
    [
        ((500, 10, 100, 100, 50), "load", "waited for its tiles"),
        ((10, 500, 100, 100, 50), "copy", "Moving tiles to the device"),
        ((10, 10, 500, 100, 50), "forward", "faster arithmetic"),
        ((10, 10, 100, 500, 50), "backward", "faster arithmetic"),
        ((10, 10, 20, 10, 500), "update", "Changing the parameters"),
        ((1, 1, 1, 1, 1), "other", "in Python"),
    ],
)
def test_the_longest_part_decides_what_is_said(times, part, words):
    found = outcome(reading(cpu_trace(times=times)))
    assert found.kind == part == longest_part(reading(cpu_trace(times=times)).overview)
    assert words in found.text and f"*{part}*" in found.text


def test_figures_are_those_of_the_steps():
    found = outcome(reading(cpu_trace()))
    assert (
        "A step took 1\N{NO-BREAK SPACE}ms on average of 3 (1\N{NO-BREAK SPACE}ms to 1\N{NO-BREAK SPACE}ms)."
        in found.text
    )
    assert f"*backward*: 0.4{NBSP}ms on the host, 40.0{NBSP}%" in found.text


def test_one_step_has_no_average():
    assert outcome(reading(cpu_trace(steps=1))).text.startswith("The one recorded step took 1\N{NO-BREAK SPACE}ms.")


def test_uneven_steps_are_said():
    events = [step(0, 0, 100), host("aten::mm", 0, 90), step(1, 200, 1000), host("aten::mm", 200, 900)]
    assert "differ much" in outcome(reading(text(events))).text


@pytest.mark.parametrize(("busy", "words"), [(90, "mostly the GPU waited"), (540, "works more than it waits")])
def test_a_gpu_has_its_utilization(busy, words):
    seen = reading(gpu_trace(busy))
    assert words in outcome(seen).text
    assert utilization(seen.overview) == pytest.approx(busy / 1000, rel=0.1)


def test_a_trace_of_the_gpu_alone():
    found = outcome(reading(text([kernel(1, 0, 50), kernel(2, 100, 50)])))
    assert found.kind == "device_only" and "no work of the CPU" in found.text


def test_a_plan_in_words():
    assert (
        plan_words(ProfilePlan())
        == "28 steps. 4 times: 2 pass by, 2 warm the profiler up and 3 are recorded. That leaves 4 traces."
    )
    assert plan_words(ProfilePlan(0, 0, 1, 1)) == "1 step. 1 is recorded. That leaves 1 trace."


def test_what_a_table_covers():
    profile = Profile("a", "run", "", (1, 2, 3, 4), plan=ProfilePlan())
    assert covered(profile, 4) == "cycle 4 of 4: steps 26 to 28 of 28"
    assert covered(Profile("a", "run", "", (1,), plan=ProfilePlan(0, 0, 1, 1)), 1) == "cycle 1 of 1: step 1 of 1"
    assert covered(Profile("a", "upload", "", (1,)), 1) == "all of the trace"


def test_what_a_trace_of_the_processor_shows():
    assert "loader workers" in seen_and_unseen(reading(cpu_trace()))[-1]
    assert len(seen_and_unseen(reading(text([host("aten::mm", 0, 10)])))) == 2
