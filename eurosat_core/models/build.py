"""From a network's text to a PyTorch module, and to the source of one that anybody can run.

Both give their layers the same names, so the weights of a trained run fit the exported source. torch is imported only
when something is built.
"""

import inspect
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eurosat_core.models.catalog import BASELINE
from eurosat_core.models.check import TILE, checked_network
from eurosat_core.models.layers import Layer, Shape, cost_of, format_network, padding_of, units_of
from eurosat_core.wording import filled

if TYPE_CHECKING:
    from torch import nn


# What layers are called in the module, numbered where there are several; the tutorial's names where it has one.
_NAMES = {
    "residual": "block",
    "batchnorm": "norm",
    "maxpool": "pool",
    "avgpool": "pool",
    "adaptiveavgpool": "adapt",
    "linear": "fc",
}
_AS_FUNCTIONS = {
    "relu": "functional.relu(x)",
    "sigmoid": "x.sigmoid()",
    "gelu": "functional.gelu(x)",
    "flatten": "x.flatten(1)",
}


@dataclass(frozen=True)
class _Placed:
    """A layer with its name in the module, the shape it gets and the shape it gives."""

    name: str
    layer: Layer
    before: Shape
    after: Shape


def _placed(layers: tuple[Layer, ...], classes: int) -> Iterator[_Placed]:
    seen: Counter[str] = Counter()
    shape = TILE
    for layer in layers:
        name = _NAMES.get(layer.kind, layer.kind)
        seen[name] += 1
        after = cost_of(layer, shape, classes).shape
        yield _Placed(f"{name}{seen[name]}", layer, shape, after)
        shape = after


def _arguments(placed: _Placed, classes: int) -> tuple[str, tuple[int | float, ...], dict[str, int]]:
    """The class in `torch.nn` (or `ResidualBlock`) of a layer, its arguments, and those given by name."""
    layer, channels = placed.layer, placed.before[0]
    match layer.kind:
        case "conv":
            options = {"stride": layer.whole("stride"), "padding": padding_of(layer)}
            usual = {"stride": 1, "padding": 0}
            changed = {name: value for name, value in options.items() if value != usual[name]}
            return "Conv2d", (channels, layer.whole("filters"), layer.whole("size")), changed
        case "residual":
            stride = layer.whole("stride")
            return "ResidualBlock", (channels, layer.whole("filters")), {} if stride == 1 else {"stride": stride}
        case "batchnorm":
            return ("BatchNorm2d" if len(placed.before) == 3 else "BatchNorm1d"), (channels,), {}
        case "maxpool" | "avgpool":
            size, stride = layer.whole("size"), layer.whole("stride")
            kind = "MaxPool2d" if layer.kind == "maxpool" else "AvgPool2d"
            return kind, (size,), {} if stride == size else {"stride": stride}
        case "adaptiveavgpool":
            return "AdaptiveAvgPool2d", (layer.whole("size"),), {}
        case "dropout":
            return "Dropout", (float(layer.value("share")),), {}
        case "linear":
            return "Linear", (channels, units_of(layer, classes)), {}
        case _:
            return {"relu": "ReLU", "sigmoid": "Sigmoid", "gelu": "GELU", "flatten": "Flatten"}[layer.kind], (), {}


_OURS = ("ResidualBlock", "AdaptiveAvgPool2d")


def build_network(text: str, classes: int = 10) -> "nn.Module":
    """A freshly initialised network: tiles [B, 3, 64, 64] in, scores [B, classes] out.

    Initialised as PyTorch does, from its global generator. Raises `ConfigError` for a text that cannot be trained.
    """
    from torch import nn

    from eurosat_core.models import networks

    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for placed in _placed(checked_network(text, classes), classes):
        kind, arguments, options = _arguments(placed, classes)
        make: Callable[..., nn.Module] = getattr(networks if kind in _OURS else nn, kind)
        modules[placed.name] = make(*arguments, **options)
    return nn.Sequential(modules)


def network_source(text: str, classes: int = 10) -> str:
    """Python source of the same network as a class `Net`, runnable by itself, with the shapes as comments.

    Raises `ConfigError` for a text that cannot be trained.
    """
    return filled("pytorch/network.py.j2", **_net_parts(text, classes)) + "\n"


def class_source(model: str, text: str, classes: int) -> str:
    """Python source of the classes of a model: `Net`, `TileNet` or `EfficientNetLite0`, word for word where it is ours.

    text: the layers of `custom`. Names of `torch`, `nn`, `functional` and `Tensor` are taken to be imported. Empty for
    torchvision's own network. Raises `ConfigError` for a text that cannot be trained.
    """
    from eurosat_core.models import networks, pretrained

    match model:
        case "tilenet":
            tilenet = (networks._convolution, networks.Refinement, networks.MeanOverPlaces, networks.TileNet)
            return _joined(f"WIDTHS = {networks.WIDTHS}", *(inspect.getsource(each) for each in tilenet))
        case "efficientnet_lite0":
            lite = (pretrained._SameConv, pretrained._norm, pretrained._Block, pretrained.EfficientNetLite0)
            stages = "\n".join(f"    {each}," for each in pretrained._STAGES)
            about = (
                "# Of each stage: blocks, filter size, stride of its first block, expansion, channels in, channels out."
            )
            known = f"{about}\n_STAGES = (\n{stages}\n)\n_FEATURES = {pretrained._FEATURES}"
            return _joined(known, *(inspect.getsource(each) for each in lite))
        case "vgg11_bn":
            return ""
        case _:
            parts = _net_parts(text or BASELINE, classes)
            return _joined(parts["block"], filled("pytorch/network_class.py.j2", **parts))


def _joined(*sources: str) -> str:
    return "\n\n\n".join(each.strip() for each in sources if each)


def _net_parts(text: str, classes: int) -> dict[str, Any]:
    """What the templates of `Net` show. block: the source of a block of ours that it uses."""
    layers = checked_network(text, classes)
    made, used, block = [], [], ""
    for placed in _placed(layers, classes):
        shape = f"[B, {', '.join(str(side) for side in placed.after)}]"
        call = _AS_FUNCTIONS.get(placed.layer.kind)
        if call is None:
            kind, arguments, options = _arguments(placed, classes)
            words = [*(str(each) for each in arguments), *(f"{name}={value}" for name, value in options.items())]
            prefix = "nn."
            if kind == "ResidualBlock":  # its source is part of what is exported, word for word
                from eurosat_core.models.networks import ResidualBlock

                prefix, block = "", inspect.getsource(ResidualBlock).rstrip()
            made.append(f"self.{placed.name} = {prefix}{kind}({', '.join(words)})")
            call = f"self.{placed.name}(x)"
        used.append((f"x = {call}", shape))
    width = max(len(line) for line, _ in used)
    lines = [f"{line:<{width}}  # {shape}" for line, shape in used]
    return {"text": format_network(layers), "block": block, "classes": classes, "made": made, "used": lines}
