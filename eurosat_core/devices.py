"""Which devices this machine can compute on, and, for one that is missing, the reason.

`probe_devices` initialises CUDA: call it in a worker or on the command line, never in the server process.
"""

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from eurosat_core.cores import available_cores
from eurosat_core.errors import ConfigError

if TYPE_CHECKING:
    import torch

AMPERE = (8, 0)
"""The compute capability from which on NVIDIA's cards multiply bfloat16 and TF32; older ones emulate bfloat16."""


@dataclass(frozen=True)
class Device:
    """One device as torch names it (`cpu`, `cuda:0`, `mps`); `reason` says why it is not available.

    capability: compute capability of an NVIDIA card; None for all else. visible: on a machine with sliced GPUs (MIG),
    what `CUDA_VISIBLE_DEVICES` has to be in its worker's process; empty on others.
    """

    id: str
    name: str
    memory_bytes: int | None
    available: bool = True
    reason: str = ""
    capability: tuple[int, int] | None = None
    visible: str = ""

    @property
    def is_gpu(self) -> bool:
        return self.id != "cpu"

    @property
    def is_seen(self) -> bool:
        """Whether CUDA shows it to a process that asked for no slice: of all slices, that is the first one only."""
        return not self.visible or self.id == "cuda:0"

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
    if slices := gpu_slices():
        one = _card(0, built)  # the only one that CUDA shows to a process
        return cpu_device(), *(
            replace(one, id=f"cuda:{index}", name=name, memory_bytes=None, visible=uuid)
            for index, (uuid, name) in enumerate(slices)
        )
    return cpu_device(), *(_card(index, built) for index in range(torch.cuda.device_count()))


def _card(index: int, built: tuple[str, ...]) -> Device:
    import torch

    try:
        card = torch.cuda.get_device_properties(index)
    except RuntimeError as error:  # this one is broken; others need not be
        reason = gpu_problem(built_for="cuda", driver_present=True, init_error=str(error))
        return Device(f"cuda:{index}", "GPU", None, available=False, reason=reason)
    amd = str(getattr(card, "gcnArchName", "")).partition(":")[0]  # gfx90a:sramecc+:xnack-
    supported = _has_programs_for(card.major, card.minor, built, amd)
    reason = ""
    if not supported:
        reason = gpu_problem(built_for="cuda", driver_present=True, init_error="", unsupported=(str(card.name),))
    capability = None if torch.version.hip else (card.major, card.minor)
    return Device(f"cuda:{index}", card.name, card.total_memory, supported, reason, capability)


def _has_programs_for(major: int, minor: int, built: tuple[str, ...], amd: str = "") -> bool:
    """Whether a build for these architectures runs on a card of compute capability `major`.`minor`.

    `sm_86` runs on cards of the same major number from 8.6 on; `compute_90` can be compiled for any newer card. AMD's
    names (`amd`, such as `gfx1100`) have no such order: a card's own must be there. Where it is not known, nothing is
    said against it.
    """
    if programs_of_amd := [name.partition(":")[0] for name in built if name.startswith("gfx")]:
        return not amd or amd in programs_of_amd
    card = 10 * major + minor
    names = [match for name in built if (match := re.fullmatch(r"(sm|compute)_(\d+)[af]?", name))]
    programs = [int(match[2]) for match in names if match[1] == "sm"]
    compilable = [int(match[2]) for match in names if match[1] == "compute"]
    if not programs and not compilable:
        return True
    return any(each // 10 == major and each <= card for each in programs) or any(each <= card for each in compilable)


_LIST_SECONDS = 20


def gpu_slices() -> tuple[tuple[str, str], ...]:
    """The parts that this machine's GPUs are cut into (NVIDIA's MIG), as (UUID, name), with those that are whole.

    Empty where none is cut: then PyTorch lists them itself. Of those that `CUDA_VISIBLE_DEVICES` names, if it is set.
    """
    command = shutil.which("nvidia-smi")
    if command is None:
        return ()
    try:
        told = subprocess.run([command, "-L"], capture_output=True, text=True, timeout=_LIST_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    found = _listed_slices(told)
    return tuple(each for each in found if wanted == [""] or each[0] in wanted)


def _listed_slices(told: str) -> list[tuple[str, str]]:
    """What `nvidia-smi -L` says: a line for every card, below it one for every slice of it."""
    cards: list[tuple[str, str, list[tuple[str, str]]]] = []
    for line in told.splitlines():
        if card := re.match(r"GPU \d+: (.+) \(UUID: (GPU-\S+)\)", line):
            cards.append((card[2], card[1], []))
        elif cards and (part := re.match(r"\s+MIG (\S+)\s.*\(UUID: (MIG-\S+)\)", line)):
            cards[-1][2].append((part[2], f"{cards[-1][1]} MIG {part[1]}"))
    if not any(parts for _, _, parts in cards):
        return []
    return [each for uuid, name, parts in cards for each in (parts or [(uuid, name)])]


SLICE = "_EUROSAT_SLICE"
"""Environment variable that the lab gives a worker that sees one slice of a GPU and no other: the name of the slice."""


def cublas_environment() -> dict[str, str]:
    """What a process's environment lacks without which its matrix products on a GPU cannot be deterministic.

    cuBLAS reads it at a process's first product. It then takes 32 MB of the GPU's memory, on cards before Hopper 24
    more than by itself. Whoever started the lab may have chosen another value.
    """
    name = "CUBLAS_WORKSPACE_CONFIG"
    return {} if name in os.environ else {name: ":4096:8"}


def torch_device(name: str) -> "torch.device":
    """What PyTorch calls a device in this process: to one that sees a single slice of a GPU, that is `cuda:0`.

    Raises `ConfigError` for another slice.
    """
    import torch

    own = os.environ.get(SLICE)
    if own is None or not name.startswith("cuda"):
        return torch.device(name)
    if name != own:
        raise ConfigError("Parts of a GPU cannot be measured in one run. Measure each of them in a run of its own.")
    return torch.device("cuda:0")


def first_kernel_problem(name: str) -> str:
    """Compute something on a GPU; a sentence when that fails, empty when it can. It keeps a context in this process.

    A card whose memory is full is none that fails.
    """
    import torch

    try:
        if torch.ones(8, device=torch_device(name)).cumsum(0)[-1].item() == 8:
            return ""
        error = "it computed a wrong result"
    except torch.OutOfMemoryError:
        return ""
    except (RuntimeError, AssertionError) as raised:
        error = str(raised)
    return gpu_problem(built_for="", driver_present=True, init_error=error)


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
