from types import SimpleNamespace

import pytest
import torch

from eurosat_core.profiling.record import kernels_problem


def test_a_step_without_kernels_is_noticed() -> None:
    assert "recorded no GPU kernel" in kernels_problem("cpu")  # a step that truly ran, and none of it on a GPU


def test_a_step_with_kernels_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [SimpleNamespace(self_device_time_total=0.0), SimpleNamespace(self_device_time_total=12.5)]
    monkeypatch.setattr(torch.profiler.profile, "key_averages", lambda _self: rows)
    assert kernels_problem("cpu") == ""


def test_a_device_that_fails_is_told() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has the device that is to be missing")
    assert kernels_problem("cuda:0").startswith("A step could not be profiled on cuda:0: ")


def test_apples_gpus_are_not_seen() -> None:
    assert "CPU’s side only" in kernels_problem("mps")
