"""Pretrained networks: VGG11-BN of torchvision and EfficientNet-Lite0, with a head for our classes.

Everything but the last layer is frozen. The frozen part always gives the same numbers for the same tile, so they can be
computed once: `frozen_part` says what is frozen, `trained_part` what is left to compute in every step.

`folded_frozen_part` is the same up to rounding, and cheaper. Every BatchNorm in evaluation mode is a multiplication and
an addition per channel, so it goes into the convolution before it. VGG's average pooling only spreads its 2×2 pixels
over 7×7, so it goes into the weights of the linear layer behind it: 2,048 numbers in place of 25,088, and 34 MB of
weights to read in place of 411.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from eurosat_core.errors import DataError
from eurosat_core.models.catalog import ModelEntry, build_model
from eurosat_core.models.networks import AdaptiveAvgPool2d

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
_STEM = 32  # channels
_ENDS = tuple(sum(blocks for blocks, *_ in _STAGES[: number + 1]) - 1 for number in range(len(_STAGES)))


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
    """Tiles [B, 3, H, W] in, one score per class [B, classes] out. `features` gives what the last layer sees.

    EfficientNet-B0 without squeeze-and-excitation and with ReLU6, made for small devices: Tan and Le, "EfficientNet",
    2019; the Lite variants: tensorflow/tpu, models/official/efficientnet/lite, 2020. Parameters bear the names of the
    published PyTorch weights, so that these load as they are.
    """

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

    def stages(self, tiles: Tensor) -> Tensor:
        """[B, 2096]: the mean over the picture of what the stem and every stage give, and `features` last."""
        hidden = functional.relu6(self._bn0(self._conv_stem(tiles)))
        means = [hidden.mean((2, 3))]
        for number, block in enumerate(self._blocks):
            hidden = block(hidden)
            if number in _ENDS:
                means.append(hidden.mean((2, 3)))
        hidden = functional.relu6(self._bn1(self._conv_head(hidden)))
        return torch.cat([*means, hidden.mean((2, 3))], 1)

    def forward(self, tiles: Tensor) -> Tensor:
        scores: Tensor = self._fc(self.features(tiles))
        return scores


def build_vgg11_bn(classes: int = 10) -> nn.Module:
    """torchvision's VGG11-BN with a last layer for `classes`, everything else frozen; random weights."""
    from torchvision.models import vgg11_bn  # here, for it takes a second to load

    network: nn.Module = vgg11_bn(weights=None)
    network.avgpool = AdaptiveAvgPool2d(7)
    return with_new_last_layer(network, "classifier.6", classes)


def build_efficientnet_lite0(classes: int = 10) -> nn.Module:
    """EfficientNet-Lite0 with a last layer for `classes`, everything else frozen; random weights."""
    return with_new_last_layer(EfficientNetLite0(), "_fc", classes)


def with_new_last_layer(network: nn.Module, last: str, classes: int) -> nn.Module:
    """The same network with all parameters frozen and a fresh linear layer in place of `last`."""
    network.requires_grad_(False)
    old = network.get_submodule(last)
    assert isinstance(old, nn.Linear)
    network.set_submodule(last, nn.Linear(old.in_features, classes))
    return network


def from_weights(entry: ModelEntry, classes: int, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network of `entry` with pretrained `weights` for all but its last layer, which draws from torch's generator.

    Raises `DataError` when the weights are of another network.
    """
    with torch.device("meta"):  # shapes alone: half a gigabyte need not be drawn at random first
        network = build_model(entry.name, classes)
    fresh = f"{entry.last_layer}."
    kept = {name: value for name, value in weights.items() if not name.startswith(fresh)}
    try:
        missing, unexpected = network.load_state_dict(kept, strict=False, assign=True)
    except RuntimeError as error:
        raise DataError(
            f"The weights do not fit {entry.title}: {str(error).splitlines()[-1].strip()} Import the published file."
        ) from error
    absent = [name for name in missing if not name.startswith(fresh)]
    if absent or unexpected:
        raise DataError(
            f"The weights do not fit {entry.title}: {len(absent)} of its tensors are missing and {len(unexpected)} are "
            "unknown to it. Import the published file."
        )
    return with_new_last_layer(network, entry.last_layer, classes)


def norms_in_evaluation_mode(network: nn.Module) -> None:
    """Have frozen BatchNorm layers use the statistics they were trained with, whatever mode the network is in.

    In training mode their running means drift towards the new tiles although their weights are frozen: the frozen part
    would no longer be the one that was pretrained, and would give other numbers in every step.
    """
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d) and not layer.weight.requires_grad:
            layer.eval()


def frozen_part(network: nn.Module, tiles: Tensor) -> Tensor:
    """What the frozen part makes of normalised tiles [B, 3, 64, 64]: [B, features].

    Of VGG this is the first hidden layer before its ReLU: both dropouts come after it, so they go on drawing anew in
    every step. The network must be in evaluation mode up to there.
    """
    if isinstance(network, EfficientNetLite0):
        return network.features(tiles)
    hidden = network.get_submodule("avgpool")(network.get_submodule("features")(tiles))
    features: Tensor = network.get_submodule("classifier.0")(hidden.flatten(1))
    return features


def staged_part(network: nn.Module, tiles: Tensor) -> Tensor:
    """As `frozen_part`, with the mean over the picture of what each earlier stage gives before it.

    Early stages know colours and textures, late ones know objects: of satellite tiles both tell something. A stage of
    VGG ends with a pooling.
    """
    if isinstance(network, EfficientNetLite0):
        return network.stages(tiles)
    means, hidden = [], tiles
    for layer in network.get_submodule("features").children():
        hidden = layer(hidden)
        if isinstance(layer, nn.MaxPool2d):
            means.append(hidden.mean((2, 3)))
    hidden = network.get_submodule("avgpool")(hidden)
    return torch.cat([*means, network.get_submodule("classifier.0")(hidden.flatten(1))], 1)


_VGG_STAGES, _VGG_FEATURES = (64, 128, 256, 512, 512), 4096


def feature_count(model: str, *, stages: bool) -> int:
    """How many numbers the frozen part of a pretrained model gives for a tile, with those of its stages or without."""
    if model == "efficientnet_lite0":
        return _FEATURES + stages * (_STEM + sum(each[-1] for each in _STAGES))
    return _VGG_FEATURES + stages * sum(_VGG_STAGES)


def trained_part(network: nn.Module) -> nn.Module:
    """What is computed in every step from the frozen part's output: shares its layers with `network`."""
    if isinstance(network, EfficientNetLite0):
        return network.get_submodule("_fc")
    classifier = network.get_submodule("classifier")
    assert isinstance(classifier, nn.Sequential)
    return classifier[1:]


def learning_layer(network: nn.Module) -> tuple[nn.Module | None, nn.Module]:
    """The trained part in two: what does not change in evaluation mode (None where there is none), and what learns."""
    part = trained_part(network)
    return (part[:-1], part[-1]) if isinstance(part, nn.Sequential) else (None, part)


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
