"""The catalog: every model that can be trained, with its preprocessing and its default recipe.

Importing this module does not import torch, so configs can be checked before it is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from eurosat_core.errors import ConfigError
from eurosat_core.models.presets import BASELINE

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CATALOG", "TILE_MEAN", "TILE_STD", "ModelEntry", "build_model", "default_settings", "model_entry"]

TILE_MEAN = (0.344, 0.380, 0.407)
TILE_STD = (0.204, 0.137, 0.116)
"""Mean and standard deviation per channel of the pixels (0…1) of 24,300 real tiles."""


@dataclass(frozen=True)
class ModelEntry:
    """One model: `builder` is `module:callable`; `build_model` knows what it takes.

    mean, std: per channel, applied to pixels in 0…1 as (pixel - mean) / std.
    settings: what its default recipe changes from `TrainConfig`'s defaults.
    weights: pretrained weights (a key of `data.weights.WEIGHTS`) that it starts from; empty when it learns from
    scratch. last_layer: the one layer of a pretrained network that is replaced and trained.
    """

    name: str
    title: str
    about: str
    builder: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    settings: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    last_layer: str = ""

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from weights learned elsewhere, with all but its last layer frozen."""
        return bool(self.weights)


CATALOG = {
    entry.name: entry
    for entry in (
        ModelEntry(
            name="baseline",
            title="Baseline CNN",
            about="The tutorial's small network: two convolutions with pooling, three linear layers.",
            builder="eurosat_core.models.baseline:Net",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
        ModelEntry(
            name="vgg11_bn",
            title="VGG11-BN",
            about="A large network, pretrained on ImageNet; only its last layer is trained. Tutorials often call it "
            "VGG16.",
            builder="eurosat_core.models.pretrained:build_vgg11_bn",
            mean=(0.5, 0.5, 0.5),  # the tutorial's, not ImageNet's
            std=(0.5, 0.5, 0.5),
            weights="vgg11_bn",
            last_layer="classifier.6",
        ),
        ModelEntry(
            name="efficientnet_lite0",
            title="EfficientNet-Lite0",
            about="A small, modern network, pretrained on ImageNet; its weights come with the app. Only its last "
            "layer is trained.",
            builder="eurosat_core.models.pretrained:build_efficientnet_lite0",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            weights="efficientnet_lite0",
            last_layer="_fc",
        ),
        ModelEntry(
            name="tilenet",
            title="tilenet",
            about="A small residual network of ours with a modern recipe: the most accuracy that a laptop reaches "
            "from scratch.",
            builder="eurosat_core.models.tilenet:build_tilenet",
            mean=TILE_MEAN,
            std=TILE_STD,
            settings={"recipe": "fast"},
        ),
        ModelEntry(
            name="custom",
            title="Your own network",
            about="What you put together on the Model page; the baseline's layers until then.",
            builder="eurosat_core.models.build:build_network",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
    )
}


def model_entry(name: str) -> ModelEntry:
    """The entry of a model. Raises `ConfigError` naming the models there are."""
    try:
        return CATALOG[name]
    except KeyError:
        raise ConfigError(f"There is no model '{name}'. Models are: {', '.join(CATALOG)}.") from None


def default_settings(name: str) -> dict[str, Any]:
    """What a model's default recipe sets; a copy that the caller may change."""
    return dict(model_entry(name).settings)


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
