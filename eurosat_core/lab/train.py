"""The weights of every epoch, kept to see what a network learned bit by bit: file names and sizes.

A training as a job: its events, and what it leaves behind.
"""

import io
import json
from contextlib import suppress
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import DataError
from eurosat_core.models.catalog import build_model
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import predictions_to_bytes
from eurosat_core.training.events import EpochDone, Event, FeaturesDone, Finished, Started, StepDone
from eurosat_core.training.loop import Checkpoint, Pull, train
from eurosat_core.training.sources import split_for
from eurosat_core.training.threads import ThreadGovernor
from eurosat_core.wording import bytes_text

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


class TrainWork:
    """The work of kind `train`: keeps the last checkpoint (of every epoch the weights, if asked to) and the figures.

    governor: as `train` takes it.
    """

    def __init__(self, config: TrainConfig, governor: ThreadGovernor | None = None) -> None:
        self._config = config
        self._governor = governor
        self._checkpoint: Checkpoint | None = None
        self._epochs: dict[str, bytes] = {}
        self._figures: dict[str, Any] = {}
        self._rates: list[float] = []
        self._sizes: dict[str, int] = {}

    def events(self, tiles: TileSet) -> Pull:
        return train(self._config, tiles, self.keep, self._governor)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Take what stands at the end of an epoch."""
        self._checkpoint = checkpoint
        if self._config.keep_epochs:
            self._epochs[epoch_file(checkpoint.epoch)] = _weights_to_bytes(checkpoint)

    def note(self, event: Event) -> Event | None:
        if isinstance(event, StepDone):
            return event if event.reported else None
        if isinstance(event, Started):
            self._sizes = {"train_tiles": event.train_tiles, "val_tiles": event.validation_tiles}
        elif isinstance(event, FeaturesDone):
            self._sizes["feature_tiles"] = event.done
        elif isinstance(event, EpochDone):
            self._rates.append(event.tiles_per_second)
            self._figures = {
                "epochs": event.epoch,
                "train_loss": event.train_loss,
                "train_accuracy": event.train_accuracy,
                "val_loss": event.val_loss,
                "val_accuracy": event.val_accuracy,
                "seconds": event.elapsed_seconds,
                "tiles_per_second": float(np.median(self._rates)),
                **self._sizes,
            }
        elif isinstance(event, Finished):
            self._figures["seconds"] = event.seconds
        return event

    def may_pause(self, event: Event) -> bool:
        # Between two steps only, so that one step asked for is one batch, also across the end of an epoch.
        return isinstance(event, StepDone)

    def summary(self) -> dict[str, Any]:
        return dict(self._figures)

    def how_far(self) -> str:
        done = self._figures.get("epochs", 0)
        if not done:
            return "It was stopped before its first epoch was complete, so it kept no network."
        return f"It was stopped after {done} of {self._config.epochs} epochs. The network of epoch {done} is kept."

    def files(self, tiles: TileSet | None) -> dict[str, bytes]:
        files = dict(self._epochs)
        if self._checkpoint is not None:
            files["model.pt"] = _weights_to_bytes(self._checkpoint)
            files["predictions.npz"] = predictions_to_bytes(self._checkpoint.predictions)
            if self._checkpoint.test is not None:
                files["test.npz"] = predictions_to_bytes(self._checkpoint.test)
        if tiles is not None:
            with suppress(DataError):  # tiles that cannot be split so: the run has failed with that sentence
                split = split_for(self._config, tiles)
                parts = {name: getattr(split, name).tolist() for name in ("train", "validation", "test")}
                files["split.json"] = json.dumps(parts).encode()
        return files


def _weights_to_bytes(checkpoint: Checkpoint) -> bytes:
    buffer = io.BytesIO()
    torch.save(checkpoint.weights, buffer)
    return buffer.getvalue()
