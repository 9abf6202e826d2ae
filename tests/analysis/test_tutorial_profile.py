"""The tutorial's recorded figures are the tutorial's, and stand beside a participant's of the same kind of device."""

import pytest
from trace_makers import host, kernel, launch, step, text

from eurosat_core.analysis.tutorial import UNKNOWN, compared_figures, tutorial_profile, tutorial_table
from eurosat_core.profiling.trace import read_trace
from eurosat_core.runs.profiles import Reading


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
    frame = compared_figures("gpu", Reading(read_trace(text(events)))).set_index("Figure")
    assert frame.loc["Step on the host (ProfilerStep*)"].to_list() == [
        "7.68\N{NO-BREAK SPACE}ms",
        "1\N{NO-BREAK SPACE}ms",
    ]
    assert frame.loc["DataLoader, share of the CPU’s time", "Yours"] == "10.0\N{NO-BREAK SPACE}%"
    assert frame.loc["aten::to (copying), share of the CPU’s time", "Yours"] == "20.0\N{NO-BREAK SPACE}%"
    assert frame.loc["GPU kernel launches, a step"].to_list() == ["94", "1"]
    assert frame.loc["GPU utilization"].to_list() == ["about 9\N{NO-BREAK SPACE}%", "10.0\N{NO-BREAK SPACE}%"]


def test_without_ones_own_there_are_only_its_figures():
    assert set(compared_figures("cpu", None)["Yours"]) == {UNKNOWN}
