"""What one layer makes of its input and what that costs, by arithmetic alone: no torch, no network built.

Shapes are those of one tile: (channels, height, width), or (numbers,) once a network has flattened its picture.
"""

from dataclasses import dataclass

from eurosat_core.models.layer_kinds import OUT, SAME, Value
from eurosat_core.models.layers import Layer

__all__ = ["BYTES_PER_NUMBER", "Cost", "Shape", "cost_of", "numbers_in", "padding_of", "shape_text", "units_of"]

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


def numbers_in(shape: Shape) -> int:
    """How many numbers an output of this shape has."""
    product = 1
    for side in shape:
        product *= side
    return product


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
            return Cost(pooled, kept=numbers_in(pooled))
        case "adaptiveavgpool":
            side = layer.whole("size")
            return Cost((shape[0], side, side), kept=shape[0] * side * side)
        case "flatten":
            return Cost((numbers_in(shape),), kept=numbers_in(shape))
        case "linear":
            units, inputs = units_of(layer, classes), shape[0]
            params = inputs * units + units
            words = f"{inputs:,} × {units:,} + {units:,} = {params:,}"
            return Cost((units,), params, inputs * units, units, words)
        case _:  # activations, dropout: shapes stay
            return Cost(shape, kept=numbers_in(shape))


def _convolution(shape: Shape, filters: int, size: int, stride: int, pad: int, bias: bool = True) -> Cost:
    channels, *sides = shape
    output = (filters, *((side + 2 * pad - size) // stride + 1 for side in sides))
    weights = channels * filters * size * size
    params = weights + (filters if bias else 0)
    words = f"{channels:,} × {filters:,} × {size} × {size}{f' + {filters:,}' if bias else ''} = {params:,}"
    kept = numbers_in(output)
    return Cost(output, params, kept * channels * size * size, kept, words)


def _batchnorm(shape: Shape) -> Cost:
    params = 2 * shape[0]
    return Cost(shape, params, kept=numbers_in(shape), arithmetic=f"2 × {shape[0]:,} = {params:,}")


def _residual(shape: Shape, filters: int, stride: int) -> Cost:
    """Convolution, BatchNorm, ReLU, convolution, BatchNorm; a 1 × 1 shortcut where shapes differ; ReLU of the sum."""
    first = _convolution(shape, filters, 3, stride, 1, bias=False)
    second = _convolution(first.shape, filters, 3, 1, 1, bias=False)
    parts = [first, _batchnorm(first.shape), second, _batchnorm(second.shape)]
    if stride != 1 or shape[0] != filters:
        shortcut = _convolution(shape, filters, 1, stride, 0, bias=False)
        parts += [shortcut, _batchnorm(shortcut.shape)]
    params = sum(each.params for each in parts)
    kept = sum(each.kept for each in parts) + 2 * numbers_in(second.shape)  # two ReLUs
    words = f"{' + '.join(f'{each.params:,}' for each in parts)} = {params:,}"
    return Cost(second.shape, params, sum(each.macs for each in parts), kept, words)
