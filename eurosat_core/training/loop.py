"""The training loop, as a generator of events: pause, one step, stop and tests are just ways to pull it.

Two rules shape it. No context manager is open across a `yield`, for it would leak into the consumer. And no
step waits for the device unless its figures are due, ten times a second: a step on a GPU may take one
millisecond.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from eurosat_core.data.batches import BatchSource
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import TrainingError
from eurosat_core.models.pretrained import learning_layer, trained_part
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Predictions, Tally, memory_bytes, move, release_memory
from eurosat_core.training.events import (
    Compiled,
    EpochDone,
    Event,
    FeaturesDone,
    Finished,
    Phase,
    Started,
    StepDone,
    ThreadsChanged,
)
from eurosat_core.training.frozen import FeatureCache, FeatureSource
from eurosat_core.training.network import kept_tensors, preprocessing_for, scores_of
from eurosat_core.training.precision import resolved
from eurosat_core.training.problems import explained
from eurosat_core.training.sources import split_for, tile_source
from eurosat_core.training.step import Trainer, drop_singleton_batch
from eurosat_core.training.threads import ThreadGovernor

REPORT_SECONDS = 0.1

Pull = Generator[Event, float | None, None]
"""Events out; a consumer that paused sends how many seconds it did, so that they do not count."""


@dataclass(frozen=True)
class Checkpoint:
    """What stands at the end of an epoch: weights (on the CPU) and predictions for the validation tiles.

    test: predictions for the sealed test part, at the end of the last epoch of a training that has one.
    """

    epoch: int
    weights: dict[str, Tensor]
    predictions: Predictions
    test: Predictions | None = None


@dataclass
class _Clock:
    """Seconds since the training began, pauses not counted; knows when figures are due."""

    started: float = field(default_factory=time.perf_counter)
    paused: float = 0.0
    reported: float = 0.0

    def seconds(self) -> float:
        return time.perf_counter() - self.started - self.paused

    def is_due(self) -> bool:
        return self.seconds() - self.reported >= REPORT_SECONDS

    def skip(self, seconds: float | None) -> None:
        """Do not count a pause; whoever paused wants to see the next step's figures."""
        if seconds:
            self.paused += seconds
            self.reported = float("-inf")


class _Loop:
    """One training's moving parts; `train` drives it."""

    def __init__(self, config: TrainConfig, tiles: TileSet, governor: ThreadGovernor | None) -> None:
        self.config = config
        # Programs are compiled for a number of CPU threads: with another one they would be compiled anew.
        self.governor = governor if config.execution != "compiled" else None
        self.clock = _Clock()
        self.split = split_for(config, tiles)
        self.labels = tiles.labels
        self.trainer = Trainer(config, tiles, steps=config.epochs * self.steps_per_epoch)
        self.device = self.trainer.device
        self.features: FeatureCache | None = None
        if config.source == "features":
            self.source: BatchSource = self._feature_source(tiles)
        else:
            self.source = tile_source(config, tiles, self.split, self.device)
        self._last_report = (0.0, 0)  # seconds, tiles since the training began
        self._tiles_done = 0
        self.scores: list[Tensor] = []

    def _feature_source(self, tiles: TileSet) -> BatchSource:
        """Batches of the frozen part's outputs; from now on the trainer computes what comes after it."""
        config, trainer, split = self.config, self.trainer, self.split
        trainer.mode(training=False)
        self.features = FeatureCache(
            config,
            tiles,
            trainer.network,
            self.device,
            preprocessing_for(config.model, True, config.input_side),
            torch.cat([split.train, split.validation, split.test]),
        )
        trainer.train_network = trained_part(trainer.network)
        fixed, trainer.eval_network = learning_layer(trainer.network)
        fixed_head = partial(scores_of, fixed, precision=config.precision) if fixed is not None else None
        return FeatureSource(
            self.features.values,
            tiles.labels,
            split,
            self.device,
            batch_size=config.batch_size,
            seed=config.seed,
            fixed_head=fixed_head,
        )

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.split.train) // self.config.batch_size)

    def fill_features(self) -> Generator[FeaturesDone | ThreadsChanged, float | None, None]:
        """Compute the frozen part of the tiles whose outputs are not known yet, an event when one is due."""
        if self.features is None:
            return
        total = self.features.missing
        yield FeaturesDone(0, total, self.clock.seconds())
        for done in self.features.fill():
            if self.clock.is_due() or done == total:
                self.clock.reported = self.clock.seconds()
                self.clock.skip((yield FeaturesDone(done, total, self.clock.seconds())))
            yield from self.other_threads()

    def other_threads(self) -> Generator[ThreadsChanged, float | None, None]:
        """Between two steps: take more or fewer CPU threads where that is better now."""
        if self.governor is not None and self.governor.look():
            figures = self.governor.threads, self.governor.busy_cores
            self.clock.skip((yield ThreadsChanged(*figures, self.clock.seconds())))

    def started(self) -> Started:
        if self.governor is not None:
            self.governor.look()
        parameters, trainable = self.trainer.parameters()
        return Started(
            epochs=self.config.epochs,
            steps_per_epoch=self.steps_per_epoch,
            validation_steps=self.source.validation_steps,
            train_tiles=len(self.split.train),
            validation_tiles=len(self.split.validation),
            parameters=parameters,
            trainable_parameters=trainable,
            device=self.config.device,
            threads=torch.get_num_threads(),
        )

    def phase(
        self, name: Phase, epoch: int, tally: Tally
    ) -> Generator[StepDone | Compiled | ThreadsChanged, float | None, None]:
        """One pass over one part of the split, an event for every step."""
        trainer, training = self.trainer, name == "train"
        trainer.mode(training=training)
        batches = self.source.train(epoch) if training else self.source.validation()
        if training:
            batches = drop_singleton_batch(batches, trainer.network, self.config)
        self._last_report = (self.clock.seconds(), self._tiles_done)  # what lies between two phases is no training
        for step, batch in enumerate(batches, 1):
            if training:
                loss = trainer.learn(batch, tally=tally)
                if compiling := trainer.take_compile_seconds():
                    self.clock.skip((yield Compiled(compiling, self.clock.seconds())))
            else:
                scores, loss = trainer.validate(batch, tally)
                self.scores.append(scores)
            self._tiles_done += len(batch.labels)
            self.clock.skip((yield self.step_done(name, epoch, step, loss, tally)))
            yield from self.other_threads()

    def step_done(self, name: Phase, epoch: int, step: int, loss: Tensor, tally: Tally) -> StepDone:
        if not self.clock.is_due():
            return StepDone(name, epoch, step, self.clock.seconds())
        value = finite(loss.item(), epoch, step)
        accuracy = tally.means()[1]
        seconds = self.clock.seconds()  # after the device has caught up
        since, tiles_before = self._last_report
        rate = (self._tiles_done - tiles_before) / max(seconds - since, 1e-9)
        self._last_report = (seconds, self._tiles_done)
        self.clock.reported = seconds
        return StepDone(name, epoch, step, seconds, value, accuracy, rate, memory_bytes(self.device))

    def predictions(self) -> Predictions:
        """What the last validation said, for every validation tile."""
        scores = torch.cat(self.scores)
        self.scores.clear()
        return self._answers(self.split.validation, scores)

    def test_predictions(self) -> Predictions | None:
        """What the network says about the sealed test part, one pass over it; None without such a part."""
        if not len(self.split.test):
            return None
        self.trainer.mode(training=False)
        network, precision = self.trainer.train_network, self.config.precision
        with torch.no_grad():
            scores = [scores_of(network, each.tiles, precision) for each in self.source.test()]
        return self._answers(self.split.test, torch.cat(scores))

    def _answers(self, tiles: Tensor, scores: Tensor) -> Predictions:
        confidence, predicted = scores.softmax(1).max(1)
        return Predictions(tiles, self.labels[tiles], predicted.cpu(), confidence.cpu())

    def weights(self) -> dict[str, Tensor]:
        """A copy of what has to be kept on the CPU, in torch's usual memory order."""
        return {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in kept_tensors(self.trainer.network, self.config).items()
        }


class Parking:
    """Takes a training that stands still off its device's memory, and brings it back. Asked between two events.

    What one batch takes may stay there; on the CPU nothing is moved.
    """

    def __init__(self) -> None:
        self._loop: _Loop | None = None

    def take(self, loop: _Loop | None) -> None:
        """The training begins; None: it has ended."""
        self._loop = loop if loop is not None and loop.device.type != "cpu" else None

    def park(self) -> None:
        """Leave the device's memory to others until `unpark`."""
        if (loop := self._loop) is None:
            return
        with explained(loop.config):
            loop.trainer.park()
            loop.source.park()
            move(loop.scores, torch.device("cpu"))
        release_memory(loop.device)

    def unpark(self) -> None:
        """Bring everything back. Raises `TrainingError` with a sentence when there is no room any more."""
        if (loop := self._loop) is None:
            return
        with explained(loop.config):
            loop.trainer.unpark()
            loop.source.unpark()
            move(loop.scores, loop.device)


def finite(loss: float, epoch: int, step: int) -> float:
    """`loss` itself, if it is a number that can be learned from. Raises `TrainingError` with what to try."""
    if loss != loss or loss in (float("inf"), float("-inf")):
        raise TrainingError(
            f"The loss stopped being a number in epoch {epoch}, step {step}: the steps were too large, and training "
            "diverged. Try a tenth of the learning rate."
        )
    return loss


def train(
    config: TrainConfig,
    tiles: TileSet,
    keep: Callable[[Checkpoint], None] | None = None,
    governor: ThreadGovernor | None = None,
    parking: Parking | None = None,
) -> Pull:
    """Train as `config` says, telling every step, epoch and the end as events.

    Closing the generator stops the training; what `keep` got last is then its result.

    Args:
        keep: called at the end of every epoch with its checkpoint, before the epoch's event.
        governor: chooses the CPU threads while it trains; without one they stay as they are.
        parking: can take it off its device's memory while it stands still.

    Raises:
        TrainingError: with what to try when memory runs out, the loss is no number, or the device fails.
        ConfigError, DataError: before the first step.
    """
    config.checked()
    with explained(config):
        config = resolved(config)[0]
        loop = _Loop(config, tiles, governor)
    if parking is not None:
        parking.take(loop)
    # `explained` would be open across a yield if it wrapped the loop; `_guarded` wraps each pull instead.
    try:
        yield from _guarded(_epochs(loop, keep), config)
    finally:
        if parking is not None:
            parking.take(None)
        loop.source.close()
        if loop.features is not None:
            loop.features.release()


def _epochs(loop: _Loop, keep: Callable[[Checkpoint], None] | None) -> Pull:
    clock = loop.clock
    clock.skip((yield loop.started()))
    yield from loop.fill_features()
    for epoch in range(1, loop.config.epochs + 1):
        begun = clock.seconds()
        learned = Tally.on(loop.device)
        yield from loop.phase("train", epoch, learned)
        train_loss, train_accuracy = learned.means()
        last_step = -(-learned.tiles // loop.config.batch_size)
        finite(train_loss, epoch, last_step)
        turned = clock.seconds()
        validated = Tally.on(loop.device)
        yield from loop.phase("validation", epoch, validated)
        val_loss, val_accuracy = validated.means()
        finite(val_loss, epoch, last_step)  # the last step may be the one that diverged
        ended = clock.seconds()
        if keep is not None:
            last = epoch == loop.config.epochs
            sealing = clock.seconds()
            test = loop.test_predictions() if last else None
            clock.skip(clock.seconds() - sealing)  # scoring the sealed part is no part of the training
            keep(Checkpoint(epoch, loop.weights(), loop.predictions(), test))
        done = EpochDone(
            epoch=epoch,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            seconds=ended - begun,
            train_seconds=turned - begun,
            val_seconds=ended - turned,
            tiles_per_second=learned.tiles / (turned - begun),
            elapsed_seconds=clock.seconds(),
        )
        clock.skip((yield done))
    yield Finished(loop.config.epochs, clock.seconds(), val_loss, val_accuracy)


def _guarded(events: Pull, config: TrainConfig) -> Pull:
    """The same events; an error raised between two of them is explained, nothing is open while one is out."""
    paused: float | None = None
    while True:
        try:
            with explained(config):
                event = events.send(paused)
        except StopIteration:
            return
        paused = yield event
