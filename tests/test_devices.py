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
    ("facts", "words"),
    [
        (("12.8", False, "Found no NVIDIA driver on your system."), ["No GPU was found"]),
        ((None, False, ""), ["CPU-only build", "Fine without a GPU"]),
        ((None, True, ""), ["CPU-only build", "pytorch.org"]),
        (("12.8", True, OLD_DRIVER), ["driver is too old", "Update the NVIDIA driver"]),
        (("12.8", True, INSUFFICIENT), ["driver is too old"]),
        (
            ("12.8", True, "No CUDA GPUs are available\nmore"),
            ["could not use it: No CUDA GPUs are available"],
        ),
        (("12.8", True, ""), ["no reason given"]),
    ],
)
def test_each_reason_has_its_sentence(facts: tuple[str | None, bool, str], words: list[str]) -> None:
    built_for, driver, error = facts
    sentence = gpu_problem(built_for=built_for, driver_present=driver, init_error=error)
    assert all(word in sentence for word in words)
    assert "\n" not in sentence


def test_unsupported_cards_are_named() -> None:
    sentence = gpu_problem(built_for="13.0", driver_present=True, init_error="", unsupported=("Tesla V100", "GTX 1080"))
    assert "has no programs for the Tesla V100 and the GTX 1080" in sentence
    assert "older PyTorch" in sentence


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


def test_this_machine_lists_its_cpu_first() -> None:
    found = probe_devices()
    assert found[0].id == "cpu"
    assert found[0].available
    assert len(found) > 1, "a GPU that is missing is listed too"
    assert all(each.available or each.reason for each in found)


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_missing_gpu_has_a_reason() -> None:
    gpu = probe_devices()[1]
    assert not gpu.available
    assert gpu.is_gpu
    assert gpu.reason.endswith(".")


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


def test_supported_and_too_old_card(fake_accelerator: Callable[..., None]) -> None:
    cards = [("H100", 9, 0), ("Tesla V100", 7, 0), ("RTX 5090", 12, 0)]
    fake_accelerator("cuda", cards, ["sm_75", "sm_90a", "sm_100", "compute_120"])
    _, new, old, newest = probe_devices()
    assert new == Device("cuda:0", "H100", 1)
    assert (old.id, old.available) == ("cuda:1", False)
    assert "Tesla V100" in old.reason
    assert newest.available


def test_a_card_newer_than_the_build_is_named(fake_accelerator: Callable[..., None]) -> None:
    """Programs run on cards of their own generation; only `compute_…` can be compiled for later ones."""
    fake_accelerator("cuda", [("RTX 5090", 12, 0), ("A10", 8, 6), ("A100", 8, 0)], ["sm_75", "sm_86"])
    assert [each.available for each in probe_devices()[1:]] == [False, True, False]


def test_an_unknown_accelerator_is_listed_with_the_reason(fake_accelerator: Callable[..., None]) -> None:
    fake_accelerator("xpu", [], [])
    assert not probe_devices()[1].available
    assert "xpu" in probe_devices()[1].reason


def test_amd_cards_are_not_judged_by_number(fake_accelerator: Callable[..., None]) -> None:
    fake_accelerator("cuda", [("MI250", 9, 0)], ["gfx90a", "gfx942"])
    assert probe_devices()[1].available


def test_apple_gpu(fake_accelerator: Callable[..., None]) -> None:
    fake_accelerator("mps", [], [])
    assert probe_devices()[1] == Device("mps", "Apple GPU", None)


def test_init_error_of_cuda_becomes_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError(OLD_DRIVER)

    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    assert "driver is too old" in probe_devices()[1].reason


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


def test_cpu_only_build_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "CPU-only build" in probe_devices()[1].reason
