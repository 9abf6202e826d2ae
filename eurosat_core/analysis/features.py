"""What a step of a filter and a look into a network showed, for each way it can come out."""

import numpy as np
import numpy.typing as npt

from eurosat_core.data.pictures import class_titles
from eurosat_core.finding import Finding
from eurosat_core.lab.inspection import LayerSeen, NetworkSeen
from eurosat_core.models.convolution import LayerWork, Step, layer_work

Values = npt.NDArray[np.float32]

GUESSED_LAYER = LayerWork(side=64, channels=3, filter_side=3, filters=1)
_STRONG, _WEAK = 0.5, 0.1  # of the strongest value in the feature map
_SURE = 0.8
_MOST = 0.75  # of a feature map: that much zero is called silent


def multiplications() -> Finding:
    """How many multiplications the layer that is guessed about needs."""
    work = layer_work(GUESSED_LAYER)
    side = GUESSED_LAYER.side - GUESSED_LAYER.filter_side + 1
    figures = {"side": side, "products": work.products_per_place, "multiplications": work.layer}
    return Finding("features.multiplications", figures)


def step_finding(step: Step, values: Values) -> Finding:
    """What the filter found at one place, measured by the rest of its feature map [H, W]."""
    strongest = float(np.abs(values).max())
    if strongest == 0:
        return Finding("features.silent_map")
    figures = {"value": step.value, "share": abs(step.value) / strongest}
    kind = "match" if step.value > 0 else "opposite"
    then = (_products(step, values),)
    if np.allclose(step.weights.sum(axis=(1, 2)), 1, atol=1e-4):  # blur, sharpen, identity
        return Finding(f"features.brightness.{kind}", figures, then)
    if figures["share"] < _WEAK:
        return Finding("features.cancelled", figures, then)
    return Finding(f"features.{kind}.{'part' if figures['share'] < _STRONG else 'full'}", figures, then)


def _products(step: Step, values: Values) -> Finding:
    each, (rows, columns) = step.products.size, values.shape
    outside = int((~step.inside).sum()) * step.products.shape[0]
    figures = {"each": each, "outside": outside, "rows": rows, "columns": columns, "all": each * values.size}
    return Finding(f"features.products.{'edge' if outside else 'inside'}", figures)


def relu_finding(before: Values) -> Finding:
    """How much of a feature map [H, W] ReLU leaves."""
    zeros = float((before <= 0).mean())
    if zeros in (0, 1):
        return Finding(f"features.relu_{'all' if zeros else 'none'}")
    return Finding(f"features.relu.{'most' if zeros > _MOST else 'some'}", {"zeros": zeros})


def pooled_finding(before: Values, after: Values) -> Finding:
    """What pooling did to a feature map's strongest value."""
    highest, left = float(before.max()), float(after.max())
    if highest == 0:
        return Finding("features.pooled.nothing")
    return Finding(
        f"features.pooled.{'kept' if left >= highest * (1 - 1e-6) else 'less'}", {"highest": highest, "left": left}
    )


def answer_finding(seen: NetworkSeen, true_class: str, *, trained: bool) -> Finding:
    """What a network answers and how sure it is. true_class: the tile's, which the network may not know."""
    titles = class_titles(seen.class_names)
    at = int(seen.probabilities.argmax())
    said, sure = seen.class_names[at], float(seen.probabilities[at])
    figures = {"answer": titles[said], "sure": sure, "chance": 1 / len(seen.class_names)}
    if not trained:
        return Finding("features.untrained", figures)
    if true_class not in seen.class_names:
        return Finding("features.unknown_class", figures)
    is_sure = "sure" if sure >= _SURE else "unsure"
    if said == true_class:
        return Finding(f"features.right.{is_sure}", figures)
    figures |= {"title": titles[true_class], "own": float(seen.probabilities[seen.class_names.index(true_class)])}
    return Finding(f"features.wrong.{is_sure}", figures)


def silent_finding(seen: NetworkSeen) -> Finding | None:
    """How many feature maps of the first convolution come to nothing on this tile; None where no ReLU follows."""
    found = _after_first_activation(seen.layers)
    if found is None:
        return None
    name, layer = found
    figures = {"layer": name, "filters": layer.shape[0], "silent": layer.silent}
    variant = "none" if layer.silent == 0 else "all" if layer.silent == layer.shape[0] else "some"
    return Finding(f"features.silent.{variant}", figures)


def unchanged_finding(before: NetworkSeen, after: NetworkSeen) -> Finding | None:
    """How many layers give the same before and after, since training left them as they were; None for none."""
    pairs = list(zip(before.layers, after.layers, strict=True))
    same = sum((old.lowest, old.highest) == (new.lowest, new.highest) for old, new in pairs)
    if same == 0:
        return None
    figures = {"same": same, "layers": len(pairs)}
    return Finding(f"features.unchanged.{'all' if same == len(pairs) else 'some'}", figures)


def _after_first_activation(layers: tuple[LayerSeen, ...]) -> tuple[str, LayerSeen] | None:
    """The first convolution's name, and the first layer after it, before the next one, without negative values."""
    first = next((at for at, each in enumerate(layers) if each.kind == "Conv2d"), None)
    if first is None:
        return None
    for layer in layers[first + 1 :]:
        if layer.kind == "Conv2d" or layer.maps is None or layer.shape[0] != layers[first].shape[0]:
            return None
        if layer.lowest >= 0:
            return layers[first].name, layer
    return None
