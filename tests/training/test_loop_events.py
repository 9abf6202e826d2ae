"""What the loop tells: its events, their order, their figures and their times."""

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from msgspec import to_builtins

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.training import loop
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import EpochDone, Finished, Started, StepDone
from eurosat_core.training.loop import train
from tests.training.conftest import CONFIG, LOADER, HandClock, of_kind, run


def test_events_come_in_order(small_tiles: TileSet) -> None:
    events, _ = run(CONFIG, small_tiles)
    steps = [("train", 1), ("train", 2), ("train", 3), ("train", 4), ("validation", 1)]
    expected: list[Any] = ["started"]
    for epoch in (1, 2):
        expected += [(epoch, *step) for step in steps] + [("epoch", epoch)]
    told: list[Any] = []
    for event in events:
        match event:
            case StepDone():
                told.append((event.epoch, event.phase, event.step))
            case EpochDone():
                told.append(("epoch", event.epoch))
            case _:
                told.append(type(event).__struct_config__.tag)
    assert told == [*expected, "finished"]


@pytest.mark.parametrize("config", [CONFIG, LOADER, replace(LOADER, batch_size=30)])
def test_started_says_what_will_come(config: TrainConfig, small_tiles: TileSet) -> None:
    events, _ = run(replace(config, epochs=1), small_tiles)
    started = events[0]
    assert isinstance(started, Started)
    steps = [event.phase for event in of_kind(StepDone, events)]
    assert (started.train_tiles, started.validation_tiles) == (150, 50)
    assert started.steps_per_epoch == steps.count("train")
    assert started.validation_steps == steps.count("validation")
    assert started.parameters == started.trainable_parameters == 338_486 - 85 * 6  # four classes, not ten
    assert (started.epochs, started.device, started.threads) == (1, "cpu", torch.get_num_threads())


def test_figures_of_an_epoch_agree(small_tiles: TileSet) -> None:
    events, _ = run(CONFIG, small_tiles)
    first, last = of_kind(EpochDone, events)
    for done in (first, last):
        assert done.seconds == pytest.approx(done.train_seconds + done.val_seconds)
        assert done.tiles_per_second == pytest.approx(150 / done.train_seconds)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.val_loss, finished.val_accuracy) == (last.val_loss, last.val_accuracy)
    assert first.elapsed_seconds < last.elapsed_seconds <= finished.seconds
    for event in events:
        json.dumps(to_builtins(event), allow_nan=False)


def test_figures_are_read_ten_times_a_second(small_tiles: TileSet, hand_clock: HandClock) -> None:
    hand_clock.tick = 0.004
    events, _ = run(replace(CONFIG, batch_size=2, epochs=1), small_tiles)
    steps = of_kind(StepDone, events)
    told = [step for step in steps if step.reported]
    assert 4 <= len(told) < len(steps) / 4
    gaps = [later.seconds - earlier.seconds for earlier, later in itertools.pairwise(told)]
    assert min(gaps) >= loop.REPORT_SECONDS
    assert all(step.memory_bytes > 2**20 and step.tiles_per_second > 0 for step in told)
    assert all(0 <= step.accuracy <= 1 for step in told)
    assert all(step.accuracy is None and step.memory_bytes is None for step in steps if not step.reported)


def test_rate_counts_the_tiles_since_the_last_report(small_tiles: TileSet, hand_clock: HandClock) -> None:
    pull = train(CONFIG, small_tiles)
    next(pull)
    next(pull)  # 40 tiles, not due yet
    hand_clock.now += 4
    step = next(pull)
    assert isinstance(step, StepDone)
    assert step.tiles_per_second == pytest.approx(80 / 4)
    hand_clock.now += 2
    step = next(pull)
    assert isinstance(step, StepDone)
    assert step.tiles_per_second == pytest.approx(40 / 2)


def test_a_short_run_still_ends_with_its_figures(small_tiles: TileSet, hand_clock: HandClock) -> None:
    hand_clock.tick = 1e-5  # so fast that no step is due
    events, _ = run(replace(CONFIG, epochs=1), small_tiles)
    assert not any(step.reported for step in of_kind(StepDone, events))
    (done,) = of_kind(EpochDone, events)
    assert done.train_loss > 0
    assert done.val_loss > 0


def test_pauses_do_not_count(small_tiles: TileSet, hand_clock: HandClock) -> None:
    hand_clock.tick = 1e-5
    pull = train(CONFIG, small_tiles)
    event, events = next(pull), []
    for _ in range(100):
        hand_clock.now += 5  # the consumer waits five seconds after every event, and says so
        events.append(event)
        try:
            event = pull.send(5.0)
        except StopIteration:
            break
    assert isinstance(events[-1], Finished)
    assert 0 < events[-1].seconds < 1
    assert all(0 < done.seconds < 1 for done in of_kind(EpochDone, events))


def test_waits_that_are_no_pause_count(small_tiles: TileSet, hand_clock: HandClock) -> None:
    hand_clock.tick = 1e-5
    events = []
    for event in train(replace(CONFIG, epochs=1), small_tiles):
        events.append(event)
        hand_clock.now += 5
    assert events[-1].seconds == pytest.approx(5 * (len(events) - 1), abs=1)
