"""The PyTorch that the Train page shows: it runs, and computes in the precision and layout of the settings."""

import ast
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from eurosat_core.training.config import TrainConfig
from pages.parts.train import start

CONFIG = TrainConfig(precision="float32", channels_last=False)


class _Net(nn.Module):
    """Notes in what precision and layout it is asked."""

    asked: ClassVar[list[tuple[torch.dtype, bool]]] = []

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.last = nn.Conv2d(3, 4, 3), nn.Linear(4, 10)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        mixed = self.convolution(pictures)
        self.asked.append((mixed.dtype, mixed.is_contiguous(memory_format=torch.channels_last)))
        return self.last(mixed.mean((2, 3)))


def _run(code: str) -> list[tuple[torch.dtype, bool]]:
    """Run what is shown on the CPU for an epoch of two batches and one to judge."""
    _Net.asked = []
    batch = torch.rand(8, 3, 8, 8), torch.arange(8)
    given = {
        "Net": _Net,
        "torch": torch,
        "DataLoader": lambda tiles, **_: tiles,
        "tiles": [batch, batch],
        "cross_entropy": cross_entropy,
        "epochs": 1,
        "validation_batches": [batch],
        "right": 0,
    }
    exec(compile(code, "shown", "exec"), given)
    return _Net.asked


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_shown_computes_as_the_settings_say(precision, channels_last):
    on_cpu, _ = start.code(replace(CONFIG, precision=precision, channels_last=channels_last))
    asked = _run(on_cpu)
    assert len(asked) == 3
    assert {dtype for dtype, _ in asked} == {getattr(torch, precision)}
    assert all(layout == channels_last for _, layout in asked[:2])


@pytest.mark.parametrize("channels_last", [False, True, None])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_the_gpu_version_is_python_and_moves_everything(precision, channels_last):
    on_cpu, on_gpu = start.code(replace(CONFIG, precision=precision, channels_last=channels_last))
    ast.parse(on_gpu)
    assert on_gpu.count('"cuda"') >= 5
    assert ("autocast" in on_gpu) == ("autocast" in on_cpu) == (precision == "bfloat16")
    assert all(len(line) <= 75 for line in f"{on_cpu}\n{on_gpu}".splitlines())


def test_a_compiled_network_learns_and_the_plain_one_is_judged(monkeypatch: pytest.MonkeyPatch):
    learned: list[torch.Size] = []

    def compiled(network: nn.Module):
        return lambda pictures: learned.append(pictures.shape) or network(pictures)

    monkeypatch.setattr(torch, "compile", compiled)
    on_cpu, on_gpu = start.code(replace(CONFIG, execution="compiled"))
    assert len(_run(on_cpu)) == 3
    assert len(learned) == 2, "both batches of the epoch, and not the one that it is judged on"
    assert on_gpu.count("torch.compile(") == 1


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_graph_is_recorded_once_and_replayed_for_every_batch(precision, channels_last):
    on_cpu, on_gpu = start.code(replace(CONFIG, execution="graph", precision=precision, channels_last=channels_last))
    assert on_cpu == start.code(replace(CONFIG, precision=precision, channels_last=channels_last))[0]
    (epochs,) = [node for node in ast.parse(on_gpu).body if isinstance(node, ast.For)]
    called = [node.func.attr for node in ast.walk(epochs) if isinstance(node, ast.Call) and hasattr(node.func, "attr")]
    assert called.count("replay") == 1 and "backward" not in called
    assert on_gpu.count("torch.cuda.CUDAGraph()") == on_gpu.count("loss.backward()") == 1
    assert ("autocast" in on_gpu) == (precision == "bfloat16")
    assert all(len(line) <= 75 for line in on_gpu.splitlines())
