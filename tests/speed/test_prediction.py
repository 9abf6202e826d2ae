"""Predicted steps, whole trainings from timed steps, and where one device overtakes another."""

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch
from cuda_alias import played_cuda
from sweep_makers import MEMORY, cell_of, result_of, turns_of
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from eurosat_core.models.catalog import build_model
from eurosat_core.models.summary import summarize
from eurosat_core.speed import roofline
from eurosat_core.speed.experiments import wider_baseline
from eurosat_core.speed.prediction import (
    FRESH_FROM,
    Operation,
    overtaking,
    overtaking_measured,
    overtaking_predicted,
    predict_operations,
    predict_step,
    prediction_problem,
    step_operations,
)
from eurosat_core.speed.result import Limits, project
from eurosat_core.speed.roofline import measure_limits
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.step import Trainer

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
    small = [one("linear", operations=1e5)] * 100  # 0.1 ms to compute
    found = predict_operations(small, gpu, 40, launching=4e-4)
    assert found.seconds == pytest.approx(4e-4) and found.bottleneck == "overhead"
    assert sum(found.parts.values()) == pytest.approx(found.seconds)
    large = [one("linear", operations=1e9)] * 10
    found = predict_operations(large, gpu, 40, launching=4e-4)
    assert found.seconds == pytest.approx(0.1) and found.bottleneck == "compute"


def test_a_gpus_launches_are_those_that_were_measured_of_whole_steps() -> None:
    """Counted, they would be one for each parameter that the optimizer updates, where a GPU gets one for all."""
    fast = dict.fromkeys(FLAT.rates, ((1.0, 1e18),))
    nothing_else = {"bandwidth": ((1.0, 1e18),), "rates": fast, "load_seconds": 0.0, "fresh_seconds": 0.0}
    gpu = replace(FLAT, device="cuda:0", launch_seconds=1e-5, **nothing_else)  # type: ignore[arg-type]
    assert predict_step(GPU, gpu) is None and "launching" in prediction_problem(GPU, gpu)
    assert prediction_problem(MEMORY, FLAT) == ""
    measured = replace(gpu, step_launch_seconds={"baseline": 3e-4})
    for size in (1, 256):
        found = predict_step(replace(GPU, batch_size=size), measured)
        assert found is not None and found.seconds == pytest.approx(3e-4) and found.bottleneck == "overhead"
    assert predict_step(replace(GPU, model="tilenet"), measured) is None
    wider = predict_step(replace(GPU, **wider_baseline(4)), measured)
    assert wider is not None and wider.seconds == pytest.approx(3e-4)


def test_how_long_a_cards_steps_take_to_launch_is_among_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the training's own step and optimizer, each step begun when the card has nothing else to do."""
    monkeypatch.setattr(roofline, "_once", lambda _bench: {"launch_seconds": 1e-6, "rates": {}})
    monkeypatch.setattr(roofline, "LIMITS_MODELS", ("baseline", "tilenet"))
    taken: list[str] = []
    learn = Trainer.learn

    def noted(trainer: Trainer, *arguments: Any, **named: Any) -> Any:
        assert cards.calls[-1] == "synchronize" and torch.is_grad_enabled()
        taken.append(trainer.config.model)
        return learn(trainer, *arguments, **named)

    monkeypatch.setattr(Trainer, "learn", noted)
    with played_cuda() as cards:
        limits = measure_limits("cuda:1")
    assert set(taken) == {"baseline", "tilenet"}
    assert set(limits.step_launch_seconds) == set(taken) and min(limits.step_launch_seconds.values()) > 0
    assert measure_limits("cpu").step_launch_seconds == {}


@pytest.mark.parametrize(
    "changes",
    [{"source": "loader"}, {"precision": "bfloat16"}, {"channels_last": True}, {"execution": "compiled"}],
)
def test_what_is_not_predicted_says_why(changes: dict[str, Any]) -> None:
    config = replace(MEMORY, **changes)
    assert prediction_problem(config).endswith(".") and predict_step(config, FLAT) is None
    assert predict_step(MEMORY, Limits("cpu", 2)) is None
    assert predict_step(MEMORY, FLAT) is not None


def test_limits_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured for real, if shortly: every figure is there, and keeps within what no processor leaves."""
    monkeypatch.setattr(roofline, "_PASSES", 1)
    monkeypatch.setattr(roofline, "_SECONDS", 0.005)
    limits = measure_limits("cpu")
    assert 1e8 < limits.matmul["float32"] < 1e14
    assert limits.memory_bandwidth and 1e8 < limits.memory_bandwidth < 1e13
    assert 0 < limits.launch_seconds < 1e-2 and limits.fresh_seconds >= 0 and limits.load_seconds > 0
    assert limits.host_to_device == {} and limits.threads == torch.get_num_threads()
    assert msgspec.convert(msgspec.to_builtins(limits), Limits) == limits
    found = predict_step(TrainConfig(source="memory"), limits)
    assert found is not None and 1e-5 < found.seconds < 60


GPU = replace(MEMORY, device="cuda:0")


def test_ten_epochs_by_hand() -> None:
    cell = cell_of("a", [0.010, 0.010, 0.010, 0.020], validation=turns_of([0.004] * 4), start_seconds=1.5)
    found = project(cell, 20_250, 6_750, 10)
    assert found is not None
    assert found.seconds == pytest.approx(1.5 + 10 * (20_250 * 0.010 + 6_750 * 0.004) / 40)
    assert found.low == pytest.approx(found.seconds) and found.high > found.seconds
    assert [word for word in ("40 timed", "4 rounds", "507 and 169") if word not in found.basis] == []


def test_without_validation_steps_nothing_is_projected() -> None:
    assert project(cell_of("a", [0.01] * 4), 100, 50, 10) is None


def test_where_a_gpu_overtakes() -> None:
    assert overtaking([(8, 0.5), (32, 2.0), (128, 8.0)]) == ("at", pytest.approx(16.0))
    assert overtaking([(8, 0.5), (32, 0.9)]) == ("never", None)
    assert overtaking([(8, 1.5), (32, 3.0)]) == ("always", None)
    kind, at = overtaking([(128, 2.0), (1, 2.0), (8, 0.5), (32, 0.5)])
    assert kind == "at" and at == pytest.approx(64.0), "the last time it rises above the CPU"


def test_from_measured_cells() -> None:
    def both(size: int, cpu: float, gpu: float) -> list[object]:
        configs = (replace(MEMORY, batch_size=size), replace(GPU, batch_size=size))
        return [cell_of(str(size), [spent] * 6, config) for spent, config in zip((cpu, gpu), configs, strict=True)]

    result = result_of(*both(8, 0.001, 0.002), *both(32, 0.004, 0.002))  # type: ignore[arg-type]
    found = overtaking_measured(result, "batch_size", "cuda:0")
    assert (found.kind, found.basis) == ("at", "measured") and found.at == pytest.approx(16.0)
    assert found.points == ((8.0, pytest.approx(0.5)), (32.0, pytest.approx(2.0)))
    alone = overtaking_measured(result_of(cell_of("8", [0.1] * 6)), "batch_size", "cuda:0")
    assert alone.kind == "unknown" and alone.at is None and alone.reason.endswith(".")


def test_from_limits() -> None:
    rates = dict.fromkeys(("convolution", "convolution_backward", "linear"), ((1.0, 1e11),))
    cpu = Limits("cpu", 2, {}, ((1.0, 1e11),), {}, 1e-6, 0.0, 0.0, rates)
    fast = dict.fromkeys(rates, ((1.0, 1e13),))
    launching = {"baseline": 1e-3}
    gpu = Limits("cuda:0", 2, {}, ((1.0, 1e13),), {}, 5e-5, 0.0, 0.0, fast, step_launch_seconds=launching)
    for by in ("batch_size", "model_size"):
        found = overtaking_predicted(cpu, gpu, by, replace(MEMORY, batch_size=1))  # type: ignore[arg-type]
        assert (found.kind, found.basis) == ("at", "predicted")
        assert found.at is not None and math.isfinite(found.at) and len(found.points) > 4
    missing = overtaking_predicted(cpu, None, "batch_size", MEMORY)
    assert missing.kind == "unknown" and "GPU" in missing.reason
    assert overtaking_predicted(cpu, gpu, "batch_size", replace(MEMORY, source="loader")).kind == "unknown"
    before = overtaking_predicted(cpu, replace(gpu, step_launch_seconds={}), "batch_size", MEMORY)
    assert before.kind == "unknown" and before.reason.endswith("again."), "an earlier version measured no whole steps"
