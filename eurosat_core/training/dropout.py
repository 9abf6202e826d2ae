"""What dropout draws, the same for the same seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["DropoutState"]


class DropoutState:
    """The generator that dropout draws from, kept apart from everybody else's: the same for the same seed.

    Dropout can only draw from torch's global generator, so its state is exchanged around each step.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._device = device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._state = torch.get_rng_state()

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """While open, what draws from the global generator draws from this one."""
        if self._device.type != "cpu":  # a GPU has a generator of its own, which nothing else of ours uses
            yield
            return
        outside = torch.get_rng_state()
        torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(outside)
