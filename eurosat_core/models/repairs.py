"""What can stand against a layer, in a sentence, and the repair that one click applies.

Every repair takes something away, makes it smaller, or puts in one of the few layers that a network must have, so
repairing again and again always ends in a network that can be trained (`check.repaired`; a test tries).
"""

import difflib
from dataclasses import dataclass

from eurosat_core.errors import ConfigError
from eurosat_core.models.layer_costs import Shape, numbers_in, padding_of, shape_text, units_of
from eurosat_core.models.layer_kinds import KINDS, OUT, POOLS, SAME, Field
from eurosat_core.models.layers import UNREADABLE, Layer, new_layer, parse_network, read_layer
from eurosat_core.models.presets import BASELINE

__all__ = [
    "Problem",
    "empty",
    "inserted",
    "misfit",
    "out_of_range",
    "replaced",
    "too_many",
    "unreadable",
    "without",
    "wrong_end",
]

Layers = tuple[Layer, ...]
_OTHER_NAMES = {
    "conv2d": "conv",
    "convolution": "conv",
    "dense": "linear",
    "fc": "linear",
    "pool": "maxpool",
    "maxpool2d": "maxpool",
    "avgpool2d": "avgpool",
    "bn": "batchnorm",
    "batchnorm2d": "batchnorm",
    "resblock": "residual",
    "tanh": "sigmoid",
    "silu": "gelu",
    "leakyrelu": "relu",
    "adaptive": "adaptiveavgpool",
}
_LEARN = ("conv", "residual", "batchnorm", "linear")


@dataclass(frozen=True)
class Problem:
    """Why a layer cannot be used; what would help, as an order in a few words; the network after that."""

    sentence: str
    advice: str
    repair: Layers


def without(layers: Layers, row: int) -> Layers:
    return (*layers[:row], *layers[row + 1 :])


def replaced(layers: Layers, row: int, *new: Layer) -> Layers:
    """The layer at `row` replaced by others."""
    return (*layers[:row], *new, *layers[row + 1 :])


def inserted(layers: Layers, row: int, *new: Layer) -> Layers:
    return (*layers[:row], *new, *layers[row:])


def empty() -> Problem:
    """A network without layers."""
    return Problem("The network has no layer yet.", "Start from the baseline.", parse_network(BASELINE))


def too_many(layers: Layers, row: int, most: int) -> Problem | None:
    """More layers than allowed; told at the first one too many. Two places stay free for what else is missing."""
    if row < most:
        return None
    shorter = (*layers[: most - 3], layers[-1])
    return Problem(
        f"A network here has at most {most} layers; this one has {len(layers)}.",
        f"Keep the first {most - 3} and the last.",
        shorter,
    )


def unreadable(layers: Layers, row: int) -> Problem | None:
    """A kind that does not exist, or numbers that are none."""
    if layers[row].kind != UNREADABLE:
        return None
    text = str(layers[row].values[0])
    try:
        read_layer(text)
        reason = "This layer cannot be read."
    except ConfigError as error:
        reason = str(error)
    kind, *numbers = text.split()
    close = difflib.get_close_matches(kind, KINDS, n=1)
    meant = kind if kind in KINDS else _OTHER_NAMES.get(kind) or (close[0] if close else "")
    if not meant:
        names = ", ".join(name for name in KINDS if name != "softmax")
        return Problem(f"{reason} Layers are: {names}.", "Remove it.", without(layers, row))
    try:
        layer = read_layer(" ".join([meant, *numbers]))
    except ConfigError:
        layer = new_layer(meant)
    words = f"Make it {KINDS[meant].title}." if kind not in KINDS else f"Use the usual numbers of {kind}."
    return Problem(reason, words, replaced(layers, row, layer))


def out_of_range(layers: Layers, row: int) -> Problem | None:
    """A number that no layer of this kind can have; the nearest possible one is the repair."""
    layer = layers[row]
    for field, value in zip(KINDS[layer.kind].fields, layer.values, strict=True):
        if isinstance(value, str):
            continue
        allowed = _nearest(field, value)
        if layer.kind == "dropout" and value >= 1:
            sentence = f"Dropout of {value:g} would set every value to 0, so nothing could be learned."
            half = layer.changed(share=0.5)
            return Problem(sentence, "Set it to 0.5.", replaced(layers, row, half))
        if allowed == value:
            continue
        low, high = f"{field.low:,g}", f"{field.high:,.0f}" if field.whole else f"{field.high:g}"
        sentence = f"{field.title} is {value:,}. Choose {'a whole number ' if field.whole else ''}from {low} to {high}."
        return Problem(
            sentence, f"Set it to {allowed:,}.", replaced(layers, row, layer.changed(**{field.name: allowed}))
        )
    return _bad_padding(layers, row)


def _nearest(field: Field, value: int | float) -> int | float:
    bounded = min(max(value, field.low), field.high)
    return round(bounded) if field.whole else bounded


def _bad_padding(layers: Layers, row: int) -> Problem | None:
    layer = layers[row]
    if layer.kind != "conv":
        return None
    size, pad = layer.whole("size"), layer.value("pad")
    if pad == SAME and layer.whole("stride") != 1:
        sentence = f"“same” keeps the picture’s size, but a stride of {layer.whole('stride')} makes it smaller."
        return Problem(sentence, f"Pad {size // 2} instead.", replaced(layers, row, layer.changed(pad=size // 2)))
    if pad == SAME and size % 2 == 0:
        sentence = (
            f"A filter of {size} × {size} has no middle pixel, so “same” would need more padding on one side than on "
            "the other."
        )
        odd = size + 1
        return Problem(sentence, f"Make it {odd} × {odd}.", replaced(layers, row, layer.changed(size=odd)))
    if pad != SAME and int(pad) > size // 2:
        sentence = (
            f"Padding of {pad} is more than half of a {size} × {size} filter: at the border it would see little but "
            "zeros."
        )
        fits = layer.changed(pad=size // 2)
        return Problem(sentence, f"Set it to {size // 2}.", replaced(layers, row, fits))
    return None


def misfit(layers: Layers, row: int, shape: Shape) -> Problem | None:
    """A layer that cannot take what the layer before gives it."""
    layer = layers[row]
    if layer.kind == "softmax":
        sentence = (
            "The loss used here, cross-entropy, has softmax in it. Twice would blur the scores and slow learning."
        )
        if row < len(layers) - 1:
            sentence = "Softmax turns scores into shares; in the middle of a network it squeezes out what was found."
        return Problem(sentence, "Remove it.", without(layers, row))
    if layer.kind == "linear" and len(shape) == 3:
        inputs = numbers_in(shape)
        sentence = (
            f"A linear layer takes one row of numbers, but gets {shape[0]:,} feature maps of {shape_text(shape[1:])}. "
            f"Flatten lays them out as {shape_text(shape)} = {inputs:,} numbers."
        )
        return Problem(sentence, "Put flatten before it.", inserted(layers, row, new_layer("flatten")))
    if layer.kind in ("conv", "residual", *POOLS, "adaptiveavgpool") and len(shape) == 1:
        return _after_flatten(layers, row, shape)
    if layer.kind == "conv":
        return _filter_too_large(layers, row, shape)
    if layer.kind in POOLS and layer.whole("size") > shape[1]:
        return _pool_too_large(layers, row, shape)
    return None


def _after_flatten(layers: Layers, row: int, shape: Shape) -> Problem:
    layer = layers[row]
    needs = {
        "residual": "adds its input to the result of two convolutions, and a convolution needs a picture",
        "conv": "slides its filters over a picture",
    }.get(layer.kind, "looks at windows of a picture")
    sentence = f"{KINDS[layer.kind].title} {needs}, but flatten has made one row of {shape[0]:,} numbers of it."
    flatten = next(at for at, each in enumerate(layers) if each.kind == "flatten")
    return Problem(sentence, "Move it before flatten.", inserted(without(layers, row), flatten, layer))


def _filter_too_large(layers: Layers, row: int, shape: Shape) -> Problem | None:
    layer, side = layers[row], shape[1]
    size, pad = layer.whole("size"), padding_of(layer)
    if size <= side + 2 * pad:
        return None
    padded = f" (with padding: {side + 2 * pad} × {side + 2 * pad})" if pad else ""
    sentence = (
        f"A filter of {size} × {size} does not fit into a picture of {shape_text(shape[1:])}{padded}: the result would "
        f"have {side + 2 * pad - size + 1} pixels a side."
    )
    fits = max(each for each in range(1, side + 1, 2))
    smaller = layer.changed(size=fits, pad=min(pad, fits // 2))
    return Problem(sentence, f"Make it {fits} × {fits}.", replaced(layers, row, smaller))


def _pool_too_large(layers: Layers, row: int, shape: Shape) -> Problem:
    layer, side = layers[row], shape[1]
    size = layer.whole("size")
    sentence = (
        f"A window of {size} × {size} does not fit into a picture of {shape_text(shape[1:])}: less than one pixel "
        "would be left."
    )
    if side < 2:
        return Problem(sentence, "Remove it.", without(layers, row))
    fits = layer.changed(size=side, stride=min(layer.whole("stride"), side))
    return Problem(sentence, f"Make it {side} × {side}.", replaced(layers, row, fits))


def wrong_end(layers: Layers, row: int, shape: Shape, classes: int) -> Problem | None:
    """A last layer that does not give one score per class, or something that follows the scores."""
    layer, last = layers[row], len(layers) - 1
    if layer.kind == "linear" and layer.value("units") == OUT:
        if any(each.kind in _LEARN for each in layers[row + 1 :]):
            sentence = f"Outputs “{OUT}” are the scores of the {classes} classes, but more layers come after them."
            return Problem(sentence, "Give it 64 outputs.", replaced(layers, row, layer.changed(units=64)))
        return None
    if row and layers[row - 1].kind == "linear" and layers[row - 1].value("units") == OUT:
        sentence = (
            "The layer before gives the scores of the classes. They go to the loss as they are: "
            f"{KINDS[layer.kind].title} would only distort them."
        )
        return Problem(sentence, "Remove it.", without(layers, row))
    if row < last:
        return None
    output = new_layer("linear").changed(units=OUT)
    if layer.kind == "linear":
        units = units_of(layer, classes)
        sentence = (
            f"The last layer gives {units:,} scores. It must give one per class: “{OUT}” means {classes} here, and "
            "fits any other set of tiles, too."
        )
        return Problem(sentence, f"Make its outputs “{OUT}”.", replaced(layers, row, output))
    learns = any(each.kind in _LEARN for each in layers)
    sentence = "The network ends without one score per class: its last layer must be linear with outputs “out”."
    if not learns:
        sentence = "No layer here has weights, so nothing can be learned, and there is no score per class."
    flat = layer.kind == "flatten" or (len(shape) == 1)
    added = (output,) if flat else (new_layer("flatten"), output)
    words = "Add linear out." if flat else "Add flatten and linear out."
    return Problem(sentence, words, (*layers, *added))
