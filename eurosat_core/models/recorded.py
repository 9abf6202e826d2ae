"""The bundled network: the baseline, trained once on real tiles, so that no page is empty before the first own run.

`assets/recorded/baseline.pt` holds its weights, `baseline.json` how good they are and how they were made.
"""

import hashlib
import io
import pickle
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from eurosat_core.errors import RunError
from eurosat_core.folders import ASSETS
from eurosat_core.models.catalog import build_model
from eurosat_core.records import decoded

if TYPE_CHECKING:
    from torch import nn

RECORDED = "recorded"
"""Stands for the bundled network where a run's id is asked for."""

_FOLDER = ASSETS / "recorded"


@dataclass(frozen=True)
class Recorded:
    """What is known of the bundled network; figures of its validation part.

    accuracy, per_class: 0…1. confusion: tiles, rows are the true class. tiles: how many it was validated on. made: how,
    when and with what it was trained, in words. sha256: of the weights' file. seed: its training started from these.
    """

    model: str
    class_names: tuple[str, ...]
    accuracy: float
    tiles: int
    train_tiles: int
    epochs: int
    seed: int
    per_class: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    made: dict[str, str]
    sha256: str


@lru_cache(maxsize=1)
def recorded_baseline() -> Recorded:
    """The record of the bundled network. Raises `RunError` when its file is missing or damaged."""
    problem = _problem("its record cannot be read")
    try:
        return decoded(Recorded, (_FOLDER / "baseline.json").read_bytes(), problem)
    except OSError as error:
        raise RunError(problem) from error


def recorded_network() -> "nn.Module":
    """The bundled network with its weights, on the CPU, in evaluation mode, in float32.

    Raises `RunError` when its file is missing, or is not the one that was recorded (SHA-256).
    """
    import torch

    record = recorded_baseline()
    try:
        content = (_FOLDER / "baseline.pt").read_bytes()
    except OSError as error:
        raise RunError(_problem("its weights are missing")) from error
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise RunError(_problem("its weights are not the ones that were recorded"))
    # Whatever it draws to begin with is overwritten: nobody else's random numbers shall depend on that.
    with torch.random.fork_rng(devices=[]):
        network = build_model(record.model, len(record.class_names))
    try:
        network.load_state_dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise RunError(_problem("its weights do not fit this version of the lab")) from error
    return network.eval()


def _problem(what: str) -> str:
    return f"The recorded network cannot be shown: {what}. Install the lab anew, or look at a run of your own."
