import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from eurosat_core.models.networks import Net
from eurosat_core.models.summary import summarize

TUTORIAL_TABLE = [
    ("Conv2d-1", (-1, 6, 60, 60), 456),
    ("MaxPool2d-2", (-1, 6, 30, 30), 0),
    ("Conv2d-3", (-1, 16, 26, 26), 2_416),
    ("MaxPool2d-4", (-1, 16, 13, 13), 0),
    ("Linear-5", (-1, 120), 324_600),
    ("Linear-6", (-1, 84), 10_164),
    ("Linear-7", (-1, 10), 850),
]


def counted_macs(model: nn.Module, input_shape: tuple[int, int, int]) -> float:
    """Torch's own count of floating-point operations; a multiplication and an addition count two."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(torch.zeros(1, *input_shape))
    return counter.get_total_flops() / 2


def test_table_is_the_tutorials() -> None:
    rows = summarize(Net()).layers
    assert [(row.name, row.output_shape, row.params) for row in rows] == TUTORIAL_TABLE


def test_totals_are_the_tutorials() -> None:
    found = summarize(Net())
    assert found.total_params == found.trainable_params == 338_486
    sizes = (found.input_mb, found.forward_backward_mb, found.params_mb, found.total_mb)
    assert [f"{size:.2f}" for size in sizes] == ["0.05", "0.31", "1.29", "1.65"]


@given(data=st.data())
def test_macs_are_torchs(data: st.DataObject) -> None:
    """Random networks of convolutions with any stride, padding, dilation and groups."""
    draw = data.draw
    layers: list[nn.Module] = []
    channels = 3
    for _ in range(draw(st.integers(1, 3))):
        groups = draw(st.sampled_from([each for each in (1, 2, 3) if channels % each == 0]))
        filters = groups * draw(st.integers(1, 4))
        kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        options = {
            "stride": draw(st.integers(1, 2)),
            "padding": draw(st.integers(0, 2)),
            "dilation": draw(st.integers(1, 2)),
            "bias": draw(st.booleans()),
        }
        layers += [nn.Conv2d(channels, filters, kernel, groups=groups, **options), nn.ReLU()]
        channels = filters
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(channels * 4, 5))
    found = summarize(model, (3, 32, 32))
    assert found.macs == counted_macs(model, (3, 32, 32))
    assert found.total_params == sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(training: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU()).train(training)
    network[1].eval()  # a frozen part keeps its own mode
    modes = [each.training for each in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    generator = torch.get_rng_state()
    summarize(network)
    assert [each.training for each in network.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(each._forward_hooks for each in network.modules())
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.is_grad_enabled()


def test_nothing_is_left_behind_by_a_failure() -> None:
    network = Net()
    with pytest.raises(RuntimeError):
        summarize(network, (3, 32, 32))  # too small for the first linear layer
    assert network.training
    assert not any(each._forward_hooks for each in network.modules())
