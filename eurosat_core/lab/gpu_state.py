"""What else decides how fast a GPU is: driver and libraries, clocks, power limit, throttling, MIG, and who uses it.

PyTorch knows its libraries. The rest NVIDIA's management library tells (NVML), where the package `nvidia-ml-py` is
installed; the lab does not need it.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import torch

from eurosat_core.devices import torch_device

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
    """The management library while it is open; None where there is none."""
    try:
        library = importlib.import_module("pynvml")
        library.nvmlInit()
    except Exception:  # not installed, no driver, or another version of it
        yield None
        return
    try:
        yield library
    finally:
        with suppress(Exception):
            library.nvmlShutdown()


def gpu_state(device: str) -> dict[str, Any]:
    """What NVML says of a card now; empty where it says nothing. A figure that it does not know is missing.

    driver; clock_mhz, max_clock_mhz (of the multiprocessors); power_limit_watts; throttled: why its clock is held
    down; mig: whether it is divided; other_processes: that compute on it and are not this lab's.
    """
    with _nvml() as nvml:
        if nvml is None:
            return {}
        try:
            card = nvml.nvmlDeviceGetHandleByUUID(
                f"GPU-{torch.cuda.get_device_properties(torch_device(device)).uuid}".encode()
            )
        except Exception:  # a MIG slice has another name
            return {}
        asked: dict[str, Callable[[], Any]] = {
            "driver": lambda: _text(nvml.nvmlSystemGetDriverVersion()),
            "clock_mhz": lambda: int(nvml.nvmlDeviceGetClockInfo(card, nvml.NVML_CLOCK_SM)),
            "max_clock_mhz": lambda: int(nvml.nvmlDeviceGetMaxClockInfo(card, nvml.NVML_CLOCK_SM)),
            "power_limit_watts": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1000,
            "throttled": lambda: _throttling(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)),
            "mig": lambda: bool(nvml.nvmlDeviceGetMigMode(card)[0]),
            "other_processes": lambda: _others([each.pid for each in nvml.nvmlDeviceGetComputeRunningProcesses(card)]),
        }
        found = {}
        for name, ask in asked.items():
            with suppress(Exception):  # this card or this driver does not tell
                found[name] = ask()
        return {name: value for name, value in found.items() if value is not None}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _throttling(nvml: Any, reasons: int) -> list[str]:
    told = {
        words for name, words in _THROTTLING.items() if reasons & getattr(nvml, f"nvmlClocksThrottleReason{name}", 0)
    }
    return sorted(told)


def _others(pids: list[int]) -> int | None:
    """How many of these processes are not this lab's; None in a container, where they bear other numbers."""
    if not all(psutil.pid_exists(each) for each in pids):
        return None
    here = psutil.Process()
    server = here.parent() or here  # its other workers are the lab's, too
    return len(set(pids) - {here.pid, server.pid, *(each.pid for each in server.children(recursive=True))})


def gpu_notes(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What a run notes about its card, from the states before and after it; the worse one where they differ."""
    if not (before or after):
        return {}
    both = [each for each in (before, after) if each]
    notes = {**before, **after, "throttled": sorted({why for each in both for why in each.get("throttled", [])})}
    clocks = [each["clock_mhz"] for each in both if "clock_mhz" in each]
    others = [each["other_processes"] for each in both if "other_processes" in each]
    return notes | ({"clock_mhz": min(clocks)} if clocks else {}) | ({"other_processes": max(others)} if others else {})
