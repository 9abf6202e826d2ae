import pytest

from eurosat_core.models.layers import parse_network
from eurosat_core.models.layout import breaks_channels_last
from eurosat_core.training.config import TrainConfig

END = "flatten, linear out"
BREAKS = ["conv 4 3, residual 8 stride 2", "conv 15 3, relu, conv 8 1 stride 2", "conv 8 1 stride 2"]
SAFE = ["conv 16 3, residual 8 stride 2", "conv 4 3, residual 8", "conv 4 3, conv 8 1 stride 3", "conv 4 3 stride 2"]


@pytest.mark.parametrize("network", BREAKS)
def test_networks_that_would_kill_their_process(network: str) -> None:
    text = f"{network}, {END}"
    assert breaks_channels_last(parse_network(text))
    config = TrainConfig(model="custom", network=text)
    config.checked()
    for changes in ({"precision": "bfloat16", "channels_last": True}, {"precision": "float32"}):
        TrainConfig.from_dict({**config.to_dict(), **changes})


@pytest.mark.parametrize("network", SAFE)
def test_networks_that_any_layout_suits(network: str) -> None:
    assert not breaks_channels_last(parse_network(f"{network}, {END}"))
    TrainConfig(model="custom", network=f"{network}, {END}", channels_last=True).checked()
