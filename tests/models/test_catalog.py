import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from eurosat_core.errors import ConfigError
from eurosat_core.models.catalog import CATALOG, build_model, default_settings, model_entry
from eurosat_core.models.networks import Net
from eurosat_core.training.config import recipe_config


def tutorial_net(classes: int = 10) -> nn.Sequential:
    """The tutorial's network, written once more."""
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(2704, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, classes),
    )


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


def test_defaults_are_a_copy() -> None:
    default_settings("baseline")["epochs"] = 99
    assert default_settings("baseline").get("epochs") != 99


@pytest.mark.parametrize("ask", [model_entry, build_model, default_settings])
def test_unknown_models_are_told_what_there_is(ask: object) -> None:
    with pytest.raises(ConfigError, match=r"no model 'resnet'.*baseline"):
        ask("resnet")  # type: ignore[operator]


def test_configs_are_checked_without_torch() -> None:
    """So that a page or a scheduler can do it at once."""
    code = "import sys, eurosat_core.training.config; print('torch' in sys.modules)"
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "False"
