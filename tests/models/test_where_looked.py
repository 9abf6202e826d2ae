"""Grad-CAM against the chain rule by hand and against PyTorch without hooks; occlusion against a plain loop."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from eurosat_core.models.build import build_network
from eurosat_core.models.catalog import build_model
from eurosat_core.models.networks import Net
from eurosat_core.models.saliency import SQUARE, where_looked


@pytest.fixture(autouse=True)
def same_numbers() -> None:
    torch.manual_seed(5)


def tile() -> torch.Tensor:
    return torch.randn(1, 3, 64, 64)


def enlarged(plane: torch.Tensor) -> np.ndarray:
    heat = functional.interpolate(plane.relu()[None, None], size=(64, 64), mode="bilinear", align_corners=False)[0, 0]
    return (heat / heat.max().clamp(min=1e-12)).detach().numpy()


def test_a_linear_end_gives_its_own_weights_as_gradients() -> None:
    """Score = sum of weights × maps, so a map's gradient is its weights: no autograd in the oracle."""
    network = nn.Sequential(nn.Conv2d(3, 4, 9, 8), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 7, 5)).eval()
    given = tile()
    with torch.no_grad():
        maps = network[1](network[0](given))[0]
        weights = network[3].weight[2].view(4, 7, 7).mean(dim=(1, 2))
        plane = sum(weight * each for weight, each in zip(weights, maps, strict=True))
    looked = where_looked(network, given, 2)
    assert (looked.method, looked.cells) == ("grad-cam", (7, 7))
    np.testing.assert_allclose(looked.heat, enlarged(plane), atol=1e-5)


def by_hand(first: nn.Module, rest: nn.Module, given: torch.Tensor, label: int) -> np.ndarray:
    """The network cut in two after the last convolution's activation."""
    maps = first(given).detach().requires_grad_()
    rest(maps)[0, label].backward()
    return enlarged((maps.grad.mean(dim=(2, 3), keepdim=True) * maps)[0].sum(0))


def test_the_baseline_with_its_functional_relu() -> None:
    network = Net(10).eval()

    class First(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.relu(network.conv2(network.pool1(functional.relu(network.conv1(x)))))

    class Rest(nn.Module):
        def forward(self, maps: torch.Tensor) -> torch.Tensor:
            hidden = functional.relu(network.fc1(network.pool2(maps).flatten(1)))
            return network.fc3(functional.relu(network.fc2(hidden)))

    given = tile()
    for label in (0, 7):
        looked = where_looked(network, given, label)
        assert looked.cells == (26, 26)
        np.testing.assert_allclose(looked.heat, by_hand(First(), Rest(), given, label), atol=1e-5)


@pytest.mark.parametrize("inplace", [False, True])
def test_batchnorm_and_a_relu_that_works_in_place(inplace: bool) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(inplace),
        nn.Conv2d(8, 6, 3, 2),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace),
        nn.Dropout2d(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 15 * 15, 4),
    ).eval()
    with torch.no_grad():
        network[3].running_mean.normal_()
        network[3].bias.normal_()
    given = tile()
    heats = [where_looked(network, given, label).heat for label in range(4)]
    for label, heat in enumerate(heats):
        np.testing.assert_allclose(heat, by_hand(network[:6], network[6:], given, label), atol=1e-5)
    assert max(heat.max() for heat in heats) == 1


def test_a_residual_block_counts_with_its_sum() -> None:
    network = build_network("conv 4 3, relu, residual 8, adaptiveavgpool 1, flatten, linear out", 3).eval()
    layers = list(network.children())
    layers = list(layers[0].children()) if len(layers) == 1 else layers
    at = next(number for number, each in enumerate(layers) if type(each).__name__ == "ResidualBlock")
    given = tile()
    looked = where_looked(network, given, 0)
    oracle = by_hand(nn.Sequential(*layers[: at + 1]), nn.Sequential(*layers[at + 1 :]), given, 0)
    np.testing.assert_allclose(looked.heat, oracle, atol=1e-5)


def test_a_frozen_network_can_be_asked_and_keeps_no_gradients() -> None:
    network = build_model("efficientnet_lite0", 4).eval().requires_grad_(False)
    looked = where_looked(network, tile(), 0)
    assert looked.method == "occlusion"  # its last maps have 2 × 2 cells
    network = build_model("vgg11_bn", 4).eval().requires_grad_(False)
    looked = where_looked(network, tile(), 0)
    assert (looked.method, looked.cells) == ("grad-cam", (4, 4)), "its last maps before the last pooling"
    assert all(each.grad is None for each in network.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 5)),
        nn.Sequential(nn.Conv2d(3, 4, 22, 21), nn.Flatten(), nn.Linear(36, 5)),  # 3 × 3 cells say not where
    ],
)
def test_without_maps_squares_are_covered(network: nn.Module) -> None:
    given = tile()
    falls = torch.zeros(8, 8)
    with torch.no_grad():
        for row in range(8):
            for column in range(8):
                covered = given.clone()
                covered[..., row * SQUARE : (row + 1) * SQUARE, column * SQUARE : (column + 1) * SQUARE] = 0
                falls[row, column] = network(given)[0, 3] - network(covered)[0, 3]
    falls = falls.relu() / falls.max()
    looked = where_looked(network.eval(), given, 3)
    assert (looked.method, looked.cells) == ("occlusion", (8, 8))
    np.testing.assert_allclose(looked.heat, falls.repeat_interleave(8, 0).repeat_interleave(8, 1).numpy(), atol=1e-4)


def test_where_nothing_speaks_for_a_class_there_is_no_heat() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 62 * 62, 2)).eval()
    nn.init.constant_(network[3].weight, -1.0)
    looked = where_looked(network, tile(), 0)
    assert looked.heat.shape == (64, 64)
    assert (looked.heat == 0).all()


def test_it_works_within_inference_mode() -> None:
    with torch.inference_mode():
        given = tile()
    assert where_looked(Net(4).eval(), given, 0).heat.max() == 1
