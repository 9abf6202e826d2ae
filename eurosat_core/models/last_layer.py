"""What a network's last layer gets: the features that it has learned, or was given, to tell the classes apart by."""

import torch
from torch import Tensor, nn

from eurosat_core.errors import TrainingError

WIDEST = 4096
"""Numbers per tile at most: as many as VGG's. More are sketched."""


def last_layer(network: nn.Module) -> nn.Module:
    """The layer that gives the scores: the last linear one, else the last 1×1 convolution. Raises `TrainingError`."""
    layers = list(network.modules())
    heads: list[nn.Module] = [each for each in layers if isinstance(each, nn.Linear)]
    heads = heads or [each for each in layers if isinstance(each, nn.Conv2d) and each.kernel_size == (1, 1)]
    if not heads:
        raise TrainingError("This network ends in no linear layer, so it has no features of its own to look at.")
    return heads[-1]


def own_features(network: nn.Module, tiles: Tensor) -> Tensor:
    """What the last layer gets of normalised tiles [B, 3, S, S]: [B, F], of a convolution the mean over the picture."""
    seen: list[Tensor] = []
    hook = last_layer(network).register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))
    try:
        network(tiles)
    finally:
        hook.remove()
    values = seen[-1]
    return sketched(values.mean((2, 3)) if values.dim() == 4 else values.flatten(1))


def sketched(values: Tensor) -> Tensor:
    """Values [B, F] in `WIDEST` numbers where they are more; their products stay about what they are.

    A count sketch: each number is added to one of the sums, with a sign, both drawn once (Charikar, Chen and
    Farach-Colton, 2002).
    """
    width = values.shape[1]
    if width <= WIDEST:
        return values
    generator = torch.Generator().manual_seed(0)
    sums = torch.randint(WIDEST, (width,), generator=generator).to(values.device)
    signs = (torch.randint(2, (width,), generator=generator) * 2 - 1).to(values)
    return values.new_zeros(len(values), WIDEST).index_add_(1, sums, values * signs)
