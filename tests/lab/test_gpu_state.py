"""What is noted about a card beside PyTorch's own figures: NVML is played, for it is not installed here."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from cuda_alias import played_cuda
from run_makers import make_record

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.gpu_state import gpu_notes, gpu_state, libraries
from eurosat_core.lab.jobs import Job, run_job
from eurosat_core.training.config import recipe_config

STRANGER = 2**22 + 7  # more than Linux gives to a process


class PlayedLibrary(SimpleNamespace):
    """NVML with one card on which two programs compute: this one, and one of somebody else."""

    NVML_CLOCK_SM = 1
    nvmlClocksThrottleReasonSwPowerCap = 4
    nvmlClocksThrottleReasonHwSlowdown = 8

    def __init__(self) -> None:
        super().__init__(pids=[os.getpid(), 1], reasons=4 | 1, clock=1980)

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"580.65.06"

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> str:
        assert uuid == b"GPU-played"
        return "card"

    def nvmlDeviceGetClockInfo(self, card: str, _kind: int) -> int:
        return self.clock

    def nvmlDeviceGetMaxClockInfo(self, card: str, _kind: int) -> int:
        return 1980

    def nvmlDeviceGetEnforcedPowerLimit(self, _card: str) -> int:
        return 700_000

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _card: str) -> int:
        return self.reasons

    def nvmlDeviceGetMigMode(self, _card: str) -> list[int]:
        raise RuntimeError("Not Supported")

    def nvmlDeviceGetComputeRunningProcesses(self, _card: str) -> list[Any]:
        return [SimpleNamespace(pid=each) for each in self.pids]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedLibrary]:
    library = PlayedLibrary()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(psutil.Process, "parent", lambda _self: None)  # process 1 is nobody of the lab's
    with played_cuda():
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(uuid="played"))
        yield library


def test_what_the_library_says_of_a_card(nvml: PlayedLibrary) -> None:
    assert gpu_state("cuda:1") == {
        "driver": "580.65.06",
        "clock_mhz": 1980,
        "max_clock_mhz": 1980,
        "power_limit_watts": 700.0,
        "throttled": ["power limit"],
        "other_processes": 1,
    }, "MIG, which this card does not know, is not told"
    nvml.pids = [STRANGER]
    assert "other_processes" not in gpu_state("cuda:1"), "in a container they bear other numbers"


def test_without_the_library_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu_state("cuda:0") == {} and gpu_notes({}, {}) == {}


def test_a_library_that_fails_says_nothing(nvml: PlayedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise RuntimeError("Driver Not Loaded")

    monkeypatch.setattr(nvml, "nvmlInit", refused)
    assert gpu_state("cuda:0") == {}


def test_of_a_slice_of_a_card_nothing_is_said(nvml: PlayedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _device: SimpleNamespace(uuid="a MIG's"))
    assert gpu_state("cuda:0") == {}


def test_the_worse_state_counts(nvml: PlayedLibrary) -> None:
    before = gpu_state("cuda:0")
    nvml.clock, nvml.reasons, nvml.pids = 1200, 8, []
    notes = gpu_notes(before, gpu_state("cuda:0"))
    assert (notes["clock_mhz"], notes["other_processes"]) == (1200, 1)
    assert notes["throttled"] == ["hardware slowdown", "power limit"]


def test_a_run_notes_its_card_and_a_stranger_is_its_company(nvml: PlayedLibrary, small_tiles: TileSet) -> None:
    config = recipe_config("baseline", "fast", device="cuda:1", epochs=1, precision="float32", channels_last=False)
    job = Job("a-run", config, small_tiles.fingerprint, str(small_tiles.cache), 1)
    result = run_job(job, lambda _events: None)
    assert result.state == "finished", result.message
    assert result.machine["gpu"]["other_processes"] == 1 and result.machine["gpu"]["driver"] == "580.65.06"
    assert libraries().items() <= result.machine.items()
    record = replace(make_record(), machine=result.machine | {"busy_elsewhere": 0.0})
    assert record.company == ("1 other program on its GPU",)
    for damaged in ({"gpu": None}, {"gpu": {"other_processes": "many"}}, {}):
        assert replace(record, machine=damaged).company == ()
