"""tilenet: a small residual network of ours that learns EuroSAT from scratch in minutes on a laptop.

Every size halves where the channels double, so each stage costs about as much as the one before. It halves by a
maximum, not by a convolution with stride 2: on a CPU the gradient of such a convolution takes five times as long as
itself, without a stride two to three times (two cores, bfloat16). What was tried, and what each choice is worth,
stands in `bench/tilenet.md`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (64, 128, 256)


class TileNet(nn.Module):
    """Stem, three stages that halve the size and refine, mean over the places, one linear layer.

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
