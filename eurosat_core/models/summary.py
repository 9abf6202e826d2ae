"""What a network is made of and what it costs: the tutorial's summary table, plus multiply-accumulates.

Sizes follow torchsummary's conventions, which the tutorial prints: MB = 1024² bytes, four bytes a number,
every listed output counted twice (once forward, once for its gradient).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

_MB = 1024**2
_BYTES_PER_NUMBER = 4


@dataclass(frozen=True)
class LayerRow:
    """One layer: `output_shape` has -1 for the batch; `macs` are multiply-accumulates for one tile."""

    name: str
    output_shape: tuple[int, ...]
    params: int
    macs: int


@dataclass(frozen=True)
class ModelSummary:
    """The table and its totals; sizes in MB (1024² bytes) for one tile."""

    layers: tuple[LayerRow, ...]
    total_params: int
    trainable_params: int
    macs: int
    input_mb: float
    forward_backward_mb: float
    params_mb: float
    total_mb: float


def _layer_macs(layer: "nn.Module", output: "Tensor") -> int:
    """Multiply-accumulates of one tile: each output of a convolution or linear layer is a dot product."""
    from torch import nn

    if isinstance(layer, nn.Conv2d):
        rows, columns = layer.kernel_size
        return output[0].numel() * (layer.in_channels // layer.groups) * int(rows) * int(columns)
    if isinstance(layer, nn.Linear):
        return output[0].numel() * layer.in_features
    return 0


def summarize(model: "nn.Module", input_shape: tuple[int, int, int] = (3, 64, 64)) -> ModelSummary:
    """Run one zero tile through `model` on the CPU and list its layers in the order they were used.

    input_shape: channels, height, width. The model is left as it was (mode included).
    """
    import torch
    from torch import nn

    rows: list[LayerRow] = []

    def note(layer: "nn.Module", _inputs: "tuple[Tensor, ...]", output: "Tensor") -> None:
        params = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
        rows.append(
            LayerRow(
                f"{'Conv2d' if isinstance(layer, nn.Conv2d) else type(layer).__name__}-{len(rows) + 1}",
                (-1, *output.shape[1:]),
                params,
                _layer_macs(layer, output),
            )
        )

    leaves = [layer for layer in model.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(note) for layer in leaves]
    modes = [(layer, layer.training) for layer in model.modules()]
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *input_shape, device=device))
    finally:
        for layer, training in modes:  # one by one: parts of a network may be frozen in evaluation mode
            layer.training = training
        for hook in hooks:
            hook.remove()
    total = sum(parameter.numel() for parameter in model.parameters())
    outputs = sum(abs(torch.Size(row.output_shape).numel()) for row in rows)
    input_mb = torch.Size(input_shape).numel() * _BYTES_PER_NUMBER / _MB
    forward_backward_mb = 2 * outputs * _BYTES_PER_NUMBER / _MB
    params_mb = total * _BYTES_PER_NUMBER / _MB
    return ModelSummary(
        layers=tuple(rows),
        total_params=total,
        trainable_params=sum(each.numel() for each in model.parameters() if each.requires_grad),
        macs=sum(row.macs for row in rows),
        input_mb=input_mb,
        forward_backward_mb=forward_backward_mb,
        params_mb=params_mb,
        total_mb=input_mb + forward_backward_mb + params_mb,
    )
