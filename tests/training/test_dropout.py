"""Dropout draws what its run's seed says, whatever else draws on the same device in the meantime."""

import pytest
import torch

from eurosat_core.training.augmentation import DropoutState


@pytest.fixture
def generators(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Generator]:
    """The global generator of each device; those of GPUs are played by others of the CPU."""
    played = {"cpu": torch.default_generator, "cuda:1": torch.Generator(), "mps": torch.Generator()}
    monkeypatch.setattr(torch.cuda, "default_generators", (torch.Generator(), played["cuda:1"]))
    monkeypatch.setattr(torch.mps, "_get_default_mps_generator", lambda: played["mps"])
    return played


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_run_that_stood_still_goes_on_where_it_was(device: str, generators: dict[str, torch.Generator]) -> None:
    generator = generators[device]

    def step(state: DropoutState) -> torch.Tensor:
        with state.drawing():
            return torch.rand(4, generator=generator)

    before = generator.get_state()
    parked = DropoutState(3, torch.device(device))
    drawn = [step(parked)]
    assert torch.equal(generator.get_state(), before)

    other = DropoutState(9, torch.device(device))
    generator.manual_seed(9)  # as `torch.manual_seed` does on every device where the next network is made
    step(other)
    drawn.append(step(parked))
    generator.set_state(before)

    alone = torch.Generator().manual_seed(3)
    assert all(torch.equal(each, torch.rand(4, generator=alone)) for each in drawn)
