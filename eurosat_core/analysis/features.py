"""What a step of a filter and a look into a network showed, in words, for each way it can come out."""

import numpy as np
import numpy.typing as npt

from eurosat_core import wording
from eurosat_core.analysis.finding import Finding
from eurosat_core.data.pictures import class_titles
from eurosat_core.lab.inspection import LayerSeen, NetworkSeen
from eurosat_core.models.convolution import LayerWork, Step, layer_work

Values = npt.NDArray[np.float32]

GUESSED_LAYER = LayerWork(side=64, channels=3, filter_side=3, filters=1)
_STRONG, _WEAK = 0.5, 0.1  # of the strongest value in the feature map
_SURE = 0.8


def number(value: float) -> str:
    """`+0.341`, `−1.200`: with its sign, which is half of what a filter says."""
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", "−")


def multiplications() -> Finding:
    """How many multiplications the layer that is guessed about needs."""
    work = layer_work(GUESSED_LAYER)
    side = GUESSED_LAYER.side - GUESSED_LAYER.filter_side + 1
    figures = {"side": side, "products": work.products_per_place, "multiplications": work.layer}
    return Finding("features.multiplications", figures)


def step_words(step: Step, values: Values) -> str:
    """What the filter found at one place, measured by the rest of its feature map [H, W]."""
    strongest = float(np.abs(values).max())
    found = number(step.value)
    if strongest == 0:
        return "The whole feature map is zero: with these weights the filter answers to nothing in this tile."
    share = abs(step.value) / strongest
    if np.allclose(step.weights.sum(axis=(1, 2)), 1, atol=1e-4):  # blur, sharpen, identity
        level = "brighter" if step.value > 0 else "darker"
        text = (
            f"The weights add up to 1, so this filter keeps brightness: {found}, {level} than the grey that is 0 here."
        )
    elif share < _WEAK:
        text = f"At this place the filter finds next to nothing ({found}): its products are small, or they cancel."
    elif share < _STRONG:
        kind = "a part of what it looks for" if step.value > 0 else "a part of the opposite of what it looks for"
        text = f"At this place the filter finds {kind}: {found}, {share:.0%} of the strongest value in its feature map."
    elif step.value > 0:
        text = (
            f"At this place the filter finds what it looks for: {found}, {share:.0%} of the strongest value in its "
            "feature map."
        )
    else:
        text = (
            f"At this place the filter finds the opposite of what it looks for: {found}, {share:.0%} of the strongest "
            "value in its feature map. A ReLU after it makes that 0."
        )
    return f"{text} {_products(step, values)}"


def _products(step: Step, values: Values) -> str:
    each = step.products.size
    rows, columns = values.shape
    outside = int((~step.inside).sum()) * step.products.shape[0]
    beyond = f", {outside} of them with the zeros beyond the edge" if outside else ""
    return f"That took {each} products{beyond}; all {rows} × {columns} places take {each * values.size:,}."


def relu_words(before: Values) -> str:
    """How much of a feature map [H, W] ReLU leaves."""
    zeros = float((before <= 0).mean())
    if zeros == 0:
        return "Nothing here is below zero, so ReLU changes nothing."
    if zeros == 1:
        return "Nothing here is above zero, so ReLU leaves only zeros: this feature map is silent on this tile."
    rest = "most of the map is silent" if zeros > 0.75 else "the rest passes unchanged"
    return f"ReLU makes {wording.percent(zeros)} of these values zero; {rest}."


def pooled_words(before: Values, after: Values) -> str:
    """What pooling did to a feature map's strongest value."""
    highest, left = float(before.max()), float(after.max())
    if highest == 0:
        return "There is nothing above zero in it to be kept."
    if left >= highest * (1 - 1e-6):
        return f"The strongest value, {number(highest)}, is still there."
    return f"The strongest value was {number(highest)} and is {number(left)} now."


def answer_words(seen: NetworkSeen, true_class: str, *, trained: bool) -> str:
    """What a network answers and how sure it is. true_class: the tile's, which the network may not know."""
    titles = class_titles(seen.class_names)
    at = int(seen.probabilities.argmax())
    said, sure = seen.class_names[at], float(seen.probabilities[at])
    answer = f"{titles[said]} ({wording.percent(sure)})"
    if not trained:
        chance = wording.percent(1 / len(seen.class_names))
        return f"Before training, its surest answer is {answer}; chance is {chance}."
    if true_class not in seen.class_names:
        return f"It answers {answer}, but it was never told of this tile’s class, so no answer of it can be right."
    if said == true_class:
        how = "right, and sure" if sure >= _SURE else "right, but not sure"
        return f"It answers {answer}: {how}."
    own = float(seen.probabilities[seen.class_names.index(true_class)])
    how = "wrong, and sure all the same" if sure >= _SURE else "wrong"
    return f"It answers {answer}: {how}. The tile’s own class, {titles[true_class]}, gets {wording.percent(own)}."


def silent_words(seen: NetworkSeen) -> str:
    """How many feature maps of the first convolution come to nothing on this tile; empty where no ReLU follows."""
    found = _after_first_activation(seen.layers)
    if found is None:
        return ""
    name, layer = found
    maps = layer.shape[0]
    if layer.silent == 0:
        return f"All {maps} filters of {name} find something in this tile."
    if layer.silent == maps:
        return f"None of the {maps} filters of {name} finds anything in this tile: only zeros go on."
    verb = "finds" if layer.silent == 1 else "find"
    return (
        f"{layer.silent} of the {maps} filters of {name} {verb} nothing in this tile: after ReLU, only zeros are left."
    )


def unchanged_words(before: NetworkSeen, after: NetworkSeen) -> str:
    """How many layers give the same before and after, since training left them as they were; empty for none."""
    pairs = list(zip(before.layers, after.layers, strict=True))
    same = sum((old.lowest, old.highest) == (new.lowest, new.highest) for old, new in pairs)
    if same == 0:
        return ""
    if same == len(pairs):
        return "Every layer gives the same as before: training has changed nothing here."
    return f"{same} of its {len(pairs)} layers give the same as before: training left them as they were (frozen)."


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
