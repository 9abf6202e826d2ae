"""The operator table against the one that torch itself prints: columns, order, percentages, units."""

import re

import pytest
import torch
from torch.autograd.profiler_util import _format_memory, _format_time
from torch.profiler import ProfilerActivity, profile

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
from eurosat_core.profiling.operators import OperatorRow, operator_table
from eurosat_core.profiling.trace import read_trace


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
