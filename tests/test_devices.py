from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from eurosat_core import devices
from eurosat_core.devices import Device, cpu_device, gpu_problem, needless_gpu_build, probe_devices

OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040)."
INSUFFICIENT = "CUDA driver version is insufficient for CUDA runtime version"


@pytest.mark.parametrize(
    ("built_for", "driver", "error", "unsupported", "words"),
    [
        ("12.8", False, "Found no NVIDIA driver on your system.", (), ["No GPU was found"]),
        (None, False, "", (), ["CPU-only build", "Fine without a GPU"]),
        (None, True, "", (), ["CPU-only build", "pytorch.org"]),
        ("12.8", True, OLD_DRIVER, (), ["driver is too old", "Update the NVIDIA driver"]),
        ("12.8", True, INSUFFICIENT, (), ["driver is too old"]),
        ("12.8", True, "No CUDA GPUs are available\nmore", (), ["could not use it: No CUDA GPUs are available"]),
        ("12.8", True, "", (), ["no reason given"]),
        ("13.0", True, "", ("Tesla V100", "GTX 1080"), ["for the Tesla V100 and the GTX 1080", "older PyTorch"]),
    ],
)
def test_each_reason_has_its_sentence(
    built_for: str | None, driver: bool, error: str, unsupported: tuple[str, ...], words: list[str]
) -> None:
    sentence = gpu_problem(built_for=built_for, driver_present=driver, init_error=error, unsupported=unsupported)
    assert all(word in sentence for word in words)
    assert "\n" not in sentence


def test_cpu_is_named_with_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_cores", lambda: 1)
    monkeypatch.setattr(devices, "cpu_name", lambda: "Fast 9000")
    cpu = cpu_device()
    assert (cpu.id, cpu.name, cpu.available, cpu.is_gpu) == ("cpu", "Fast 9000, 1 core", True, False)
    assert cpu.memory_bytes is not None
    assert cpu.memory_bytes > 2**20


def test_cpu_has_a_name_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "Path", lambda *_: Path("/no/such/file"))
    monkeypatch.setattr(devices.platform, "processor", lambda: "")
    monkeypatch.setattr(devices.platform, "machine", lambda: "riscv64")
    assert devices.cpu_name() == "riscv64"


def test_this_machine_lists_its_cpu_first_and_why_a_gpu_is_missing() -> None:
    cpu, gpu, *_ = probe_devices()
    assert cpu.id == "cpu" and cpu.available
    assert gpu.is_gpu and gpu.available == torch.accelerator.is_available()
    assert gpu.available or gpu.reason.endswith(".")


@pytest.fixture
def fake_accelerator(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Function: pretend that torch sees an accelerator of some type, with these (name, capability) cards."""

    def pretend(kind: str, cards: list[tuple[str, int, int]], built: list[str]) -> None:
        monkeypatch.setattr(
            torch.accelerator, "current_accelerator", lambda check_available: SimpleNamespace(type=kind)
        )
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda at: SimpleNamespace(name=cards[at][0], major=cards[at][1], minor=cards[at][2], total_memory=at + 1),
        )

    return pretend


@pytest.mark.parametrize(
    ("kind", "cards", "built", "usable"),
    [
        (
            "cuda",
            [("H100", 9, 0), ("Tesla V100", 7, 0), ("RTX 5090", 12, 0)],
            ["sm_75", "sm_90a", "sm_100", "compute_120"],  # `compute_…` can be compiled for later cards, too
            [True, False, True],
        ),
        ("cuda", [("RTX 5090", 12, 0), ("A10", 8, 6), ("A100", 8, 0)], ["sm_75", "sm_86"], [False, True, False]),
        ("cuda", [("MI250", 9, 0)], ["gfx90a", "gfx942"], [True]),  # AMD's are not judged by number
        ("xpu", [], [], [False]),
        ("mps", [], [], [True]),
    ],
)
def test_what_this_build_has_programs_for(
    fake_accelerator: Callable[..., None],
    kind: str,
    cards: list[tuple[str, int, int]],
    built: list[str],
    usable: list[bool],
) -> None:
    fake_accelerator(kind, cards, built)
    found = probe_devices()[1:]
    assert [each.available for each in found] == usable
    for at, each in enumerate(found):
        assert each.id == (f"cuda:{at}" if kind == "cuda" else kind)
        assert each.available == (each.reason == "") and (
            each.available or (each.name if cards else kind) in each.reason
        )
    if kind == "mps":
        assert found == (Device("mps", "Apple GPU", None),)


@pytest.mark.parametrize(("built_for", "words"), [("13.0", "driver is too old"), (None, "CPU-only build")])
def test_what_cuda_says_becomes_the_reason(monkeypatch: pytest.MonkeyPatch, built_for: str | None, words: str) -> None:
    def init() -> None:
        raise RuntimeError(OLD_DRIVER)

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "init", init)
    assert words in probe_devices()[1].reason


@pytest.mark.parametrize(
    ("built_for", "driver", "usable", "needless"),
    [
        ("13.0", False, False, True),
        ("13.0", True, False, False),  # a GPU is there, or was meant to be: its own line says what is wrong
        ("13.0", False, True, False),
        (None, False, False, False),
    ],
)
def test_a_gpu_build_without_a_gpu_is_needless(
    monkeypatch: pytest.MonkeyPatch, built_for: str | None, driver: bool, usable: bool, needless: bool
) -> None:
    monkeypatch.setattr(torch.version, "cuda", built_for)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: usable)
    monkeypatch.setattr(devices, "_driver_present", lambda: driver)
    assert needless_gpu_build() == (torch.__version__ if needless else "")
