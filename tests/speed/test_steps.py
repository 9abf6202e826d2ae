"""Timed steps on real networks: they do the work of a training, and nothing is under way outside a turn."""

import gc
import multiprocessing
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from sweep_makers import MEMORY

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import DataError, TrainingError
from eurosat_core.speed.steps import Clock, Feed, TimedSteps
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.loop import train
from eurosat_core.training.step import Trainer

LOADER = TrainConfig(workers=1, prefetch=2, batch_size=10)


@pytest.mark.processor
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adam", "learning_rate": 0.001},
        {"channels_last": True, "precision": "bfloat16", "label_smoothing": 0.1},
        {"symmetries": True, "shift": 2},
        {"source": "loader", "workers": 0},
        {"model": "efficientnet_lite0", "pretrained": False},
    ],
)
def test_a_turn_has_the_steps_and_parts_it_should(small_tiles: TileSet, changes: dict[str, Any]) -> None:
    steps = TimedSteps(replace(MEMORY, batch_size=8, **changes), small_tiles)
    try:
        assert 0 < steps.prepare() < 60
        steps.plan(3, 2)
        turn = steps.turn(1)
        assert (turn.steps, turn.tiles) == (3, 8) and turn.parts is not None
        assert sum(turn.parts) == pytest.approx(turn.seconds) and all(each >= 0 for each in turn.parts)
        validation = steps.validation_turn()
        assert validation.steps == 2 and validation.parts is None and validation.seconds > 0
    finally:
        steps.close()


@pytest.mark.processor
def test_the_steps_are_those_of_a_training(small_tiles: TileSet) -> None:
    """Two steps of the trainer change the weights just as two steps of the training loop do."""
    config = replace(MEMORY, batch_size=75, epochs=1, optimizer="adam", learning_rate=0.001)
    kept: list[Any] = []
    for _ in train(config, small_tiles, kept.append):
        pass
    feed, trainer = Feed(config, small_tiles), Trainer(config, small_tiles)
    feed.open(2, 0)
    trainer.mode(training=True)
    batches, clock = feed.train(0), Clock(torch.device("cpu"))
    clock.start()
    assert [trainer.step(batches, clock) for _ in range(2)] == [75, 75]
    assert len(clock.stop()[1] or []) == 10
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(value, kept[-1].weights[name]), name


def test_batches_larger_than_the_tiles_there_are(small_tiles: TileSet) -> None:
    steps = TimedSteps(replace(MEMORY, batch_size=400), small_tiles)
    steps.prepare()
    assert steps.turn(1).tiles == 400
    steps.close()


@pytest.mark.parametrize(
    ("paces", "best", "tried"),
    [
        ({8: 1.0, 4: 0.5, 2: 0.4, 1: 0.6}, 2, [8, 4, 2, 1]),
        ({8: 0.4, 4: 0.5, 2: 0.2, 1: 0.1}, 8, [8, 4]),
        ({8: 0.4, 4: 0.41, 2: 0.3, 1: 0.4}, 2, [8, 4, 2, 1]),
    ],
)
def test_the_best_number_of_threads_is_looked_for(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, paces: dict[int, float], best: int, tried: list[int]
) -> None:
    """On a played processor of eight cores."""
    threads, seen = [8], []

    def pace(_steps: TimedSteps, _feed: Feed) -> float:
        seen.append(threads[0])
        return paces[threads[0]]

    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: threads.__setitem__(0, count))
    monkeypatch.setattr(TimedSteps, "_warm_up", pace)
    timed_with = []
    steps = TimedSteps(replace(MEMORY, batch_size=8), small_tiles)
    assert steps.prepare(fit_threads=True) == paces[best]
    assert (steps.threads, seen, threads) == (best, tried, [8])
    monkeypatch.setattr(steps, "_timed", lambda _number: timed_with.append(threads[0]))
    steps.turn(1)
    assert (timed_with, threads) == ([best], [8])
    steps.close()


def test_loader_workers_come_to_an_end_with_every_turn(small_tiles: TileSet) -> None:
    """Every batch that was prepared in a turn is taken in it: the pass is over, and nothing waits for the next one."""
    feed = Feed(LOADER, small_tiles)
    assert feed.ahead == 2
    feed.open(3, 2)
    for number in range(2):
        batches = feed.train(number)
        taken = [next(batches) for _ in range(3)]
        assert [len(each.labels) for each in taken] == [10, 10, 10]
        feed.finish(batches)
        assert next(batches, None) is None
    assert sum(1 for _ in feed.validation()) == 2 + feed.ahead
    assert multiprocessing.active_children()
    feed.close()
    gc.collect()
    deadline = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


def test_rounds_see_other_tiles(small_tiles: TileSet) -> None:
    feed = Feed(replace(LOADER, workers=0), small_tiles)
    feed.open(2, 0)
    first, second = (torch.cat([each.labels for each in feed.train(number)]) for number in (0, 1))
    assert not torch.equal(first, second)
    feed.close()


def test_what_cannot_be_measured_is_a_sentence(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = TimedSteps(replace(MEMORY, split="place"), small_tiles)
    with pytest.raises(DataError):
        steps.prepare()
    steps.close()

    def full(*_arguments: Any, **_named: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    steps = TimedSteps(replace(MEMORY, batch_size=16), small_tiles)
    steps.prepare()
    monkeypatch.setattr(Trainer, "step", full)
    with pytest.raises(TrainingError, match="memory"):
        steps.turn(1)
    steps.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_on_a_gpu_the_parts_add_up(small_tiles: TileSet) -> None:
    steps = TimedSteps(replace(MEMORY, device="cuda:0"), small_tiles)
    steps.prepare()
    steps.plan(20, 0)
    turn = steps.turn(1)
    steps.close()
    assert turn.parts is not None and sum(turn.parts) == pytest.approx(turn.seconds, rel=1e-3)
