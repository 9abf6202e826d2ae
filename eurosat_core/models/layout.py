"""One memory layout that PyTorch cannot train in: a network that would kill its process is told apart beforehand."""

from eurosat_core.models.check import TILE, check_network
from eurosat_core.models.layers import Layer, Shape

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
