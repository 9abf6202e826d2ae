"""What is said about profiles, one's own and the tutorial's: a finding for each way they can turn out."""

import re

import pytest
from profile_makers import cpu_trace, gpu_trace, reading
from run_makers import told
from trace_makers import host, kernel, launch, step, text

from eurosat_core.analysis.profile import (
    covered,
    longest_part,
    outcome,
    plan_finding,
    seen_and_unseen,
    utilization,
)
from eurosat_core.analysis.tutorial import UNKNOWN, compared_figures, tutorial_profile, tutorial_table
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.trace import read_trace
from eurosat_core.runs.profiles import Profile, Reading
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


def test_its_sums():
    told = tutorial_profile()
    assert (told["gpu"].self_cpu_us, told["gpu"].self_cuda_us, told["cpu"].self_cpu_us) == (28_665, 4_244, 35_136)
    assert (told["gpu"].utilization, told["gpu"].exec_share) == (0.09, 0.45)
    assert told["cpu"].step_us / told["gpu"].step_us == pytest.approx(1.52, abs=0.01)


@pytest.mark.parametrize(("name", "columns"), [("gpu", 15), ("cpu", 9)])
def test_its_tables_are_consistent_with_themselves(name, columns):
    frame, described = tutorial_table(name)
    told = tutorial_profile()[name]
    assert frame.shape == (10, columns)
    assert frame["CPU total"].is_monotonic_decreasing
    assert (frame["CPU total"] / frame["# of Calls"]).to_list() == pytest.approx(
        frame["CPU time avg"].to_list(), rel=2e-3
    )
    assert (100 * frame["Self CPU"] / told.self_cpu_us).to_list() == pytest.approx(
        frame["Self CPU %"].to_list(), abs=0.011
    )
    assert (100 * frame["CPU total"] / told.self_cpu_us).to_list() == pytest.approx(
        frame["CPU total %"].to_list(), abs=0.011
    )
    texts = {each.name: each.text for each in described}
    assert texts["Self CPU Mem"](frame["Self CPU Mem"][0]) == {"gpu": "-5.63 MB", "cpu": "-23.04 MB"}[name]


def test_its_gpu_table_adds_up_with_the_sum_of_the_gpu():
    frame, _ = tutorial_table("gpu")
    copied = frame[frame["Name"] == "aten::copy_"].iloc[0]
    assert 100 * copied["Self CUDA"] / tutorial_profile()["gpu"].self_cuda_us == pytest.approx(25.42, abs=0.01)


def test_beside_ones_own():
    events = [step(0, 0, 1000), host("enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", 0, 100)]
    events += [host("aten::to", 100, 200), launch(1, 150, 20), kernel(1, 400, 100)]
    frame = compared_figures("gpu", Reading(read_trace(text(events))))
    told = [each.replace("\N{NO-BREAK SPACE}", " ") for each in (*frame["Tutorial"], *frame["Yours"])]
    lasts, _, _, _, _, launches, utilization, _ = told[:8]  # the tutorial's
    assert (lasts, launches, utilization) == ("7.68 ms", "94", "about 9 %")
    lasts, _, loading, copying, _, launches, utilization, _ = told[8:]
    assert (lasts, loading, copying, launches, utilization) == ("1 ms", "10.0 %", "20.0 %", "1", "10.0 %")


def test_without_ones_own_there_are_only_its_figures():
    assert set(compared_figures("cpu", None)["Yours"]) == {UNKNOWN}
