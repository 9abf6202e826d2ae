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
from PIL import UnidentifiedImageError
from torch.nn import functional
from torch.utils.data import DataLoader, dataloader

from eurosat_core.data.batches import warm_loader_workers
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import ConfigError, DataError, LabError, TrainingError
from eurosat_core.training import problems
from eurosat_core.training import step as step_module
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import EpochDone, Finished, StepDone
from eurosat_core.training.loop import Checkpoint, train
from eurosat_core.training.problems import DeviceError, explained, shared_memory_problem
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


CPU = TrainConfig()
GPU = TrainConfig(device="cuda:0", batch_size=64)
BUS_ERROR = (
    "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
    "shared memory. Please try to raise your shared memory limit."
)
NO_SHARED = "unable to allocate shared memory(shm) for file </torch_7_8_9>: No space left on device (28)"
CPU_FULL = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"


class Picky:
    """A dataset, and the errors it raises, as a loader worker meets them."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __len__(self) -> int:
        return 1

    def __getitem__(self, at: int) -> None:
        raise self.error


def wrapped(error: Exception) -> Exception:
    """The error as it arrives from a loader worker: of the same type, with a traceback as its text."""
    from torch._utils import ExceptionWrapper

    try:
        list(DataLoader(Picky(error)))  # type: ignore[arg-type]
    except Exception:
        try:
            ExceptionWrapper(where="in DataLoader worker process 0").reraise()
        except Exception as arrived:
            return arrived
    raise AssertionError("nothing was raised")


def sentence(error: BaseException, config: TrainConfig = CPU) -> str:
    with pytest.raises(LabError) as caught, explained(config):
        raise error
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "config", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), GPU, ["cuda:0", "32 tiles"]),
        (
            NotImplementedError(
                "The operator 'aten::_some_op' is not currently implemented for the MPS device. If you want this op…"
            ),
            TrainConfig(device="mps"),
            ["Apple GPU", "aten::_some_op"],
        ),
        (torch.OutOfMemoryError("full"), TrainConfig(device="cuda:0", batch_size=8), ["smaller model"]),
        (RuntimeError("CUDA error: out of memory\nmore"), GPU, ["cuda:0", "32 tiles"]),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), TrainConfig(device="mps"), ["mps"]),
        (MemoryError(), CPU, ["This machine", "20 tiles"]),
        (RuntimeError(CPU_FULL), CPU, ["This machine", "20 tiles"]),
        (FileNotFoundError(2, "No such file", "/t/a.jpg"), CPU, ["/t/a.jpg"]),
        (wrapped(FileNotFoundError(2, "No such file", "/t/a.jpg")), CPU, ["picture"]),
        (UnidentifiedImageError("cannot identify"), CPU, ["from memory"]),
        (wrapped(OSError("image file is truncated (3 bytes)")), CPU, ["from memory"]),
        (wrapped(DataError("The cache is gone.")), CPU, ["The cache is gone."]),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), CPU, ["loader workers"]),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), CPU, ["loader worker"]),
        (RuntimeError(BUS_ERROR), CPU, ["shared memory", "--shm-size"]),
        (wrapped(RuntimeError(NO_SHARED)), CPU, ["shared memory", "--ipc=host"]),
    ],
    ids=lambda value: getattr(type(value), "__name__", ""),
)
def test_each_problem_has_its_sentence(error: Exception, config: TrainConfig, words: list[str]) -> None:
    told = sentence(error, config)
    assert [word for word in words if word not in told] == []


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be reported later",
        "CUDA error: device-side assert triggered",
        "HIP error: invalid device function",
        "No CUDA GPUs are available",
        "Found no NVIDIA driver on your system. Please check that you have one.",
        "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
        "PyTorch is not linked with support for mps devices",
        "Torch not compiled with CUDA enabled",
    ],
)
def test_a_device_that_failed_is_told_apart(text: str) -> None:
    kind = AssertionError if "compiled" in text else RuntimeError
    with pytest.raises(DeviceError) as caught, explained(GPU):
        raise kind(text)
    assert text.splitlines()[0].rstrip(".") + ". " in str(caught.value)
    assert isinstance(caught.value.__cause__, kind)


def test_full_memory_is_no_device_failure() -> None:
    with pytest.raises(TrainingError) as caught, explained(GPU):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")
    assert not isinstance(caught.value, DeviceError)  # its process may go on


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        RuntimeError("CUDA error: on a CPU this is no device failure"),
        AssertionError("a slip of ours"),
        OSError(28, "No space left on device"),
        KeyError("loss"),
        wrapped(RuntimeError("a slip of ours in a loader worker")),
        DataError("A sentence already."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_not_known_passes_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explained(CPU):
        raise error
    assert caught.value is error


def test_too_little_shared_memory_is_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "free_shared_memory", lambda: 64 * 1024**2)
    big = TrainConfig(batch_size=256, workers=4, prefetch=2)
    told = shared_memory_problem(big, 27_000)
    assert [word for word in ("108 MB", "64 MB", "--shm-size") if word not in told] == []
    for other in (replace(big, source="memory"), replace(big, workers=0), replace(big, tiles=500), TrainConfig()):
        assert shared_memory_problem(other, 27_000) == ""
    monkeypatch.setattr(problems, "free_shared_memory", lambda: None)
    assert shared_memory_problem(big, 27_000) == ""
