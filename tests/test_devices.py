import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from cuda_alias import Cards, played_cuda
from fake_engine import raising

from eurosat_core import devices
from eurosat_core.commands.request import check_device
from eurosat_core.devices import (
    SLICE,
    Device,
    cpu_device,
    first_kernel_problem,
    gpu_problem,
    needless_gpu_build,
    probe_devices,
    torch_device,
)
from eurosat_core.errors import ConfigError

OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040)."
INSUFFICIENT = "CUDA driver version is insufficient for CUDA runtime version"


@pytest.mark.parametrize(
    ("built_for", "driver", "error", "unsupported", "words"),
    [
        ("12.8", False, "Found no NVIDIA driver on your system.", (), ["No GPU"]),
        (None, False, "", (), ["CPU-only"]),
        (None, True, "", (), ["CPU-only", "pytorch.org"]),
        ("12.8", True, OLD_DRIVER, (), ["too old"]),
        ("12.8", True, INSUFFICIENT, (), ["too old"]),
        ("12.8", True, "No CUDA GPUs\nmore", (), [": No CUDA GPUs"]),
        ("12.8", True, "", (), ["no reason"]),
        ("13.0", True, "", ("Tesla V100", "GTX 1080"), ["Tesla V100", "GTX 1080", "PyTorch"]),
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

    def pretend(kind: str, cards: list[tuple[str, int, int]], built: list[str], amd: str = "") -> None:
        monkeypatch.setattr(
            torch.accelerator, "current_accelerator", lambda check_available: SimpleNamespace(type=kind)
        )
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(cards))
        monkeypatch.setattr(
            torch.cuda,
            "get_device_properties",
            lambda at: SimpleNamespace(
                name=cards[at][0], major=cards[at][1], minor=cards[at][2], total_memory=at + 1, gcnArchName=amd
            ),
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
        ("cuda", [("H100", 9, 0)], ["of a kind that nobody knows"], [True]),  # nothing is said against it
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


@pytest.mark.parametrize(
    ("amd", "usable"),
    [("gfx1100", True), ("gfx90a:sramecc+:xnack-", True), ("gfx1036", False), ("gfx906:sramecc-:xnack-", False)],
)
def test_a_card_of_amd_needs_programs_of_its_own(
    fake_accelerator: Callable[..., None], monkeypatch: pytest.MonkeyPatch, amd: str, usable: bool
) -> None:
    fake_accelerator("cuda", [("Radeon", 11, 0)], ["gfx90a", "gfx942", "gfx1100"], amd)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    (found,) = probe_devices()[1:]
    assert found.capability is None and not found.has_tf32, "its number is none of NVIDIA's"
    assert found.available == usable and ("Radeon" in found.reason) == (not usable)


def test_a_broken_card_takes_no_other_one_with_it(
    fake_accelerator: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_accelerator("cuda", [("H100", 9, 0), ("H100", 9, 0)], ["sm_90"])
    whole = torch.cuda.get_device_properties

    def asked(at: int) -> object:
        if at == 0:
            raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nCompile with …")
        return whole(at)

    monkeypatch.setattr(torch.cuda, "get_device_properties", asked)
    broken, other = probe_devices()[1:]
    assert (broken.id, broken.available, other.id, other.available) == ("cuda:0", False, "cuda:1", True)
    assert broken.reason.endswith("uncorrectable ECC error encountered")


@pytest.mark.parametrize(
    ("name", "capability", "usable"),
    [("Tesla T4", (7, 5), True), ("A100 MIG 3g.20gb", (8, 0), True), ("H100", (9, 0), True), ("K80", (3, 7), False)],
)
def test_the_cards_that_todays_build_knows(name: str, capability: tuple[int, int], usable: bool) -> None:
    with played_cuda(Cards(count=1, name=name, capability=capability)), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_86", "sm_90", "sm_120"])
        (found,) = probe_devices()[1:]
    assert (found.name, found.available) == (name, usable)


@pytest.mark.parametrize(("built_for", "words"), [("13.0", "too old"), (None, "CPU-only")])
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


TWO_CARDS = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-5ed3-7c9c-a1c4-1e9a6d3e2f10)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 1g.5gb      Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaaaaaa-5ed3-7c9c-a1c4-1e9a6d3e2f10)
"""


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Function: have `nvidia-smi -L` print this."""

    def tell(text: str) -> None:
        (tmp_path / "told").write_text(text)
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n[ $1 = -L ] && cat {tmp_path}/told\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return tell


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ["A100-SXM4-40GB MIG 3g.20gb", "A100-SXM4-40GB MIG 1g.5gb", "A100-SXM4-40GB"]),
        ("MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb", ["A100-SXM4-40GB MIG 1g.5gb"]),
    ],
)
def test_every_slice_of_a_card_is_a_device_with_a_process_of_its_own(
    nvidia_smi: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, visible: str | None, expected: list[str]
) -> None:
    nvidia_smi(TWO_CARDS)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with played_cuda(Cards(count=1, name="A100", capability=(8, 0))):
        found = probe_devices()[1:]
    assert [each.id for each in found] == [f"cuda:{at}" for at in range(len(expected))]
    assert [each.name.removeprefix("NVIDIA ") for each in found] == expected
    assert all(each.available and each.visible in TWO_CARDS for each in found)
    assert len({each.visible for each in found}) == len(expected)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_whole_cards_are_listed_by_pytorch(nvidia_smi: Callable[[str], None]) -> None:
    nvidia_smi("\n".join(line for line in TWO_CARDS.splitlines() if line.startswith("GPU")))
    with played_cuda(Cards(count=2)):
        assert [each.visible for each in probe_devices()] == ["", "", ""]


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
@pytest.mark.parametrize("ends", ["exit 9", "exec sleep 20"])
def test_a_program_that_lists_no_slices_is_done_without(
    nvidia_smi: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    nvidia_smi("")
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{ends}\n")
    monkeypatch.setattr(devices, "_LIST_SECONDS", 0.2)
    with played_cuda(Cards(count=2)):
        assert [each.id for each in probe_devices()] == ["cpu", "cuda:0", "cuda:1"]


def test_to_its_own_process_a_slice_is_the_first_card(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_device("cuda:3") == torch.device("cuda:3")
    monkeypatch.setenv(SLICE, "cuda:3")
    assert torch_device("cuda:3") == torch.device("cuda:0") and torch_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="own"):
        torch_device("cuda:0")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, ""),
        (torch.OutOfMemoryError("CUDA out of memory."), ""),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore"), "no kernel image"),
    ],
)
def test_a_card_whose_first_kernel_fails_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, words: str
) -> None:
    with played_cuda():
        if error is not None:
            monkeypatch.setattr(torch, "ones", raising(error))
        problem = first_kernel_problem("cuda:1")
    assert words in problem and bool(problem) == bool(words) and "\n" not in problem


def test_the_command_line_says_how_to_get_another_part_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [Device(f"cuda:{at}", f"A100 MIG {at}", None, visible=f"MIG-{at}") for at in range(2)]
    assert [each.is_seen for each in (cpu_device(), *parts, Device("cuda:1", "A100", None))] == [
        True,
        True,
        False,
        True,
    ]
    monkeypatch.setattr(devices, "probe_devices", lambda: (cpu_device(), *parts))
    check_device("cuda:0")
    with pytest.raises(ConfigError, match="CUDA_VISIBLE_DEVICES=MIG-1"):
        check_device("cuda:1")
