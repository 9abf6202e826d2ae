"""Checks of a network that somebody built, and for each problem the change that repairs it.

Layers are looked at in order, and what comes after the first problem is left unchecked, for it may vanish with it.
Every repair takes something away, makes it smaller, or puts in one of the few layers that a network must have, so
repairing again and again always ends in a network that can be trained (`repaired`; a test tries).
"""

import difflib
import math
from dataclasses import dataclass
from typing import Any

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import BASELINE
from eurosat_core.models.layers import (
    ACTIVATIONS,
    BYTES_PER_NUMBER,
    KINDS,
    NETWORKS,
    OUT,
    POOLS,
    SAME,
    UNREADABLE,
    Cost,
    Layer,
    Shape,
    Value,
    cost_of,
    format_layer,
    format_network,
    new_layer,
    padding_of,
    parse_network,
    read_layer,
    shape_text,
    units_of,
)
from eurosat_core.wording import bytes_text

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


def replaced(layers: Layers, row: int, *new: Layer) -> Layers:
    """The layer at `row` replaced by others, or by none."""
    return (*layers[:row], *new, *layers[row + 1 :])


def _said(name: str, **figures: Any) -> str:
    return str(NETWORKS["problems"][name]).format(**figures)


def _removed(sentence: str, layers: Layers, row: int) -> Problem:
    return Problem(sentence, "Remove it.", replaced(layers, row))


def _changed(sentence: str, advice: str, layers: Layers, row: int, **values: Value) -> Problem:
    """The layer at `row` gets other values."""
    return Problem(sentence, advice, replaced(layers, row, layers[row].changed(**values)))


def too_many(layers: Layers, row: int) -> Problem | None:
    """More layers than allowed; told at the first one too many. Two places stay free for what else is missing."""
    if row < MAX_LAYERS:
        return None
    kept = MAX_LAYERS - 3
    sentence = _said("too_many", most=MAX_LAYERS, layers=len(layers))
    return Problem(sentence, f"Keep the first {kept} and the last.", (*layers[:kept], layers[-1]))


def unreadable(layers: Layers, row: int) -> Problem | None:
    """A kind that does not exist, or numbers that are none."""
    if layers[row].kind != UNREADABLE:
        return None
    text = str(layers[row].values[0])
    try:
        read_layer(text)
        reason = _said("unreadable")
    except ConfigError as error:
        reason = str(error)
    kind, *numbers = text.split()
    close = difflib.get_close_matches(kind, KINDS, n=1)
    meant = kind if kind in KINDS else _OTHER_NAMES.get(kind) or (close[0] if close else "")
    if not meant:
        names = ", ".join(name for name in KINDS if name != "softmax")
        return _removed(f"{reason} Layers are: {names}.", layers, row)
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
        if layer.kind == "dropout" and value >= 1:
            return _changed(_said("dropout", share=value), "Set it to 0.5.", layers, row, share=0.5)
        bounded = min(max(value, field.low), field.high)
        allowed = round(bounded) if field.whole else bounded
        if allowed == value:
            continue
        sentence = _said("whole_range" if field.whole else "range", field=field, value=value)
        return _changed(sentence, f"Set it to {allowed:,}.", layers, row, **{field.name: allowed})
    return _bad_padding(layers, row) if layer.kind == "conv" else None


def _bad_padding(layers: Layers, row: int) -> Problem | None:
    layer = layers[row]
    size, stride, pad = layer.whole("size"), layer.whole("stride"), layer.value("pad")
    half = size // 2
    if pad == SAME and stride != 1:
        return _changed(_said("same_stride", stride=stride), f"Pad {half} instead.", layers, row, pad=half)
    if pad == SAME and size % 2 == 0:
        return _changed(_said("same_even", size=size), f"Make it {size + 1} × {size + 1}.", layers, row, size=size + 1)
    if pad != SAME and int(pad) > half:
        return _changed(_said("padding", pad=pad, size=size), f"Set it to {half}.", layers, row, pad=half)
    return None


def misfit(layers: Layers, row: int, shape: Shape) -> Problem | None:
    """A layer that cannot take what the layer before gives it."""
    layer = layers[row]
    if layer.kind == "softmax":
        return _removed(_said("softmax_within" if row < len(layers) - 1 else "softmax_last"), layers, row)
    if layer.kind == "linear" and len(shape) == 3:
        sides, whole = shape_text(shape[1:]), shape_text(shape)
        sentence = _said("linear", maps=shape[0], sides=sides, shape=whole, numbers=math.prod(shape))
        return Problem(sentence, "Put flatten before it.", replaced(layers, row, new_layer("flatten"), layer))
    if layer.kind in ("conv", "residual", *POOLS, "adaptiveavgpool") and len(shape) == 1:
        return _after_flatten(layers, row, shape)
    if layer.kind == "conv":
        return _filter_too_large(layers, row, shape)
    if layer.kind in POOLS and layer.whole("size") > shape[1]:
        return _pool_too_large(layers, row, shape)
    return None


def _after_flatten(layers: Layers, row: int, shape: Shape) -> Problem:
    layer = layers[row]
    name = f"flat_{layer.kind if layer.kind in ('residual', 'conv') else 'pool'}"
    sentence = _said(name, layer=KINDS[layer.kind].title, numbers=shape[0])
    flatten = next(at for at, each in enumerate(layers) if each.kind == "flatten")
    return Problem(
        sentence, "Move it before flatten.", replaced(replaced(layers, row), flatten, layer, layers[flatten])
    )


def _filter_too_large(layers: Layers, row: int, shape: Shape) -> Problem | None:
    layer, side = layers[row], shape[1]
    size, pad = layer.whole("size"), padding_of(layer)
    if size <= side + 2 * pad:
        return None
    padded = side + 2 * pad
    figures = {"size": size, "picture": shape_text(shape[1:]), "padded": padded, "left": padded - size + 1}
    sentence = _said("filter_padded" if pad else "filter", **figures)
    fits = max(each for each in range(1, side + 1, 2))
    return _changed(sentence, f"Make it {fits} × {fits}.", layers, row, size=fits, pad=min(pad, fits // 2))


def _pool_too_large(layers: Layers, row: int, shape: Shape) -> Problem:
    layer, side = layers[row], shape[1]
    sentence = _said("window", size=layer.whole("size"), picture=shape_text(shape[1:]))
    if side < 2:
        return _removed(sentence, layers, row)
    stride = min(layer.whole("stride"), side)
    return _changed(sentence, f"Make it {side} × {side}.", layers, row, size=side, stride=stride)


def wrong_end(layers: Layers, row: int, shape: Shape, classes: int) -> Problem | None:
    """A last layer that does not give one score per class, or something that follows the scores."""
    layer = layers[row]
    if layer.kind == "linear" and layer.value("units") == OUT:
        if any(each.kind in _LEARN for each in layers[row + 1 :]):
            return _changed(_said("more_follow", classes=classes), "Give it 64 outputs.", layers, row, units=64)
        return None
    if row and layers[row - 1].kind == "linear" and layers[row - 1].value("units") == OUT:
        return _removed(_said("after_scores", layer=KINDS[layer.kind].title), layers, row)
    if row < len(layers) - 1:
        return None
    output = new_layer("linear", units=OUT)
    if layer.kind == "linear":
        sentence = _said("scores", scores=units_of(layer, classes), classes=classes)
        return Problem(sentence, f"Make its outputs “{OUT}”.", replaced(layers, row, output))
    sentence = _said("no_scores" if any(each.kind in _LEARN for each in layers) else "no_weights")
    if layer.kind == "flatten" or len(shape) == 1:
        return Problem(sentence, "Add linear out.", (*layers, output))
    return Problem(sentence, "Add flatten and linear out.", (*layers, new_layer("flatten"), output))


_LARGE_ROW = 65_536  # inputs of a linear layer from which pooling before it helps more than fewer outputs


def _smaller(layers: Layers, row: int, costs: list[Cost], sentence: str, share: float) -> Problem:
    """Make a layer smaller, to `share` of what it costs if that is possible: a smaller filter, fewer outputs."""
    layer = layers[row]
    share = min(share, 0.5) if share > 0.1 else 0.5
    if layer.kind == "linear" and (
        layer.value("units") == OUT or costs[row].params > _LARGE_ROW * layer.whole("units")
    ):
        flatten = next(at for at, each in enumerate(layers) if each.kind == "flatten")
        pooled = replaced(layers, flatten, new_layer("maxpool"), layers[flatten])
        return Problem(sentence, "Put max pooling before flatten.", pooled)
    if layer.kind == "conv" and layer.whole("size") > 3:
        pad = layer.value("pad")
        return _changed(
            sentence, "Make its filters 3 × 3.", layers, row, size=3, pad=pad if pad == SAME else min(int(pad), 1)
        )
    name, what = ("units", "outputs") if layer.kind == "linear" else ("filters", "filters")
    # The next smaller number that people choose: 1, 2, 4, 8, …
    fewer = 1 << (max(int(layer.whole(name) * share), 1).bit_length() - 1)
    if fewer >= layer.whole(name):
        return _removed(sentence, layers, row)
    return _changed(sentence, f"Give it {fewer:,} {what}.", layers, row, **{name: fewer})


TILE: Shape = (3, 64, 64)
MAX_LAYERS = 40
MAX_PARAMS = 20_000_000
MAX_MACS = 500_000_000  # per tile, forward
MAX_BATCH = 256
MAX_MEMORY = 4 * 1024**3  # bytes of activations and their gradients for a batch of MAX_BATCH tiles
_BYTES_OF_ONE_KEPT = 2 * BYTES_PER_NUMBER * MAX_BATCH  # of a number that a layer keeps for one tile
EMPTY = Layer(UNREADABLE, ("",))  # stands in the only report of a network without layers
_REPAIRS = 300


@dataclass(frozen=True)
class LayerReport:
    """One layer as checked. output_shape is None from the first problem on; figures are for one tile.

    activation_bytes: what is kept of it for the backward pass. hint: not wrong, but worth a thought.
    """

    layer: Layer
    output_shape: Shape | None
    params: int = 0
    macs: int = 0
    activation_bytes: int = 0
    problem: Problem | None = None
    hint: str = ""


@dataclass(frozen=True)
class Totals:
    """Sums over a network: parameters, multiply-accumulates and bytes of activations for one tile."""

    params: int
    macs: int
    activation_bytes: int

    def memory_bytes(self, batch: int = 1) -> int:
        """What training holds at least: activations with their gradients for a batch, and weights with theirs."""
        return 2 * (batch * self.activation_bytes + self.params * BYTES_PER_NUMBER)


def check_network(layers: tuple[Layer, ...], classes: int = 10) -> tuple[LayerReport, ...]:
    """A report per layer, in order; at most one of them has a problem. A network without layers has one for `EMPTY`."""
    if not layers:
        problem = Problem(_said("empty"), "Start from the baseline.", parse_network(BASELINE))
        return (LayerReport(EMPTY, None, problem=problem),)
    at, costs, found = _walk(layers, classes)
    if found is None:
        at, found = _too_much(layers, costs)
    reports = []
    for row, layer in enumerate(layers):
        mine = found if row == at else None
        if row < len(costs):
            cost = costs[row]
            hint = _hint(layers, row, costs[row - 1].shape if row else TILE)
            memory = cost.kept * BYTES_PER_NUMBER
            reports.append(LayerReport(layer, cost.shape, cost.params, cost.macs, memory, mine, hint))
        else:
            reports.append(LayerReport(layer, None, problem=mine))
    return tuple(reports)


def _walk(layers: Layers, classes: int) -> tuple[int, list[Cost], Problem | None]:
    """Costs of the layers before the first problem, and where and what that is (-1 and None without one)."""
    costs: list[Cost] = []
    shape = TILE
    for row, layer in enumerate(layers):
        problem = too_many(layers, row) or unreadable(layers, row) or out_of_range(layers, row)
        problem = problem or misfit(layers, row, shape) or wrong_end(layers, row, shape, classes)
        if problem is not None:
            return row, costs, problem
        costs.append(cost_of(layer, shape, classes))
        shape = costs[-1].shape
    return -1, costs, None


def _too_much(layers: Layers, costs: list[Cost]) -> tuple[int, Problem | None]:
    """Told at the layer that costs most, if the network as a whole costs too much."""
    for figure, most in (("params", MAX_PARAMS), ("macs", MAX_MACS), ("kept", MAX_MEMORY // _BYTES_OF_ONE_KEPT)):
        amounts = [int(getattr(each, figure)) for each in costs]
        total, largest = sum(amounts), max(amounts)
        if total <= most:
            continue
        row = smaller = amounts.index(largest)
        cost, share = costs[row], (most - (total - largest)) / largest
        if figure == "kept":
            # What is made smaller is the layer that gave it so many channels.
            smaller, share = max(at for at in range(row + 1) if layers[at].has("filters")), most / total
        sentence = _said(
            f"too_much_{figure}",
            layer=cost.arithmetic,
            shape=shape_text(cost.shape),
            amounts=[largest, total, most],
            millions=[each / 1e6 for each in (largest, total, most)],
            of_batch=f"{BYTES_PER_NUMBER} bytes × 2 (forward and backward) × {MAX_BATCH} tiles in a batch",
            memory=bytes_text(total * _BYTES_OF_ONE_KEPT),
            memory_allowed=bytes_text(MAX_MEMORY),
        )
        return row, _smaller(layers, smaller, costs, sentence, share)
    return -1, None


def _hint(layers: tuple[Layer, ...], row: int, shape: Shape) -> str:
    """What is allowed but does little."""
    layer = layers[row]
    before = layers[row - 1] if row else None
    if layer.kind in ACTIVATIONS and before is not None and before.kind in (*ACTIVATIONS, "residual"):
        return _said("two_activations")
    if layer.kind in ("conv", "linear") and _straight_before(layers, row):
        return _said("no_activation")
    if layer.kind == "flatten" and len(shape) == 1:
        return _said("flat_already", numbers=shape[0])
    if layer.kind == "dropout" and layer.value("share") == 0:
        return _said("dropout_zero")
    if layer.kind == "adaptiveavgpool" and layer.whole("size") > min(shape[1:]):
        return _said("repeated", picture=shape_text(shape[1:]))
    if layer.has("stride") and layer.has("size") and layer.whole("stride") > layer.whole("size"):
        return _said("skipped")
    return ""


def _straight_before(layers: tuple[Layer, ...], row: int) -> bool:
    """Whether only layers that keep a weighted sum linear stand between this one and the weighted sum before it."""
    for before in reversed(layers[:row]):
        if before.kind in ("conv", "linear"):
            return True
        if before.kind not in ("batchnorm", "dropout", "flatten", "avgpool", "adaptiveavgpool"):
            return False
    return False


def totals(reports: tuple[LayerReport, ...]) -> Totals:
    """Sums over the layers that could be checked."""
    return Totals(
        sum(each.params for each in reports),
        sum(each.macs for each in reports),
        sum(each.activation_bytes for each in reports),
    )


def first_problem(reports: tuple[LayerReport, ...]) -> tuple[int, Problem] | None:
    """The row (from 0) and the problem that stands there; None for a network that can be trained."""
    return next(((row, each.problem) for row, each in enumerate(reports) if each.problem is not None), None)


def checked_network(text: str, classes: int = 10) -> tuple[Layer, ...]:
    """The layers of a text, if they can be trained. Raises `ConfigError` naming the layer that stands against it."""
    layers = parse_network(text)
    found = first_problem(check_network(layers, classes))
    if found is None:
        return layers
    row, problem = found
    where = f"Layer {row + 1} of the network ({format_layer(layers[row])}): " if layers else ""
    raise ConfigError(f"{where}{problem.sentence} {problem.advice}")


def repaired(layers: tuple[Layer, ...], classes: int = 10) -> tuple[Layer, ...]:
    """The network after all repairs, one after the other."""
    for _ in range(_REPAIRS):
        found = first_problem(check_network(layers, classes))
        if found is None:
            return layers
        layers = found[1].repair
    raise AssertionError(f"the repairs of {format_network(layers)} come to no end")


_SAFE_CHANNELS = 16


def breaks_channels_last(layers: tuple[Layer, ...]) -> bool:
    """Whether training these layers on a CPU in float32 and channels-last writes over memory that is not theirs.

    Seen with PyTorch 2.14: the backward pass of a 1×1 convolution with stride 2 on 3, 4, 5, 8, 12 and 15 channels ended
    in a corrupted heap in every try, on 16 and more in none; nor did strides of 3 and 4, bfloat16, or the usual layout.
    A residual block with a stride has such a convolution in its shortcut.
    """
    shape: Shape = TILE
    for report in check_network(layers):
        layer = report.layer
        single = layer.kind == "residual" or (layer.kind == "conv" and layer.whole("size") == 1)
        if single and layer.whole("stride") == 2 and shape[0] < _SAFE_CHANNELS:
            return True
        if report.output_shape is None:
            return False
        shape = report.output_shape
    return False
