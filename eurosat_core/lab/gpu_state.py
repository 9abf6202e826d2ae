"""What else decides how fast a GPU is: driver and libraries, clocks, power limit, throttling, MIG, and who uses it.

PyTorch knows its libraries. The rest NVIDIA's management library tells (NVML, by the package `nvidia-ml-py`), which
comes with the driver.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import torch

from eurosat_core.devices import torch_device
from eurosat_core.lab.own_process import first_line
from eurosat_core.wording import printable

_THROTTLING = {
    "SwPowerCap": "power limit",
    "HwSlowdown": "hardware slowdown",
    "SwThermalSlowdown": "heat",
    "HwThermalSlowdown": "heat",
    "HwPowerBrakeSlowdown": "power supply",
}
"""Reasons for a lower clock that NVML knows (`nvmlClocksThrottleReason…`), but for a card that has nothing to do."""


def libraries() -> dict[str, Any]:
    """Versions of what PyTorch computes with on GPUs."""
    found = {"cuda": torch.version.cuda, "hip": torch.version.hip, "cudnn": torch.backends.cudnn.version()}
    return {name: version for name, version in found.items() if version}


@contextmanager
def _nvml() -> Iterator[Any]:
    """The management library while it is open. Raises `_UnreadError` where there is none."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError as error:
        raise _UnreadError("the package nvidia-ml-py is not installed") from error
    try:
        library.nvmlInit()
    except Exception as error:  # no driver, another version of it, or one that is not NVIDIA's
        raise _UnreadError(f"NVIDIA's management library does not open: {_reason(error)}") from error
    try:
        yield library
    finally:
        with suppress(Exception):
            library.nvmlShutdown()


class _UnreadError(Exception):
    """Why the state of a card is not known, as the end of a sentence."""


def _reason(error: Exception) -> str:
    return printable(first_line(error), _LONGEST_REASON)


_LONGEST_REASON = 120


def gpu_state(device: str) -> dict[str, Any]:
    """What NVML says of a card now. A figure that it does not know is missing.

    driver, driver_cuda: its version, and the newest CUDA that it runs; clock_mhz, max_clock_mhz (of the
    multiprocessors); power_limit_watts; throttled: why its clock is held down, empty where it is not; slice: what the
    driver calls it, where it is a part of a card that is divided (MIG): all before is then the whole card's;
    other_processes: that compute on it, or on that part of it, and are not this lab's. unread: why nothing is known.
    """
    try:
        with _nvml() as nvml:
            card, part = _handles(nvml, device)
            found = {name: _asked(ask) for name, ask in _questions(nvml, card, part).items()}
            return {name: value for name, value in found.items() if value is not None}
    except _UnreadError as why:
        return {"unread": str(why)}


def _handles(nvml: Any, device: str) -> tuple[Any, Any]:
    """NVML's handles of the card, and of what PyTorch computes on: the card itself, or a slice of it."""
    names = [each for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.startswith("MIG-")]
    try:
        uuid = torch.cuda.get_device_properties(torch_device(device)).uuid
        # CUDA shows a process one slice at most. What it tells as the UUID is the slice's or the card's.
        names = names[:1] or [f"GPU-{uuid}", f"MIG-{uuid}"]
    except Exception as error:
        raise _UnreadError(f"the card has no name that the driver knows: {_reason(error)}") from error
    for name in names:
        with suppress(Exception):  # the driver knows it by the other name
            found = nvml.nvmlDeviceGetHandleByUUID(name.encode())
            whole = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(found) if name.startswith("MIG-") else found
            return whole, found
    raise _UnreadError(f"the driver knows no card {names[0]}")


def _questions(nvml: Any, card: Any, part: Any) -> dict[str, Callable[[], Any]]:
    return {
        "driver": lambda: _text(nvml.nvmlSystemGetDriverVersion()),
        "driver_cuda": lambda: _cuda_version(nvml.nvmlSystemGetCudaDriverVersion()),
        "clock_mhz": lambda: int(nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
        "max_clock_mhz": lambda: int(nvml.nvmlDeviceGetMaxClockInfo(card, nvml.NVML_CLOCK_SM)),
        "power_limit_watts": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000,
        "throttled": lambda: _throttling(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)),
        "slice": lambda: _slice_name(nvml, card, part),
        "other_processes": lambda: _others([each.pid for each in nvml.nvmlDeviceGetComputeRunningProcesses(part)]),
    }


def _asked(question: Callable[[], Any]) -> Any:
    """The answer; None where this card or this driver does not tell."""
    try:
        return question()
    except Exception:
        return None


def _slice_name(nvml: Any, card: Any, part: Any) -> str | None:
    """`NVIDIA A100-SXM4-40GB MIG 1g.5gb`; None of a card that is whole."""
    if part is not card:
        return _text(nvml.nvmlDeviceGetName(part))
    return "one of its parts (MIG)" if nvml.nvmlDeviceGetMigMode(card)[0] else None


def _cuda_version(number: int) -> str:
    """`12.8`, of 12080."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _throttling(nvml: Any, reasons: int) -> str:
    """`heat, power limit`; empty where nothing holds the clock down."""
    told = {
        words for name, words in _THROTTLING.items() if reasons & getattr(nvml, f"nvmlClocksThrottleReason{name}", 0)
    }
    return ", ".join(sorted(told))


def _others(pids: list[int]) -> int | None:
    """How many of these processes are not this lab's; None in a container, where they bear other numbers."""
    if not all(psutil.pid_exists(each) for each in pids):
        return None
    here = psutil.Process()
    server = here.parent() or here  # its other workers are the lab's, too
    return len(set(pids) - {here.pid, server.pid, *(each.pid for each in server.children(recursive=True))})


def gpu_notes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What a run notes about its card, from the states before and after it.

    The clock is that of right after, for before it the card may have slept; of throttling and company counts what was
    seen at either time.
    """
    both = (before, after)
    notes = {**before, **after}
    if any("throttled" in each for each in both):
        reasons = {why for each in both for why in each.get("throttled", "").split(", ") if why}
        notes["throttled"] = ", ".join(sorted(reasons))
    if others := [each["other_processes"] for each in both if "other_processes" in each]:
        notes["other_processes"] = max(others)
    return notes
