"""A profile as tables: nothing lost, nothing counted twice, never too many points; operators as torch prints them."""

import re

import pytest
import torch
from profile_makers import cpu_trace, gpu_trace, reading
from torch.autograd.profiler_util import _format_memory, _format_time
from torch.profiler import ProfilerActivity, profile
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.analysis.operators import (
    NAME,
    columns_of,
    explained,
    meaning,
    memory_text,
    operator_frame,
    share_text,
    time_text,
)
from eurosat_core.charts import profile as charts
from eurosat_core.charts.profile import timeline_bars
from eurosat_core.profiling.operators import OperatorRow, operator_table
from eurosat_core.profiling.overview import PARTS, ROLES
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.profiling.trace import read_trace


def test_every_step_of_a_plan_has_its_place():
    frame = charts.plan_frame(ProfilePlan())
    assert len(frame) == 28 and frame["phase"].value_counts().to_dict() == {"recorded": 12, "skipped": 8, "warm-up": 8}
    assert list(frame[frame["trace"] != ""]["step"]) == [7, 14, 21, 28] and frame["done"].all()
    assert list(frame["place"].head(8)) == [1, 2, 3, 4, 5, 6, 7, 1]
    assert charts.plan_frame(ProfilePlan(), 5)["done"].sum() == 5


def test_parts_of_a_step_stand_end_to_end():
    frame = charts.parts_frame(reading(cpu_trace()))
    assert list(frame["row"].unique()) == ["step 4", "step 5", "step 6", "mean"]
    for _, bar in frame.groupby("row"):
        assert bar["start"].iloc[0] == 0 and list(bar["start"])[1:] == list(bar["end"])[:-1]
        assert bar["end"].iloc[-1] == pytest.approx(1.0) and bar["share"].sum() == pytest.approx(1)
    assert charts.parts_in(frame) == PARTS
    assert "backward 0.4\N{NO-BREAK SPACE}ms" in set(frame["long"])
    assert frame.groupby("place")["row"].unique().explode().tolist() == list(dict.fromkeys(frame["row"]))


def test_the_breakdown_sums_to_the_step():
    seen = reading(gpu_trace())
    frame = charts.breakdown_frame(seen)
    ends = frame.groupby("row")["end"].max()
    assert ends["mean"] == pytest.approx(seen.overview.mean_step_us["Total"] / 1000)
    assert set(charts.parts_in(frame)) <= {*ROLES, "GPU kernel"} and "Memcpy" in charts.parts_in(frame)


def test_of_a_long_trace_the_first_steps_are_drawn():
    frame = charts.parts_frame(reading(cpu_trace(steps=50)))
    assert frame["row"].nunique() == charts.MOST_STEPS + 1 and len(frame) <= 500


def test_the_gpus_share_of_each_part():
    frame = charts.device_parts_frame(reading(gpu_trace()))
    on_gpu = frame[frame["row"] == "GPU"].set_index("part")["ms"]
    assert on_gpu.to_dict() == pytest.approx({"copy": 0.015, "forward": 0.09})


def test_kernels_have_short_names_and_full_ones():
    seen = reading(gpu_trace())
    short, full = charts.kernel_frame(seen, False), charts.kernel_frame(seen, True)
    assert short["GPU kernel"][0].startswith("gemm_") and full["GPU kernel"][0].startswith("void at::native::")
    assert short["Share"].sum() == pytest.approx(100) and short["Launches"].sum() == 120
    assert short["Occupancy"][0] == pytest.approx(25)


def test_columns_that_no_kernel_tells_are_left_out():
    seen = reading(text([step(0, 0, 100), host("aten::mm", 0, 50), launch(1, 5), kernel(1, 10, 20)]))
    assert not {"Occupancy", "Blocks per SM"} & set(charts.kernel_frame(seen, False).columns)


@pytest.mark.parametrize(("most", "unit"), [(16, "bytes"), (50_000, "KB"), (50 << 20, "MB"), (50 << 30, "GB")])
def test_memory_is_drawn_in_a_unit_that_suits_it(most, unit):
    events = [step(0, 0, 100), host("aten::empty", 0, 50), memory(1, most, most), memory(2, -most, 0)]
    curve = reading(text(events)).memory[0]
    assert charts.memory_unit(curve) == unit
    assert 1 <= charts.memory_frame(curve)["taken"].max() < 4096


def test_memory_never_has_too_many_points():
    events = [step(0, 0, 9000), host("aten::empty", 0, 50)]
    events += [memory(each, 8, 8 * each, kind=1, index=0, **{"Total Reserved": 1 << 20}) for each in range(1, 3000)]
    frame = charts.memory_frame(reading(text(events)).memory[0])
    assert frame["series"].nunique() == 2 and len(frame) <= 500


def test_a_timeline_has_a_row_for_each_level_of_each_line():
    seen = reading(gpu_trace())
    timeline = seen.timeline(7)
    (lanes, rows), frame = charts.timeline_rows(timeline), charts.timeline_frame(timeline)
    assert [title.split()[0] for title, _ in lanes] == ["thread", "GPU"]
    assert frame["row"].max() < rows and (frame["end"] >= frame["start"]).all() and len(frame) <= 500
    assert "DataLoader" in set(frame["short"]) and {"GPU kernel", "copy", "runtime"} <= set(frame["kind"])
    on_gpu = frame[frame["row"] >= lanes[1][1]]
    assert set(on_gpu["kind"]) <= {"GPU kernel", "copy", "fill"}


def test_several_events_in_one_bar_have_no_name():
    events = [step(0, 0, 100_000)] + [host(f"aten::op{each}", 10 * each, 5) for each in range(900)]
    frame = charts.timeline_frame(reading(text(events)).timeline(0))
    joined = frame[frame["events"] > 1]
    assert len(joined) and set(joined["short"]) == {""} and frame["events"].sum() == 901


def test_specs_hold_no_data():
    specs = [
        charts.plan_strip(4, 7),
        charts.plan_strip(1, 60),
        charts.stacked_bars(PARTS, 4, "ms"),
        charts.kernel_bars(10, 20.0),
        charts.memory_line(True, "MB"),
        timeline_bars((("thread 1", 0),), 5, ("GPU kernel", "operator"), 0.0, 1.0),
    ]
    for spec in specs:
        assert "data" not in spec and "datasets" not in spec and "config" not in spec
    assert charts.plan_strip(4, 7) is specs[0], "made once"
    assert len(specs[1]["layer"]) == 1, "no numbers in narrow cells"


@pytest.mark.parametrize("value", [0.0, 0.4, 17.0, 999.9994, 1000.0, 10_902.0, 999_999.0, 1e6, 3.5e7])
def test_times_are_written_as_torch_does(value):
    assert time_text(value) == _format_time(value)


@pytest.mark.parametrize("value", [0, -12, 804, 1023, 1024, -5_903_483, 7_864_320, 3 * 1024**3, -(1024**3)])
def test_memory_is_written_as_torch_does(value):
    assert memory_text(value) == _format_memory(value)


def test_shares():
    assert (share_text(38.034), share_text(float("nan"))) == ("38.03%", "NaN")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A small convolution, forward and backward: torch's printed table and the trace of the same recording."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(6272, 4)
    )
    batch = torch.rand(16, 3, 32, 32)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        for _ in range(2):
            network(batch).sum().backward()
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    profiler.export_chrome_trace(str(path))
    table = profiler.key_averages().table(sort_by="cpu_time_total", row_limit=-1, max_name_column_width=None)
    return table, read_trace(path)


def test_the_table_is_the_one_that_torch_prints(recorded):
    printed, trace = recorded
    frame, columns = operator_frame(operator_table(trace), "", 0.0)
    lines = [re.split(r"\s{2,}", line.strip()) for line in printed.splitlines()]
    head = next(line for line in lines if line[0] == NAME)
    assert head == [NAME, *(each.name for each in columns)]
    theirs = {line[0]: line[1:] for line in lines if len(line) == len(head) and line[1][0].isdigit()}
    ours = {row[0]: [each.text(value) for each, value in zip(columns, row[1:], strict=True)] for row in frame.values}
    assert theirs.keys() == ours.keys() and len(ours) > 20
    for name, cells in theirs.items():
        for column, one, other in zip(columns, cells, ours[name], strict=True):
            # The trace holds times in whole nanoseconds as torch does, so at most the last digit differs.
            assert number(one) == pytest.approx(number(other), rel=2e-3, abs=0.011), (name, column.name)
    assert frame["CPU total"].is_monotonic_decreasing


def number(cell: str) -> float:
    figure, unit = re.fullmatch(r"(-?[\d.,]+|NaN)\s?(\w+|%)?", cell).groups()
    scale = {"s": 1e6, "ms": 1e3, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
    return float(figure.replace(",", "")) * scale.get(unit, 1)


ROW = OperatorRow("aten::mm", "operator", 4, 100.0, 60.0, 40.0, 30.0, None, None, None, None)


def test_the_form_of_a_gpu_has_the_tutorials_columns():
    rows = [OperatorRow("aten::mm", "operator", 4, 100.0, 60.0, 40.0, 30.0, 10, 5, 2048, 1024)]
    frame, columns = operator_frame(rows, "CUDA", 120.0)
    own = ["Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"]
    device = ["Self CUDA", "Self CUDA %", "CUDA total", "CUDA time avg"]
    taken = ["CPU Mem", "Self CPU Mem", "CUDA Mem", "Self CUDA Mem"]
    assert [each.name for each in columns] == [*own, *device, *taken, "# of Calls"]
    row = dict(frame.iloc[0])
    assert (row["Self CUDA %"], row["CUDA time avg"], row["CPU time avg"], row["CUDA Mem"]) == (25.0, 10.0, 25.0, 2048)


def test_columns_without_figures_are_left_out():
    _, columns = operator_frame([ROW], "", 0.0)
    assert not any("CUDA" in each.name or "Mem" in each.name for each in columns)
    assert [each.name for each in columns if not each.is_total] == ["Self CPU %", "Self CPU", "# of Calls"]
    assert next(each.name for each in columns_of("XPU", False, False) if "XPU" in each.name) == "Self XPU"


def test_an_empty_table():
    frame, _ = operator_frame([], "CUDA", 0.0)
    assert frame.empty


def test_common_operators_are_explained(recorded):
    _, trace = recorded
    names = [each.name for each in operator_table(trace)]
    known = explained(names)
    assert len(known) > 0.85 * len(names), set(names) - set(known)
    assert "convolution" in meaning("aten::mkldnn_convolution") and meaning("cudaLaunchKernel") != meaning("cudaFree")
    assert meaning("aten::nothing_like_that") == ""
