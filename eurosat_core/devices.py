"""Which devices this machine can compute on, and, for one that is missing, the reason.

`probe_devices` initialises CUDA: call it in a worker or on the command line, never in the server process.
"""

import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from eurosat_core.cores import available_cores

AMPERE = (8, 0)
"""The compute capability from which on NVIDIA's cards multiply bfloat16 and TF32; older ones emulate bfloat16."""


@dataclass(frozen=True)
class Device:
    """One device as torch names it (`cpu`, `cuda:0`, `mps`); `reason` says why it is not available.

    capability: compute capability of an NVIDIA card; None for all else.
    """

    id: str
    name: str
    memory_bytes: int | None
    available: bool = True
    reason: str = ""
    capability: tuple[int, int] | None = None

    @property
    def is_gpu(self) -> bool:
        return self.id != "cpu"

    @property
    def has_tf32(self) -> bool:
        return self.capability is not None and self.capability >= AMPERE


def cpu_name() -> str:
    """The processor's model name; `platform` knows it on macOS and Windows, Linux has it in /proc."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "CPU"


def cpu_device() -> Device:
    """The CPU; its memory is what the machine has in all."""
    cores = available_cores()
    name = f"{cpu_name()}, {cores} core{'s' if cores != 1 else ''}"
    return Device("cpu", name, psutil.virtual_memory().total)


def gpu_problem(
    *, built_for: str | None, driver_present: bool, init_error: str, unsupported: tuple[str, ...] = ()
) -> str:
    """Why no GPU can be used, as a sentence with the remedy.

    `built_for`: the GPU platform this PyTorch was built for (None: a CPU-only build). `init_error`: what CUDA
    said when it was initialised. `unsupported`: names of cards that this build has no programs for.
    """
    if unsupported:
        return (
            f"This build of PyTorch has no programs for the {' and the '.join(unsupported)}. Install the build that "
            "supports this generation of cards (an older PyTorch for an old card), or use another machine."
        )
    if built_for is None:
        remedy = "Install the build for your GPU from pytorch.org." if driver_present else "Fine without a GPU."
        return f"This is a CPU-only build of PyTorch, so it cannot use a GPU. {remedy}"
    if "driver" in init_error.lower() and ("too old" in init_error.lower() or "insufficient" in init_error.lower()):
        return "The GPU's driver is too old for this PyTorch. Update the NVIDIA driver, then start the app again."
    if not driver_present:
        return "No GPU was found on this machine."
    first_line = init_error.strip().splitlines()[0] if init_error.strip() else "no reason given"
    return f"A GPU driver is installed, but PyTorch could not use it: {first_line}"


def _driver_present() -> bool:
    return (
        Path("/proc/driver/nvidia/version").exists()
        or Path("/dev/kfd").exists()
        or shutil.which("nvidia-smi") is not None
    )


def needless_gpu_build() -> str:
    """This PyTorch's version, where it was built for GPUs and the machine has neither one nor a driver; else empty."""
    import torch

    built_for_gpus = bool(torch.version.cuda or torch.version.hip)
    needless = built_for_gpus and not _driver_present() and not torch.accelerator.is_available()
    return str(torch.__version__) if needless else ""


def probe_devices() -> tuple[Device, ...]:
    """All devices, the CPU first. A missing GPU is listed too, as not available and with the reason.

    Initialises CUDA in this process.
    """
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return cpu_device(), _missing_gpu()
    if accelerator.type == "mps":
        return cpu_device(), Device("mps", "Apple GPU", None)
    if accelerator.type != "cuda":
        reason = f"The lab does not know this kind of accelerator yet ({accelerator.type})."
        return cpu_device(), Device(accelerator.type, "Accelerator", None, available=False, reason=reason)
    built = tuple(torch.cuda.get_arch_list())
    found = []
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        supported = _has_programs_for(card.major, card.minor, built)
        reason = ""
        if not supported:
            reason = gpu_problem(built_for="cuda", driver_present=True, init_error="", unsupported=(str(card.name),))
        capability = None if torch.version.hip else (card.major, card.minor)
        found.append(Device(f"cuda:{index}", card.name, card.total_memory, supported, reason, capability))
    return cpu_device(), *found


def _has_programs_for(major: int, minor: int, built: tuple[str, ...]) -> bool:
    """Whether a build for these architectures runs on a card of compute capability `major`.`minor`.

    `sm_86` runs on cards of the same major number from 8.6 on; `compute_90` can be compiled for any newer card. Names
    of another form (AMD's) have no such order: nothing is said against these.
    """
    card = 10 * major + minor
    names = [match for name in built if (match := re.fullmatch(r"(sm|compute)_(\d+)[af]?", name))]
    programs = [int(match[2]) for match in names if match[1] == "sm"]
    compilable = [int(match[2]) for match in names if match[1] == "compute"]
    if not programs and not compilable:
        return True
    return any(each // 10 == major and each <= card for each in programs) or any(each <= card for each in compilable)


def _missing_gpu() -> Device:
    import torch

    built_for = torch.version.cuda or torch.version.hip
    error = ""
    if built_for is not None:
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as raised:
            error = str(raised)
    reason = gpu_problem(built_for=built_for, driver_present=_driver_present(), init_error=error)
    return Device("gpu", "GPU", None, available=False, reason=reason)
