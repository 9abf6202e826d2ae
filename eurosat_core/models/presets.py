"""Networks to start from, as texts; and the baseline with a few numbers changed."""

from dataclasses import dataclass

from eurosat_core.models.layer_kinds import SAME
from eurosat_core.models.layers import Layer, new_layer, parse_network

__all__ = ["BASELINE", "EXTRA_LAYERS", "PRESETS", "Preset", "changed_baseline"]


@dataclass(frozen=True)
class Preset:
    """A network to start from: its title, what it is good for in a sentence, its text."""

    name: str
    title: str
    about: str
    text: str


BASELINE = (
    "conv 6 5, relu, maxpool 2, conv 16 5, relu, maxpool 2, flatten, linear 120, relu, linear 84, relu, linear out"
)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset("baseline", "Baseline", "The tutorial’s network, layer for layer.", BASELINE),
        Preset(
            "wider",
            "Wider",
            "The same layers with four times the filters.",
            "conv 24 5, relu, maxpool 2, conv 64 5, relu, maxpool 2, flatten, linear 120, relu, linear 84, relu, "
            "linear out",
        ),
        Preset(
            "deeper",
            "Deeper",
            "Four convolutions with small filters instead of two with large ones.",
            "conv 16 3 pad same, relu, maxpool 2, conv 32 3 pad same, relu, maxpool 2, conv 64 3 pad same, relu, "
            "maxpool 2, conv 64 3 pad same, relu, maxpool 2, flatten, linear 128, relu, linear out",
        ),
        Preset(
            "residual",
            "Small residual",
            "Residual blocks and BatchNorm, and almost no linear layer.",
            "conv 32 3 stride 2 pad 1, batchnorm, relu, residual 32, residual 64 stride 2, residual 128 stride 2, "
            "adaptiveavgpool 1, flatten, linear out",
        ),
        Preset(
            "linear",
            "All linear",
            "No convolution at all: every pixel has its own weight.",
            "flatten, linear 120, relu, linear 84, relu, linear out",
        ),
        Preset(
            "broken",
            "Broken: repair it",
            "Five mistakes that everybody makes once.",
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
        layers.insert(-1, new_layer("dropout").changed(share=dropout))
    if extra == "linear":
        layers[-1:-1] = [new_layer("linear").changed(units=84), new_layer("relu")]
    if extra == "convolution":
        layers[6:6] = [new_layer("conv").changed(filters=filters[1], size=3, pad=SAME), new_layer("relu")]
    return tuple(layers)
