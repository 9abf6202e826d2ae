"""The weights of every epoch, kept to see what a network learned bit by bit: file names and sizes."""

from functools import lru_cache

import torch

from eurosat_core.models.catalog import build_model
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import bytes_text

__all__ = ["MAX_BYTES", "epoch_file", "kept_bytes", "kept_problem"]

MAX_BYTES = 512 * 1024**2
"""Of one run; until it ends, they lie in its worker's memory. The baseline's 200 epochs take 258 MB."""


def epoch_file(epoch: int) -> str:
    """The name under which a run keeps the weights it had after an epoch, where it keeps them."""
    return f"model_epoch_{epoch:03d}.pt"


def kept_bytes(config: TrainConfig) -> int:
    """About how many bytes the weights of all epochs take: the trained parameters, 4 bytes each."""
    return 4 * config.epochs * _trained_parameters(config.model, config.network)


def kept_problem(config: TrainConfig) -> str:
    """Why a training cannot keep the weights of every epoch, as a sentence; empty when it can, or is not to."""
    if not config.keep_epochs or kept_bytes(config) <= MAX_BYTES:
        return ""
    one = kept_bytes(config) // config.epochs
    return (
        f"The weights of all {config.epochs} epochs would take {bytes_text(kept_bytes(config))}; a run may keep "
        f"{bytes_text(MAX_BYTES)}. Train for at most {MAX_BYTES // one} epochs, choose a smaller network, or keep "
        "the last epoch only."
    )


@lru_cache(maxsize=32)
def _trained_parameters(model: str, network: str) -> int:
    with torch.device("meta"):
        made = build_model(model, network=network)
    return sum(each.numel() for each in made.parameters() if each.requires_grad)
