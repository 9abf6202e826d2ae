"""What dropout draws, the same for the same seed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["DropoutState"]


class DropoutState:
    """The generator that dropout draws from, kept apart from everybody else's: the same for the same seed.

    Dropout can only draw from its device's global generator, so that one's state is exchanged around each step: a run
    that stands still in the meantime may share it with another one. On a GPU, too, the state lies in the processor's
    memory, so nothing waits for the GPU.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._generator = _global_generator(device)
        self._state = self._generator.get_state()
        with self.drawing():
            self._generator.manual_seed(seed)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """While open, what draws from the global generator draws from this one."""
        outside = self._generator.get_state()
        self._generator.set_state(self._state)
        try:
            yield
        finally:
            self._state = self._generator.get_state()
            self._generator.set_state(outside)


def _global_generator(device: torch.device) -> torch.Generator:
    """Each device has one of its own; of a GPU, there must be something on it already."""
    match device.type:
        case "cuda":
            return torch.cuda.default_generators[device.index]
        case "mps":
            return torch.mps._get_default_mps_generator()
        case _:
            return torch.default_generator
