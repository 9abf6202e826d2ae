"""Where in a tile a network finds what speaks for a class: Grad-CAM, or covering one square after another.

Grad-CAM (Selvaraju et al., 2017): how much the class's score rises with each feature map of the last convolution (its
gradient, averaged over the map) weighs these maps; what is above zero in their sum speaks for the class.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

SQUARE = 8  # pixels a side of what is covered where there is no convolution
_BATCH = 16
_FEWEST_CELLS = 4  # a side; with fewer, enlarged feature maps say nothing of where
# What follows a convolution and only changes the values of its maps, not their number or size.
_ELEMENTWISE = (
    nn.modules.batchnorm._BatchNorm,
    nn.ReLU,
    nn.ReLU6,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Identity,
    nn.modules.dropout._DropoutNd,
)


@dataclass(frozen=True)
class Saliency:
    """heat: [64, 64], 0…1, of the strongest place; all zero when nothing in the tile speaks for the class.

    method: "grad-cam", or "occlusion" for a network that has no feature maps at its end, or too small ones. cells: rows
    and columns of the map that the heat was enlarged from.
    """

    heat: npt.NDArray[np.float32]
    method: Literal["grad-cam", "occlusion"]
    cells: tuple[int, int]


def where_looked(network: nn.Module, tile: Tensor, label: int) -> Saliency:
    """Where in a normalised tile [1, 3, 64, 64] the network, in evaluation mode, finds what speaks for a class."""
    found = _last_maps(network, tile, label)
    if found is None:
        plane, mode = _covered(network, tile, label).relu(), "nearest"  # a covered square is a square
    else:
        maps, gradients = found
        plane, mode = (gradients.mean(dim=(1, 2))[:, None, None] * maps).sum(0).relu(), "bilinear"
    heat = functional.interpolate(plane[None, None], size=tile.shape[2:], mode=mode)[0, 0]
    highest = float(heat.max())
    if highest > 0:
        heat = heat / highest
    cells = (int(plane.shape[0]), int(plane.shape[1]))
    return Saliency(heat.numpy().astype(np.float32), "occlusion" if found is None else "grad-cam", cells)


def _last_maps(network: nn.Module, tile: Tensor, label: int) -> tuple[Tensor, Tensor] | None:
    """The last convolution's maps [n, h, w], after its activation, and the gradient of the class's score by them.

    An activation may be a layer or a function. So the maps are taken as they arrive at the next layer that does more;
    where they arrive there as a list of numbers, as they leave the convolution. None for a network without a
    convolution, or whose last maps are too small to say where.
    """
    maps: list[Tensor] = []
    waiting = False

    def leaving(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal waiting
        maps[:], waiting = [output], True

    def arriving(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal waiting
        if not waiting or isinstance(layer, _ELEMENTWISE):
            return
        if inputs and inputs[0].dim() == 4 and inputs[0].shape[1] == maps[0].shape[1]:
            maps[:] = [inputs[0]]
        waiting = False

    leaves = [layer for layer in network.modules() if not list(layer.children())]
    hooks = [layer.register_forward_pre_hook(arriving) for layer in leaves]
    hooks += [layer.register_forward_hook(leaving) for layer in leaves if isinstance(layer, nn.Conv2d)]
    try:
        with torch.enable_grad():
            # A frozen network has no gradients of its own; added to, the tile may be worked on in place.
            scores = network(tile.detach().clone().requires_grad_() + 0)
            if not maps or min(maps[0].shape[2:]) < _FEWEST_CELLS:
                return None
            (gradients,) = torch.autograd.grad(scores[0, label], maps[0], allow_unused=True)
    finally:
        for hook in hooks:
            hook.remove()
    if gradients is None:  # it was changed in place afterwards, or does not reach the scores
        return None
    return maps[0].detach()[0].float(), gradients[0].float()


def _covered(network: nn.Module, tile: Tensor, label: int) -> Tensor:
    """How much the class's score falls when a square of the tile is made grey (zero), for each square [8, 8]."""
    rows, columns = tile.shape[2] // SQUARE, tile.shape[3] // SQUARE
    covered = tile.repeat(rows * columns, 1, 1, 1)
    for number in range(rows * columns):
        top, left = number // columns * SQUARE, number % columns * SQUARE
        covered[number, :, top : top + SQUARE, left : left + SQUARE] = 0
    with torch.inference_mode():
        whole = network(tile)[0, label]
        falls = [whole - network(part)[:, label] for part in covered.split(_BATCH)]
        return torch.cat(falls).float().view(rows, columns).clone()
