"""What a training counts as it goes: loss and accuracy of a phase, and the memory it holds; waiting for a device."""

from dataclasses import dataclass

import psutil
import torch
from torch import Tensor

__all__ = ["Tally", "memory_bytes", "wait_for"]


@dataclass
class Tally:
    """Sums over one phase, kept on the device so that adding to them does not wait for it."""

    loss: Tensor
    right: Tensor
    tiles: int = 0

    @classmethod
    def on(cls, device: torch.device) -> "Tally":
        """Nothing yet."""
        return cls(torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device))

    def add(self, loss: Tensor, scores: Tensor, labels: Tensor) -> None:
        """One batch more: its mean loss, scores [B, classes] and labels [B]."""
        self.loss += loss.detach() * len(labels)
        self.right += (scores.detach().argmax(1) == labels).sum()
        self.tiles += len(labels)

    def means(self) -> tuple[float, float]:
        """Loss and accuracy per tile; waits for the device."""
        return self.loss.item() / self.tiles, self.right.item() / self.tiles


def wait_for(device: torch.device) -> None:
    """Until the device has done all it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type != "cpu":
        torch.accelerator.synchronize()


def memory_bytes(device: torch.device) -> int:
    """Bytes held on the device; for a CPU, of this process."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    return int(psutil.Process().memory_info().rss)
