"""The networks of the lab: the baseline and its variations, and the catalog of all that can be trained.

Importing this module does not import torch, so configs can be checked before it is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from eurosat_core.errors import ConfigError
from eurosat_core.models.layers import ABOUT, SAME, Layer, new_layer, parse_network


@dataclass(frozen=True)
class Preset:
    """A network to start from: its title and its text."""

    name: str
    title: str
    text: str

    @property
    def about(self) -> str:
        """What it is good for, in a sentence."""
        return ABOUT["presets"][self.name]


BASELINE = (
    "conv 6 5, relu, maxpool 2, conv 16 5, relu, maxpool 2, flatten, linear 120, relu, linear 84, relu, linear out"
)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("baseline", "Baseline", BASELINE),
        Preset(
            "wider",
            "Wider",
            "conv 24 5, relu, maxpool 2, conv 64 5, relu, maxpool 2, flatten, linear 120, relu, linear 84, relu, "
            "linear out",
        ),
        Preset(
            "deeper",
            "Deeper",
            "conv 16 3 pad same, relu, maxpool 2, conv 32 3 pad same, relu, maxpool 2, conv 64 3 pad same, relu, "
            "maxpool 2, conv 64 3 pad same, relu, maxpool 2, flatten, linear 128, relu, linear out",
        ),
        Preset(
            "residual",
            "Small residual",
            "conv 32 3 stride 2 pad 1, batchnorm, relu, residual 32, residual 64 stride 2, residual 128 stride 2, "
            "adaptiveavgpool 1, flatten, linear out",
        ),
        Preset("linear", "All linear", "flatten, linear 120, relu, linear 84, relu, linear out"),
        Preset(
            "broken",
            "Broken: repair it",
            "conv 6 5, relu, maxpool 5, conv 16 15, relu, maxpool 2, linear 120, relu, dropout 1, linear 84, softmax",
        ),
    )
}

EXTRA_LAYERS = ("none", "convolution", "linear")


def changed_baseline(
    filters: tuple[int, int] = (6, 16), size: int = 5, extra: str = "none", dropout: float = 0.0
) -> tuple[Layer, ...]:
    """The baseline with other filters, another filter size, one layer more, or dropout before its last layer.

    extra: one of `EXTRA_LAYERS`; a convolution comes after the second pooling and keeps the picture's size, a linear
    layer comes before the last one. The result may not be valid: `check_network` says so.
    """
    layers = list(parse_network(BASELINE))
    layers[0] = layers[0].changed(filters=filters[0], size=size)
    layers[3] = layers[3].changed(filters=filters[1], size=size)
    if dropout:
        layers.insert(-1, new_layer("dropout", share=dropout))
    if extra == "linear":
        layers[-1:-1] = [new_layer("linear", units=84), new_layer("relu")]
    if extra == "convolution":
        layers[6:6] = [new_layer("conv", filters=filters[1], size=3, pad=SAME), new_layer("relu")]
    return tuple(layers)


if TYPE_CHECKING:
    from torch import nn


TILE_MEAN = (0.344, 0.380, 0.407)
TILE_STD = (0.204, 0.137, 0.116)
"""Mean and standard deviation per channel of the pixels (0…1) of 24,300 real tiles."""


@dataclass(frozen=True)
class ModelEntry:
    """One model: `builder` is `module:callable`; `build_model` knows what it takes.

    mean, std: per channel, applied to pixels in 0…1 as (pixel - mean) / std; the tutorial's (also for VGG) unless told.
    recipe: the one it is trained with unless told.
    weights: pretrained weights (a key of `data.weights.WEIGHTS`) that it starts from; empty when it learns from
    scratch. last_layer: the one layer of a pretrained network that is replaced and trained.
    """

    name: str
    title: str
    builder: str
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    recipe: str = "tutorial"
    weights: str = ""
    last_layer: str = ""

    @property
    def about(self) -> str:
        """What it is, in a sentence."""
        return ABOUT["models"][self.name]

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from weights learned elsewhere, with all but its last layer frozen."""
        return bool(self.weights)


CATALOG = {
    entry.name: entry
    for entry in (
        ModelEntry(name="baseline", title="Baseline CNN", builder="eurosat_core.models.networks:Net"),
        ModelEntry(
            name="vgg11_bn",
            title="VGG11-BN",
            builder="eurosat_core.models.pretrained:build_vgg11_bn",
            weights="vgg11_bn",
            last_layer="classifier.6",
        ),
        ModelEntry(
            name="efficientnet_lite0",
            title="EfficientNet-Lite0",
            builder="eurosat_core.models.pretrained:build_efficientnet_lite0",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            weights="efficientnet_lite0",
            last_layer="_fc",
        ),
        ModelEntry(
            name="tilenet",
            title="tilenet",
            builder="eurosat_core.models.networks:build_tilenet",
            mean=TILE_MEAN,
            std=TILE_STD,
            recipe="fast",
        ),
        ModelEntry(name="custom", title="Your own network", builder="eurosat_core.models.build:build_network"),
    )
}


def model_entry(name: str) -> ModelEntry:
    """The entry of a model. Raises `ConfigError` naming the models there are."""
    try:
        return CATALOG[name]
    except KeyError:
        raise ConfigError(f"There is no model '{name}'. Models are: {', '.join(CATALOG)}.") from None


def build_model(name: str, classes: int = 10, network: str = "", *, stem_pool: bool = True) -> "nn.Module":
    """A freshly initialised network for `classes` classes; draws from torch's global generator.

    network: the layers of the model `custom`, as `models.layers` writes them. stem_pool: of `tilenet`, which has one.
    Raises `ConfigError`.
    """
    module, _, attribute = model_entry(name).builder.partition(":")
    builder: Callable[..., nn.Module] = getattr(import_module(module), attribute)
    match name:
        case "custom":
            return builder(network or BASELINE, classes)
        case "tilenet":
            return builder(classes, stem_pool=stem_pool)
        case _:
            return builder(classes)
