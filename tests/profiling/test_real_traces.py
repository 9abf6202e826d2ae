"""The figures that are known of real traces must come out."""

import pytest

from eurosat_core.errors import TraceError
from eurosat_core.profiling.operators import call_chains, kernel_table, operator_table
from eurosat_core.profiling.overview import ROLES, overview_of
from eurosat_core.profiling.timeline import memory_curve, step_timeline
from eurosat_core.profiling.trace import read_trace

# Steps; utilization, SM efficiency, occupancy; mean of each role (µs).
KNOWN = {
    "01": (
        [5, 6, 7, 8, 9, 10],
        (0.5551, 0.5468, 0.4913),
        (98_588.667, 1_915.333, 89.000, 0, 2_907.500, 59_261.833, 13_674.167, 1_155.667),
    ),
    "03": ([6], (0.1547, 0.1201, 0.1406), (1_220.925, 0, 4.384, 0, 875.421, 0, 3_506.021, 2_287.314)),
    "07": ([0], None, (0, 0, 0, 0, 0, 0, 141_835, 4_204)),
}


@pytest.mark.parametrize("number", KNOWN)
def test_overview(number, real_trace):
    steps, fractions, means = KNOWN[number]
    overview = overview_of(read_trace(real_trace(number)))
    assert [each.step for each in overview.steps] == steps
    for role, mean in zip(ROLES, means, strict=True):
        assert overview.mean_step_us[role] == pytest.approx(mean, abs=0.02), role
    assert overview.mean_step_us["Total"] == pytest.approx(sum(means), abs=0.02)
    found = [(each.utilization, each.sm_efficiency, each.achieved_occupancy) for each in overview.devices]
    assert found == ([pytest.approx(fractions, abs=1e-4)] if fractions else [])


def test_tables_of_a_v100(real_trace):
    trace = read_trace(real_trace("01"))
    top = [(each.name, round(each.device_self_us), each.calls) for each in operator_table(trace)[:3]]
    assert top == [
        ("aten::cudnn_convolution_backward_weight", 142_461, 318),
        ("aten::cudnn_convolution_backward_input", 130_967, 312),
        ("aten::cudnn_convolution", 126_619, 318),
    ]
    first = kernel_table(trace)[0]
    assert (first.short_name, round(first.total_us), first.calls) == ("dgrad_engine", 80_756, 162)
    assert overview_of(trace).devices[0].name == "Tesla V100-DGXS-32GB"
    timeline = step_timeline(trace, 7)
    assert {each.on_device for each in timeline.lanes} == {True, False}
    assert 100 < len(timeline.bars) <= 500


def test_memory_of_an_h100_and_of_a_cpu(real_trace):
    h100, cpu = (read_trace(real_trace(number)) for number in ("03", "07"))
    assert overview_of(h100).peak_memory_bytes["cuda:0"] == 231_332_864
    assert overview_of(cpu).peak_memory_bytes == {"cpu": 117_349_888}
    curve = memory_curve(h100)[0]
    assert (curve.device, curve.peak_bytes, curve.allocated_bytes.max()) == ("cuda:0", 231_332_864, 231_332_864)
    assert curve.reserved_bytes is not None


def test_a_convolution_of_a_cpu_is_a_chain_of_calls(real_trace):
    found = call_chains(read_trace(real_trace("07")))
    assert found[0].names == ("aten::conv2d", "aten::convolution", "aten::_convolution", "aten::mkldnn_convolution")
    assert found[0].calls == 20


def test_an_operator_has_all_kernels_that_it_launched(real_trace):
    """By the CUDA runtime and by the driver: all 73 calls of addmm launched one each."""
    trace = read_trace(real_trace("03"))
    addmm = next(each for each in operator_table(trace) if each.name == "aten::addmm")
    gemm = sum(each.total_us for each in kernel_table(trace) if "gemm" in each.name)
    assert addmm.calls == 73
    assert addmm.device_self_us == pytest.approx(gemm)


def test_a_truncated_trace_is_refused(real_trace):
    with pytest.raises(TraceError, match="middle"):
        read_trace(real_trace("10"))
