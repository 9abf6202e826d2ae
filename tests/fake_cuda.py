"""Cards without figures: PyTorch's fake tensors know only where they lie, and refuse to meet one that lies elsewhere.

What `cuda_alias` cannot show, for there all tensors lie on the CPU. Nothing is computed, so nothing can be read: `item`
gives 1. PyTorch's engine for gradients wants a real card; they are made up, each where its parameter lies.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from cuda_alias import Cards, played_cuda
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode


@contextmanager
def fake_cuda(cards: Cards | None = None) -> Iterator[Cards]:
    """Inside, every tensor is a fake one, on the device that it would have."""
    with pytest.MonkeyPatch.context() as patch, played_cuda(cards, tensors=False) as cards:
        patch.setattr(nn.Module, "_apply", _apply)
        patch.setattr(Tensor, "backward", _backward)
        patch.setattr(torch.autograd, "grad", lambda _of, wanted, *_more, **_how: [*map(torch.zeros_like, wanted)])
        patch.setattr(Tensor, "item", lambda _tensor: 1)
        patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
        patch.setattr(torch, "_fused_sgd_", _fused_sgd)
        patch.setattr(torch.cuda, "CUDAGraph", MagicMock)
        patch.setattr(torch.cuda, "graph", lambda _graph, **_how: nullcontext())  # nothing needs to be made again
        patch.setattr(FakeTensorMode, "avoid_device_init", True)  # though cards are played
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield cards


def _apply(self: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """As PyTorch's; a fake tensor cannot be exchanged in its place for one on another device."""
    for module in self.modules() if recurse else (self,):
        for name, each in module._parameters.items():
            if each is not None:
                module._parameters[name] = nn.Parameter(change(each.detach()), each.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = change(buffer)
    return self


def _backward(self: Tensor, gradient: Tensor | None = None, **_how: Any) -> None:
    """Each parameter that this was computed from gets a gradient where it lies itself."""
    assert gradient is None or gradient.device == self.device
    waiting, seen = [self.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            leaf.grad = torch.zeros_like(leaf)
        waiting += [each for each, _ in node.next_functions]


def _fused_sgd(parameters: list[Tensor], gradients: list[Tensor], momenta: list[Tensor], **_how: Any) -> None:
    """Of this program PyTorch does not know what it does to fake tensors."""
    for parameter, *others in zip(parameters, gradients, *([momenta] if momenta else []), strict=True):
        for each in others:
            parameter.add_(each)
