"""From timed steps to whole trainings, and where one device overtakes another: by hand."""

import math
from dataclasses import replace

import pytest
from sweep_makers import MEMORY, cell_of, result_of, turns_of

from eurosat_core.speed.prediction import overtaking, overtaking_measured, overtaking_predicted
from eurosat_core.speed.result import Limits, project

GPU = replace(MEMORY, device="cuda:0")


def test_ten_epochs_by_hand() -> None:
    cell = cell_of("a", [0.010, 0.010, 0.010, 0.020], validation=turns_of([0.004] * 4), start_seconds=1.5)
    found = project(cell, 20_250, 6_750, 10)
    assert found is not None
    assert found.seconds == pytest.approx(1.5 + 10 * (20_250 * 0.010 + 6_750 * 0.004) / 40)
    assert found.low == pytest.approx(found.seconds) and found.high > found.seconds
    assert (found.train_steps, found.validation_steps, found.timed_steps) == (507, 169, 80)
    assert "Projected from 40 timed training steps in 4 rounds" in found.basis and "10 epochs" in found.basis


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
    gpu = Limits("cuda:0", 2, {}, ((1.0, 1e13),), {}, 5e-5, 0.0, 0.0, fast)
    for by in ("batch_size", "model_size"):
        found = overtaking_predicted(cpu, gpu, by, replace(MEMORY, batch_size=1))  # type: ignore[arg-type]
        assert (found.kind, found.basis) == ("at", "predicted")
        assert found.at is not None and math.isfinite(found.at) and len(found.points) > 4
    missing = overtaking_predicted(cpu, None, "batch_size", MEMORY)
    assert missing.kind == "unknown" and "a GPU were not measured" in missing.reason
    assert overtaking_predicted(cpu, gpu, "batch_size", replace(MEMORY, source="loader")).kind == "unknown"
