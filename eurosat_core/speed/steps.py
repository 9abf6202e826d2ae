"""The steps of one setting, ready to be timed turn by turn: its network, its tiles, and what a training does with them.

Network, step and sums are those of the training loop, so that what is timed is the work of a training.
"""

import gc
import time
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import nn

from eurosat_core.data.batches import Batch
from eurosat_core.data.tiles import TileSet
from eurosat_core.speed.clocks import NO_CLOCK, Clock, clock_for
from eurosat_core.speed.feeds import Feed
from eurosat_core.speed.turns import PARTS, Turn
from eurosat_core.training.allocator import keep_freed_memory
from eurosat_core.training.augmentation import Augmentation
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.dropout import DropoutState
from eurosat_core.training.network import loss_of, lowered, make_network, make_optimizer, set_mode
from eurosat_core.training.problems import explained
from eurosat_core.training.tally import Tally

__all__ = ["Stepper", "TimedSteps", "Trainer"]

_IN_TURN = 2  # untimed steps at the beginning of a turn: caches hold what another setting left there
_SLOW_STEP = 0.25  # seconds: one of these is enough to fill caches many times over
_WARM_SECONDS = 0.2  # in the beginning memory is taken and kernels are chosen
_WARM_STEPS = 20
_LOADER_STEPS = 3


class Stepper(Protocol):
    """One setting at work: `TimedSteps`, or what a test puts in its place."""

    def prepare(self) -> float:
        """Make everything ready and warm; about the seconds of one step."""
        ...

    def untimed(self) -> int:
        """Steps of a turn that are made and not timed."""
        ...

    def plan(self, steps: int, validation_steps: int) -> None:
        """From now on a turn has so many timed steps of either kind."""
        ...

    def turn(self, number: int) -> Turn:
        """Time training steps. number: of the round, so that every round sees other tiles."""
        ...

    def validation_turn(self) -> Turn:
        """Time validation steps."""
        ...

    def close(self) -> None:
        """Let go of the network and of what feeds it."""
        ...


class Trainer:
    """A network, its optimizer, and one step of training or validation, with marks of a clock between its parts.

    network: in place of the one that a training would begin with.
    """

    def __init__(self, config: TrainConfig, tiles: TileSet, network: nn.Module | None = None) -> None:
        keep_freed_memory()
        self.config = config
        self.device = torch.device(config.device)
        network = network or make_network(config, len(tiles.class_names), tiles.cache.parent).to(self.device)
        self.network: nn.Module = network.to(memory_format=torch.channels_last) if config.channels_last else network
        self.optimizer = make_optimizer(config, self.network)
        self._dropout = DropoutState(config.seed, self.device)
        self._augmentation = Augmentation(config, 1)
        self._steps = 0
        self._tally = Tally.on(self.device)

    def mode(self, *, training: bool) -> None:
        """Training or evaluation mode, as a training has it."""
        set_mode(self.network, self.config, training=training)

    def step(self, batches: Iterator[Batch], clock: Clock) -> int:
        """One training step; how many tiles it had."""
        batch = next(batches)
        clock.mark()
        batch = self._on_device(batch)
        clock.mark()
        batch = self._augmentation.view(batch, self._steps)
        with self._dropout.drawing():
            scores, loss = loss_of(self.network, batch, self.config)
        self._tally.add(loss, scores, batch.labels)
        learned = lowered(scores, loss, batch.labels, self.config)
        clock.mark()
        self.optimizer.zero_grad(set_to_none=True)
        learned.backward()
        clock.mark()
        self.optimizer.step()
        clock.mark()
        self._steps += 1
        return len(batch.labels)

    def validation_step(self, batches: Iterator[Batch]) -> int:
        """One validation step; how many tiles it had."""
        batch = self._on_device(next(batches))
        with torch.no_grad():
            scores, loss = loss_of(self.network, batch, self.config)
        self._tally.add(loss, scores, batch.labels)
        return len(batch.labels)

    def _on_device(self, batch: Batch) -> Batch:
        """As the training's loader does it; tiles that lie on the device already stay where they are."""
        beside = self.config.pin_memory
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        return Batch(
            batch.tiles.to(self.device, non_blocking=beside, memory_format=layout),
            batch.labels.to(self.device, non_blocking=beside),
        )


class TimedSteps:
    """The steps of `config`. From `prepare` on it raises `DataError` and `TrainingError` with a sentence."""

    def __init__(self, config: TrainConfig, tiles: TileSet) -> None:
        self._config = config
        self._tiles = tiles
        self._clock = clock_for(torch.device(config.device))
        self._trainer: Trainer | None = None
        self._feed: Feed | None = None
        self._counts = (1, 0)
        self._in_turn = _IN_TURN

    def prepare(self) -> float:
        with explained(self._config):
            self._feed = Feed(self._config, self._tiles)
            self._trainer = Trainer(self._config, self._tiles)
            return self._warm_up(self._feed)

    def _warm_up(self, feed: Feed) -> float:
        if feed.ahead or self._config.source == "loader":
            self._counts = (max(_LOADER_STEPS, self._config.workers), 0)
            feed.open(self._counts[0] + self.untimed() - feed.ahead, 0)
            pace = self._timed(0).step_seconds
        else:
            pace = self._warm_from_memory(feed)
        if pace > _SLOW_STEP:
            self._in_turn = 1
        return pace

    def _warm_from_memory(self, feed: Feed) -> float:
        feed.open(1, 0)
        taken: list[float] = []
        began = time.perf_counter()
        while len(taken) < 2 or (time.perf_counter() - began < _WARM_SECONDS and len(taken) < _WARM_STEPS):
            taken.append(self._timed(0, warm=0).step_seconds)
        return min(taken[1:])

    def untimed(self) -> int:
        # Before a loader's pace is its usual one, as many batches pass as are prepared ahead; as many are left over.
        return self._in_turn + 2 * (self._feed.ahead if self._feed else 0)

    def plan(self, steps: int, validation_steps: int) -> None:
        feed, warm = self._parts()[1], self.untimed()
        self._counts = (steps, validation_steps)
        with explained(self._config):
            feed.open(steps + warm - feed.ahead, validation_steps + warm - feed.ahead if validation_steps else 0)

    def turn(self, number: int) -> Turn:
        with explained(self._config):
            return self._timed(number)

    def _timed(self, number: int, warm: int | None = None) -> Turn:
        trainer, feed = self._parts()
        trainer.mode(training=True)
        batches = feed.train(number)
        for _ in range(self._in_turn + feed.ahead if warm is None else warm):
            trainer.step(batches, NO_CLOCK)
        tiles = 0
        self._clock.start()
        for _ in range(self._counts[0]):
            tiles = trainer.step(batches, self._clock)
        seconds, stretches = self._clock.stop()
        feed.finish(batches)
        return Turn(self._counts[0], tiles, seconds, _by_part(stretches))

    def validation_turn(self) -> Turn:
        trainer, feed = self._parts()
        with explained(self._config):
            trainer.mode(training=False)
            batches = feed.validation()
            for _ in range(self._in_turn + feed.ahead):
                trainer.validation_step(batches)
            tiles = 0
            self._clock.start()
            for _ in range(self._counts[1]):
                tiles = trainer.validation_step(batches)
            self._clock.mark()
            seconds, _ = self._clock.stop()
            feed.finish(batches)
        return Turn(self._counts[1], tiles, seconds)

    def _parts(self) -> tuple[Trainer, Feed]:
        assert self._trainer is not None and self._feed is not None, "prepare comes first"
        return self._trainer, self._feed

    def close(self) -> None:
        if self._feed is not None:
            self._feed.close()
        self._trainer, self._feed = None, None
        gc.collect()  # a network of half a gigabyte must be gone before the next one comes
        if self._config.device.startswith("cuda"):
            torch.cuda.empty_cache()


def _by_part(stretches: list[float] | None) -> tuple[float, ...] | None:
    """Seconds of each part, summed over the steps."""
    if stretches is None:
        return None
    return tuple(sum(stretches[at :: len(PARTS)]) for at in range(len(PARTS)))
