"""The networks of the lab: the baseline and its variations, and the catalog of all that can be trained.

Importing this module does not import torch, so configs can be checked before it is loaded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from eurosat_core.errors import ConfigError
from eurosat_core.models.layers import NETWORKS, SAME, Layer, new_layer, parse_network

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Preset:
    """A network to start from: its title, its text, and what it is good for, in a sentence."""

    name: str
    title: str
    text: str
    about: str


def _named(kind: Any, table: str) -> Any:
    return msgspec.convert({name: {"name": name, **about} for name, about in NETWORKS[table].items()}, dict[str, kind])


PRESETS: dict[str, Preset] = _named(Preset, "presets")
BASELINE = PRESETS["baseline"].text
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


@dataclass(frozen=True)
class ModelEntry:
    """One model. about: what it is, in a sentence. builder: `module:callable`; `build_model` knows what it takes.

    mean, std: per channel, applied to pixels in 0…1 as (pixel - mean) / std; the tutorial's (also for VGG) unless told.
    recipe: the one it is trained with unless told.
    weights: pretrained weights (a key of `data.weights.WEIGHTS`) that it starts from; empty when it learns from
    scratch. last_layer: the one layer of a pretrained network that is replaced and trained.
    """

    name: str
    title: str
    about: str
    builder: str
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    recipe: str = "tutorial"
    weights: str = ""
    last_layer: str = ""

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from weights learned elsewhere, with all but its last layer frozen."""
        return bool(self.weights)


CATALOG: dict[str, ModelEntry] = _named(ModelEntry, "models")


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
