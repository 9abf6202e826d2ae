from dataclasses import replace

import pytest
import torch
from PIL import UnidentifiedImageError
from torch.utils.data import DataLoader

from eurosat_core.errors import DataError, LabError, TrainingError
from eurosat_core.training import problems
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.problems import DeviceError, explained, shared_memory_problem

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
