"""What goes wrong in a training is told in a sentence."""

import math
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils.data import dataloader

from eurosat_core.data.batches import warm_loader_workers
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import ConfigError, TrainingError
from eurosat_core.training import step as step_module
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import EpochDone, Finished, StepDone
from eurosat_core.training.loop import Checkpoint, train
from eurosat_core.training.problems import DeviceError
from tests.training.conftest import CONFIG, LOADER, HandClock, of_kind, run

RUNAWAY = replace(CONFIG, learning_rate=10.0, weight_decay=1.0, batch_size=10)  # weights grow ninefold a step


def fail_at_step(monkeypatch: pytest.MonkeyPatch, number: int, error: Exception) -> None:
    """Let the loss of some step raise."""
    calls, real = [], functional.nll_loss

    def nll_loss(*values: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == number:
            raise error
        return real(*values)

    monkeypatch.setattr(step_module, "functional", SimpleNamespace(nll_loss=nll_loss))


@pytest.mark.processor
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loss_that_runs_away_is_told(precision: str, small_tiles: TileSet) -> None:
    kept: list[Checkpoint] = []
    config = replace(RUNAWAY, precision=precision)
    with pytest.raises(TrainingError, match=r"epoch \d+, step \d+"):
        list(train(config, small_tiles, kept.append))
    assert all(torch.isfinite(value).all() for each in kept for value in each.weights.values())


def test_weights_that_ran_away_in_the_last_step_are_not_kept(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Checkpoint] = []
    real = step_module.Trainer.learn

    def spoil(self: Any, batch: Any, *, tally: Any) -> torch.Tensor:
        loss = real(self, batch, tally=tally)
        if tally.tiles == 150:
            next(self.network.parameters()).data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(step_module.Trainer, "learn", spoil)
    with pytest.raises(TrainingError, match="learning rate"):
        list(train(CONFIG, small_tiles, kept.append))
    assert kept == []


def test_reported_step_with_no_number_is_told(small_tiles: TileSet, hand_clock: HandClock) -> None:
    hand_clock.tick = 1.0  # every step is due
    with pytest.raises(TrainingError, match="epoch 1, step"):
        list(train(RUNAWAY, small_tiles))


def test_full_memory_is_told(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at_step(monkeypatch, 2, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(TrainingError, match=r"40.*20 tiles"):
        list(train(CONFIG, small_tiles))


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_a_device_that_is_not_there_is_told(device: str, small_tiles: TileSet) -> None:
    if torch.accelerator.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match=device):
        next(train(replace(CONFIG, device=device), small_tiles))


@pytest.fixture
def own_tiles(small_folder: Callable[..., Path], tmp_path: Path) -> Iterator[TileSet]:
    """Tiles whose pictures a test may remove."""
    yield open_tiles(small_folder(tmp_path / "place", {"a": 30, "b": 30}), tmp_path / "cache")


def pull_epoch_then(act: Callable[[], object], config: TrainConfig, tiles: TileSet) -> str:
    """Train for an epoch, act, go on; returns the sentence of the error that comes."""
    pull = train(config, tiles)
    while not isinstance(next(pull), EpochDone):
        pass
    act()
    with pytest.raises(TrainingError) as caught:
        list(pull)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_picture_removed_midway_is_named(own_tiles: TileSet) -> None:
    gone = Path(own_tiles.place) / "a"
    told = pull_epoch_then(lambda: shutil.rmtree(gone), LOADER, own_tiles)
    assert f"{gone}{os.sep}a_" in told


def test_a_picture_damaged_midway_is_told(own_tiles: TileSet) -> None:
    def cut_short() -> None:
        for path in Path(own_tiles.place).glob("*/*.jpg"):
            os.truncate(path, 800)

    assert pull_epoch_then(cut_short, LOADER, own_tiles)


def test_a_picture_removed_midway_under_loader_workers(own_tiles: TileSet) -> None:
    warm_loader_workers()
    config = replace(LOADER, workers=1, batch_size=5)
    told = pull_epoch_then(lambda: shutil.rmtree(own_tiles.place), config, own_tiles)
    assert "picture" in told


def test_a_loader_worker_that_is_killed_is_told(own_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()

    warm_loader_workers()
    monkeypatch.setattr(dataloader._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)  # seconds; otherwise five
    config = replace(LOADER, workers=1, batch_size=5)
    assert "loader workers" in pull_epoch_then(kill, config, own_tiles)


def test_a_tile_left_over_alone_does_not_stop_batchnorm(small_tiles: TileSet) -> None:
    """150 training tiles in batches of 149: PyTorch refuses BatchNorm over a batch of one flat tile."""
    layers = "flatten, linear 8, batchnorm, relu, linear out"
    config = replace(CONFIG, model="custom", network=layers, batch_size=149, epochs=1)
    events, _ = run(config, small_tiles)
    assert of_kind(Finished, events)
    with pytest.raises(ConfigError, match="two tiles"):
        replace(config, batch_size=1).checked()


LITE = recipe_config("efficientnet_lite0", "fast", epochs=1, tiles=20)  # 15 of them to learn from
DRIFTING = {"source": "memory", "frozen_norms": False}


def training_steps(config: TrainConfig, tiles: TileSet) -> int:
    events, _ = run(config, tiles)
    (done,) = of_kind(EpochDone, events)
    assert math.isfinite(done.train_loss) and math.isfinite(done.val_loss)
    return [step.phase for step in of_kind(StepDone, events)].count("train")


@pytest.mark.processor
@pytest.mark.parametrize(
    "config",
    [recipe_config("tilenet", "sprint", epochs=1, tiles=20), LITE, replace(LITE, **DRIFTING)],
    ids=["tilenet", "frozen norms", "drifting norms"],
)
def test_batches_of_one_tile_are_trained_on(config: TrainConfig, small_tiles: TileSet) -> None:
    assert training_steps(replace(config, batch_size=1), small_tiles) == 15


@pytest.mark.parametrize(("changes", "steps"), [({}, 2), (DRIFTING, 1)], ids=["frozen norms", "drifting norms"])
def test_a_tile_left_over_alone_is_left_out_only_where_norms_train(
    changes: dict[str, Any], steps: int, small_tiles: TileSet
) -> None:
    assert training_steps(replace(LITE, batch_size=14, **changes), small_tiles) == steps
