import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import CPU, GPU, NO_GPU

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab import doctor
from eurosat_core.lab.doctor import (
    CPU_ONLY_INSTALL,
    Check,
    TilesState,
    build_checks,
    compiler_checks,
    profiler_checks,
    room_check,
)
from eurosat_core.lab.messages import Slot
from eurosat_core.settings import Settings
from eurosat_core.training import problems

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs=tmp_path / "not" / "there", cache=tmp_path, threads=2)


def check(settings: Settings, name: str, tiles: TilesState | None = None, **options: Any) -> list[Check]:
    devices = options.pop("devices", (CPU, NO_GPU))
    options.setdefault("devices_known", True)
    return [each for each in room_check(settings, tiles or TilesState(), devices, **options) if each.name == name]


def share(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    """Make so many bytes of shared memory free; None: a system that has no such limit."""
    monkeypatch.setattr(doctor, "free_shared_memory", lambda: free)
    monkeypatch.setattr(problems, "free_shared_memory", lambda: free)


def test_every_line_is_there_in_order(
    settings: Settings, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    share(monkeypatch, 2 * 1024**3)
    checks = room_check(settings, TilesState(small_tiles), (CPU, NO_GPU), devices_known=True)
    assert [each.name for each in checks] == [
        "Tiles",
        "Weights",
        "Weights",
        "CPU",
        "GPU",
        "Workers",
        "Shared memory",
        "Disk",
        "Software",
    ]
    assert all(each.text for each in checks)
    assert all(each.remedy for each in checks if each.state in ("missing", "problem"))


def test_shared_memory(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, state, words in (
        (8 * 1024**3, "ready", ["8.0 GB"]),
        (64 * 1024**2, "ready", ["64 MB", "--shm-size"]),  # as Docker has it
        (4 * 1024**2, "problem", ["4.0 MB", "--shm-size"]),
    ):
        share(monkeypatch, free)
        (found,) = check(settings, "Shared memory")
        assert found.state == state
        assert [word for word in words if word not in f"{found.text} {found.remedy}"] == []
        assert check(replace(settings, scheduler="tls://host:8786"), "Shared memory") == []
    share(monkeypatch, None)
    assert check(settings, "Shared memory") == []


def tiles_check(settings: Settings, state: TilesState) -> Check:
    (found,) = check(settings, "Tiles", state)
    return found


def test_tiles_that_are_being_opened(settings: Settings) -> None:
    assert tiles_check(settings, TilesState()).state == "checking"
    assert "1,200 of 27,000" in tiles_check(settings, TilesState(None, 1200, 27000)).text


def test_tiles_of_each_source(settings: Settings, small_tiles: TileSet) -> None:
    own = tiles_check(settings, TilesState(small_tiles))
    assert (own.state, own.remedy) == ("ready", "") and "200 tiles" in own.text
    synthetic = tiles_check(settings, TilesState(replace(small_tiles, source="synthetic")))
    assert synthetic.state == "missing" and "EUROSAT_DATA" in synthetic.remedy
    part = tiles_check(settings, TilesState(replace(small_tiles, source="eurosat")))
    assert part.state == "ready" and "200 of 27,000" in part.text and "incomplete" in part.remedy


def test_tiles_that_could_not_be_used(settings: Settings, small_tiles: TileSet) -> None:
    state = TilesState(replace(small_tiles, source="synthetic"), problem="No tiles in /x.")
    found = tiles_check(settings, state)
    assert found.state == "problem" and "/x" in found.text and "200 synthetic" in found.text
    assert found.remedy == "", "a failed download is not put right by EUROSAT_DATA"
    assert tiles_check(settings, replace(state, remedy="Set EUROSAT_DATA.")).remedy == "Set EUROSAT_DATA."
    neither = tiles_check(settings, TilesState(problem="No space.", remedy="Free some."))
    assert (neither.state, neither.text) == ("problem", "No space.") and "Free some." in neither.remedy


def test_devices(settings: Settings) -> None:
    (cpu,) = check(settings, "CPU")
    assert cpu.state == "ready" and "Test CPU" in cpu.text and "of memory" in cpu.text
    (gpu,) = check(settings, "GPU")
    assert gpu.state == "missing" and gpu.text == NO_GPU.reason and "CPU" in gpu.remedy
    (gpu,) = check(settings, "GPU", devices=(CPU, GPU))
    assert gpu.state == "ready" and "Test GPU" in gpu.text
    (gpu,) = check(settings, "GPU", devices=(CPU,), devices_known=False)
    assert gpu.state == "checking"


def test_workers(settings: Settings) -> None:
    (ready,) = check(settings, "Workers")
    assert ready.state == "ready" and "1 worker" in ready.text and "2 CPU" in ready.text
    (two,) = check(settings, "Workers", devices=(CPU, GPU))
    assert "2 worker" in two.text
    (starting,) = check(settings, "Workers", devices_known=False)
    assert starting.state == "checking"
    (none,) = check(settings, "Workers", workers="No start.")
    assert (none.state, none.text) == ("problem", "No start.") and none.remedy
    (cluster,) = check(replace(settings, scheduler="tls://host:8786"), "Workers")
    assert cluster.text.endswith("tls://host:8786"), "the command line has not asked it"
    slots = [Slot("cpu", name, "one") for name in "ab"]
    two, differing = check(
        replace(settings, scheduler="tls://host:8786"), "Workers", slots=slots, remarks=["It has PyTorch 0.9."]
    )
    assert "2 workers" in two.text and (differing.state, differing.text) == ("missing", "It has PyTorch 0.9.")


def test_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, state in ((50 * 1024**3, "ready"), (1024**3, "problem")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _place, free=free: Usage(0, 0, free))
        (disk,) = check(settings, "Disk")
        assert disk.state == state and "GB" in disk.text


def test_a_smaller_pytorch_is_named_with_its_command_where_it_is_enough(settings: Settings) -> None:
    assert build_checks("") == ()
    (needless,) = build_checks("2.14.1+cu130")
    assert (needless.name, needless.state) == ("PyTorch", "ready"), "it works as it is"
    assert "2.14.1+cu130" in needless.text and CPU_ONLY_INSTALL in needless.remedy
    assert not any(CPU_ONLY_INSTALL in each.remedy for each in check(settings, "GPU")), "participants install nothing"


def test_a_profile_is_checked_on_every_gpu_there_is() -> None:
    asked: list[str] = []

    def blocked(device: str) -> str:
        asked.append(device)
        return "No kernel."

    assert list(profiler_checks((CPU, NO_GPU), blocked)) == [] and asked == []
    (unseen,) = profiler_checks((CPU, GPU), blocked)
    assert asked == [GPU.id]
    assert (unseen.name, unseen.state, unseen.text) == ("Profiler", "missing", "No kernel.")
    assert "NVreg_RestrictProfilingToAdminUsers" in unseen.remedy
    (seen,) = profiler_checks((CPU, GPU), lambda _device: "")
    assert (seen.state, seen.remedy) == ("ready", "") and GPU.name in seen.text


def test_what_cannot_be_compiled_is_missing_with_what_to_do() -> None:
    problems = {CPU.id: "", GPU.id: "Install Triton."}
    on_cpu, on_gpu = compiler_checks((CPU, GPU, NO_GPU), problems.__getitem__)
    assert (on_cpu.state, on_cpu.remedy) == ("ready", "") and CPU.name in on_cpu.text
    assert (on_gpu.state, on_gpu.remedy) == ("missing", "Install Triton.") and GPU.name in on_gpu.text
