"""What a training tells the world: small frozen events that round-trip through JSON."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from eurosat_core.errors import RunError

FORWARD_SHARE = 1 / 3
"""Going forward only, as in validation, next to a training step: forward, and twice that backward."""

Phase = Literal["train", "validation"]


@dataclass(frozen=True, slots=True)
class Started:
    """The network stands on its device and the first step comes next."""

    kind: ClassVar[str] = "started"
    epochs: int
    steps_per_epoch: int
    validation_steps: int
    train_tiles: int
    validation_tiles: int
    parameters: int
    trainable_parameters: int
    device: str
    threads: int


@dataclass(frozen=True, slots=True)
class FeaturesDone:
    """The frozen part of a pretrained network was computed for `done` of `total` tiles, before the first step.

    `seconds` is the time since the training began.
    """

    kind: ClassVar[str] = "features"
    done: int
    total: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StepDone:
    """One batch through the network. `epoch` and `step` count from 1.

    `loss` (mean over this batch), `accuracy` (running, over this phase of the epoch), `tiles_per_second`
    (since the last reported step) and `memory_bytes` (held on the device, or by the process on a CPU) are
    None except in the steps that are due for a report: reading them makes the program wait for the device.
    `seconds` is the time since the training began, without pauses.
    """

    kind: ClassVar[str] = "step"
    phase: Phase
    epoch: int
    step: int
    seconds: float
    loss: float | None = None
    accuracy: float | None = None
    tiles_per_second: float | None = None
    memory_bytes: int | None = None

    @property
    def reported(self) -> bool:
        """Whether this step carries figures, so that it is worth telling."""
        return self.loss is not None


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One pass over the training split and its validation. Accuracies are fractions, losses means per tile.

    `seconds` covers both phases; `tiles_per_second` is training tiles over the seconds of the training phase;
    `elapsed_seconds` is the time since the training began.
    """

    kind: ClassVar[str] = "epoch"
    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    train_seconds: float
    val_seconds: float
    tiles_per_second: float
    elapsed_seconds: float


@dataclass(frozen=True, slots=True)
class Finished:
    """The training went through all its epochs. `seconds` is all of it, without pauses."""

    kind: ClassVar[str] = "finished"
    epochs: int
    seconds: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True, slots=True)
class ThreadsChanged:
    """From now on the training computes with so many CPU threads, since others keep `busy_cores` cores busy.

    `seconds` is the time since the training began.
    """

    kind: ClassVar[str] = "threads"
    threads: int
    busy_cores: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FormChosen:
    """What a config left to the device is settled: its precision and layout, and why (`training.precision.Choice`).

    `ratio`: how many times as fast bfloat16 was as float32 when both were tried; None when they were not.
    """

    kind: ClassVar[str] = "form"
    precision: str
    channels_last: bool
    why: str
    ratio: float | None = None


Event = Started | FeaturesDone | StepDone | EpochDone | Finished | ThreadsChanged | FormChosen
KINDS: dict[str, type[Event]] = {
    each.kind: each for each in (Started, FeaturesDone, StepDone, EpochDone, Finished, ThreadsChanged, FormChosen)
}


class AnyEvent(Protocol):
    """What events of all runs have in common: dataclasses that know what they are called."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    kind: ClassVar[str]


_Event = TypeVar("_Event")


def event_to_dict(event: AnyEvent) -> dict[str, Any]:
    """The event as plain JSON values, with its `kind`; figures that are None are left out."""
    values = {name: value for name, value in asdict(event).items() if value is not None}
    return {"kind": event.kind, **values}


_TEXTS = ("phase", "device", "file", "precision", "why")
_COUNTS_FROM_ONE = (
    "epochs",
    "epoch",
    "step",
    "steps",
    "cycle",
    "cycles",
    "steps_per_epoch",
    "validation_steps",
    "train_tiles",
    "validation_tiles",
    "threads",
)


def _is_usable(name: str, value: Any) -> bool:
    """Whether a page can draw this: a text where one belongs, else a finite number, for most counts at least 1."""
    if name in _TEXTS:
        return isinstance(value, str)
    if name == "channels_last":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return name not in _COUNTS_FROM_ONE or value >= 1


def event_from_dict(values: dict[str, Any]) -> Event:
    """The training's event that `event_to_dict` wrote. Raises `RunError` when it is none."""
    return parse_event(values, KINDS)


def parse_event(values: dict[str, Any], kinds: Mapping[str, type[_Event]]) -> _Event:
    """The event of one of these kinds that `event_to_dict` wrote. Raises `RunError` when it is none."""
    try:
        fields = dict(values)
        kind = kinds[fields.pop("kind")]
        if not all(_is_usable(name, value) for name, value in fields.items()):
            raise ValueError("a figure that is none")
        return kind(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"This is not an event of a run: {json.dumps(values)[:80]}") from error
