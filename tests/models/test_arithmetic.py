"""The worked example of the Start page, against what PyTorch counts."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from eurosat_core.models.convolution import convolution_work


@pytest.mark.parametrize(
    ("side", "channels", "filter_side", "filters"), [(256, 3, 3, 64), (64, 3, 5, 6), (30, 6, 5, 16)]
)
def test_multiplications_as_pytorch_counts_them(side: int, channels: int, filter_side: int, filters: int) -> None:
    layer = torch.nn.Conv2d(channels, filters, filter_side)
    with FlopCounterMode(display=False) as counter:
        layer(torch.zeros(1, channels, side, side))
    assert convolution_work(side, channels, filter_side, filters).layer == counter.get_total_flops() // 2


def test_the_tutorials_example_without_its_slip() -> None:
    work = convolution_work(side=256, channels=3, filter_side=3, filters=64)
    assert (work.places, work.per_filter, work.layer) == (64_516, 1_741_932, 111_483_648)


def test_a_filter_larger_than_the_picture_does_nothing() -> None:
    assert convolution_work(side=2, channels=3, filter_side=3, filters=1).layer == 0
