"""The networks that are ours: the tutorial's baseline, tilenet, and the block of networks that participants build."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Net(nn.Module):
    """The tutorial's baseline, layer for layer: two convolutions, two poolings, three linear layers.

    Tiles [B, 3, 64, 64] in, one score per class [B, classes] out; 338,486 parameters for ten classes.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool1 = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool2 = nn.MaxPool2d(2, 2)
        self.fc1 = nn.Linear(16 * 13 * 13, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, classes)

    def forward(self, tiles: Tensor) -> Tensor:
        features = self.pool1(functional.relu(self.conv1(tiles)))
        features = self.pool2(functional.relu(self.conv2(features)))
        hidden = functional.relu(self.fc1(features.flatten(1)))
        hidden = functional.relu(self.fc2(hidden))
        scores: Tensor = self.fc3(hidden)
        return scores


# Its source is part of what participants export, word for word.
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


WIDTHS = (64, 128, 256)


class TileNet(nn.Module):
    """A small residual network of ours that learns EuroSAT from scratch in minutes on a laptop.

    Stem, three stages that halve the size and refine, mean over the places, one linear layer. Every size halves where
    the channels double, so each stage costs about as much as the one before. It halves by a maximum, not by a
    convolution with stride 2: on a CPU the gradient of such a convolution takes five times as long as itself, without
    a stride two to three times (two cores, bfloat16). `bench/tilenet.md` tells what was tried, and what it is worth.

    Takes tiles [B, 3, S, S] of any side S that 16 divides, so that a training can begin with smaller ones.
    stem_pool: halve the size before the first stage, too. Without, every stage sees twice the side: the same
    parameters, about four times the work, and a quarter of the mistakes less after as many epochs.
    """

    def __init__(
        self, classes: int, stem: int = 32, widths: tuple[int, ...] = WIDTHS, *, stem_pool: bool = True
    ) -> None:
        super().__init__()
        self.stem = _convolution(3, stem, size=4, stride=2)
        stages: list[nn.Module] = []
        for before, width in zip((stem, *widths), widths, strict=False):
            stages += [nn.MaxPool2d(2), _convolution(before, width, size=3, stride=1), Refinement(width)]
        if not stem_pool:
            stages[0] = nn.Identity()  # in its place, so that the parameters keep their names
        self.stages = nn.Sequential(*stages)
        self.pool = MeanOverPlaces()
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, tiles: Tensor) -> Tensor:
        """Scores [B, classes]."""
        features = self.pool(self.stages(self.stem(tiles)))
        scores: Tensor = self.classifier(torch.flatten(features, 1))
        return scores


class Refinement(nn.Module):
    """A residual block: what a convolution finds is added to what was there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = _convolution(width, width, size=3, stride=1)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, width, H, W] of the same shape."""
        refined: Tensor = features + self.body(features)
        return refined


class MeanOverPlaces(nn.Module):
    """The mean of every channel over all places.

    One pooling window instead of `AdaptiveAvgPool2d`: the gradient of that comes in another memory order, which every
    layer before it then has to read (62.6 against 56.8 ms a step; 32×32 pixels, batch 128, bfloat16, two cores).
    """

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, width, H, W] to [B, width, 1, 1]."""
        return functional.avg_pool2d(features, features.shape[-2:])


class AdaptiveAvgPool2d(nn.AdaptiveAvgPool2d):
    """PyTorch's, also on Apple GPUs, where one of input and output has to be a multiple of the other.

    VGG's from 2×2 to 7×7 pixels is none. There it is computed as two products of matrices.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._size = size

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, C, H, W] to [B, C, size, size]."""
        sides, size = features.shape[-2:], self._size
        if features.device.type != "mps" or not any(max(side, size) % min(side, size) for side in sides):
            return super().forward(features)
        rows, columns = (window_shares(side, size).to(features) for side in sides)
        return rows @ features @ columns.T


def window_shares(inside: int, outside: int) -> Tensor:
    """Which share of each of `inside` pixels is in each of `outside` means: [outside, inside], as PyTorch divides."""
    shares = torch.zeros(outside, inside)
    for at in range(outside):
        first, end = at * inside // outside, -(-(at + 1) * inside // outside)
        shares[at, first:end] = 1 / (end - first)
    return shares


def _convolution(channels: int, filters: int, size: int, stride: int) -> nn.Sequential:
    """Convolution without a bias (the BatchNorm has one), BatchNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, filters, size, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )


def build_tilenet(classes: int, *, stem_pool: bool = True) -> nn.Module:
    """A freshly initialised tilenet."""
    return TileNet(classes, stem_pool=stem_pool)
