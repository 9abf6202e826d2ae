"""What is noted about a card beside PyTorch's own figures: NVML is played, as if there were a driver."""

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

from eurosat_core.analysis.card import card_findings
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.gpu_state import gpu_notes, gpu_state, libraries
from eurosat_core.lab.jobs import run_job
from eurosat_core.lab.messages import Job
from eurosat_core.training.choices import machine_table
from eurosat_core.training.config import recipe_config
from eurosat_core.words.say import say_each

STRANGER = 2**22 + 7  # more than Linux gives to a process


class PlayedLibrary(SimpleNamespace):
    """NVML with one card on which two programs compute: this one, and one of somebody else."""

    NVML_CLOCK_SM = 1
    nvmlClocksThrottleReasonSwPowerCap = 4
    nvmlClocksThrottleReasonHwSlowdown = 8

    def __init__(self) -> None:
        super().__init__(pids=[os.getpid(), 1], reasons=4 | 1, clock=1980, handles={"GPU-played": "card"}, asked=[])

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None: ...

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"580.65.06"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12080

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> str:
        if (found := self.handles.get(uuid.decode())) is None:
            raise RuntimeError("Not Found")
        return found

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: str) -> str:
        assert part == "slice"
        return "card"

    def nvmlDeviceGetName(self, part: str) -> str:
        assert part == "slice"
        return "Played GPU MIG 1g.5gb"

    def nvmlDeviceGetClockInfo(self, card: str, _kind: int) -> int:
        assert card == "card"
        return self.clock

    def nvmlDeviceGetMaxClockInfo(self, card: str, _kind: int) -> int:
        return 1980

    def nvmlDeviceGetEnforcedPowerLimit(self, _card: str) -> int:
        return 700_000

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, _card: str) -> int:
        return self.reasons

    def nvmlDeviceGetMigMode(self, _card: str) -> list[int]:
        raise RuntimeError("Not Supported")

    def nvmlDeviceGetComputeRunningProcesses(self, part: str) -> list[Any]:
        self.asked.append(part)
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
        "driver_cuda": "12.8",
        "clock_mhz": 1980,
        "max_clock_mhz": 1980,
        "power_limit_watts": 700.0,
        "throttled": "power limit",
        "other_processes": 1,
    }, "MIG, which this card does not know, is not told"
    nvml.pids = [STRANGER]
    assert "other_processes" not in gpu_state("cuda:1"), "in a container they bear other numbers"


@pytest.mark.parametrize("named_by", ["the environment", "its UUID"])
def test_a_slice_of_a_card_is_asked_for_its_own_users_and_the_card_for_the_rest(
    nvml: PlayedLibrary, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    nvml.handles = {"MIG-played": "slice"}
    if named_by == "the environment":
        nvml.handles = {"GPU-played": "card", "MIG-one": "slice"}
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-one")
    found = gpu_state("cuda:0")
    assert found["slice"] == "Played GPU MIG 1g.5gb" and found["clock_mhz"] == 1980
    assert nvml.asked == ["slice"]


def test_why_nothing_is_known_is_noted(nvml: PlayedLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.handles = {}
    assert list(gpu_state("cuda:0")) == ["unread"]

    def refused() -> None:
        raise RuntimeError("Driver Not Loaded")

    monkeypatch.setattr(nvml, "nvmlInit", refused)
    assert "Driver Not Loaded" in gpu_state("cuda:0")["unread"]
    monkeypatch.setitem(sys.modules, "pynvml", None)
    found = gpu_state("cuda:0")
    assert "nvidia-ml-py" in found["unread"] and gpu_notes(found, found) == found
    assert list(machine_table({"gpu": found})) == ["State of the GPU"]


def test_the_worse_state_counts_and_the_clock_of_the_one_that_had_just_computed(nvml: PlayedLibrary) -> None:
    nvml.clock = 345  # it slept
    before = gpu_state("cuda:0")
    nvml.clock, nvml.reasons, nvml.pids = 1755, 8, []
    notes = gpu_notes(before, gpu_state("cuda:0"))
    assert (notes["clock_mhz"], notes["other_processes"]) == (1755, 1)
    assert notes["throttled"] == "hardware slowdown, power limit"


def test_what_holds_a_card_down_is_said_with_the_times(nvml: PlayedLibrary) -> None:
    record = replace(make_record(), machine={"gpu": gpu_state("cuda:0")})
    assert [each.name for each in card_findings(record)] == ["card.throttled"]
    words = machine_table(record.machine)
    assert "1980" in words["GPU clock after the run"] and "700" in words["GPU power limit"]
    assert machine_table({"cuda": "13.0", "cudnn": 91002}) == {"CUDA": "13.0", "cuDNN": "91002"}
    assert words["GPU clock held down"] == "power limit" and "Gpu" not in words
    nvml.reasons = 1
    record = replace(record, machine={"gpu": gpu_state("cuda:0") | {"slice": "a part"}})
    assert [each.name for each in card_findings(record)] == ["card.slice"]
    assert len(say_each(card_findings(record))) == 1
    for damaged in ({"gpu": None}, {"gpu": {"throttled": ["heat"], "slice": 1}}, {}):
        record = replace(record, machine=damaged)
        assert card_findings(record) == [] and isinstance(machine_table(damaged), dict)


def test_a_run_notes_its_card_and_a_stranger_is_its_company(nvml: PlayedLibrary, small_tiles: TileSet) -> None:
    config = recipe_config("baseline", "fast", device="cuda:1", epochs=1, precision="float32", channels_last=False)
    job = Job("a-run", config, small_tiles.fingerprint, str(small_tiles.cache), 1)
    result = run_job(job, lambda _events: None)
    assert result.state == "finished", result.message
    assert result.machine["gpu"]["other_processes"] == 1 and result.machine["gpu"]["driver"] == "580.65.06"
    assert all(not isinstance(each, list | dict) for each in result.machine["gpu"].values()), "as bundles want it"
    assert libraries().items() <= result.machine.items()
    record = replace(make_record(), machine=result.machine | {"busy_elsewhere": 0.0})
    assert len(record.company) == 1 and "1 " in record.company[0]
    for damaged in ({"gpu": None}, {"gpu": {"other_processes": "many"}}, {}):
        assert replace(record, machine=damaged).company == ()
