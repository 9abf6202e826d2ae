"""The frozen part of a network made cheaper, with the same result up to rounding: what stands still is multiplied out.

Every BatchNorm in evaluation mode is a multiplication and an addition per channel, so it goes into the convolution
before it. VGG's average pooling only spreads its 2×2 pixels over 7×7, so it goes into the weights of the linear layer
behind it: 2,048 numbers in place of 25,088, and 34 MB of weights to read in place of 411.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from eurosat_core.models.efficientnet_lite import EfficientNetLite0
from eurosat_core.models.pretrained import frozen_part

__all__ = ["folded_frozen_part"]


def folded_frozen_part(network: nn.Module, tiles: Tensor) -> Callable[[Tensor], Tensor]:
    """What `frozen_part(network, …)` computes, as a function of normalised tiles [B, 3, H, W] like `tiles`.

    network: in evaluation mode; it is left as it is. tiles: an example, for the sizes between the layers.
    """
    if isinstance(network, EfficientNetLite0):
        return lambda batch: frozen_part(network, batch)
    layers = _without_norms(network.get_submodule("features"))
    with torch.no_grad():
        channels, height, width = layers(tiles[:1]).shape[1:]
        weight, bias = _without_pooling(network, channels, height, width)

    def compute(batch: Tensor) -> Tensor:
        hidden: Tensor = layers(batch)
        return functional.linear(hidden.flatten(1), weight, bias)

    return compute


def _without_norms(features: nn.Module) -> nn.Sequential:
    """The same layers, each convolution with the BatchNorm behind it multiplied in; channels-last."""
    folded: list[nn.Module] = []
    for layer in features.children():
        if isinstance(layer, nn.BatchNorm2d) and folded and isinstance(folded[-1], nn.Conv2d):
            folded[-1] = fuse_conv_bn_eval(folded[-1], layer)
        else:
            folded.append(layer)
    return nn.Sequential(*folded).to(memory_format=torch.channels_last)


def _without_pooling(network: nn.Module, channels: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Weights [out, channels · height · width] and bias of the first linear layer, with the pooling multiplied in."""
    linear = network.get_submodule("classifier.0")
    assert isinstance(linear, nn.Linear)
    cells = height * width
    # What the pooling makes of each cell alone: [cells, pooled cells].
    spread = torch.eye(cells, device=linear.weight.device).view(cells, 1, height, width)
    spread = network.get_submodule("avgpool")(spread).flatten(1)
    weight = linear.weight.view(len(linear.weight), channels, -1) @ spread.T
    return weight.flatten(1).contiguous(), linear.bias
