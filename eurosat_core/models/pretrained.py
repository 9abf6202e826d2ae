"""Networks that were trained on ImageNet and learn only a new last layer: transfer learning.

Everything but the last layer is frozen. The frozen part always gives the same numbers for the same tile, so they can be
computed once: `frozen_part` says what is frozen, `trained_part` what is left to compute in every step.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eurosat_core.errors import DataError
from eurosat_core.models.catalog import ModelEntry, build_model
from eurosat_core.models.efficientnet_lite import EfficientNetLite0

__all__ = [
    "build_efficientnet_lite0",
    "build_vgg11_bn",
    "from_weights",
    "frozen_part",
    "learning_layer",
    "norms_in_evaluation_mode",
    "trained_part",
]


def build_vgg11_bn(classes: int = 10) -> nn.Module:
    """torchvision's VGG11-BN with a last layer for `classes`, everything else frozen; random weights."""
    from torchvision.models import vgg11_bn  # here, for it takes a second to load

    network: nn.Module = vgg11_bn(weights=None)
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
    old = network.get_submodule(entry.last_layer)
    assert isinstance(old, nn.Linear)
    network.set_submodule(entry.last_layer, nn.Linear(old.in_features, classes))
    return network


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
