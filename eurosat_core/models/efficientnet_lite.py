"""EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation and with ReLU6, made for small devices.

Tan and Le, "EfficientNet", 2019; the Lite variants: tensorflow/tpu, models/official/efficientnet/lite, 2020. Parameters
bear the names of the published PyTorch weights, so that these load as they are.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["EfficientNetLite0"]

# Of each stage: blocks, filter size, stride of its first block, expansion, channels in, channels out.
_STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
_FEATURES = 1280


class _SameConv(nn.Conv2d):
    """TensorFlow's padding "same": what cannot be divided evenly goes to the right and to the bottom."""

    def forward(self, input: Tensor) -> Tensor:
        pads: list[int] = []
        for size, side, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            pad = max((-(-size // stride) - 1) * stride + side - size, 0)
            pads += [pad // 2, pad - pad // 2]
        return super().forward(functional.pad(input, pads) if any(pads) else input)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class _Block(nn.Module):
    """Expand, convolve each channel by itself, project back; with a shortcut where shapes allow."""

    def __init__(self, side: int, stride: int, expansion: int, inside: int, outside: int) -> None:
        super().__init__()
        wide = inside * expansion
        if expansion != 1:
            self._expand_conv = _SameConv(inside, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = _SameConv(wide, wide, side, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = _SameConv(wide, outside, 1, bias=False)
        self._bn2 = _norm(outside)
        self._expands = expansion != 1
        self._shortcut = stride == 1 and inside == outside

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs
        if self._expands:
            hidden = functional.relu6(self._bn0(self._expand_conv(hidden)))
        hidden = functional.relu6(self._bn1(self._depthwise_conv(hidden)))
        hidden = self._bn2(self._project_conv(hidden))
        result: Tensor = hidden + inputs if self._shortcut else hidden
        return result


class EfficientNetLite0(nn.Module):
    """Tiles [B, 3, H, W] in, one score per class [B, classes] out. `features` gives what the last layer sees."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        self._blocks = nn.Sequential(
            *(
                _Block(side, stride if number == 0 else 1, expansion, inside if number == 0 else outside, outside)
                for blocks, side, stride, expansion, inside, outside in _STAGES
                for number in range(blocks)
            )
        )
        self._conv_head = _SameConv(320, _FEATURES, 1, bias=False)
        self._bn1 = _norm(_FEATURES)
        self._fc = nn.Linear(_FEATURES, classes)

    def features(self, tiles: Tensor) -> Tensor:
        """[B, 1280], mean over the picture."""
        hidden = functional.relu6(self._bn0(self._conv_stem(tiles)))
        hidden = self._blocks(hidden)
        hidden = functional.relu6(self._bn1(self._conv_head(hidden)))
        return torch.mean(hidden, dim=(2, 3))

    def forward(self, tiles: Tensor) -> Tensor:
        scores: Tensor = self._fc(self.features(tiles))
        return scores
