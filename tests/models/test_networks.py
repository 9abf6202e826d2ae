"""Networks that learn from scratch, the catalog of all, and their tables of layers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import CATALOG, build_model, model_entry
from eurosat_core.models.networks import Net, TileNet
from eurosat_core.models.summary import summarize
from eurosat_core.training.config import recipe_config
from tests.models.network_makers import tutorial_net


@pytest.mark.processor
def test_baseline_is_the_tutorials_network() -> None:
    ours, theirs = Net(), tutorial_net()
    copied = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(copied)
    tiles = torch.rand(5, 3, 64, 64)
    assert torch.equal(ours(tiles), theirs(tiles))
    assert sum(each.numel() for each in ours.parameters()) == 338_486


@pytest.mark.parametrize("name", CATALOG)
def test_every_entry_can_be_built_and_trained(name: str) -> None:
    entry = model_entry(name)
    assert entry.name == name
    assert entry.title
    assert entry.about.endswith(".")
    assert all(each > 0 for each in entry.std)
    network = build_model(name, classes=4).eval()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 4)
    assert recipe_config(name).model == name


@pytest.mark.parametrize("ask", [model_entry, build_model])
def test_unknown_models_are_told_what_there_is(ask: object) -> None:
    with pytest.raises(ConfigError, match=r"'resnet'.*baseline"):
        ask("resnet")  # type: ignore[operator]


def parameters_by_hand(classes: int) -> int:
    """Weights of each convolution, two numbers a channel for its BatchNorm, and the linear layer."""
    total, before = 3 * 4 * 4 * 32 + 2 * 32, 32
    for width in (64, 128, 256):
        total += before * 9 * width + 2 * width  # halves the size
        total += width * 9 * width + 2 * width  # refines
        before = width
    return total + 256 * classes + classes


@pytest.mark.parametrize(("stem_pool", "sides"), [(True, (16, 8, 4)), (False, (32, 16, 8))])
def test_parameters_and_work(stem_pool: bool, sides: tuple[int, ...]) -> None:
    summary = summarize(build_model("tilenet", 10, stem_pool=stem_pool))
    assert summary.total_params == summary.trainable_params == parameters_by_hand(10)
    macs, before = 48 * 32 * 32**2, 32
    for width, side in zip((64, 128, 256), sides, strict=True):
        macs += (before + width) * 9 * width * side**2
        before = width
    assert summary.macs == macs + 256 * 10


@pytest.mark.parametrize("side", [32, 48, 64, 80])
def test_tiles_of_several_sizes(side: int) -> None:
    assert TileNet(7).eval()(torch.rand(2, 3, side, side)).shape == (2, 7)


def test_without_the_pooling_parameters_keep_their_names() -> None:
    assert TileNet(7, stem_pool=False).state_dict().keys() == TileNet(7).state_dict().keys()


@pytest.mark.processor
@pytest.mark.parametrize("stem_pool", [True, False])
def test_forward_equals_torchs_functions(stem_pool: bool) -> None:
    network = TileNet(5, stem=4, widths=(6, 8), stem_pool=stem_pool).eval()
    tiles, state = torch.rand(3, 3, 32, 32), network.state_dict()

    def convolved(features: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        out = functional.conv2d(features, state[f"{name}.0.weight"], stride=stride, padding=1)
        norm = [state[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.relu(functional.batch_norm(out, *norm))

    features = convolved(tiles, "stem", 2)
    for at in (0, 3):
        halved = functional.max_pool2d(features, 2) if at or stem_pool else features
        features = convolved(halved, f"stages.{at + 1}", 1)
        features = features + convolved(features, f"stages.{at + 2}.body", 1)
    by_hand = functional.linear(features.mean((2, 3)), state["classifier.weight"], state["classifier.bias"])
    torch.testing.assert_close(network(tiles), by_hand)


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
