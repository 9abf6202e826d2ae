"""Operators as torch's own profiler counts them, kernels, chains of calls, memory over time, the time line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerActivity, profile, record_function, schedule
from torch.utils.data import DataLoader, TensorDataset
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.errors import TraceError
from eurosat_core.profiling.operators import call_chains, kernel_table, operator_table, short_name
from eurosat_core.profiling.timeline import memory_curve, step_timeline
from eurosat_core.profiling.trace import read_trace

GEMM = "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_32x6_tn"


def test_kernels_by_name():
    events = [
        kernel(1, 0, 10, GEMM, blocks=1.0, occupancy=20),
        kernel(2, 20, 30, GEMM, blocks=2.0, occupancy=40),
        kernel(3, 60, 5, "copy"),
        kernel(4, 70, 99, "Memcpy HtoD", "gpu_memcpy"),
    ]
    gemm, other = kernel_table(read_trace(text(events)))
    assert (gemm.name, gemm.calls, gemm.total_us, gemm.mean_us, gemm.min_us, gemm.max_us) == (GEMM, 2, 40, 20, 10, 30)
    assert (gemm.blocks_per_sm, gemm.occupancy) == (pytest.approx(1.75), pytest.approx(0.35))
    assert (other.name, other.blocks_per_sm, other.occupancy) == ("copy", None, None)
    assert (gemm.tensor_cores, other.tensor_cores) == (True, False)
    assert kernel_table(read_trace(text([host("aten::mm", 0, 1)]))) == []


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("void cudnn::detail::dgrad_engine<float, 512, 6, 5, 3, 3, 3, false>(int, int)", "dgrad_engine"),
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, "
            "at::detail::Array<char*, 3> >(int, at::native::CUDAFunctor_add<float>)",
            "add (elementwise)",
        ),
        (
            "void at::native::elementwise_kernel<128, 2, at::native::gpu_kernel_impl_nocast<at::native::"
            "direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda()#3}>(int)::{lambda(int)#1}>(int)",
            "direct_copy (elementwise)",
        ),
        (
            "void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl(at::TensorIterator&)>",
            "Gelu (elementwise)",
        ),
        (
            "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float, float>>>(x)",
            "MeanOps (reduce)",
        ),
        ("void (anonymous namespace)::softmax_warp_forward<float, 8>(float*)", "softmax_warp_forward"),
        (
            "ncclDevKernel_AllReduce_Sum_f32_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
            "ncclDevKernel_AllReduce_Sum_f32_RING_LL",
        ),
        ("volta_sgemm_64x64_nt", "volta_sgemm_64x64_nt"),
        ("void cutlass::Kernel2<cutlass_80_simt_sgemm_64x64_tn>(Params)", "cutlass_80_simt_sgemm_64x64_tn (CUTLASS)"),
        ("Cijk_Ailk_Bljk_HHS_BH_MT128x128x32_MI32x32x8x1_SE_1LDSB0_APM1", "Cijk_Ailk_Bljk_HHS_BH_MT128x1…1LDSB0_APM1"),
        ("", ""),
        ("<<<", "<<<"),
    ],
)
def test_short_names(name, short):
    if "…" in short:
        found = short_name(name)
        assert found.startswith(short.split("…")[0])
        assert len(found) <= 44
    else:
        assert short_name(name) == short


def convolution(at):
    return [host("conv2d", at, 100), host("convolution", at + 1, 97), host("mkldnn", at + 2, 90)]


LINEAR = [host("linear", 500, 50), host("addmm", 501, 40)]
OF_A_CONVOLUTION, OF_LINEAR = ("conv2d", "convolution", "mkldnn"), ("linear", "addmm")


@pytest.mark.parametrize(
    ("events", "chains"),
    [
        ([step(0, 0, 1000), *convolution(10), *convolution(200), host("relu", 400, 30)], [(OF_A_CONVOLUTION, 2, 200)]),
        ([*LINEAR, *convolution(10)], [(OF_A_CONVOLUTION, 1, 100), (OF_LINEAR, 1, 50)]),
        ([host("to", 0, 100), host("copy", 1, 90), host("copy", 200, 90)], []),
        ([host("outer", 0, 200), host("inner", 1, 90), host("inner", 100, 90), host("outer", 300, 5)], []),
        ([host("outer", 0, 100), host("inner", 1, 20)], []),
        ([host("outer", 0, 100), host("outer", 1, 90)], []),
        ([step(0, 0, 10)], []),
    ],
    ids=[
        "twice",
        "longest first",
        "called elsewhere too",
        "two calls in one",
        "a small part",
        "itself",
        "no operators",
    ],
)
def test_operators_that_stand_in_each_other_one_by_one(events, chains):
    assert [(each.names, each.calls, each.total_us) for each in call_chains(read_trace(text(events)))] == chains


def test_memory_over_time_by_device():
    events = [host("aten::mm", 0, 9)]
    events += [memory(5, 10, 110, kind=1, index=0, **{"Total Reserved": 200}), memory(6, 50, 160, kind=1, index=0)]
    events += [memory(2, 4), memory(3, 6), memory(4, -8)]
    gpu, cpu = memory_curve(read_trace(text(events)))
    assert (gpu.device, gpu.time_us.tolist(), gpu.allocated_bytes.tolist()) == ("cuda:0", [5, 6], [110, 160])
    assert (gpu.peak_bytes, gpu.peak_us, gpu.relative, gpu.events) == (160, 6, False, 2)
    assert gpu.reserved_bytes is None  # one event does not say
    assert (cpu.device, cpu.allocated_bytes.tolist(), cpu.peak_bytes, cpu.relative) == ("cpu", [4, 10, 2], 10, True)
    assert memory_curve(read_trace(text([host("aten::mm", 0, 1)]))) == []


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(-50, 1000)), min_size=1, max_size=200), st.integers(4, 40))
def test_fewer_points_keep_the_extremes(points, most):
    events = [host("aten::mm", 0, 1), *(memory(at, 1, total) for at, total in points)]
    whole = memory_curve(read_trace(text(events)), 1000)[0]
    found = memory_curve(read_trace(text(events)), most)[0]
    assert len(found.time_us) <= max(most, 4)
    assert found.peak_bytes == found.allocated_bytes.max() == whole.allocated_bytes.max()
    assert found.allocated_bytes.min() == whole.allocated_bytes.min()
    assert [found.time_us[0], found.time_us[-1]] == [whole.time_us[0], whole.time_us[-1]]
    assert (np.diff(found.time_us) >= 0).all()


def test_the_time_line_of_a_step():
    trace = read_trace(
        text(
            [
                step(1, 0, 50),
                step(2, 100, 100),
                host("aten::conv2d", 110, 40),
                launch(1, 120, 5),
                host("side", 130, 10, tid=2),
                host("model.py(1): forward", 105, 90, "python_function"),
                kernel(1, 140, 90),
                kernel(2, 145, 5, stream=9, cat="gpu_user_annotation"),
            ]
        )
    )
    line = step_timeline(trace, 2)
    assert line.length_us == 130
    assert [(each.title, each.on_device, each.levels) for each in line.lanes] == [
        ("thread 1", False, 3),
        ("thread 2", False, 1),
        ("GPU 0 stream 7", True, 1),
    ]
    assert [(each.lane, each.level, each.name, each.start_us, each.duration_us) for each in line.bars] == [
        (0, 0, "ProfilerStep#2", 0, 100),
        (0, 1, "aten::conv2d", 10, 40),
        (0, 2, "cudaLaunchKernel", 20, 5),
        (1, 0, "side", 30, 10),
        (2, 0, "work", 40, 90),
    ]
    stretch = step_timeline(trace, 2, (40, 60))
    assert [(each.name, each.start_us, each.duration_us) for each in stretch.bars] == [
        ("ProfilerStep#2", 40, 20),
        ("aten::conv2d", 40, 10),
        ("work", 40, 20),
    ]
    with pytest.raises(TraceError, match=r"7.* 1, 2\."):
        step_timeline(trace, 7)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40)), min_size=1, max_size=80),
    st.integers(5, 60),
)
def test_joined_bars_never_fill_a_gap_that_could_be_seen(gaps_and_lengths, most):
    at, events = 10, []
    for number, (gap, length) in enumerate(gaps_and_lengths):
        at += gap
        events.append(kernel(number, at, length))
        at += length
    events.append(step(1, 0, at + 10))
    line = step_timeline(read_trace(text(events)), 1, most=most)
    bars = [each for each in line.bars if each.kind == "kernel"]
    assert sum(each.events for each in bars) == len(gaps_and_lengths)
    assert sum(each.busy_us for each in bars) == pytest.approx(sum(length for _, length in gaps_and_lengths))
    drawn = sum(each.duration_us for each in bars)
    filled = drawn - sum(each.busy_us for each in bars)
    assert filled <= sum(gap for gap, _ in gaps_and_lengths if gap < line.shortest_us) + 1e-6
    assert all(each.events == 1 or each.duration_us >= 0 for each in bars)
    assert len(line.bars) <= most or line.shortest_us >= at


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
