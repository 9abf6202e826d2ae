"""The kinds of layer that a participant can build a network from: their numbers, ranges and defaults.

Importing this module does not import torch, so networks can be checked before it is loaded.
"""

from dataclasses import dataclass

__all__ = ["ACTIVATIONS", "KINDS", "OUT", "POOLS", "SAME", "Field", "Kind", "Value"]

Value = int | float | str
OUT = "out"  # as many units as there are classes
SAME = "same"  # as much padding as keeps the picture's size


@dataclass(frozen=True)
class Field:
    """One number of a layer. option: written with its name (`stride 2`), and left out where it is the default.

    low, high: the range allowed; word: a value that is no number (`out`, `same`); default None: that of `size`.
    """

    name: str
    title: str
    low: float
    high: float
    default: Value | None
    option: bool = False
    whole: bool = True
    word: str = ""


@dataclass(frozen=True)
class Kind:
    """A kind of layer: its name in a network's text, its title, and what it does in a sentence."""

    name: str
    title: str
    about: str
    fields: tuple[Field, ...] = ()


_FILTERS = Field("filters", "Filters", 1, 512, 16)
_STRIDE = Field("stride", "Stride", 1, 8, 1, option=True)
_POOL = (
    Field("size", "Window", 2, 64, 2),
    Field("stride", "Stride", 1, 64, None, option=True),
)

ACTIVATIONS = ("relu", "sigmoid", "gelu")
POOLS = ("maxpool", "avgpool")

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "conv",
            "Convolution",
            "Slides filters over the picture; each gives one feature map.",
            (
                _FILTERS,
                Field("size", "Filter size", 1, 15, 3),
                _STRIDE,
                Field("pad", "Padding", 0, 7, 0, option=True, word=SAME),
            ),
        ),
        Kind(
            "residual",
            "Residual block",
            "Two 3 × 3 convolutions, to whose result the input is added.",
            (_FILTERS, _STRIDE),
        ),
        Kind("batchnorm", "BatchNorm", "Brings every channel to mean 0 and spread 1 within the batch."),
        Kind("relu", "ReLU", "Lets positive values through and sets negative ones to 0."),
        Kind("sigmoid", "Sigmoid", "Squeezes every value between 0 and 1."),
        Kind("gelu", "GELU", "A ReLU with a soft bend."),
        Kind("maxpool", "Max pooling", "Keeps the largest value of every window.", _POOL),
        Kind("avgpool", "Average pooling", "Keeps the mean of every window.", _POOL),
        Kind(
            "adaptiveavgpool",
            "Adaptive average pooling",
            "Averages the picture down to a fixed size, whatever it was.",
            (Field("size", "Output size", 1, 64, 1),),
        ),
        Kind(
            "dropout",
            "Dropout",
            "While training, sets a random share of the values to 0.",
            (Field("share", "Share set to 0", 0, 0.95, 0.5, whole=False),),
        ),
        Kind("flatten", "Flatten", "Lays all feature maps out as one row of numbers."),
        Kind(
            "linear",
            "Linear",
            "Every output is a weighted sum of all inputs.",
            (Field("units", "Outputs", 1, 10_000, 64, word=OUT),),
        ),
        Kind("softmax", "Softmax", "Turns scores into shares that add up to 1."),
    )
}
