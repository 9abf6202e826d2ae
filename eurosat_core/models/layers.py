"""A network as one short text, `conv 6 5, relu, maxpool 2, flatten, linear out`, and as a tuple of layers.

The text stands in a run's settings, in addresses, in saved designs and on the command line. A layer is its kind and
its numbers; options follow by name: `conv 16 3 stride 2 pad same`. What cannot be read is kept as it was written, so
that it can be explained at its place (`check.check_network`).
"""

import math
import re
from dataclasses import dataclass

from eurosat_core.errors import ConfigError
from eurosat_core.models.layer_kinds import KINDS, Field, Value

__all__ = [
    "UNREADABLE",
    "Layer",
    "format_layer",
    "format_network",
    "new_layer",
    "parse_network",
    "read_layer",
    "url_text",
]

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


def new_layer(kind: str) -> Layer:
    """A layer of a kind with its default values."""
    return _filled(kind, {})


def _filled(kind: str, given: dict[str, Value]) -> Layer:
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
    return _filled(kind, given)


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
