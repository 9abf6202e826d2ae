"""The residual block of networks that participants build. Its source is part of what they export, word for word."""

import torch
from torch import nn


class ResidualBlock(nn.Module):
    """relu(input + two 3×3 convolutions of it); where shapes differ, a 1×1 convolution fits the input to the sum."""

    def __init__(self, channels: int, filters: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != filters:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, filters, 1, stride, bias=False),
                nn.BatchNorm2d(filters),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        kept = x if self.shortcut is None else self.shortcut(x)
        total: torch.Tensor = self.relu(y + kept)
        return total
