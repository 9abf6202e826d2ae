"""What goes wrong while a network trains, in a sentence with what to try; and whether shared memory will do.

In shared memory loader workers hand their batches over. On Linux it is a disk in memory with a size of its own, which
in a container is often 64 MB. Where it ends, a worker dies of a bus error in the middle of a run.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import UnidentifiedImageError

from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.data.weights import weights_problem
from eurosat_core.errors import LabError, TrainingError
from eurosat_core.models.catalog import model_entry
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import bytes_text, count, device_name

SHARED_MEMORY = Path("/dev/shm")

_NUMBER_BYTES = 4  # float32
_BATCH_BYTES = 16 * 1024  # of each batch besides: its labels, and what its pages are rounded up to


def free_shared_memory() -> int | None:
    """Free bytes, none where nothing may be written there; None on a system that has no such limit."""
    if sys.platform != "linux":
        return None
    if not os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return 0
    status = os.statvfs(SHARED_MEMORY)
    return status.f_bavail * status.f_frsize


def loader_bytes(batch_size: int, workers: int, prefetch: int, tiles: int, side: int = TILE_SIDE) -> int:
    """Bytes that the workers of a `DataLoader` hold there at most, feeding `tiles` tiles an epoch; 0 without workers.

    Measured with 1 to 3 workers, 2 to 4 batches ahead: all batches that are ahead, and the one that is computed.
    """
    if not workers:
        return 0
    batches = min(workers * prefetch + 1, -(-tiles // batch_size))
    return min(batches * batch_size, tiles) * 3 * side * side * _NUMBER_BYTES + batches * _BATCH_BYTES


def missing_weights(config: TrainConfig, cache: Path) -> str:
    """Why a training cannot start from the pretrained weights it asks for, in a sentence; empty when it can."""
    entry = model_entry(config.model)
    return weights_problem(entry.weights, cache) if entry.is_pretrained and config.pretrained else ""


class DeviceError(TrainingError):
    """The device failed; its process must be restarted before it can be used again."""


_LESS_SHARED = (
    "Choose fewer loader workers, a smaller batch or fewer batches ahead, or let the tiles come from memory. A "
    "container gets more with `--shm-size=1g` or `--ipc=host`."
)
# How torch speaks of a device that is missing or failed, and not of a mistake in our code.
_DEVICE_FAILURE = re.compile(
    "(CUDA|CUDA driver|HIP|cuDNN) error|device-side assert|No CUDA GPUs|not compiled with CUDA|no NVIDIA driver|"
    "invalid device ordinal|MPS backend|support for mps|CUBLAS",
    re.IGNORECASE,
)
# How it speaks of an operation that has no deterministic kernel; of cuBLAS, whose environment is not as it must be.
_NOT_DETERMINISTIC = re.compile(
    r"(\S+) does not have a deterministic implementation|not deterministic because it uses (CuBLAS)"
)
_NO_PROGRAM = re.compile(r"operator '([^']+)' is not currently implemented for the (\w+) device")
# How PyTorch says that it ended, in a worker or here.
_SHARED_MEMORY_SIGNS = ("shared memory", "Bus error", "</torch_", "/torch_shm")


def _smaller(config: TrainConfig) -> str:
    if config.batch_size > 8:
        return f"Try a batch of {config.batch_size // 2} tiles or fewer"
    return "Choose a smaller model"


def _full(config: TrainConfig) -> str:
    return (
        f"The memory of {config.device} is full with batches of {config.batch_size} tiles. "
        f"{_smaller(config)}, or wait until other runs on this device have ended."
    )


def shared_memory_problem(config: TrainConfig, tiles: int) -> str:
    """Why the loader workers of a config find too little shared memory here, of a set of `tiles` tiles.

    A sentence with what to do; empty when there is enough, or the tiles come otherwise.
    """
    if config.source != "loader":
        return ""
    used = min(config.tiles or tiles, tiles)
    needed = loader_bytes(config.batch_size, config.workers, config.prefetch, used, config.input_side)
    free = free_shared_memory()
    if free is None or needed <= free:
        return ""
    return (
        f"{count(config.workers, 'loader worker')} with batches of {config.batch_size} tiles, {config.prefetch} ahead, "
        f"need {bytes_text(needed)} of shared memory; {bytes_text(free)} are free in {SHARED_MEMORY}. {_LESS_SHARED}"
    )


@contextmanager
def explained(config: TrainConfig, full: str = "") -> Iterator[None]:
    """Turn torch's errors into a `TrainingError` with a sentence; the original stays its cause.

    full: the sentence for a device whose memory is full, where no training filled it.
    """
    import torch

    try:
        yield
    except LabError as error:
        if str(error).startswith("Caught "):  # in a loader worker: its sentence is the last line of a traceback
            raise TrainingError(str(error).strip().splitlines()[-1].partition(": ")[2]) from error
        raise
    except torch.OutOfMemoryError as error:
        raise TrainingError(full or _full(config)) from error
    except MemoryError as error:
        raise TrainingError(f"This machine's memory is full. {_smaller(config)}.") from error
    except OSError as error:
        sentence = _picture_failure(error)
        if sentence is None:
            raise
        raise TrainingError(sentence) from error
    except (RuntimeError, AssertionError) as error:
        text = str(error)
        if "DataLoader worker" in text and any(sign in text for sign in _SHARED_MEMORY_SIGNS):
            full = "The shared memory of this machine is full, so a loader worker could not hand over its batch."
            raise TrainingError(f"{full} {_LESS_SHARED}") from error
        if found := _NOT_DETERMINISTIC.search(text):
            raise TrainingError(
                f"PyTorch has no deterministic kernel for {found[1] or found[2]} on {device_name(config.device)}. "
                "Switch deterministic kernels off, or train on the CPU."
            ) from error
        if config.device != "cpu" and "out of memory" in text.lower():  # as CUDA's and Apple's drivers say it
            raise TrainingError(full or _full(config)) from error
        if "can't allocate memory" in text or "not enough memory" in text:
            raise TrainingError(f"This machine's memory is full. {_smaller(config)}.") from error
        if missing := _NO_PROGRAM.search(text):
            raise TrainingError(
                f"The {device_name(missing[2].lower())} has no program for one of the operations of this network "
                f"({missing[1]}) in this version of PyTorch. Train on the CPU, or choose another network."
            ) from error
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise TrainingError(
                f"This network could not be compiled here: {text.strip().splitlines()[0].rstrip('.')}. Choose eager "
                "execution."
            ) from error
        if "DataLoader worker (pid" in text:
            raise TrainingError(
                "A loader worker died, most likely because memory ran out. Try fewer loader workers, or the "
                "in-memory source."
            ) from error
        if config.device != "cpu" and _DEVICE_FAILURE.search(text):
            raise DeviceError(
                f"The device {config.device} reported an error or vanished: "
                f"{text.splitlines()[0].rstrip('.')}. Its process is restarted. Start the run again; if it "
                "happens twice, train on the CPU and tell your instructor."
            ) from error
        raise


def _picture_failure(error: OSError) -> str | None:
    """What happened to a picture between two epochs; None for another kind of failure.

    A loader worker's error arrives with its traceback as text, and without the file's name.
    """
    if isinstance(error, FileNotFoundError):
        which = f"The picture {error.filename}" if error.filename else "A picture"
        return f"{which} is gone: the folder changed while the run was reading it. Start the run again."
    if isinstance(error, UnidentifiedImageError) or "image file is truncated" in str(error):
        return (
            "A picture can no longer be read: the folder changed while the run was reading it. Start the run "
            "again, or train from memory."
        )
    return None
