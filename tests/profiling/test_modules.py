"""Time by module: on round times that can be added up in the head, recorded here, and in a real trace."""

import gzip
import json

import pytest
from trace_makers import host, kernel, launch, step, text

from eurosat_core.profiling.modules import MODULE, module_table
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.record import record
from eurosat_core.profiling.trace import read_trace


def numbered(event, sequence):
    event["args"]["Sequence number"] = sequence
    return event


def test_self_and_total_forward_and_backward():
    events = [
        step(0, 0, 200),
        host(f"{MODULE}Net_0", 0, 90, "python_function"),
        host(f"{MODULE}Conv2d_0", 10, 30, "python_function"),
        numbered(host("aten::conv2d", 12, 20, external=1), 5),
        launch(1, 14, 2, external=1),
        kernel(1, 20, 50, external=1),
        numbered(host("aten::relu", 50, 20, external=2), 6),
        numbered(host("autograd::engine::evaluate_function: ReluBackward0", 100, 10, tid=2), 6),
        numbered(host("autograd::engine::evaluate_function: ConvolutionBackward0", 110, 40, tid=2), 5),
        numbered(host("ConvolutionBackward0", 112, 30, tid=2), 5),
        host("aten::convolution_backward", 115, 20, tid=2, external=9),
        launch(2, 118, 2, tid=2, external=9),
        kernel(2, 125, 70, external=9),
        numbered(host("autograd::engine::evaluate_function: AccumulateGrad", 151, 5, tid=2), 99),
    ]
    net, conv = module_table(read_trace(text(events)))
    assert (net.name, net.depth, net.calls, conv.name, conv.depth) == ("Net_0", 0, 1, "Conv2d_0", 1)
    assert (net.forward_us, net.forward_self_us, conv.forward_us, conv.forward_self_us) == (90, 60, 30, 30)
    assert (net.backward_us, net.backward_self_us, conv.backward_us) == (50, 10, 40)
    assert (net.device_us, net.device_self_us, conv.device_us, conv.device_self_us) == (120, 0, 120, 120)


def test_a_trace_without_marks_has_none():
    assert module_table(read_trace(text([host("aten::mm", 0, 9)]))) == []


def test_recorded_here_when_asked_for(small_tiles):
    kept = []
    plan = ProfilePlan(wait=0, warmup=1, active=2, repeat=1, details=True)
    list(record(profile_config("baseline", source="memory", batch_size=8), plan, small_tiles, kept.append))
    net, *layers = module_table(read_trace(kept[0].trace))
    assert (net.name, layers[0].name) == ("Net", "conv1 (Conv2d)")
    assert {each.calls for each in (net, *layers)} == {2} and {each.depth for each in layers} == {1}
    assert net.forward_us == pytest.approx(net.forward_self_us + sum(each.forward_us for each in layers))
    assert net.backward_us == pytest.approx(net.backward_self_us + sum(each.backward_us for each in layers))
    events = json.loads(gzip.decompress(kept[0].trace))["traceEvents"]
    backward = sum(each["dur"] for each in events if each.get("name") == "eurosat.backward" and "dur" in each)
    assert 0 < net.backward_us < backward


def test_of_an_h100(real_trace):
    """All work of the GPU was launched within the one model."""
    trace = read_trace(real_trace("03"))
    rows = module_table(trace)
    assert (rows[0].name, rows[0].depth, len(rows)) == ("ViTModel_0", 0, 214)
    assert rows[0].device_us == pytest.approx(trace.duration_ns[trace.device_rows].sum() / 1000)
    assert sum(each.device_self_us for each in rows) == pytest.approx(rows[0].device_us)
    assert sum(each.forward_self_us for each in rows) == pytest.approx(rows[0].forward_us)
