import itertools
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import dataloader

from eurosat_core.data.batches import MemorySource, epoch_order, warm_loader_workers
from eurosat_core.data.tiles import TileSet, open_tiles
from eurosat_core.errors import ConfigError, DataError, TrainingError
from eurosat_core.training import loop, network
from eurosat_core.training.config import OPTIMIZERS, TrainConfig
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone, event_to_dict
from eurosat_core.training.loop import Checkpoint, split_for, train
from eurosat_core.training.network import make_network, preprocessing_for
from eurosat_core.training.problems import DeviceError

CONFIG = TrainConfig(source="memory", epochs=2)
LOADER = replace(CONFIG, source="loader", workers=0)
RUNAWAY = replace(CONFIG, learning_rate=10.0, weight_decay=1.0, batch_size=10)  # weights grow ninefold a step


def run(config: TrainConfig, tiles: TileSet) -> tuple[list[Event], list[Checkpoint]]:
    kept: list[Checkpoint] = []
    return list(train(config, tiles, kept.append)), kept


def of_kind(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class HandClock:
    """Stands in for the module `time`: moves by `tick` with every look, and when told."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now = time.perf_counter()  # where the training's own clock starts
        self.tick = tick

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture
def hand_clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(loop, "time", clock)
    made = loop._Clock
    monkeypatch.setattr(loop, "_Clock", lambda: made(started=clock.now))
    return clock


def plain_training(config: TrainConfig, tiles: TileSet) -> tuple[list[torch.Tensor], list[float]]:
    """The tutorial's loop as anyone would write it, on the same tiles in the same order.

    Returns the weights at the end, and per epoch: loss and accuracy of training and validation.
    """
    torch.manual_seed(config.seed)
    net = nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(2704, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, len(tiles.class_names)),
    )
    split = split_for(config, tiles)
    inputs = (tiles.pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32) / 255 - 0.5) / 0.5
    optimizer = torch.optim.SGD(net.parameters(), lr=config.learning_rate, momentum=config.momentum)
    figures: list[float] = []
    for epoch in range(1, config.epochs + 1):
        losses, right = 0.0, 0
        order = split.train[epoch_order(len(split.train), config.seed, epoch)]
        for chosen in order.split(config.batch_size):
            scores = net(inputs[chosen])
            loss = functional.cross_entropy(scores, tiles.labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(chosen)
            right += int((scores.argmax(1) == tiles.labels[chosen]).sum())
        with torch.no_grad():
            scores = net(inputs[split.validation])
        truth = tiles.labels[split.validation]
        figures += [losses / len(order), right / len(order)]
        figures += [functional.cross_entropy(scores, truth).item(), float((scores.argmax(1) == truth).float().mean())]
    return list(net.state_dict().values()), figures


# --- what is learned ---


def test_training_equals_a_plain_loop(small_tiles: TileSet) -> None:
    events, kept = run(CONFIG, small_tiles)
    weights, figures = plain_training(CONFIG, small_tiles)
    for ours, theirs in zip(kept[-1].weights.values(), weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    told = [
        value
        for done in of_kind(EpochDone, events)
        for value in (done.train_loss, done.train_accuracy, done.val_loss, done.val_accuracy)
    ]
    assert told == pytest.approx(figures, rel=1e-4)


def test_one_epoch_equals_a_plain_loop_bit_for_bit(small_tiles: TileSet) -> None:
    """With the very same batches, not a single bit differs."""
    config = replace(CONFIG, epochs=1)
    _, kept = run(config, small_tiles)
    split = split_for(config, small_tiles)
    net = make_network(config, len(small_tiles.class_names))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    source = MemorySource(
        small_tiles, split, torch.device("cpu"), preprocessing_for("baseline"), batch_size=40, seed=42
    )
    for batch in source.train(1):
        optimizer.zero_grad()
        functional.cross_entropy(net(batch.tiles), batch.labels).backward()
        optimizer.step()
    assert all(torch.equal(value, kept[0].weights[name]) for name, value in net.state_dict().items())


def test_same_seed_same_run(small_tiles: TileSet) -> None:
    (_, one), (_, again), (_, other) = (run(replace(CONFIG, epochs=1, seed=seed), small_tiles) for seed in (1, 1, 2))
    assert all(torch.equal(one[0].weights[name], again[0].weights[name]) for name in one[0].weights)
    assert not torch.equal(one[0].weights["conv1.weight"], other[0].weights["conv1.weight"])


def test_loader_and_memory_learn_the_same(small_tiles: TileSet) -> None:
    (fast, _), (slow, _) = run(CONFIG, small_tiles), run(LOADER, small_tiles)
    for one, other in zip(of_kind(EpochDone, fast), of_kind(EpochDone, slow), strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-4)


def test_network_learns_forty_tiles_by_heart(small_tiles: TileSet) -> None:
    config = replace(CONFIG, tiles=53, epochs=10, batch_size=10, optimizer="adam", learning_rate=0.002)
    done = of_kind(EpochDone, run(config, small_tiles)[0])
    assert done[0].train_accuracy < 0.9
    assert done[-1].train_accuracy == 1.0
    assert done[-1].train_loss < 0.1 < done[0].train_loss


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(optimizer: str, small_tiles: TileSet) -> None:
    done = of_kind(EpochDone, run(replace(CONFIG, optimizer=optimizer, learning_rate=0.001), small_tiles)[0])
    assert done[1].train_loss < done[0].train_loss


def test_lower_precision_and_channels_last_stay_close(small_tiles: TileSet) -> None:
    exact, _ = run(CONFIG, small_tiles)
    rough, kept = run(replace(CONFIG, precision="bfloat16", channels_last=True), small_tiles)
    for one, other in zip(of_kind(EpochDone, exact), of_kind(EpochDone, rough), strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=0.05)
    assert all(value.dtype == torch.float32 for value in kept[-1].weights.values())
    assert all(value.is_contiguous() for value in kept[-1].weights.values())


# --- what is told ---


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
                told.append(event.kind)
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
        json.dumps(event_to_dict(event), allow_nan=False)


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


# --- what is kept ---


def test_a_checkpoint_comes_before_its_epochs_event(small_tiles: TileSet) -> None:
    kept: list[Checkpoint] = []
    for event in train(CONFIG, small_tiles, kept.append):
        if isinstance(event, EpochDone):
            assert kept[-1].epoch == event.epoch == len(kept)
            right = (kept[-1].predictions.predicted == kept[-1].predictions.true).float().mean()
            assert event.val_accuracy == pytest.approx(right.item())


def test_checkpoints_do_not_change_later(small_tiles: TileSet) -> None:
    _, (first, second) = run(CONFIG, small_tiles)
    _, (alone,) = run(replace(CONFIG, epochs=1), small_tiles)
    assert torch.equal(first.weights["fc1.weight"], alone.weights["fc1.weight"])
    assert not torch.equal(first.weights["fc1.weight"], second.weights["fc1.weight"])


def test_closing_in_the_middle_leaves_the_last_checkpoint(small_tiles: TileSet) -> None:
    kept: list[Checkpoint] = []
    pull = train(CONFIG, small_tiles, kept.append)
    while not isinstance(next(pull), EpochDone):
        pass
    next(pull)
    pull.close()
    assert [each.epoch for each in kept] == [1]
    assert list(pull) == []


def test_closing_ends_the_loader_workers(small_tiles: TileSet) -> None:
    warm_loader_workers()
    pull = train(replace(LOADER, workers=1), small_tiles)
    while not isinstance(next(pull), EpochDone):
        pass
    next(pull)
    assert multiprocessing.active_children()
    pull.close()
    assert multiprocessing.active_children() == []


# --- good manners ---


@pytest.mark.parametrize("config", [CONFIG, replace(LOADER, precision="bfloat16", epochs=1)])
def test_nothing_leaks_into_the_consumer(config: TrainConfig, small_tiles: TileSet) -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    deterministic = torch.are_deterministic_algorithms_enabled()
    for _ in train(config, small_tiles):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert not torch.is_autocast_enabled("cpu")
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert torch.equal(torch.get_rng_state(), before)


def test_the_consumers_own_numbers_change_nothing(small_tiles: TileSet) -> None:
    config = replace(CONFIG, epochs=1)
    _, plain = run(config, small_tiles)
    kept: list[Checkpoint] = []
    for _ in train(config, small_tiles, kept.append):
        torch.rand(3)
    assert torch.equal(kept[-1].weights["fc3.weight"], plain[-1].weights["fc3.weight"])


def test_nothing_starts_before_the_first_pull(small_tiles: TileSet) -> None:
    pull = train(replace(CONFIG, epochs=0), small_tiles)
    with pytest.raises(ConfigError, match="Epochs is 0"):
        next(pull)


def test_memory_of_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 11)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 12)
    assert loop._memory_bytes(torch.device("cuda:1")) == 11
    assert loop._memory_bytes(torch.device("mps")) == 12


# --- what goes wrong ---


def fail_at_step(monkeypatch: pytest.MonkeyPatch, number: int, error: Exception) -> None:
    """Let the loss of some step raise."""
    calls, real = [], functional.cross_entropy

    def cross_entropy(*values: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) == number:
            raise error
        return real(*values)

    monkeypatch.setattr(network, "functional", SimpleNamespace(cross_entropy=cross_entropy))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_loss_that_runs_away_is_told(precision: str, small_tiles: TileSet) -> None:
    kept: list[Checkpoint] = []
    config = replace(RUNAWAY, precision=precision)
    with pytest.raises(TrainingError, match=r"in epoch \d+, step \d+.*learning rate"):
        list(train(config, small_tiles, kept.append))
    assert all(torch.isfinite(value).all() for each in kept for value in each.weights.values())


def test_weights_that_ran_away_in_the_last_step_are_not_kept(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Checkpoint] = []
    real = loop._Loop.train_step

    def spoil(self: Any, batch: Any, tally: Any) -> torch.Tensor:
        loss = real(self, batch, tally)
        if tally.tiles == 150:
            next(self.network.parameters()).data.fill_(float("nan"))
        return loss

    monkeypatch.setattr(loop._Loop, "train_step", spoil)
    with pytest.raises(TrainingError, match="learning rate"):
        list(train(CONFIG, small_tiles, kept.append))
    assert kept == []


def test_reported_step_with_no_number_is_told(small_tiles: TileSet, hand_clock: HandClock) -> None:
    hand_clock.tick = 1.0  # every step is due
    with pytest.raises(TrainingError, match="epoch 1, step"):
        list(train(RUNAWAY, small_tiles))


def test_full_memory_is_told(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at_step(monkeypatch, 2, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(TrainingError, match=r"batches of 40 tiles\. Try a batch of 20 tiles"):
        list(train(CONFIG, small_tiles))


def test_errors_that_are_not_known_pass_through(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    fail_at_step(monkeypatch, 2, error)
    with pytest.raises(RuntimeError) as caught:
        list(train(CONFIG, small_tiles))
    assert caught.value is error


@pytest.mark.parametrize("device", ["cuda:0", "mps"])
def test_a_device_that_is_not_there_is_told(device: str, small_tiles: TileSet) -> None:
    if torch.accelerator.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match=f"The device {device} reported an error or vanished"):
        next(train(replace(CONFIG, device=device), small_tiles))


def test_too_few_tiles_are_told_before_the_first_step(small_folder: Callable[..., Path], tmp_path: Path) -> None:
    tiles = open_tiles(small_folder(tmp_path / "place", {"a": 1, "b": 1}), tmp_path / "cache")
    with pytest.raises(DataError, match="too few"):
        next(train(replace(CONFIG, train_fraction=0.1), tiles))


@pytest.fixture
def own_tiles(small_folder: Callable[..., Path], tmp_path: Path) -> Iterator[TileSet]:
    """Tiles whose pictures a test may remove."""
    yield open_tiles(small_folder(tmp_path / "place", {"a": 30, "b": 30}), tmp_path / "cache")


def pull_epoch_then(act: Callable[[], object], config: TrainConfig, tiles: TileSet) -> str:
    """Train for an epoch, act, go on; returns the sentence of the error that comes."""
    pull = train(config, tiles)
    while not isinstance(next(pull), EpochDone):
        pass
    act()
    with pytest.raises(TrainingError) as caught:
        list(pull)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_picture_removed_midway_is_named(own_tiles: TileSet) -> None:
    gone = Path(own_tiles.place) / "a"
    told = pull_epoch_then(lambda: shutil.rmtree(gone), LOADER, own_tiles)
    assert f"{gone}{os.sep}a_" in told
    assert "folder changed" in told


def test_a_picture_damaged_midway_is_told(own_tiles: TileSet) -> None:
    def cut_short() -> None:
        for path in Path(own_tiles.place).glob("*/*.jpg"):
            os.truncate(path, 800)

    assert "can no longer be read" in pull_epoch_then(cut_short, LOADER, own_tiles)


def test_a_picture_removed_midway_under_loader_workers(own_tiles: TileSet) -> None:
    warm_loader_workers()
    config = replace(LOADER, workers=1, batch_size=5)
    told = pull_epoch_then(lambda: shutil.rmtree(own_tiles.place), config, own_tiles)
    assert told.startswith("A picture is gone")


def test_a_loader_worker_that_is_killed_is_told(own_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill() -> None:
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()

    warm_loader_workers()
    monkeypatch.setattr(dataloader._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)  # seconds; otherwise five
    config = replace(LOADER, workers=1, batch_size=5)
    assert "fewer loader workers" in pull_epoch_then(kill, config, own_tiles)
