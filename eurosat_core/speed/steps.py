"""The steps of one setting, ready to be timed turn by turn: its network, its tiles, and clocks for a step's parts.

A turn is a whole pass over just as many tiles as it takes: a DataLoader's workers would go on preparing batches after
the last one that was asked for, while another setting is timed.

Clocks never make a device wait while it is timed. On a CPU the time is read between the parts. On a CUDA GPU events
are put into its stream between them and read afterwards: what the GPU was waiting for then counts to the part in which
it waited, and what it did beside something else counts nowhere twice. Events are launched, too, so the steps that tell
the parts apart are others than those that tell the pace, and must keep that pace. On other devices only a whole turn is
timed.
"""

import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from eurosat_core.data.batches import VALIDATION_BATCH, Batch, BatchSource
from eurosat_core.data.splits import Split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import torch_device
from eurosat_core.speed.verdict import PARTS, Turn
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Tally, release_memory, wait_for
from eurosat_core.training.execution import WARM_UPS, compiled_afresh
from eurosat_core.training.problems import explained
from eurosat_core.training.sources import full_batches, source_to_copy_from, split_for
from eurosat_core.training.step import Trainer, unmarked

# More loader workers than cores are measured on purpose.
warnings.filterwarnings("ignore", message="This DataLoader will create")

_POOL = 6144  # tiles in memory to draw from, many times what caches hold; a GPU holds so many for every setting


class Feed:
    """The batches of one setting. Raises `DataError` when the tiles cannot be split as it asks.

    ahead: how many batches are prepared ahead; as many are given on top of those asked for, so that the last one that
    is timed is prepared beside others like the first.
    """

    def __init__(self, config: TrainConfig, tiles: TileSet) -> None:
        self._config = config
        self._tiles = tiles
        self._split = split_for(config, tiles)
        self._is_loader = config.source == "loader"
        self._source: BatchSource | None = None
        self._passes = (0, 0)  # batches in one pass of the loader's, training and validation; (0, 0) when closed
        self._endless: Iterator[Batch] | None = None
        self.ahead = config.workers * config.prefetch if self._is_loader else 0

    def open(self, train: int, validation: int) -> None:
        """Be ready to give so many training and validation batches a turn."""
        size = self._config.batch_size
        passes, tiles = (1, 1), (max(size, min(len(self._split.train), _POOL)), max(size, VALIDATION_BATCH))
        if self._is_loader:
            passes = (train + self.ahead, validation + self.ahead if validation else 1)
            tiles = (passes[0] * size, passes[1] * size)
        if passes == self._passes:
            return
        self.close()
        part = Split(_filled(self._split.train, tiles[0]), _filled(self._split.validation, tiles[1]))
        self._source = source_to_copy_from(self._config, self._tiles, part)
        self._endless = None if self._is_loader else full_batches(self._source, size)
        self._passes = passes

    def train(self, number: int) -> Iterator[Batch]:
        """The training batches of a turn (number: of its round); endless where nothing is prepared ahead."""
        assert self._source is not None
        return self._endless or self._source.train(number + 1)

    def validation(self) -> Iterator[Batch]:
        """The validation batches of a turn; endless likewise."""
        assert self._source is not None
        if self._is_loader:
            return self._source.validation()
        return _round_and_round(self._source)

    def finish(self, batches: Iterator[Batch]) -> None:
        """Take what is left of a turn's batches, so that the loader workers come to an end."""
        if self._is_loader:
            for _ in batches:
                pass

    def close(self) -> None:
        """Let go of loader workers and of tiles on the device."""
        if self._source is not None:
            self._source.close()
        self._source, self._endless, self._passes = None, None, (0, 0)


def _filled(part: Tensor, tiles: int) -> Tensor:
    """So many tile numbers, the part's over and over."""
    return part[torch.arange(tiles) % len(part)]


def _round_and_round(source: BatchSource) -> Iterator[Batch]:
    while True:
        yield from source.validation()


class Clock:
    """Times the stretches between its marks. Handed to `Trainer.step`, it sets one at the end of every part."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._has_marks = device.type in ("cpu", "cuda")
        self._marks: list[Any] = []
        self._told: list[float] = []  # when the processor came by

    def start(self) -> None:
        """Wait for the device, forget earlier marks, and set the first one."""
        wait_for(self.device)
        self._marks = [self._now()]
        self._told = [time.perf_counter()]

    def mark(self) -> None:
        """A part ends here, and the next one begins."""
        if self._has_marks:
            self._marks.append(self._now())
            self._told.append(time.perf_counter())

    def stop(self) -> tuple[float, list[float] | None]:
        """Wait for the device; seconds from the first mark to the last, and of every stretch between two.

        On devices with no clock of their own: until now, and None.
        """
        wait_for(self.device)
        if not self._has_marks:
            return self._now() - self._marks[0], None
        stretches = [self._between(before, after) for before, after in pairwise(self._marks)]
        return sum(stretches), stretches

    def launching(self) -> float:
        """Seconds that the processor took for forward, backward and update of the first step, whose device was idle.

        On a GPU that is how long launching them takes; later the processor may have to wait for it.
        """
        first, last = PARTS.index("forward"), PARTS.index("update") + 1
        return self._told[last] - self._told[first]

    def _now(self) -> Any:
        if self.device.type != "cuda":  # what is computed on a CPU is done when its call returns
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _between(self, before: Any, after: Any) -> float:
        seconds: float = before.elapsed_time(after) / 1000 if self.device.type == "cuda" else after - before
        return seconds

    def __call__(self, _part: str) -> "Clock":
        return self

    def __enter__(self) -> None: ...

    def __exit__(self, *_error: object) -> None:
        self.mark()


_IN_TURN = 2  # untimed steps at the beginning of a turn: caches hold what another setting left there
_SLOW_STEP = 0.25  # seconds: one of these is enough to fill caches many times over
_WARM_SECONDS = 0.2  # in the beginning memory is taken and kernels are chosen
_WARM_STEPS = 20
_GPU_WARM_SECONDS = 0.1  # of a GPU's turn: while another one is timed it may slow its clock down
_WORSE = 1.2  # with half the threads: fewer still need not be tried
_MARKED_SECONDS, _FEWEST_MARKED, _MOST_MARKED = 0.05, 3, 20  # of a turn's steps whose parts are told apart by events
_DISTURBED = 1.1  # so many times as long as without events they take when these get in the way
_LOADER_STEPS = 3


def _parts(stretches: list[float] | None) -> tuple[float, ...] | None:
    """Seconds of each of `PARTS`, all steps together."""
    return None if stretches is None else tuple(sum(stretches[at :: len(PARTS)]) for at in range(len(PARTS)))


class TimedSteps:
    """The steps of `config`. From `prepare` on it raises `DataError` and `TrainingError` with a sentence.

    threads: with how many CPU threads it is timed, where the best number was looked for; else None. compile_seconds:
    what compiling the network took, if it was; it is compiled afresh, whatever is there from before.
    """

    threads: int | None = None
    compile_seconds: float | None = None

    def __init__(self, config: TrainConfig, tiles: TileSet) -> None:
        self._config = config
        self._tiles = tiles
        self._clock = Clock(torch_device(config.device))
        self._trainer: Trainer | None = None
        self._feed: Feed | None = None
        self._counts = (1, 0)
        self._in_turn = _IN_TURN
        self._marked = 0

    def prepare(self, *, fit_threads: bool = False) -> float:
        """Make everything ready and warm; about the seconds of one step.

        fit_threads: look for the number of CPU threads that is fastest, from now on halving it, while that helps: all
        of many logical cores are seldom the best, and a GPU held against them would look faster than it is.
        """
        compiled = self._config.execution == "compiled"
        with explained(self._config), compiled_afresh() if compiled else nullcontext():
            self._feed = Feed(self._config, self._tiles)
            self._trainer = Trainer(self._config, self._tiles)
            pace = self._warm_up(self._feed)
            if compiled:
                self.compile_seconds = self._trainer.take_compile_seconds()
            if fit_threads:
                pace = self._fit_threads(pace, self._feed)
        if pace > _SLOW_STEP:
            self._in_turn = 1
        if self._clock.device.type == "cuda":
            self._marked = min(max(round(_MARKED_SECONDS / pace), _FEWEST_MARKED), _MOST_MARKED)
            self._in_turn = max(self._in_turn, math.ceil(_GPU_WARM_SECONDS / pace))
        return pace

    def _fit_threads(self, pace: float, feed: Feed) -> float:
        threads = self.threads = torch.get_num_threads()
        while threads > 1:
            threads //= 2
            with self._computing(threads):
                other = self._warm_up(feed)
            if other < pace:
                pace, self.threads = other, threads
            elif other > _WORSE * pace:
                break
        return pace

    @contextmanager
    def _computing(self, threads: int | None = None) -> Iterator[None]:
        """Compute with so many CPU threads: by default with those that were found to be the best."""
        wanted, before = threads or self.threads, torch.get_num_threads()
        if wanted is not None:
            torch.set_num_threads(wanted)
        try:
            yield
        finally:
            if wanted is not None:
                torch.set_num_threads(before)

    def _warm_up(self, feed: Feed) -> float:
        if feed.ahead or self._config.source == "loader":
            self._counts = (max(_LOADER_STEPS, self._config.workers), 0)
            feed.open(self._counts[0] + self.untimed() - feed.ahead, 0)
            return self._timed(0).step_seconds
        return self._warm_from_memory(feed)

    def _warm_from_memory(self, feed: Feed) -> float:
        feed.open(1, 0)
        taken: list[float] = []
        began = time.perf_counter()
        least = 2 if self._config.execution != "graph" else WARM_UPS + 2
        while len(taken) < least or (time.perf_counter() - began < _WARM_SECONDS and len(taken) < _WARM_STEPS):
            taken.append(self._timed(0, warm=0).step_seconds)
        return min(taken[1:])

    def untimed(self) -> int:
        """Steps of a turn that are made and do not count."""
        return self._warm_steps + self._marked

    @property
    def _warm_steps(self) -> int:
        # Before a loader's pace is its usual one, as many batches pass as are prepared ahead; as many are left over.
        return self._in_turn + 2 * (self._feed.ahead if self._feed else 0)

    def plan(self, steps: int, validation_steps: int) -> None:
        """From now on a turn has so many timed steps of either kind."""
        feed, warm = self._parts()[1], self._warm_steps
        self._counts = (steps, validation_steps)
        train, validation = steps + warm + self._marked, validation_steps + warm
        with explained(self._config):
            feed.open(train - feed.ahead, validation - feed.ahead if validation_steps else 0)

    def turn(self, number: int) -> Turn:
        """Time training steps. number: of the round, so that every round sees other tiles."""
        with explained(self._config), self._computing():
            return self._timed(number)

    def _timed(self, number: int, warm: int | None = None) -> Turn:
        trainer, feed = self._parts()
        trainer.mode(training=True)
        batches, tally, tiles = feed.train(number), Tally.on(trainer.device), 0
        for _ in range(self._in_turn + feed.ahead if warm is None else warm):
            trainer.step(batches, tally=tally)
        by_events = self._clock.device.type == "cuda"
        self._clock.start()
        for _ in range(self._counts[0]):
            tiles = trainer.step(batches, unmarked if by_events else self._clock, tally)
        if by_events:
            self._clock.mark()
        seconds, stretches = self._clock.stop()
        parts, launching = (self._apart(batches, tally, seconds)) if by_events else (_parts(stretches), None)
        feed.finish(batches)
        return Turn(self._counts[0], tiles, seconds, parts, launching)

    def _apart(
        self, batches: Iterator[Batch], tally: Tally, seconds: float
    ) -> tuple[tuple[float, ...] | None, float | None]:
        """A turn's seconds by part, as some more steps share theirs out, and how long launching one of them took.

        No parts where these steps are slower than the turn's: then the events themselves are what is seen.
        """
        if not self._marked:
            return None, None
        self._clock.start()
        for _ in range(self._marked):
            self._parts()[0].step(batches, self._clock, tally)
        marked, stretches = self._clock.stop()
        parts = _parts(stretches)
        if self._config.execution == "graph":
            parts = None  # it is launched at once
        if parts is None or marked / self._marked > _DISTURBED * seconds / self._counts[0]:
            return None, self._clock.launching()
        return tuple(each / marked * seconds for each in parts), self._clock.launching()

    def validation_turn(self) -> Turn:
        """Time validation steps."""
        trainer, feed = self._parts()
        with explained(self._config), self._computing():
            trainer.mode(training=False)
            batches, tally = feed.validation(), Tally.on(trainer.device)
            for _ in range(self._in_turn + feed.ahead):
                trainer.validate(trainer.on_device(next(batches)), tally)
            tally.tiles = 0
            self._clock.start()
            for _ in range(self._counts[1]):
                trainer.validate(trainer.on_device(next(batches)), tally)
            self._clock.mark()
            seconds, _ = self._clock.stop()
            feed.finish(batches)
        return Turn(self._counts[1], tally.tiles // self._counts[1], seconds)

    def _parts(self) -> tuple[Trainer, Feed]:
        assert self._trainer is not None and self._feed is not None, "prepare comes first"
        return self._trainer, self._feed

    def close(self) -> None:
        """Let go of the network and of what feeds it."""
        if self._feed is not None:
            self._feed.close()
        self._trainer, self._feed = None, None
        release_memory(self._clock.device)  # a network of half a gigabyte must be gone before the next one comes
