"""How fast devices of this machine were found to train: what was noted of them, and the rate that comes of it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec

from eurosat_core import wording
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.machine_notes import MachineNotes, Note
from eurosat_core.models.catalog import model_entry
from eurosat_core.models.convolution import LayerWork
from eurosat_core.models.summary import ModelSummary
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import Architecture

SPEEDS = "speeds"
"""The topic of `MachineNotes` under which speeds are kept."""


_Positive = Annotated[float, msgspec.Meta(gt=0, lt=1e6)]


@dataclass(frozen=True)
class Speed:
    """Measured on one device for one network: seconds per training tile, decoded tiles in memory.

    Of a model whose frozen part only goes forward: as if all of it were trained, which is three times as much.
    picture_seconds: to open one picture file and prepare it on one core, what a loader worker does per tile.
    cores: that the steps could have; fewer than the machine has beside other work.
    """

    device: str
    model: str
    batch_size: int
    precision: str
    channels_last: bool
    tile_seconds: _Positive
    picture_seconds: _Positive
    stem_pool: bool = True
    network: str = ""
    cores: _Positive = 1.0
    input_side: int = TILE_SIDE

    @property
    def architecture(self) -> Architecture:
        """The network that was measured."""
        return Architecture(self.model, self.network, self.stem_pool, self.input_side)


def speed_note(speed: Speed, source: str = "memory") -> Note:
    """How a speed is noted; source: of the tiles, for which it was measured."""
    part = "features" if source == "features" else ""
    key = "|".join((*map(str, speed.architecture), speed.precision, str(speed.channels_last), part))
    return Note(SPEEDS, speed.device, key, asdict(speed))


def known_speeds(device: str, notes: MachineNotes) -> list[Speed]:
    """All that is noted of a device; a note that is damaged or of another version is passed over."""
    found = []
    for each in notes.all(SPEEDS, device).values():
        with suppress(msgspec.ValidationError):
            found.append(msgspec.convert(each, Speed))
    return found


# Backward computes two gradients, of the layer's input and of its weights, each about as much work as forward.
TRAINING_SHARE = 3


@dataclass(frozen=True)
class Rate:
    """Multiplications (with their additions) per second of a device, and a sentence that says what this rests on."""

    per_second: float
    basis: str


def measured_rate(
    device: str,
    speeds: Sequence[Speed],
    runs: Iterable[RunRecord],
    summary: Callable[[Architecture], ModelSummary],
    machine: dict[str, Any],
) -> Rate | None:
    """The highest rate that was measured on a device; None while nothing was.

    Of runs only finished ones count that were alone on this machine, took whole tiles from memory (else the rate may
    be the loader's, or of smaller pictures) and trained the whole network. summary: costs of a network, per whole
    tile. machine: as runs note it.
    """
    found: list[Rate] = []
    for speed in speeds:
        if speed.device == device and not model_entry(speed.model).is_pretrained:
            macs = summary(speed.architecture).macs
            title = model_entry(speed.model).title
            how = f"{title} trained for a moment (batches of {speed.batch_size}"
            found.append(_rate(macs / speed.tile_seconds, how, speed.precision))
    for run in runs:
        rate = run.summary.get("tiles_per_second")
        alone = run.state == "finished" and run.kind == "train" and not run.company and not run.recorded_on
        here = all(run.machine.get(name) == value for name, value in machine.items()) and run.config.device == device
        if not (alone and here and rate and run.config.source == "memory") or run.config.progressive_resizing:
            continue
        costs = summary(run.config.architecture)
        if costs.trainable_params == costs.total_params:
            how = f"your lab’s run {run.id} (batches of {run.config.batch_size}"
            found.append(_rate(costs.macs * rate, how, run.config.precision))
    return max(found, key=lambda each: each.per_second, default=None)


def _rate(forward_per_second: float, how: str, precision: str) -> Rate:
    rate = TRAINING_SHARE * forward_per_second
    billions = wording.rounded(rate / 1e9, 3)
    return Rate(rate, f"{billions} billion multiplications a second, measured on this device: {how}, {precision}).")


def short_time(seconds: float) -> str:
    """`0.3 µs`, `4.2 ms`, and from a second on as durations are worded everywhere."""
    if seconds >= 0.9995:
        return wording.duration(seconds)
    if seconds >= 0.995e-3:  # what two digits of µs would round to 1,000
        return f"{wording.rounded(seconds * 1e3, 3)} ms"
    return f"{wording.rounded(seconds * 1e6, 2)} µs"


def tutorials_slip(layer: LayerWork) -> str:
    """A word on the figures that the written tutorial prints for its example; empty for any other layer."""
    if layer != LayerWork():
        return ""
    return (
        "The written tutorial prints 1,746,696 for one filter and 111,788,544 for all 64; multiplied out, it is "
        "1,741,932 and 111,483,648."
    )
