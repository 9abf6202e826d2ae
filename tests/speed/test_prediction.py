"""Predicted steps: the operations that are counted, the arithmetic from limits to seconds, what is not predicted."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch
from sweep_makers import MEMORY
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from eurosat_core.models.catalog import build_model
from eurosat_core.models.summary import summarize
from eurosat_core.speed.prediction import (
    FRESH_FROM,
    Operation,
    predict_operations,
    predict_step,
    prediction_problem,
    step_operations,
)
from eurosat_core.speed.result import Limits
from eurosat_core.speed.roofline import measure_limits
from eurosat_core.training.config import TrainConfig

FLAT = Limits(
    "cpu",
    2,
    {"float32": 1e11},
    ((1.0, 1e10),),
    {},
    launch_seconds=1e-6,
    fresh_seconds=1e-9,
    load_seconds=1e-5,
    rates=dict.fromkeys(("convolution", "convolution_backward", "linear"), ((1.0, 1e11),)) | {"pool": ((1.0, 1e9),)},
)


@pytest.mark.parametrize("model", ["baseline", "tilenet", "vgg11_bn", "efficientnet_lite0"])
@pytest.mark.parametrize("batch_size", [1, 40])
def test_the_arithmetic_is_that_of_pytorchs_own_counter(model: str, batch_size: int) -> None:
    if batch_size == 1 and model == "tilenet":
        batch_size = 2  # BatchNorm compares tiles
    config = replace(MEMORY, model=model, batch_size=batch_size, pretrained=False)
    found = step_operations(config, 10)
    with torch.device("meta"):
        network = build_model(model)
        tiles, labels = torch.empty(batch_size, 3, 64, 64), torch.empty(batch_size, dtype=torch.int64)
    network.eval()
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(network(tiles), labels).backward()
    assert sum(each.operations for each in found) == pytest.approx(counter.get_total_flops(), rel=1e-6)
    forward = sum(each.operations for each in found if each.part == "forward")
    assert forward == pytest.approx(2 * batch_size * summarize(network).macs, rel=1e-6)


def test_frozen_parts_have_no_backward_and_no_update() -> None:
    found = step_operations(replace(MEMORY, model="vgg11_bn", pretrained=False), 10)
    backward = [each.kind for each in found if each.part == "backward" and each.operations]
    assert backward == ["linear"], "the gradient of the last layer’s weights"
    assert sum(each.kind == "norm_frozen" for each in found) == 8
    moving = step_operations(replace(MEMORY, model="vgg11_bn", pretrained=False, frozen_norms=False), 10)
    assert sum(each.kind == "norm" for each in moving) == 8


def test_the_update_is_counted_once_its_sums_exist() -> None:
    sgd = [each for each in step_operations(MEMORY, 10) if each.part == "update"]
    adam = [each for each in step_operations(replace(MEMORY, optimizer="adam"), 10) if each.part == "update"]
    parameters = 338_486 * 4
    assert sum(each.written for each in sgd) == pytest.approx(3 * parameters, rel=0.4)
    assert sum(each.read for each in adam) > sum(each.read for each in sgd)


def one(kind: str, part: str = "forward", **changes: Any) -> Operation:
    return replace(Operation(kind, part, 1.0, 0.0, 0.0, 0.0, 0.0), **changes)


def test_the_roofline_by_hand() -> None:
    operations = [
        one("linear", operations=1e9, read=1e6),  # 10 ms of arithmetic, 0.1 ms of traffic
        one("linear", "backward", operations=1e6, read=1e8),  # 10 ms of traffic
        one("elementwise", read=1e7, written=1e7),  # 2 ms
        one("pool", read=1e6),  # 1 ms at its own rate
        one("elementwise", "update", written=float(FRESH_FROM), largest=float(FRESH_FROM)),
    ]
    fresh = FRESH_FROM / 1e10 + FRESH_FROM * 1e-9
    found = predict_operations(operations, FLAT, tiles=100)
    assert found.seconds == pytest.approx(0.010 + 0.010 + 0.002 + 0.001 + fresh + 5e-6 + 100 * 1e-5)
    assert found.by == pytest.approx({"compute": 0.010, "memory": 0.013 + fresh, "overhead": 5e-6, "loading": 1e-3})
    assert found.bottleneck == "memory"
    assert found.parts == pytest.approx(
        {"forward": 0.013 + 3e-6, "backward": 0.010 + 1e-6, "update": fresh + 1e-6, "load": 1e-3}
    )
    assert sum(found.parts.values()) == pytest.approx(found.seconds)
    assert {each.kind for each in found.portions} == {"linear", "activations and sums", "pooling", "update"}
    assert found.error(found.seconds / 2) == pytest.approx(2.0)


def test_on_a_gpu_the_launches_run_beside_the_computing() -> None:
    gpu = replace(FLAT, device="cuda:0", launch_seconds=1e-5, load_seconds=0.0)
    small = [one("linear", operations=1e5)] * 100  # 0.1 ms to compute, 1 ms to launch
    found = predict_operations(small, gpu, 40)
    assert found.seconds == pytest.approx(1e-3) and found.bottleneck == "overhead"
    assert sum(found.parts.values()) == pytest.approx(found.seconds)
    large = [one("linear", operations=1e9)] * 10
    found = predict_operations(large, gpu, 40)
    assert found.seconds == pytest.approx(0.1) and found.bottleneck == "compute"


@pytest.mark.parametrize("changes", [{"source": "loader"}, {"precision": "bfloat16"}, {"channels_last": True}])
def test_what_is_not_predicted_says_why(changes: dict[str, Any]) -> None:
    config = replace(MEMORY, **changes)
    assert prediction_problem(config).endswith(".") and predict_step(config, FLAT) is None
    assert predict_step(MEMORY, Limits("cpu", 2)) is None
    assert predict_step(MEMORY, FLAT) is not None


def test_limits_of_this_machine() -> None:
    """Measured for real: every figure is there, and keeps within what no processor leaves."""
    limits = measure_limits("cpu")
    assert 1e8 < limits.matmul["float32"] < 1e14
    assert limits.memory_bandwidth and 1e8 < limits.memory_bandwidth < 1e13
    assert 0 < limits.launch_seconds < 1e-2 and limits.fresh_seconds >= 0 and limits.load_seconds > 0
    assert limits.host_to_device == {} and limits.threads == torch.get_num_threads()
    assert msgspec.convert(msgspec.to_builtins(limits), Limits) == limits
    found = predict_step(TrainConfig(source="memory"), limits)
    assert found is not None and 1e-5 < found.seconds < 60
