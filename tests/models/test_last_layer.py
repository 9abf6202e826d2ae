"""What a network's last layer gets, against networks taken apart; and wide ones in fewer numbers."""

import pytest
import torch
from torch import nn

from eurosat_core.errors import TrainingError
from eurosat_core.models.catalog import build_model
from eurosat_core.models.last_layer import WIDEST, last_layer, own_features, sketched
from eurosat_core.models.pretrained import EfficientNetLite0


@pytest.mark.parametrize("model", ["baseline", "tilenet", "custom", "efficientnet_lite0"])
def test_the_last_layer_gives_the_scores_of_them(model: str) -> None:
    network, tiles = build_model(model, 7).eval(), torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        found = own_features(network, tiles)
        torch.testing.assert_close(last_layer(network)(found), network(tiles))
        if isinstance(network, EfficientNetLite0):
            torch.testing.assert_close(found, network.features(tiles))


def test_of_a_convolution_it_is_the_mean_over_the_picture() -> None:
    body, head = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 1)
    network = nn.Sequential(body, head, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    tiles = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(own_features(network, tiles), body(tiles).mean((2, 3)))
    assert not head._forward_pre_hooks


def test_without_such_a_layer_it_says_so() -> None:
    with pytest.raises(TrainingError):
        own_features(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten()), torch.rand(1, 3, 8, 8))


def test_wide_ones_keep_their_cosines_in_fewer_numbers() -> None:
    values = torch.randn(4, 3 * WIDEST, generator=torch.Generator().manual_seed(0))
    values[1] = values[0] + 0.5 * values[1]
    found = sketched(values)
    assert found.shape == (4, WIDEST) and torch.equal(found, sketched(values))
    before, after = (torch.nn.functional.normalize(each) for each in (values, found))
    torch.testing.assert_close(after @ after.T, before @ before.T, atol=5 / WIDEST**0.5, rtol=0)
    assert sketched(values[:, :9]) is not found and torch.equal(sketched(values[:, :9]), values[:, :9])
