"""What a training tells the world: small frozen events that round-trip through JSON."""

from typing import Literal

from eurosat_core.records import Count, CountFromOne, EventRecord

FORWARD_SHARE = 1 / 3
"""Going forward only, as in validation, next to a training step: forward, and twice that backward."""

Phase = Literal["train", "validation"]


class Started(EventRecord, frozen=True, tag="started"):
    """The network stands on its device and the first step comes next."""

    epochs: CountFromOne
    steps_per_epoch: CountFromOne
    validation_steps: CountFromOne
    train_tiles: CountFromOne
    validation_tiles: CountFromOne
    parameters: Count
    trainable_parameters: Count
    device: str
    threads: CountFromOne


class FeaturesDone(EventRecord, frozen=True, tag="features"):
    """The frozen part of a pretrained network was computed for `done` of `total` tiles, before the first step.

    `seconds` is the time since the training began.
    """

    done: Count
    total: Count
    seconds: float


class StepDone(EventRecord, frozen=True, tag="step"):
    """One batch through the network. `epoch` and `step` count from 1.

    `loss` (mean over this batch), `accuracy` (running, over this phase of the epoch), `tiles_per_second`
    (since the last reported step) and `memory_bytes` (held on the device, or by the process on a CPU) are
    None except in the steps that are due for a report: reading them makes the program wait for the device.
    `seconds` is the time since the training began, without pauses.
    """

    phase: Phase
    epoch: CountFromOne
    step: CountFromOne
    seconds: float
    loss: float | None = None
    accuracy: float | None = None
    tiles_per_second: float | None = None
    memory_bytes: Count | None = None

    @property
    def reported(self) -> bool:
        """Whether this step carries figures, so that it is worth telling."""
        return self.loss is not None


class EpochDone(EventRecord, frozen=True, tag="epoch"):
    """One pass over the training split and its validation. Accuracies are fractions, losses means per tile.

    `seconds` covers both phases; `tiles_per_second` is training tiles over the seconds of the training phase;
    `elapsed_seconds` is the time since the training began.
    """

    epoch: CountFromOne
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float
    train_seconds: float
    val_seconds: float
    tiles_per_second: float
    elapsed_seconds: float


class Finished(EventRecord, frozen=True, tag="finished"):
    """The training went through all its epochs. `seconds` is all of it, without pauses."""

    epochs: CountFromOne
    seconds: float
    val_loss: float
    val_accuracy: float


class ThreadsChanged(EventRecord, frozen=True, tag="threads"):
    """From now on the training computes with so many CPU threads, since others keep `busy_cores` cores busy.

    `seconds` is the time since the training began.
    """

    threads: CountFromOne
    busy_cores: float
    seconds: float


class Compiled(EventRecord, frozen=True, tag="compiled"):
    """A step was the first of its kind, with its network compiled: it took `compile_seconds`, which count in its epoch.

    `seconds` is the time since the training began.
    """

    compile_seconds: float
    seconds: float


class FormChosen(EventRecord, frozen=True, tag="form"):
    """What a config left to the device is settled: its precision and layout, and why (`training.precision.Choice`).

    `ratio`: how many times as fast bfloat16 was as float32 when both were tried; None when they were not.
    """

    precision: str
    channels_last: bool
    why: str
    ratio: float | None = None


Event = Started | FeaturesDone | StepDone | EpochDone | Finished | ThreadsChanged | FormChosen | Compiled
