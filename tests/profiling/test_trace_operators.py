"""The table of operators: what torch's own profiler gives for the same recording, and by hand where it has no GPU."""

from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile, record_function, schedule
from torch.utils.data import DataLoader, TensorDataset
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.trace import read_trace


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "with stacks"])
def recorded(request, tmp_path_factory):
    """A training recorded here: torch's rows, and the trace's file."""
    place = tmp_path_factory.mktemp("live") / "a.pt.trace.json"
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 5), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(600, 4)
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    tiles = TensorDataset(torch.randn(48, 3, 24, 24), torch.randint(0, 4, (48,)))
    kept = []

    def ready(finished):
        finished.export_chrome_trace(str(place))
        kept.append(finished.key_averages())

    with profile(
        activities=[ProfilerActivity.CPU],
        schedule=schedule(wait=1, warmup=1, active=3, repeat=1),
        on_trace_ready=ready,
        profile_memory=True,
        with_stack=request.param,
    ) as profiler:
        for batch, labels in DataLoader(tiles, batch_size=8):
            with record_function("eurosat.forward"):
                loss = torch.nn.functional.cross_entropy(network(batch), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            profiler.step()
    return kept[0], place


def test_every_row_equals_key_averages(recorded, request):
    theirs, place = recorded
    # Seen in torch 2.11: with stacks, a row's own time holds what it called, too. 2.14 takes that off.
    with_stacks = "with stacks" in request.node.name
    equal = 0
    ours = {(each.name, each.kind == "annotation"): each for each in operator_table(read_trace(Path(place)))}
    assert len(theirs) > 30
    assert {(each.key, bool(each.is_user_annotation)) for each in theirs} == ours.keys()
    for row in theirs:
        found = ours[row.key, bool(row.is_user_annotation)]
        assert found.calls == row.count
        assert found.cpu_total_us == pytest.approx(row.cpu_time_total, abs=0.01)
        # Python's functions and operators overlap, and torch takes what two of them cover off twice.
        equal += found.cpu_self_us == pytest.approx(row.self_cpu_time_total, abs=0.01)
        assert found.cpu_self_us > row.self_cpu_time_total - 0.01 or (with_stacks and torch.__version__ < (2, 14))
        assert 0 <= found.cpu_self_us <= found.cpu_total_us
        assert found.cpu_memory_bytes == row.cpu_memory_usage
        assert found.cpu_self_memory_bytes == row.self_cpu_memory_usage
        assert (found.device_total_us, found.device_memory_bytes) == (0, 0)
    assert equal == len(theirs) or with_stacks
    loading = next(found for (name, _), found in ours.items() if name.startswith("enumerate(DataLoader)#"))
    assert loading.cpu_total_us > 0


def table(events):
    return {each.name: each for each in operator_table(read_trace(text(events)))}


def test_kernels_belong_to_the_operator_that_launched_them_and_to_those_around_it():
    rows = table(
        [
            step(1, 0, 100),
            host("aten::conv2d", 10, 50, external=1),
            host("aten::cudnn_convolution", 20, 30, external=2),
            launch(1, 25, 5, external=2),
            launch(2, 32, 5, "cuLaunchKernel", cat="cuda_driver"),  # without an id: by what stands around it
            host("aten::add", 70, 10, external=3),
            kernel(1, 40, 100, external=2),
            kernel(2, 150, 20),
            kernel(3, 200, 7, external=3, cat="gpu_memcpy"),
        ]
    )
    assert {name: (each.device_self_us, each.device_total_us) for name, each in rows.items()} == {
        "ProfilerStep*": (0, 127),
        "aten::conv2d": (0, 120),
        "aten::cudnn_convolution": (120, 120),
        "cudaLaunchKernel": (0, 0),
        "cuLaunchKernel": (0, 0),
        "aten::add": (7, 7),
    }
    assert rows["aten::cudnn_convolution"].cpu_self_us == 20
    assert rows["cudaLaunchKernel"].kind == "runtime"
    assert next(iter(rows)) == "aten::cudnn_convolution"  # what took the device longest stands on top


def test_an_only_child_with_its_parents_name_is_one_call_with_it():
    rows = table(
        [
            host("aten::sum", 0, 50, external=1),
            host("aten::sum", 5, 40, external=2),
            host("aten::sum", 10, 20, external=3),
            host("aten::fill_", 12, 5),
            kernel(1, 60, 8, external=3),
            host("aten::add", 100, 50),
            host("aten::add", 110, 5),
            host("aten::add", 120, 5),
        ]
    )
    assert (rows["aten::sum"].calls, rows["aten::sum"].cpu_self_us, rows["aten::sum"].device_self_us) == (1, 45, 8)
    assert (rows["aten::add"].calls, rows["aten::add"].cpu_total_us, rows["aten::add"].cpu_self_us) == (3, 60, 50)


def test_memory_is_what_was_taken_and_not_given_back():
    rows = table(
        [
            host("aten::conv2d", 0, 50),
            host("aten::empty", 10, 5),
            memory(12, 1000),
            memory(20, 500),
            memory(30, -200),
            memory(13, 64, kind=1, index=0),
            memory(90, -1000),
        ]
    )
    outer, inner, outside = rows["aten::conv2d"], rows["aten::empty"], rows["[memory]"]
    assert (outer.cpu_memory_bytes, outer.cpu_self_memory_bytes) == (1300, 300)
    assert (inner.cpu_memory_bytes, inner.cpu_self_memory_bytes) == (1000, 1000)
    assert (outer.device_memory_bytes, outer.device_self_memory_bytes) == (64, 0)
    assert (outside.kind, outside.calls, outside.cpu_memory_bytes) == ("memory", 1, -1000)
    assert table([host("aten::mm", 0, 5)])["aten::mm"].cpu_memory_bytes is None


def test_large_times_with_decimals_still_nest():
    """At 1.7e15 µs a number's last digit is a quarter: a child may seem to end after its parent."""
    start = 1_700_000_000_000_000.3
    trace = read_trace(text([host("a", start, 10.7), host("b", start + 0.1, 10.59), host("c", start + 5, 1)]))
    parents = {trace.names[trace.name[row]]: trace.parent[row] for row in range(3)}
    assert parents["a"] == -1
    assert parents["b"] != -1
    assert parents["c"] != -1
    assert 0 < trace.resolution_ns <= 500
