"""The time to an accuracy: reached or not, counted without the judging, the same after the same steps."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest
from sweep_makers import MEMORY, plan_of

from eurosat_core.data.batches import Batch, MemorySource
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.speed import sweep as learning
from eurosat_core.speed.plan import Cell, Learned
from eurosat_core.speed.sweep import Sweep, learn
from eurosat_core.speed.verdict import Learning
from eurosat_core.training.evaluation import Tally
from eurosat_core.training.step import Trainer

CONFIG = replace(MEMORY, optimizer="adam", learning_rate=0.002, batch_size=16)


def learned(tiles: TileSet, target: float, seconds: float = 60.0) -> tuple[list[Learned], list[Learning]]:
    kept: list[Learning] = []
    return list(learn(CONFIG, tiles, 3, target, seconds, kept.append, lambda: 0.0)), kept


def test_easy_tiles_are_learned(small_tiles: TileSet) -> None:
    events, kept = learned(small_tiles, 0.9)
    last = kept[-1]
    assert last.reached and last.accuracy >= 0.9 and last.validation_tiles == 50
    assert not any(each.reached for each in kept[:-1]) and len(last.points) == len(events) == len(kept)
    assert last.seconds == last.points[-1][0] == events[-1].train_seconds and {each.cell for each in events} == {3}
    assert last.tiles >= 1000 * len(kept)
    again = learned(small_tiles, 0.9)[1][-1]
    assert (again.tiles, [share for _, share in again.points]) == (last.tiles, [share for _, share in last.points])


def test_the_time_is_bounded(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()  # three milliseconds for every look at the clock: a busy machine must not spend the time beforehand
    monkeypatch.setattr(learning, "time", SimpleNamespace(perf_counter=lambda: 3 * next(ticks) / 1000))
    kept = learned(small_tiles, 0.99, seconds=0.01)[1]
    assert len(kept) == 1 and not kept[0].reached and 0 < kept[0].tiles < 1000


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, {1}), (149, {149, 1})])
def test_it_trains_on_the_batches_of_a_training(
    batch_size: int, sizes: set[int], small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 150 tiles; without norms that train, a tile left over alone counts like any other."""
    seen: list[int] = []
    step, epoch_of = Trainer.step, MemorySource.train

    def noted(self: Trainer, batches: Iterator[Batch], *, tally: Tally) -> int:
        seen.append(step(self, batches, tally=tally))
        return seen[-1]

    def bounded(self: MemorySource, epoch: int) -> Iterator[Batch]:
        assert epoch < 10, "it goes through the tiles without training on them"
        return epoch_of(self, epoch)

    monkeypatch.setattr(Trainer, "step", noted)
    monkeypatch.setattr(MemorySource, "train", bounded)
    kept: list[Learning] = []
    next(learn(replace(CONFIG, batch_size=batch_size), small_tiles, 3, 0.99, 60.0, kept.append, lambda: 0.0))
    assert set(seen) == sizes and sum(seen) == kept[0].tiles >= 1000


def test_in_a_sweep_only_those_that_shall(small_tiles: TileSet) -> None:
    changes = {"optimizer": "adam", "learning_rate": 0.002, "batch_size": 16}
    cells = (Cell("a", changes), Cell("b", learns=False))
    plan = plan_of("a", "b", cells=cells, seconds=1.0, steps=1, target_accuracy=0.6, accuracy_seconds=60.0)
    sweep = Sweep(MEMORY, plan, small_tiles)
    events = list(sweep.events())
    assert any(isinstance(each, Learned) for each in events)
    assert sweep.result.cells[0].learning is not None and sweep.result.cells[0].learning.reached
    assert sweep.result.cells[1].learning is None
