"""*What you just saw* in a profile: a sentence for each way it can turn out."""

import re

import pytest
from profile_makers import cpu_trace, gpu_trace, reading
from run_makers import told
from trace_makers import host, kernel, step, text

from eurosat_core.analysis.profile import (
    covered,
    longest_part,
    outcome,
    plan_finding,
    seen_and_unseen,
    utilization,
)
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.profiles import Profile
from eurosat_core.words.say import say


@pytest.mark.parametrize(
    ("times", "part", "follows"),
    [
        ((500, 10, 100, 100, 50), "load", "load"),
        ((10, 500, 100, 100, 50), "copy", "copy"),
        ((10, 10, 500, 100, 50), "forward", "computing"),
        ((10, 10, 100, 500, 50), "backward", "computing"),
        ((10, 10, 20, 10, 500), "update", "update"),
        ((1, 1, 1, 1, 1), "other", "other"),
    ],
)
def test_the_longest_part_decides_what_is_said(times, part, follows):
    found = outcome(reading(cpu_trace(times=times)))
    assert told(found) == ["step.several", "part", f"{follows}.longest"]
    assert found.then[0].figures["part"] == part == longest_part(reading(cpu_trace(times=times)).overview)


def test_figures_are_those_of_the_steps():
    found = outcome(reading(cpu_trace()))
    assert found.figures == {"steps": 3, "mean": 1.0, "least": 1.0, "most": 1.0}
    assert found.then[0].figures == {"part": "backward", "ms": 0.4, "share": 0.4}


def test_one_step_has_no_average():
    assert outcome(reading(cpu_trace(steps=1))).name == "profile.step.one"


def test_uneven_steps_are_said():
    events = [step(0, 0, 100), host("aten::mm", 0, 90), step(1, 200, 1000), host("aten::mm", 200, 900)]
    assert told(outcome(reading(text(events))))[-1] == "uneven"


@pytest.mark.parametrize(("busy", "variant"), [(90, "waiting"), (540, "busy")])
def test_a_gpu_has_its_utilization(busy, variant):
    seen = reading(gpu_trace(busy))
    assert told(outcome(seen))[2] == f"utilization.{variant}"
    assert utilization(seen.overview) == pytest.approx(busy / 1000, rel=0.1)


def test_a_trace_of_the_gpu_alone():
    found = outcome(reading(text([kernel(1, 0, 50), kernel(2, 100, 50)])))
    assert told(found) == ["step.one", "device_only"]


def figures_in(finding):
    """The numbers of its sentence, in order."""
    return [int(each) for each in re.findall(r"\d+", say(finding))]


def test_a_plan_and_what_a_table_covers_in_words():
    assert figures_in(plan_finding(ProfilePlan())) == [28, 4, 2, 2, 3, 4]
    assert figures_in(plan_finding(ProfilePlan(0, 0, 1, 1))) == [1, 1, 1]
    assert figures_in(covered(Profile("a", "run", "", (1, 2, 3, 4), plan=ProfilePlan()), 4)) == [4, 4, 26, 28, 28]
    one = covered(Profile("a", "run", "", (1,), plan=ProfilePlan(0, 0, 1, 1)), 1)
    assert figures_in(one) == [1, 1, 1, 1]
    assert figures_in(covered(Profile("a", "upload", "", (1,)), 1)) == []


def test_what_a_trace_of_the_processor_shows():
    assert [each.kind for each in seen_and_unseen(reading(cpu_trace()))] == ["seen", "unseen", "unseen_workers"]
    assert [each.kind for each in seen_and_unseen(reading(text([host("aten::mm", 0, 10)])))] == ["seen", "unseen"]


def test_a_profile_of_a_gpu_without_kernels_says_what_the_host_did_and_no_more():
    """CUPTI is blocked, or an Apple GPU: in the trace stands the CPU alone, launching."""
    for device in ("cuda:0", "mps"):
        seen = reading(cpu_trace(times=(10, 10, 500, 100, 50)), device)
        assert told(outcome(seen)) == ["step.several", "part", "unseen_device"]
        assert seen_and_unseen(seen)[0].kind == "unseen_work" and len(seen.overview.notes) == 1
        assert say(seen_and_unseen(seen, "For a reason.")[0]).endswith(" For a reason.")
        assert [each.key for each in seen.advice(profile_config("baseline", device=device))] == []
    busy = reading(gpu_trace(600), "cuda:0")
    assert not busy.overview.unseen_device and busy.overview.notes == ()
