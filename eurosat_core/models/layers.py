"""The layers a participant builds with: their kinds, a network as a list of them, and what each costs.

A network is one short text, `conv 6 5, relu, maxpool 2, flatten, linear out`. It stands in a run's settings, in
addresses, in saved designs and on the command line. A layer is its kind and its numbers; options follow by name:
`conv 16 3 stride 2 pad same`. What cannot be read is kept as it was written, so that it can be explained at its place
(`check.check_network`).

Shapes are those of one tile: (channels, height, width), or (numbers,) once a network has flattened its picture. Costs
are plain arithmetic: importing this module does not import torch, so networks can be checked before it is loaded.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

from eurosat_core.errors import ConfigError
from eurosat_core.wording import sentences

Value = int | float | str
OUT = "out"  # as many units as there are classes
SAME = "same"  # as much padding as keeps the picture's size


NETWORKS: dict[str, dict[str, Any]] = sentences("networks")
"""What is written of each kind of layer, each network to start from and each model, and of what can be wrong."""


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
    """A kind of layer: its name in a network's text, its title, and its numbers."""

    name: str
    title: str
    fields: tuple[Field, ...] = ()

    @property
    def about(self) -> str:
        """What it does, in a sentence."""
        return str(NETWORKS["layers"][self.name])


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
            (
                _FILTERS,
                Field("size", "Filter size", 1, 15, 3),
                _STRIDE,
                Field("pad", "Padding", 0, 7, 0, option=True, word=SAME),
            ),
        ),
        Kind("residual", "Residual block", (_FILTERS, _STRIDE)),
        Kind("batchnorm", "BatchNorm"),
        Kind("relu", "ReLU"),
        Kind("sigmoid", "Sigmoid"),
        Kind("gelu", "GELU"),
        Kind("maxpool", "Max pooling", _POOL),
        Kind("avgpool", "Average pooling", _POOL),
        Kind("adaptiveavgpool", "Adaptive average pooling", (Field("size", "Output size", 1, 64, 1),)),
        Kind("dropout", "Dropout", (Field("share", "Share set to 0", 0, 0.95, 0.5, whole=False),)),
        Kind("flatten", "Flatten"),
        Kind("linear", "Linear", (Field("units", "Outputs", 1, 10_000, 64, word=OUT),)),
        Kind("softmax", "Softmax"),
    )
}


UNREADABLE = "unreadable"
_LONGEST = 4000  # characters of a network
_LONGEST_LAYER = 80  # more than any layer that can be read
_LONGEST_NUMBER = 12
_WIDEST = 4  # decimals kept of a share


@dataclass(frozen=True)
class Layer:
    """One layer: a kind and the values of its fields, in their order. An unreadable one keeps its text instead."""

    kind: str
    values: tuple[Value, ...] = ()

    def value(self, name: str) -> Value:
        """The value of a field, which may be a word (`out`, `same`)."""
        names = [each.name for each in KINDS[self.kind].fields]
        return self.values[names.index(name)]

    def whole(self, name: str) -> int:
        """The value of a field that is a whole number."""
        return int(self.value(name))

    def has(self, name: str) -> bool:
        """Whether this kind of layer has such a field."""
        return self.kind in KINDS and any(each.name == name for each in KINDS[self.kind].fields)

    def changed(self, **values: Value) -> "Layer":
        """This layer with other values; the stride of a pooling follows its window where it was the same."""
        new = []
        for field, old in zip(KINDS[self.kind].fields, self.values, strict=True):
            follows = field.default is None and "size" in values and old == self.value("size")
            new.append(values.get(field.name, values["size"] if follows else old))
        return Layer(self.kind, tuple(new))


def new_layer(kind: str, **given: Value) -> Layer:
    """A layer of a kind with these values; else its default ones."""
    values: dict[str, Value] = {}
    for field in KINDS[kind].fields:
        default = values["size"] if field.default is None else field.default
        values[field.name] = given.get(field.name, default)
    return Layer(kind, tuple(values.values()))


def parse_network(text: str) -> tuple[Layer, ...]:
    """The layers of a text, also of one from an address. Raises `ConfigError` for what cannot be a network at all."""
    if not isinstance(text, str):
        raise ConfigError("A network is a text such as: conv 6 5, relu, maxpool 2, flatten, linear out.")
    if len(text) > _LONGEST:
        raise ConfigError(f"This network is {len(text):,} characters long. Use at most {_LONGEST:,}.")
    spaced = re.sub(r"(?<=\w)-", " ", text.replace("_", ","))
    parts = (" ".join(part.split()) for part in re.split(r"[,;\n]", spaced))
    return tuple(_lenient(part) for part in parts if part)


def _lenient(text: str) -> Layer:
    try:
        return read_layer(text)
    except ConfigError:
        printable = "".join(each for each in text.lower() if each.isprintable())
        return Layer(UNREADABLE, (printable[:_LONGEST_LAYER].strip() or "?",))


def read_layer(text: str) -> Layer:
    """One layer, as in `conv 16 3 pad same`. Numbers left out get their defaults.

    Raises `ConfigError` with a sentence for what cannot be read; numbers out of range are read.
    """
    kind, *words = text.lower().split()
    if kind not in KINDS:
        raise ConfigError(f"There is no layer called “{kind[:_LONGEST_LAYER]}”.")
    fields = KINDS[kind].fields
    in_order = [each for each in fields if not each.option]
    options = {each.name: each for each in fields if each.option}
    given: dict[str, Value] = {}
    while words:
        word = words.pop(0)
        if word in options:
            field = options.pop(word)
            if not words:
                raise ConfigError(f"A number is missing after “{word}”.")
            word = words.pop(0)
        elif in_order:
            field = in_order.pop(0)
        else:
            raise ConfigError(f"“{word[:_LONGEST_LAYER]}” is too much in this layer. It reads: {_pattern(kind)}.")
        given[field.name] = _value(field, word)
    return new_layer(kind, **given)


def _pattern(kind: str) -> str:
    words = [f"{each.name} {each.title.upper()}" if each.option else each.title.upper() for each in KINDS[kind].fields]
    return " ".join([kind, *words])


def _value(field: Field, word: str) -> Value:
    if field.word and word == field.word:
        return word
    try:
        number = float(word) if len(word) <= _LONGEST_NUMBER else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        or_word = f" or “{field.word}”" if field.word else ""
        raise ConfigError(f"{field.title} must be a number{or_word}, not “{word[:_LONGEST_LAYER]}”.")
    return int(number) if number.is_integer() else round(number, _WIDEST)


def format_layer(layer: Layer) -> str:
    """The text of one layer; options are left out where they have their default."""
    if layer.kind == UNREADABLE:
        return str(layer.values[0])
    words = [layer.kind]
    for field, value in zip(KINDS[layer.kind].fields, layer.values, strict=True):
        default = layer.value("size") if field.default is None else field.default
        if not field.option:
            words.append(str(value))
        elif value != default:
            words += [field.name, str(value)]
    return " ".join(words)


def format_network(layers: tuple[Layer, ...]) -> str:
    """The text of a network; `parse_network` gives the same layers again."""
    return ", ".join(format_layer(layer) for layer in layers)


def url_text(layers: tuple[Layer, ...]) -> str:
    """The text in characters that stay as they are in an address: `conv-6-5_relu_maxpool-2`."""
    return format_network(layers).replace(", ", "_").replace(" ", "-")


Shape = tuple[int, ...]
BYTES_PER_NUMBER = 4


@dataclass(frozen=True)
class Cost:
    """Of one layer and one tile: output shape, parameters, multiply-accumulates, numbers kept for the backward pass.

    arithmetic: how the parameters are counted, in figures; empty for a layer without any.
    """

    shape: Shape
    params: int = 0
    macs: int = 0
    kept: int = 0
    arithmetic: str = ""


def shape_text(shape: Shape) -> str:
    """`6 × 60 × 60`; a single number as it is."""
    return " × ".join(f"{side:,}" for side in shape)


def padding_of(layer: Layer) -> int:
    """Pixels added on each side by a convolution; with `same`, half of an odd filter."""
    pad: Value = layer.value("pad")
    return (layer.whole("size") - 1) // 2 if pad == SAME else int(pad)


def units_of(layer: Layer, classes: int) -> int:
    """Outputs of a linear layer."""
    units = layer.value("units")
    return classes if units == OUT else int(units)


def cost_of(layer: Layer, shape: Shape, classes: int) -> Cost:
    """The cost of a layer that fits its input of `shape` (`check.check_network` has made sure)."""
    match layer.kind:
        case "conv":
            size, pad = layer.whole("size"), padding_of(layer)
            return _convolution(shape, layer.whole("filters"), size, layer.whole("stride"), pad)
        case "residual":
            return _residual(shape, layer.whole("filters"), layer.whole("stride"))
        case "batchnorm":
            return _batchnorm(shape)
        case "maxpool" | "avgpool":
            size, stride = layer.whole("size"), layer.whole("stride")
            pooled = (shape[0], *((side - size) // stride + 1 for side in shape[1:]))
            return Cost(pooled, kept=math.prod(pooled))
        case "adaptiveavgpool":
            side = layer.whole("size")
            return Cost((shape[0], side, side), kept=shape[0] * side * side)
        case "flatten":
            return Cost((math.prod(shape),), kept=math.prod(shape))
        case "linear":
            units, inputs = units_of(layer, classes), shape[0]
            params = inputs * units + units
            words = f"{inputs:,} × {units:,} + {units:,} = {params:,}"
            return Cost((units,), params, inputs * units, units, words)
        case _:  # activations, dropout: shapes stay
            return Cost(shape, kept=math.prod(shape))


def _convolution(shape: Shape, filters: int, size: int, stride: int, pad: int, bias: bool = True) -> Cost:
    channels, *sides = shape
    output = (filters, *((side + 2 * pad - size) // stride + 1 for side in sides))
    weights = channels * filters * size * size
    params = weights + (filters if bias else 0)
    words = f"{channels:,} × {filters:,} × {size} × {size}{f' + {filters:,}' if bias else ''} = {params:,}"
    kept = math.prod(output)
    return Cost(output, params, kept * channels * size * size, kept, words)


def _batchnorm(shape: Shape) -> Cost:
    params = 2 * shape[0]
    return Cost(shape, params, kept=math.prod(shape), arithmetic=f"2 × {shape[0]:,} = {params:,}")


def _residual(shape: Shape, filters: int, stride: int) -> Cost:
    """Convolution, BatchNorm, ReLU, convolution, BatchNorm; a 1 × 1 shortcut where shapes differ; ReLU of the sum."""
    first = _convolution(shape, filters, 3, stride, 1, bias=False)
    second = _convolution(first.shape, filters, 3, 1, 1, bias=False)
    parts = [first, _batchnorm(first.shape), second, _batchnorm(second.shape)]
    if stride != 1 or shape[0] != filters:
        shortcut = _convolution(shape, filters, 1, stride, 0, bias=False)
        parts += [shortcut, _batchnorm(shortcut.shape)]
    params = sum(each.params for each in parts)
    kept = sum(each.kept for each in parts) + 2 * math.prod(second.shape)  # two ReLUs
    words = f"{' + '.join(f'{each.params:,}' for each in parts)} = {params:,}"
    return Cost(second.shape, params, sum(each.macs for each in parts), kept, words)
