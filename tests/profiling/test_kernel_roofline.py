"""Operators on the roof line: work against torch's own counter and by hand, times and roofs of real traces."""

import math
from dataclasses import replace
from typing import Any

import orjson
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile
from torch.utils import flop_counter
from trace_makers import host, kernel, launch, step, text

from eurosat_core.profiling import columns
from eurosat_core.profiling.advice import report_of
from eurosat_core.profiling.cards import Roofs, published_roofs
from eurosat_core.profiling.operator_work import Call, Tensor, parsed, work_of
from eurosat_core.profiling.roofline import CPU, Bound, rooflines
from eurosat_core.profiling.trace import DeviceProperties, read_trace

V100 = DeviceProperties("Tesla V100-DGXS-32GB", 34_084_028_416, (7, 0))
H100 = DeviceProperties("NVIDIA H100 80GB HBM3", 85_018_279_936, (9, 0))


def call(*dims: Any, kind: str = "float", values: Any = None) -> Call:
    return parsed(orjson.dumps([list(dims), [kind] * len(dims), values]))


def recorded(compute, tmp_path):
    """The roof line of what is computed on the CPU, recorded with shapes; and the FLOPs that torch counts for it."""
    compute()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        compute()
    path = tmp_path / "recorded.json"
    found.export_chrome_trace(str(path))
    with flop_counter.FlopCounterMode(display=False) as counter:
        compute()
    (line,) = rooflines(read_trace(path))
    return line, counter.get_flop_counts()["Global"]


class Strange(nn.Module):
    """Convolutions of every kind of stride, padding, dilation and dimension, a linear layer, and batches."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 12, 3, bias=False),
            nn.Conv2d(12, 6, (3, 1), padding=(2, 0), dilation=(2, 1)),
            nn.MaxPool2d(2),
        )
        self.line = nn.Conv1d(6, 4, 3, stride=2)
        self.out = nn.Linear(4, 10)

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        rows = self.line(self.flat(tiles).flatten(2))
        alike = torch.bmm(rows.transpose(1, 2), rows)
        return self.out(rows.mean(2)) + alike.mean()


def test_flops_forward_and_backward_as_torch_counts_them(tmp_path):
    torch.manual_seed(1)
    network, tiles = Strange(), torch.randn(2, 3, 32, 32)
    classes = torch.tensor([1, 2])

    def learn():
        functional.cross_entropy(network(tiles), classes).backward()

    line, counted = recorded(learn, tmp_path)
    matrix = [each for each in line.rows if each.matrix]
    assert (line.index, line.recorded, line.roofs) == (CPU, True, None)
    assert sum(each.flops for each in matrix) == sum(counted.values())
    for name, among in (
        ("aten.convolution", "aten::mkldnn_convolution aten::_slow_conv2d_forward"),
        ("aten.convolution_backward", "aten::convolution_backward"),
        ("aten.addmm", "aten::addmm"),
        ("aten.mm", "aten::mm"),
        ("aten.bmm", "aten::bmm"),
    ):
        there = next(flops for each, flops in counted.items() if str(each) == name)
        assert sum(each.flops for each in matrix if each.operator in among.split()) == there, name
    bytes_of = {each.operator: each.bytes for each in line.rows}
    assert bytes_of["aten::max_pool2d_with_indices"] == 2 * 6 * (4 * 13 * 13 + (4 + 8) * 6 * 6)
    assert line.placed_us == 0 and line.share is None


def test_groups_see_their_own_channels_alone():
    """By hand: torch's counter takes the gradient of grouped weights for that of all channels (2.14)."""
    gradient, tiles, weight = (2, 12, 13, 13), (2, 8, 15, 15), (12, 2, 3, 3)
    once = 2 * 2 * 12 * 13 * 13 * (2 * 3 * 3)
    values = ["", "", "", "[0]", "[1, 1]", "[0, 0]", "[1, 1]", "False", "[0, 0]", "4", "[True, True, False]"]
    back = work_of("aten::convolution_backward", call(gradient, tiles, weight, values=values), None, None)
    there = work_of("aten::mkldnn_convolution", call(tiles, weight), None, gradient)
    assert (there.flops, back.flops) == (once, 2 * once)


def test_attention_as_torch_counts_it():
    query, key = (2, 3, 7, 16), (2, 3, 11, 16)
    turned = [(each[0], each[2], each[1], each[3]) for each in (query, key, key)]
    there, back = (
        work_of("aten::_flash_attention_forward", call(*turned), None, None),
        work_of("aten::_flash_attention_backward", call(turned[0], *turned), None, None),
    )
    assert there.flops == flop_counter.sdpa_flop_count(query, key, key)
    assert back.flops == flop_counter.sdpa_backward_flop_count(query, query, key, key)
    other = work_of("aten::_scaled_dot_product_cudnn_attention", call(query, key, key), None, None)
    assert other == there and there.bytes == 4 * 2 * 3 * 16 * (7 + 11 + 11 + 7)


def test_half_as_many_bytes_in_half_precision():
    one, half = (
        work_of("aten::addmm", call((8,), (4, 16), (16, 8), kind=each), None, None)
        for each in ("float", "c10::BFloat16")
    )
    assert (one.flops, one.bytes, one.precision) == (2 * 4 * 16 * 8, 4 * (8 + 64 + 128 + 32), "float32")
    assert (half.flops, half.bytes * 2, half.precision) == (one.flops, one.bytes, "bfloat16")


@pytest.mark.parametrize(
    ("name", "dims", "read_and_written"),
    [
        ("aten::add", [(4, 5), (4, 5), ()], 3 * 20),
        ("aten::add", [(4, 5), (1, 5), ()], 2 * 20 + 5),
        ("aten::clamp_min", [(4, 5), (), (4, 5)], 2 * 20),  # 2021 names where the result goes, too
        ("aten::threshold_backward", [(4, 5), (4, 5), ()], 3 * 20),
        ("aten::copy_", [(4, 5), (4, 5)], 2 * 20),
        ("aten::fill_", [(4, 5)], 20),
        ("aten::sum", [(4, 5)], 20),
        ("aten::cudnn_batch_norm_backward", [(2, 3, 4), (2, 3, 4), (3,)], 3 * 24),
    ],
)
def test_bytes_of_what_memory_limits(name, dims, read_and_written):
    found = parsed(orjson.dumps([dims, ["float" if each else "Scalar" for each in dims], None]))
    assert work_of(name, found, None, None).bytes == 4 * read_and_written


def test_what_shapes_do_not_tell_is_not_guessed():
    tiles, weight = (2, 3, 32, 32), (8, 3, 5, 5)
    assert work_of("aten::cudnn_convolution", call(tiles, weight), None, None) is None
    known = work_of("aten::cudnn_convolution", call(tiles, weight), None, (2, 8, 28, 28))
    assert known.flops == 2 * 2 * 8 * 28 * 28 * 75
    assert work_of("aten::cudnn_convolution", call(tiles, weight), None, (2, 9, 28, 28)) is None  # another one's
    values = ["", "", "[0, 0]", "[1, 1]", "[1, 1]", "1"]
    assert work_of("aten::cudnn_convolution", call(tiles, weight, values=values), None, None) == known
    assert work_of("aten::somebodys_own", call(tiles), None, None) is None
    assert work_of("aten::mm", call((3, 4), (5, 6)), None, None) is None


# -- times, roofs and cards


def traced(*events, **properties):
    return rooflines(read_trace(text([step(1, 0, 1000), *events], **properties)))


def operator(name, at, dims, **args):
    event = host(name, at, 10, **{"external": at, "correlation": at, **args})
    event["args"] |= {"Input Dims": dims, "Input type": ["float"] * len(dims)}
    return [event, launch(at, at + 1, external=at)]


CARD = [{"id": 0, "name": "Tesla T4", "totalGlobalMem": 15_828_320_256}]


def test_kernels_of_one_operator_count_together():
    product = operator("aten::mm", 10, [[1000, 1000], [1000, 1000]])
    events = [*product, kernel(10, 20, 400, external=10), kernel(10, 420, 100, external=10)]
    again = [*operator("aten::mm", 600, [[1000, 1000], [1000, 1000]]), kernel(600, 620, 300, external=600)]
    alone = kernel(9, 980, 7)
    (line,) = traced(*events, *again, alone, deviceProperties=CARD)
    (row,) = line.rows
    assert (row.calls, row.kernels, row.time_us, row.flops, row.bytes) == (2, 3, 800, 4e9, 24e6)
    assert (row.shapes, line.time_us, line.unplaced_us) == ("1000×1000, 1000×1000", 807, {"": 7})
    assert (row.flops_per_second, row.bytes_per_second) == pytest.approx((5e12, 3e10))
    # T4: 8.1 TFLOPS in float32, so 4e9 take 494 µs at least, and 24 MB at 320 GB/s 75 µs.
    assert line.bound(row) == Bound("compute", pytest.approx(4e9 / 8.1e12 / 800e-6))
    told = line.told()["rows"][0]
    assert (told["limit"], told["share"]) == ("compute", pytest.approx(0.617, abs=1e-3))


def test_tensor_cores_have_a_roof_of_their_own():
    events = [*operator("aten::mm", 10, [[64, 64], [64, 64]]), kernel(10, 20, 5, "s1688gemm_tf32", external=10)]
    (line,) = traced(*events, deviceProperties=[{"id": 0, "name": "NVIDIA A100-SXM4-40GB"}])
    assert line.rows[0].precision == "tf32" and line.bound(line.rows[0]).limit == "memory"
    (line,) = traced(*events, deviceProperties=CARD)  # which has none for tf32
    assert line.bound(line.rows[0]) is None and line.share is None


def test_what_goes_beyond_its_roof_counts_as_all_of_it():
    events = [*operator("aten::mm", 10, [[1000, 1000], [1000, 1000]]), kernel(10, 20, 100, external=10)]
    events += [*operator("aten::relu", 300, [[10]]), kernel(300, 310, 100, external=300)]
    (line,) = traced(*events, deviceProperties=CARD)
    assert line.bound(line.rows[0]).share > 2 and line.share == 1 and line.unplaced_us == {"aten::relu": 100}


def test_unknown_cards_have_no_roof_and_measured_ones_may_take_its_place():
    events = [*operator("aten::mm", 10, [[64, 64], [64, 64]]), kernel(10, 20, 5, external=10)]
    (line,) = traced(*events, deviceProperties=[{"id": 0, "name": "Somebody's card"}])
    assert line.roofs is None and line.share is None and line.bound(line.rows[0]) is None
    assert replace(line, roofs=Roofs({"float32": 1e12}, 1e11)).share == pytest.approx(2 * 64**3 / 1e12 / 5e-6)


def test_without_shapes_nothing_is_placed():
    events = [host("aten::mm", 10, 5, external=1), launch(1, 11, external=1), kernel(1, 20, 30, external=1)]
    (line,) = traced(*events)
    assert (line.recorded, line.rows, line.unplaced_us) == (False, (), {"aten::mm": 30})


@pytest.mark.parametrize(
    ("name", "memory_gb", "float32", "half", "gigabytes"),
    [
        ("Tesla V100-SXM2-16GB", 16, 15.7, 125, 900),
        ("Tesla V100-PCIE-32GB", 32, 14, 112, 900),
        ("NVIDIA A100-SXM4-80GB", 80, 19.5, 312, 2039),
        ("NVIDIA A100 80GB PCIe", 80, 19.5, 312, 1935),
        ("NVIDIA H100 PCIe", 80, 51, 756.5, 2000),
        ("NVIDIA H200", 141, 67, 989.5, 4800),
        ("NVIDIA L4", 22.5, 30.3, 121, 300),
        ("NVIDIA GeForce RTX 3080", 10, 29.8, 59.5, 760),
    ],
)
def test_cards_by_the_names_that_drivers_give(name, memory_gb, float32, half, gigabytes):
    roofs = published_roofs(DeviceProperties(name, int(memory_gb * 1024**3), None))
    assert (roofs.flops["float32"], roofs.flops["float16"]) == (float32 * 1e12, half * 1e12)
    assert roofs.bytes_per_second == gigabytes * 1e9 and "NVIDIA" in roofs.source


def test_cards_that_are_like_others_by_name_only():
    for name, memory in (("NVIDIA GeForce RTX 3080", 12), ("NVIDIA L40", 48), ("NVIDIA A10G", 24), (None, 24)):
        assert published_roofs(DeviceProperties(name, memory * 1024**3, None)) is None


# -- real traces


def of(line, name, shapes):
    return next(each for each in line.rows if (each.operator, each.shapes) == (f"aten::{name}", shapes))


def test_a_training_on_a_v100_without_strides(real_trace):
    (line,) = rooflines(read_trace(real_trace("01_")))
    assert line.roofs == published_roofs(V100) and line.time_us == 591_532
    assert sum(line.unplaced_us.values()) == 30  # of the loss
    first = of(line, "cudnn_convolution", "32×3×224×224, 64×3×7×7")
    # 64 filters of 3·7·7 numbers at 112 × 112 places (stride 2) of 32 pictures, six steps.
    assert first.flops == 6 * 2 * 32 * 64 * 112 * 112 * 3 * 7 * 7
    assert first.bytes == 6 * 4 * (32 * 3 * 224 * 224 + 64 * 3 * 7 * 7 + 32 * 64 * 112 * 112)
    # Forward, ResNet-50 at 224 × 224 has 4.089 billion multiplications with its last layer (He et al.: 3.8 billion
    # in the variant with the stride elsewhere); each half of backward as many, the first layer's input but once.
    forward = sum(each.flops for each in line.rows if each.operator == "aten::cudnn_convolution")
    weights = sum(each.flops for each in line.rows if each.operator.endswith("backward_weight"))
    inputs = sum(each.flops for each in line.rows if each.operator.endswith("backward_input"))
    assert forward == weights == inputs + first.flops
    assert forward / 6 / 32 / 2 + 2048 * 1000 == pytest.approx(4.089e9, rel=1e-3)
    pooled = of(line, "max_pool2d_with_indices", "32×64×112×112")
    assert pooled.bytes == 6 * (4 * 32 * 64 * 112**2 + (4 + 8) * 32 * 64 * 56**2)


def test_an_inference_on_an_h100(real_trace):
    (line,) = rooflines(read_trace(real_trace("03_")))
    assert line.roofs == published_roofs(H100) and line.unplaced_us == {"aten::cat": pytest.approx(7.264)}
    wide = of(line, "addmm", "3072, 788×768, 768×3072")
    assert (wide.calls, wide.flops, wide.precision) == (12, 12 * 2 * 788 * 768 * 3072, "bfloat16")
    assert wide.bytes == 12 * 2 * (3072 + 788 * 768 + 768 * 3072 + 788 * 3072)
    assert line.bound(wide) == Bound("compute", pytest.approx(wide.flops / 989.5e12 / wide.time_us * 1e6))
    patches = of(line, "cudnn_convolution", "4×3×224×224, 768×3×16×16")
    assert (patches.kernels, patches.flops) == (4, 2 * 4 * 768 * 14 * 14 * 3 * 16 * 16)
    attention = of(line, "_flash_attention_forward", ", ".join(["4×197×12×64"] * 3))
    assert attention.flops == 12 * flop_counter.sdpa_flop_count((4, 12, 197, 64), (4, 12, 197, 64), (4, 12, 197, 64))


# -- damaged ones


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 63) | st.floats() | st.sampled_from(["", "float", "[1, 0]", "x"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)
NAMES = ["aten::cudnn_convolution", "aten::convolution_backward", "aten::addmm", "aten::add", "aten::_softmax"]


@given(st.sampled_from(NAMES), ANY, ANY, ANY)
def test_damaged_shapes_never_crash(name, dims, kinds, values):
    event, call_of_it = operator(name, 10, [])
    event["args"] |= {"Input Dims": dims, "Input type": kinds, "Concrete Inputs": values}
    (line,) = traced(event, call_of_it, kernel(10, 20, 30, external=10), deviceProperties=CARD)
    assert sum(each.time_us for each in line.rows) + sum(line.unplaced_us.values()) == 30
    assert all(math.isfinite(each.flops_per_second) for each in line.rows)


def test_too_many_different_shapes_are_said(monkeypatch):
    monkeypatch.setattr(columns, "MAX_SHAPES_BYTES", 200)
    events = [each for at in range(10, 100, 10) for each in operator("aten::mm", at, [[at, 4], [4, 4]])]
    trace = read_trace(text([step(1, 0, 1000), *events]))
    assert 0 < len(trace.shapes) < 9 and any("shapes" in note for note in trace.notes)
    assert report_of(trace)["rooflines"][0]["recorded"]


def test_a_tensor_of_nothing_takes_nothing():
    assert Tensor((0, 4), "float").bytes == 0 and Tensor((), "double").bytes == 8
