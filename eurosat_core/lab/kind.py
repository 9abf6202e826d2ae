"""What every kind of job has: its request, its work in a worker, and how long it takes.

One file for each kind: `train`, `profile`, `sweep`, `transfer`. `jobs` lists them, and does them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.speeds import Speed
from eurosat_core.models.catalog import build_model
from eurosat_core.models.summary import ModelSummary, summarize
from eurosat_core.runs.history import RunEvent
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import SPEED_SETTINGS, Architecture, TrainConfig
from eurosat_core.training.transfer import TransferPlan


@dataclass(frozen=True)
class Estimate:
    """Seconds of a whole run, and a sentence that says what this rests on.

    is_rough: it rests on another network, or another precision.
    """

    seconds: float
    basis: str
    is_rough: bool = False


@dataclass(frozen=True)
class Pace:
    """Timed steps of some settings: seconds per training tile, and per validation tile where those were timed, too."""

    config: TrainConfig
    tile_seconds: float
    validation_seconds: float | None
    run_id: str


_FEW_PARAMETERS = 1_500_000


@lru_cache(maxsize=32)
def network_summary(network: Architecture, classes: int = 10) -> ModelSummary:
    """Layers, parameters and costs of a network, for one tile of the size that it sees."""
    import torch

    with torch.device("meta"):  # shapes are enough: VGG's half a gigabyte need not be made
        made = build_model(network.model, classes, network.network, stem_pool=network.stem_pool)
    if sum(each.numel() for each in made.parameters()) < _FEW_PARAMETERS:
        # With numbers, then: on shapes PyTorch computes with its compiler, which takes a second to load.
        numbers = {name: torch.zeros(each.shape, dtype=each.dtype) for name, each in made.state_dict().items()}
        made.load_state_dict(numbers, assign=True)
    return summarize(made, (3, network.input_side, network.input_side))


def same_speed(one: TrainConfig, other: TrainConfig) -> bool:
    """Whether a step takes as long with the settings of one as with the other's."""
    return all(getattr(one, name) == getattr(other, name) for name in SPEED_SETTINGS)


@dataclass(frozen=True)
class Known:
    """All that an estimate can rest on.

    Attributes:
        config: What is asked for, with what it leaves to the device filled in.
        tiles: The lab's.
        runs: Those that finished, newest first.
        speeds: As short measurements of its device found them.
        macs: Multiply-accumulates per tile of a network, to go from one to another.
        machine: Its `threads` and the device's `device_name`, as runs note them.
        paces: Steps timed on this machine, newest first.
        cores: That a training on the CPU would have now; None: as many as it has threads.
    """

    config: TrainConfig
    tiles: TilesUsed
    runs: Sequence[RunRecord]
    speeds: Sequence[Speed]
    macs: Callable[[Architecture], int]
    machine: dict[str, Any]
    paces: Iterable[Pace] = ()
    cores: float | None = None

    def tells(self, run: RunRecord) -> bool:
        """Whether a run's speed is that of `config` here: same settings, same machine, and nothing else ran."""
        here = all(run.machine.get(name) == value for name, value in self.machine.items())
        return here and same_speed(run.config, self.config) and not run.concurrent_runs and not run.recorded_on


class Machine(Protocol):
    """Whom an estimate asks."""

    def known(self, config: TrainConfig) -> Known | None:
        """What is known for an estimate of `config`; None while the tiles or its precision are not."""

    def tile_seconds(self, config: TrainConfig) -> float | None:
        """Seconds of a training tile with these settings, about; None while nothing was measured."""

    def missing_features(self, config: TrainConfig, plan: TransferPlan) -> int | None:
        """How many of a transfer's tiles have no features yet on this machine; None where another one computes them."""


class Kind(ABC):
    """One kind of job. Made anew for every request, and in the worker for every job; asked from one thread.

    name: of the kind, in `run.json`. is_measured: whether it takes the time of single steps, which nothing may disturb.
    """

    name: ClassVar[str]
    is_measured: ClassVar[bool] = True

    def __init__(self, config: TrainConfig) -> None:
        self.config = config

    @classmethod
    @abstractmethod
    def stored(cls, config: TrainConfig, plan: dict[str, Any]) -> "Kind":
        """From what `run.json` holds. Raises `ConfigError` for a plan that is none."""

    # -- the request

    @property
    @abstractmethod
    def plan_values(self) -> dict[str, Any]:
        """What it needs to know besides its config, as `run.json` holds it."""

    @property
    def configs(self) -> tuple[TrainConfig, ...]:
        """All settings that are trained with. Raises `ConfigError` for one that cannot be."""
        return (self.config,)

    @abstractmethod
    def problem(self, tiles: int | None) -> str:
        """Why it cannot be done, as a sentence; empty when it can.

        tiles: how many there are, where this machine is the one that does it.
        """

    # -- the job

    @property
    def weights_of(self) -> str:
        """The run whose trained weights it needs; empty for none."""
        return ""

    def take(self, weights: bytes) -> None:  # noqa: B027 (most kinds need none)
        """Get the weights of that run, as its file holds them, before the work begins."""

    @abstractmethod
    def events(self, tiles: TileSet, threads: int) -> Generator[Any, float | None, None]:
        """What happens, one event after the other; gets the seconds of a pause, closing it stops the work."""

    @abstractmethod
    def note(self, event: Any) -> RunEvent | None:
        """Keep an event's figures; the event itself if it is worth telling, else None."""

    def may_pause(self, event: Any) -> bool:
        """Whether the work may stand still after this event. Not where steps are timed: the pause would count."""
        return False

    def park(self) -> None:  # noqa: B027 (most kinds never stand still)
        """Leave the device's memory to others; nothing is pulled before `unpark`."""

    def unpark(self) -> None:  # noqa: B027
        """Bring back what `park` took from the device. Raises `TrainingError` when there is no room any more."""

    @property
    def slows_process(self) -> bool:
        """Whether later work in this process would be slower than in a fresh one."""
        return False

    @abstractmethod
    def how_far(self) -> str:
        """What the work leaves behind when it was stopped here, as a sentence."""

    @abstractmethod
    def summary(self) -> dict[str, Any]:
        """Its figures up to now, by name."""

    @abstractmethod
    def files(self, tiles: TileSet | None) -> dict[str, bytes]:
        """Its artifacts up to now, by file name; tiles: None when they could not be opened."""

    # -- how long it takes

    @abstractmethod
    def estimate(self, machine: Machine) -> Estimate | None:
        """How long it takes, with what that rests on; None while nothing was measured on its device."""

    # -- without a lab, on the command line

    def beginning(self) -> str:
        """A line for the terminal when it starts; empty for none."""
        return ""

    @abstractmethod
    def line(self, event: RunEvent) -> str:
        """An event as a line for the terminal; empty for one that is not told there."""

    @abstractmethod
    def report(self, record: RunRecord, store: RunStore) -> dict[str, Any]:
        """What `--json` prints of it besides its name, state, message and seconds."""
