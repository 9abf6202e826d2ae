"""Deterministic kernels as a setting: in force in every step that asks for them, and in no other run's."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from cuda_alias import Cards, in_backward, played_cuda

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import TrainingError
from eurosat_core.lab.jobs import run_job
from eurosat_core.lab.messages import Job, JobResult
from eurosat_core.training import frozen
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.loop import Parking, train
from eurosat_core.training.network import preprocessing_for
from eurosat_core.training.problems import DeviceError, explained

PLAIN = recipe_config(
    "baseline", "fast", epochs=2, batch_size=20, device="cuda:0", precision="float32", channels_last=False
)
SAME = replace(PLAIN, deterministic=True)
NO_KERNEL = (
    "adaptive_avg_pool2d_backward_cuda does not have a deterministic implementation, but you set "
    "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation."
)
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cards]:
    monkeypatch.setenv(CUBLAS, "")
    monkeypatch.delenv(CUBLAS)
    with played_cuda() as played:
        yield played
    assert flags() == (False, False, False)


def flags() -> tuple[bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, bool, bool]]:
    """How the kernels were to be in every backward pass."""
    return in_backward(monkeypatch, flags)


def done(tiles: TileSet, config: TrainConfig) -> JobResult:
    return run_job(Job("a-run", config, tiles.fingerprint, str(tiles.cache), 1), lambda _events: None)


def test_a_run_has_them_in_every_step_and_leaves_none_behind(
    small_tiles: TileSet, seen: list[tuple[bool, bool, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    assert done(small_tiles, SAME).state == "finished"
    assert set(seen) == {(True, True, False)} and flags() == (False, False, False)
    assert os.environ[CUBLAS] == ":4096:8", "before the first product on the card"
    seen.clear()
    assert done(small_tiles, PLAIN).state == "finished"
    assert set(seen) == {(False, False, False)}


def test_who_does_not_ask_for_them_waits_for_nothing(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's call loads its compiler: seconds, in a worker that has just started."""

    def never(_wanted: bool) -> None:
        raise AssertionError

    monkeypatch.setattr(torch, "use_deterministic_algorithms", never)
    assert done(small_tiles, replace(PLAIN, epochs=1)).state == "finished"


def test_what_was_chosen_for_cublas_stays(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CUBLAS, ":16:8")
    assert done(small_tiles, replace(SAME, epochs=1)).state == "finished"
    assert os.environ[CUBLAS] == ":16:8"


def test_a_run_that_was_parked_has_its_kernels_again(small_tiles: TileSet, seen: list[tuple[bool, bool, bool]]) -> None:
    parking = Parking()
    first = train(SAME, small_tiles, parking=parking)
    while not seen:
        next(first)
    parking.park()
    seen.clear()
    list(train(replace(PLAIN, epochs=1), small_tiles))
    assert set(seen) == {(False, False, False)}
    parking.unpark()
    seen.clear()
    list(first)
    assert set(seen) == {(True, True, False)}
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def test_on_a_cpu_the_setting_changes_nothing(small_tiles: TileSet, seen: list[tuple[bool, bool, bool]]) -> None:
    there = replace(SAME, device="cpu", epochs=1)
    list(train(there.checked(), small_tiles))
    assert set(seen) == {(False, False, False)} and CUBLAS not in os.environ


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (NO_KERNEL, "adaptive_avg_pool2d_backward_cuda"),
        (
            "Deterministic behavior was enabled with either `torch.use_deterministic_algorithms(True)`, but this "
            "operation is not deterministic because it uses CuBLAS and you have CUDA >= 10.2.",
            "CuBLAS",
        ),
    ],
)
def test_an_operation_without_such_a_kernel_is_named(error: str, name: str) -> None:
    with pytest.raises(TrainingError, match=name) as caught, explained(SAME):
        raise RuntimeError(error)
    assert not isinstance(caught.value, DeviceError), "the card goes on"


def test_a_run_that_finds_no_such_kernel_fails_and_leaves_the_card_as_it_was(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError(NO_KERNEL)

    monkeypatch.setattr(torch.Tensor, "backward", refused)
    result = done(small_tiles, SAME)
    assert (result.state, result.restart_worker) == ("failed", False)
    assert "adaptive_avg_pool2d_backward_cuda" in result.message and flags() == (False, False, False)


def test_features_are_kept_apart(small_tiles: TileSet) -> None:
    card = recipe_config("efficientnet_lite0", "fast", device="cuda:0", precision="float32")

    def kept_by(config: TrainConfig) -> dict[str, Any]:
        return frozen._depend_on(config, small_tiles, preprocessing_for(config.model), 1280)

    same = replace(card, deterministic=True)
    assert kept_by(same) != kept_by(card)
    assert kept_by(replace(same, device="cpu")) == kept_by(replace(card, device="cpu"))
