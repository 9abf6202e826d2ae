"""A network in parts for looking at: blocks of layers, where its parameters and its multiplications are, in words.

Activation functions and the weighted sum of a linear layer, worked out by hand for the lesson.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from eurosat_core.models.check import LayerReport, Totals
from eurosat_core.models.layers import KINDS, OUT, UNREADABLE, Layer, Shape, format_layer
from eurosat_core.models.summary import LayerRow
from eurosat_core.wording import count, listed, times

_MOST_PARTS = 16
# How rows of a summary begin, with the kind and the title of their block; others are called as they are.
_ROWS = {
    "Conv": ("convolution", "Convolution"),
    "Linear": ("linear", "Linear"),
    "MaxPool": ("pooling", "Max pooling"),
    "AvgPool": ("pooling", "Average pooling"),
    "Adaptive": ("pooling", "Adaptive pooling"),
    "BatchNorm": ("other", "BatchNorm"),
}
_OWN = {
    "conv": "convolution",
    "residual": "convolution",
    "linear": "linear",
    "maxpool": "pooling",
    "avgpool": "pooling",
    "adaptiveavgpool": "pooling",
}
WHERE = {"convolution": "the convolutions", "linear": "the linear layers", "other": "other layers"}


@dataclass(frozen=True)
class Part:
    """A layer, or several, as one block: kind (convolution, linear, pooling, other), title, and the small layers
    that follow it; output shape, parameters and multiply-accumulates for one tile. count: layers merged into it."""

    kind: str
    title: str
    then: tuple[str, ...]
    shape: Shape
    params: int
    macs: int
    count: int = 1


def parts_of_rows(rows: Iterable[LayerRow]) -> tuple[Part, ...]:
    """The blocks of a summary. Of large networks, convolutions at the same picture size are one block."""
    found = []
    for row in rows:
        name = row.name.rpartition("-")[0]
        kind, title = next((each for start, each in _ROWS.items() if name.startswith(start)), ("other", name))
        found.append(Part(kind, title, (), row.output_shape[1:], row.params, row.macs))
    return _merged(_gathered(found))


def parts_of_reports(reports: Iterable[LayerReport]) -> tuple[Part, ...]:
    """The blocks of a checked network, up to its first problem."""
    found = []
    for each in reports:
        if each.output_shape is not None:
            kind = _OWN.get(each.layer.kind, "other")
            found.append(Part(kind, _layer_title(each.layer), (), each.output_shape, each.params, each.macs))
    return _merged(_gathered(found))


def _layer_title(layer: Layer) -> str:
    match layer.kind:
        case "conv" | "maxpool" | "avgpool":
            side = layer.whole("size")  # of its filter or window, in one piece
            return f"{KINDS[layer.kind].title} {side}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{side}"
        case "adaptiveavgpool":
            return "Adaptive pooling"
        case _:
            return KINDS[layer.kind].title


def layer_words(layer: Layer) -> str:
    """What stands behind a layer's title: `6 filters of 5 × 5`, `2 × 2`, `one output per class`; may be empty."""
    if layer.kind == UNREADABLE:
        return format_layer(layer)
    words = []
    for field in KINDS[layer.kind].fields:
        value = layer.value(field.name)
        match field.name:
            case "filters":
                words.append(count(value, "filter") if isinstance(value, int) else f"{value} filters")
            case "size" if layer.kind == "conv":
                words[-1] += f" of {value} × {value}"
            case "size":
                words.append(f"{'to ' if layer.kind == 'adaptiveavgpool' else ''}{value} × {value}")
            case "stride" if value not in (field.default, layer.value("size") if layer.has("size") else 1):
                words.append(f"stride {value}")
            case "pad" if value != field.default:
                words.append(f"padding {value}")
            case "share":
                words.append(f"{100 * float(value):g} %")
            case "units":
                outputs = count(value, "output") if isinstance(value, int) else str(value)
                words.append("one output per class" if value == OUT else outputs)
    return ", ".join(words)


def _gathered(parts: Sequence[Part]) -> list[Part]:
    """Activations, BatchNorm, dropout and flatten join the block before them."""
    gathered: list[Part] = []
    for part in parts:
        if part.kind == "other" and gathered:
            last = gathered[-1]
            shape = part.shape if len(part.shape) == len(last.shape) else last.shape
            gathered[-1] = replace(
                last,
                then=(*last.then, part.title),
                shape=shape,
                params=last.params + part.params,
                macs=last.macs + part.macs,
            )
        else:
            gathered.append(part)
    return gathered


def _merged(parts: list[Part]) -> tuple[Part, ...]:
    """Of very deep networks, neighbouring convolutions at the same picture size become one block."""
    if len(parts) <= _MOST_PARTS:
        return tuple(parts)
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if last is not None and part.kind == last.kind == "convolution" and part.shape[1:] == last.shape[1:]:
            merged[-1] = replace(
                part, then=(), params=last.params + part.params, macs=last.macs + part.macs, count=last.count + 1
            )
        else:
            merged.append(replace(part, then=()))
    return tuple(replace(each, title=f"{each.count} convolutions") if each.count > 1 else each for each in merged)


def share_frame(parts: Sequence[Part]) -> pd.DataFrame:
    """Per block with weights its share of the parameters and of the multiplications: part, figure, share, number."""
    params, macs = sum(each.params for each in parts) or 1, sum(each.macs for each in parts) or 1
    rows = []
    for number, each in enumerate(parts, 1):
        if each.params or each.macs:
            name = f"{number}. {each.title}"
            rows.append((name, "parameters", each.params / params, each.params))
            rows.append((name, "multiplications", each.macs / macs, each.macs))
    return pd.DataFrame(rows, columns=["part", "figure", "share", "number"])


def where_most(parts: Sequence[Part]) -> dict[str, tuple[str, float]]:
    """The kind of layer with most parameters (`params`) and most multiplications (`macs`), each with its share."""
    found = {}
    for figure in ("params", "macs"):
        sums: Counter[str] = Counter()
        for each in parts:
            sums[each.kind if each.kind in WHERE else "other"] += getattr(each, figure)
        ((kind, most),) = sums.most_common(1)
        found[figure] = kind, most / (sums.total() or 1)
    return found


def where_sentence(title: str, parts: Sequence[Part]) -> str:
    """`99 % of the parameters sit in the linear layers, but 91 % of the multiplications happen in …`"""
    (params_in, params), (macs_in, macs) = where_most(parts).values()
    if params_in == macs_in:
        return (
            f"**{title}**: {WHERE[params_in]} hold **{_percent(params)}** of the parameters and do "
            f"**{_percent(macs)}** of the multiplications."
        )
    sentence = (
        f"**{title}**: **{_percent(params)}** of the parameters sit in {WHERE[params_in]}, but **{_percent(macs)}** of "
        f"the multiplications happen in {WHERE[macs_in]}."
    )
    if (params_in, macs_in) == ("linear", "convolution"):
        sentence += (
            " A filter has few weights and uses each of them at every place of the picture; a linear layer uses each "
            "of its many weights once."
        )
    return sentence


def _percent(share: float) -> str:
    """Whole per cent, but never 100 for less than all."""
    if 0.995 <= share < 1:
        return f"{100 * min(share, 0.999):.1f} %"
    return f"{100 * share:.0f} %"


def compared(new: Totals, old: Totals, batch: int, name: str = "the baseline") -> str:
    """Parameters, multiplications and memory of one network in terms of another's, in a sentence."""
    figures = (
        ("parameters", new.params, old.params),
        ("multiplications", new.macs, old.macs),
        ("memory", new.memory_bytes(batch), old.memory_bytes(batch)),
    )
    if all(mine == theirs for _, mine, theirs in figures):
        return f"The same parameters, multiplications and memory as {name}."
    return f"Compared with {name}: {listed([_ratio(what, mine / theirs) for what, mine, theirs in figures])}."


def _ratio(what: str, ratio: float) -> str:
    if abs(ratio - 1) < 0.005:
        return f"{'the same' if ratio == 1 else 'almost the same'} {what}"
    if ratio < 0.995:
        return f"**{100 * ratio:.0f} %** of the {what}" if ratio >= 0.095 else f"**{100 * ratio:.1f} %** of the {what}"
    return f"**{100 * (ratio - 1):.0f} % more** {what}" if ratio < 1.095 else f"**{times(ratio)}** the {what}"


def layer_table(reports: Iterable[LayerReport]) -> pd.DataFrame:
    """The checked layers as a table: Layer, Output, Parameters, MACs (M), Memory (KB)."""
    rows = [
        (
            format_layer(each.layer),
            "×".join(str(side) for side in each.output_shape or ()),
            each.params,
            each.macs / 1e6,
            each.activation_bytes / 1024,
        )
        for each in reports
    ]
    return pd.DataFrame(rows, columns=["Layer", "Output", "Parameters", "MACs (M)", "Memory (KB)"])


ACTIVATION_TITLES = {"relu": "ReLU", "sigmoid": "Sigmoid", "gelu": "GELU"}
_REACH = 5.0
_POINTS = 101


def activation(name: str, x: float) -> float:
    """The value of ReLU, sigmoid or GELU (the exact one, as PyTorch's default)."""
    match name:
        case "relu":
            return max(x, 0.0)
        case "sigmoid":
            return 1 / (1 + math.exp(-x))
        case _:
            return x * _normal(x)


def slope(name: str, x: float) -> float:
    """Its derivative; that of ReLU at 0 counts as 0, as in PyTorch."""
    match name:
        case "relu":
            return 1.0 if x > 0 else 0.0
        case "sigmoid":
            value = activation("sigmoid", x)
            return value * (1 - value)
        case _:
            return _normal(x) + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def activation_frame(at: float) -> pd.DataFrame:
    """Curves of all functions and their slopes: function, x, value, slope; the rows with `marked` stand at x = `at`."""
    rows = [
        (title, float(x), activation(name, float(x)), slope(name, float(x)), False)
        for name, title in ACTIVATION_TITLES.items()
        for x in np.linspace(-_REACH, _REACH, _POINTS)
    ]
    rows += [(title, at, activation(name, at), slope(name, at), True) for name, title in ACTIVATION_TITLES.items()]
    return pd.DataFrame(rows, columns=["function", "x", "value", "slope", "marked"])


def weighted_sum_text(inputs: list[float], weights: list[float], bias: float) -> tuple[str, float]:
    """`0.9 × 1.0 + 0.1 × (-2.0) + 0.5 = 1.20`, and the sum to those two decimals, which are exact for tenths."""
    added = sum(x * w for x, w in zip(inputs, weights, strict=True)) + bias
    total = round(added, 2) + 0.0  # what floating point leaves would tell equal sums apart; + 0.0 makes -0.0 a 0.0
    products = " + ".join(f"{x:.1f} × {_signed(w)}" for x, w in zip(inputs, weights, strict=True))
    return f"{products} + {_signed(bias)} = {total:.2f}", total


def _signed(number: float) -> str:
    return f"({number:.1f})" if number < 0 else f"{number:.1f}"
