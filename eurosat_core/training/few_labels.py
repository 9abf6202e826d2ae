"""A transfer at work: features of a frozen network once, then classifiers on them, with all labels and with a few.

Like the training loop a generator of events that knows no disk and no page.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from eurosat_core.data.batches import Batch, normalize
from eurosat_core.data.splits import Split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import torch_device
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import FeaturesDone
from eurosat_core.training.frozen import FeatureCache, FeatureForm, known_features
from eurosat_core.training.linear_probe import fit
from eurosat_core.training.neighbours import NEIGHBOURS, vote
from eurosat_core.training.network import make_network, preprocessing_for, scores_of
from eurosat_core.training.problems import explained
from eurosat_core.training.sources import split_for
from eurosat_core.training.step import Trainer
from eurosat_core.training.transfer import (
    ALL,
    SCRATCH,
    SCRATCH_BATCH,
    SCRATCH_STEPS,
    Learner,
    TransferDone,
    TransferEvent,
    TransferPlan,
    TransferResult,
    TransferStarted,
    Trial,
    TrialDone,
)

Pull = Generator[TransferEvent | FeaturesDone, float | None, None]

STRENGTH = 30.0
"""Of the linear probe's weights on standardised features, from 1 to 1,000 about the best with 3,000 labels
(`bench/transfer.md`)."""
_REPORT_SECONDS = 0.2
_JUDGED = 2000  # validation tiles that are judged after a few labels: sure to about a point
_JUDGE_BATCH = 256


def form_of(plan: TransferPlan) -> FeatureForm:
    """What is kept of each tile."""
    return FeatureForm(plan.stages, plan.views, f"{plan.run} {plan.weights}" if plan.run else "")


def missing_features(config: TrainConfig, plan: TransferPlan, tiles: TileSet) -> int:
    """How many of the tiles that a transfer asks for have no features yet. Raises `DataError` as `split_for` does."""
    split = split_for(config, tiles)
    numbers = torch.cat([split.train, split.validation])
    kept = known_features(config, tiles, form_of(plan))
    return len(numbers) if kept is None else int((~kept[1][numbers.numpy()]).sum())


def draw_labels(labels: Tensor, train: Tensor, count: int, seed: int) -> Tensor:
    """So many tiles of each class [classes · count], by number, drawn from the training part without repetition.

    labels: of all tiles [N]. train: numbers of the training part. Each class has at least `count` there.
    """
    generator = torch.Generator().manual_seed(seed)
    own = labels[train]
    drawn = []
    for label in own.unique().tolist():
        members = train[own == label]
        drawn.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(drawn)


def standardised(values: Tensor, train: Tensor) -> Tensor:
    """Features [N, F] with mean 0 and spread 1 over the training part, whose labels are not looked at.

    Without it the stages with the largest numbers would decide.
    """
    deviation, mean = torch.std_mean(values[train], dim=0)
    return (values - mean) / deviation.clamp_min(1e-6)


@contextmanager
def _one_thread() -> Iterator[None]:
    """While open, PyTorch computes on one thread: so little at a time is over before several have agreed on it.

    Where others keep the cores busy, threads that wait for each other take many times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Transfer:
    """One transfer's moving parts; `events` drives it, `result` is what it has found so far.

    network: that of the plan's run, if it names one.
    """

    def __init__(
        self,
        config: TrainConfig,
        plan: TransferPlan,
        tiles: TileSet,
        network: nn.Module | None = None,
    ) -> None:
        self._config = config
        self._plan = plan
        self._network = network
        self._tiles = tiles
        self._split = split_for(config, tiles)
        self._classes = len(tiles.class_names)
        self._judged = self._drawn_validation()
        self._began = time.perf_counter()
        self.result: TransferResult | None = None

    def _drawn_validation(self) -> Tensor:
        validation = self._split.validation
        generator = torch.Generator().manual_seed(self._config.seed)
        return validation[torch.randperm(len(validation), generator=generator)[:_JUDGED]]

    def _seconds(self) -> float:
        return time.perf_counter() - self._began

    def _counts(self) -> list[int]:
        """Labels per class that every class has in the training part."""
        labels = self._tiles.labels[self._split.train]
        least = int(labels.bincount(minlength=self._classes)[labels.unique()].min())
        return [each for each in self._plan.labels if each <= least]

    def events(self) -> Pull:
        """What happens. Closing it stops the work; what was found stays. Raises `DataError`, `TrainingError`."""
        config, split, plan = self._config, self._split, self._plan
        with explained(config):
            cache = self._cache()
        counts = self._counts()
        trials = 2 + len(counts) * (2 * plan.draws + plan.scratch_draws) if plan.learns else 0
        width = cache.values.shape[1]
        sizes = len(split.train), len(split.validation), len(self._judged)
        self.result = TransferResult(
            "place" if config.split == "place" else "random", *sizes, width, computed=cache.missing
        )
        try:
            yield TransferStarted(*sizes, width, cache.missing, trials)
            yield from self._fill(cache)
        finally:
            cache.release()
        if plan.learns:
            yield from self._frozen(_Features(cache.values, split, self._tiles.labels, self._judged), counts)
            yield from self._scratch(counts)
        self.result = replace(self.result, seconds=self._seconds(), complete=True)
        yield TransferDone(self._seconds())

    def _cache(self) -> FeatureCache:
        config = self._config
        device = torch_device(config.device)
        network = self._network or make_network(config, self._classes, self._tiles.cache.parent)
        channels_last = bool(config.channels_last) or self._network is None
        return FeatureCache(
            config,
            self._tiles,
            network.to(device).eval(),
            device,
            preprocessing_for(config.model, channels_last, config.input_side),
            torch.cat([self._split.train, self._split.validation]),  # a sealed test part stays sealed
            form_of(self._plan),
        )

    def _fill(self, cache: FeatureCache) -> Iterator[FeaturesDone]:
        assert self.result is not None
        told, batches = 0.0, cache.fill()
        yield FeaturesDone(0, cache.missing, self._seconds())
        began = self._seconds()
        while True:
            with explained(self._config):
                done = next(batches, None)
            if done is None:
                break
            if self._seconds() - told > _REPORT_SECONDS or done == cache.missing:
                told = self._seconds()
                self.result = replace(self.result, feature_seconds=told - began, seconds=told)
                yield FeaturesDone(done, cache.missing, told)

    def _frozen(self, features: "_Features", counts: list[int]) -> Iterator[TrialDone]:
        learners: tuple[Learner, ...] = ("neighbours", "linear")
        for learner in learners:
            yield self._tried(learner, ALL, 1, *features.learn(learner, self._classes, None, NEIGHBOURS))
        for count in counts:
            for draw in range(1, self._plan.draws + 1):
                drawn = self._draw(count, draw)
                for learner in learners:
                    with _one_thread():
                        found = features.learn(learner, self._classes, drawn, min(NEIGHBOURS, count))
                    yield self._tried(learner, count, draw, *found)

    def _draw(self, count: int, draw: int) -> Tensor:
        seed = (self._config.seed * 1009 + draw) * 1009 + count
        return draw_labels(self._tiles.labels, self._split.train, count, seed)

    def _tried(
        self, learner: Learner, labels: int, draw: int, tiles: int, accuracy: float, fit_seconds: float
    ) -> TrialDone:
        assert self.result is not None
        trial = Trial(learner, labels, draw, tiles, accuracy, fit_seconds)
        self.result = replace(self.result, trials=(*self.result.trials, trial), seconds=self._seconds())
        return TrialDone(trial, self.result.seconds)

    # -- from scratch

    def _scratch(self, counts: list[int]) -> Iterator[TrialDone]:
        """One network after the other, each with all its steps; one that time does not suffice for does not count."""
        ends = time.perf_counter() + self._plan.scratch_seconds
        for draw in range(1, self._plan.scratch_draws + 1):
            for count in counts:
                began = self._seconds()
                drawn = self._draw(count, draw)
                with explained(self._config), _one_thread():
                    accuracy = self._from_scratch(drawn, draw, ends)
                if accuracy is None:
                    return
                yield self._tried("scratch", count, draw, len(drawn), accuracy, self._seconds() - began)

    def _from_scratch(self, drawn: Tensor, draw: int, ends: float) -> float | None:
        """Train a small network on these tiles alone, turned and mirrored; its accuracy, or None if time is over."""
        config = recipe_config(
            SCRATCH, "fast", symmetries=True, schedule="cosine", precision="float32", channels_last=False, seed=draw
        )
        trainer = Trainer(config, self._tiles, steps=SCRATCH_STEPS)
        preprocessing = preprocessing_for(SCRATCH)
        generator = torch.Generator().manual_seed(draw)
        pixels, labels = normalize(self._tiles.pixels[drawn], preprocessing), self._tiles.labels[drawn]
        trainer.mode(training=True)
        for _ in range(SCRATCH_STEPS):
            if time.perf_counter() > ends:
                return None
            chosen = torch.randint(len(drawn), (SCRATCH_BATCH,), generator=generator)
            trainer.learn(Batch(pixels[chosen], labels[chosen]))
        trainer.mode(training=False)
        right = 0
        for numbers in self._judged.split(_JUDGE_BATCH):
            with torch.no_grad():
                scores = scores_of(trainer.network, normalize(self._tiles.pixels[numbers], preprocessing), "float32")
            right += int((scores.argmax(1) == self._tiles.labels[numbers]).sum())
        return right / len(self._judged)


class _Features:
    """The features of both parts, standardised, and the labels: what learners learn from and are judged on."""

    def __init__(self, values: Tensor, split: Split, labels: Tensor, judged: Tensor) -> None:
        used = torch.cat([split.train, split.validation])
        own = torch.arange(len(split.train))
        self._values = standardised(values[used], own)
        self._labels = labels[used]
        self._train, self._validation = own, torch.arange(len(split.train), len(used))
        self._row = torch.full((len(values),), -1)
        self._row[used] = torch.arange(len(used))
        self._judged = self._row[judged]

    def learn(self, learner: Learner, classes: int, drawn: Tensor | None, neighbours: int) -> tuple[int, float, float]:
        """Labels, accuracy, and seconds of a learner on the drawn tiles; None: on the whole training part."""
        began = time.perf_counter()
        rows = self._train if drawn is None else self._row[drawn]
        judged = self._validation if drawn is None else self._judged
        known, labels, asked = self._values[rows], self._labels[rows], self._values[judged]
        if learner == "neighbours":
            said = vote(asked, known, labels, classes, neighbours)
        else:
            said = fit(known, labels, classes, STRENGTH).predict(asked)
        accuracy = float((said == self._labels[judged]).double().mean())
        return len(rows), accuracy, time.perf_counter() - began
