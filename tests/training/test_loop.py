"""The training loop: what is learned, what it tells and when, the sealed part, and that nothing leaks from it."""

import itertools
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import to_builtins
from torch.nn import functional

from eurosat_core.data import splits
from eurosat_core.data.batches import MemorySource, epoch_order, warm_loader_workers
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.runs.history import encoded_event, line_of, read_event
from eurosat_core.training import loop
from eurosat_core.training.config import SETTINGS, TrainConfig, recipe_config
from eurosat_core.training.evaluation import memory_bytes
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone
from eurosat_core.training.loop import Checkpoint, train
from eurosat_core.training.network import evaluation_batches, make_network, predict, preprocessing_for
from eurosat_core.training.sources import split_for
from tests.models.network_makers import tutorial_net
from tests.training.conftest import CONFIG, LOADER, HandClock, of_kind, run


def plain_training(config: TrainConfig, tiles: TileSet) -> tuple[list[torch.Tensor], list[float]]:
    """The tutorial's loop as anyone would write it, on the same tiles in the same order.

    Returns the weights at the end, and per epoch: loss and accuracy of training and validation.
    """
    torch.manual_seed(config.seed)
    net = tutorial_net(len(tiles.class_names))
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


@pytest.mark.processor
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


@pytest.mark.processor
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


@pytest.mark.processor
def test_same_seed_same_run(small_tiles: TileSet) -> None:
    (_, one), (_, again), (_, other) = (run(replace(CONFIG, epochs=1, seed=seed), small_tiles) for seed in (1, 1, 2))
    assert all(torch.equal(one[0].weights[name], again[0].weights[name]) for name in one[0].weights)
    assert not torch.equal(one[0].weights["conv1.weight"], other[0].weights["conv1.weight"])


@pytest.mark.processor
def test_loader_and_memory_learn_the_same(small_tiles: TileSet) -> None:
    (fast, _), (slow, _) = run(CONFIG, small_tiles), run(LOADER, small_tiles)
    for one, other in zip(of_kind(EpochDone, fast), of_kind(EpochDone, slow), strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-4)


@pytest.mark.processor
def test_network_learns_forty_tiles_by_heart(small_tiles: TileSet) -> None:
    config = replace(CONFIG, tiles=53, epochs=10, batch_size=10, optimizer="adam", learning_rate=0.002)
    done = of_kind(EpochDone, run(config, small_tiles)[0])
    assert done[0].train_accuracy < 0.9
    assert done[-1].train_accuracy == 1.0
    assert done[-1].train_loss < 0.1 < done[0].train_loss


@pytest.mark.processor
@pytest.mark.parametrize("optimizer", SETTINGS["optimizer"].choices)
def test_every_optimizer_learns(optimizer: str, small_tiles: TileSet) -> None:
    done = of_kind(EpochDone, run(replace(CONFIG, optimizer=optimizer, learning_rate=0.001), small_tiles)[0])
    assert done[1].train_loss < done[0].train_loss


@pytest.mark.processor
def test_lower_precision_and_channels_last_stay_close(small_tiles: TileSet) -> None:
    exact, _ = run(CONFIG, small_tiles)
    rough, kept = run(replace(CONFIG, precision="bfloat16", channels_last=True), small_tiles)
    for one, other in zip(of_kind(EpochDone, exact), of_kind(EpochDone, rough), strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=0.05)
    assert all(value.dtype == torch.float32 for value in kept[-1].weights.values())
    assert all(value.is_contiguous() for value in kept[-1].weights.values())


# --- what is kept ---


def test_a_checkpoint_comes_before_its_epochs_event(small_tiles: TileSet) -> None:
    kept: list[Checkpoint] = []
    for event in train(CONFIG, small_tiles, kept.append):
        if isinstance(event, EpochDone):
            assert kept[-1].epoch == event.epoch == len(kept)
            right = (kept[-1].predictions.predicted == kept[-1].predictions.true).float().mean()
            assert event.val_accuracy == pytest.approx(right.item())


@pytest.mark.processor
def test_checkpoints_do_not_change_later(small_tiles: TileSet) -> None:
    _, (first, second) = run(CONFIG, small_tiles)
    _, (alone,) = run(replace(CONFIG, epochs=1), small_tiles)
    assert torch.equal(first.weights["fc1.weight"], alone.weights["fc1.weight"])
    assert not torch.equal(first.weights["fc1.weight"], second.weights["fc1.weight"])
    assert (first.test, second.test) == (None, None), "no part was sealed"


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


@pytest.mark.processor
def test_the_consumers_own_numbers_change_nothing(small_tiles: TileSet) -> None:
    config = replace(CONFIG, epochs=1)
    _, plain = run(config, small_tiles)
    kept: list[Checkpoint] = []
    for _ in train(config, small_tiles, kept.append):
        torch.rand(3)
    assert torch.equal(kept[-1].weights["fc3.weight"], plain[-1].weights["fc3.weight"])


def test_nothing_starts_before_the_first_pull(small_tiles: TileSet) -> None:
    pull = train(replace(CONFIG, epochs=0), small_tiles)
    with pytest.raises(ConfigError, match="0"):
        next(pull)


def test_memory_of_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 11)
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 12)
    assert memory_bytes(torch.device("cuda:1")) == 11
    assert memory_bytes(torch.device("mps")) == 12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA GPU")
def test_no_step_waits_for_a_gpu(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step on a GPU may take a millisecond; CUDA itself tells here when the processor waits for one."""
    monkeypatch.setattr(loop, "REPORT_SECONDS", float("inf"))
    config = recipe_config("tilenet", "sprint", epochs=3, batch_size=16, progressive_resizing=False, device="cuda:0")
    events = train(config, small_tiles)
    first = [next(event for event in events if isinstance(event, StepDone) and event.step == 2)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps = [*first, *(next(events) for _ in range(2))]
    finally:
        torch.cuda.set_sync_debug_mode("default")
        events.close()
    assert [(type(each), each.phase, each.step) for each in steps] == [(StepDone, "train", at) for at in (2, 3, 4)]


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


SEALED = replace(CONFIG, sealed_test=True)


@pytest.mark.processor
@pytest.mark.parametrize("config", [SEALED, replace(LOADER, sealed_test=True)], ids=["memory", "loader"])
def test_the_last_checkpoint_alone_scores_the_sealed_part(config: TrainConfig, small_tiles: TileSet) -> None:
    _, (first, last) = run(config, small_tiles)
    assert first.test is None
    assert last.test is not None
    sealed = split_for(config, small_tiles).test
    assert torch.equal(last.test.tiles, sealed) and len(sealed) == 40
    assert torch.equal(last.test.true, small_tiles.labels[sealed])
    # The oracle: the network of the last epoch, asked about these tiles.
    network = make_network(config, 4)
    network.load_state_dict(last.weights)
    predicted, _ = predict(network, evaluation_batches(config, small_tiles, sealed), config)
    assert torch.equal(last.test.predicted, predicted)


def test_the_sealed_part_changes_nothing_else_and_is_not_timed(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, hand_clock: HandClock
) -> None:
    from eurosat_core.training import loop

    score = loop._Loop.test_predictions

    def slowly(self: loop._Loop) -> object:
        hand_clock.now += 100
        return score(self)

    monkeypatch.setattr(loop._Loop, "test_predictions", slowly)
    hand_clock.tick = 0.001
    events = list(train(SEALED, small_tiles, lambda _checkpoint: None))
    assert of_kind(Finished, events)[0].seconds < 50
    assert of_kind(EpochDone, events)[-1].elapsed_seconds < 50


@pytest.fixture
def placed(small_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TileSet:
    """Forty tiles with lists that put the first of each class into training, the next ones elsewhere."""
    tiles = open_tiles(small_folder(tmp_path / "tiles", {"Forest": 20, "River": 20}), tmp_path / "cache")
    lists = tmp_path / "cache" / "spatial"
    lists.mkdir()
    for part, numbers in (("train", range(1, 12)), ("val", range(12, 16)), ("test", range(16, 20))):
        names = [f"{name}_{number}.jpg" for name in ("Forest", "River") for number in numbers]
        (lists / splits.PLACE_LISTS[part].name).write_text("\n".join(names))
    return tiles


def test_by_place_trains_and_validates_on_the_published_parts(placed: TileSet) -> None:
    config = replace(SEALED, split="place", epochs=1)
    _, (checkpoint,) = run(config, placed)
    split = split_for(config, placed)
    names = [placed.names[at] for at in split.validation.tolist()]
    assert sorted(names) == sorted(f"{name}/{name}_{n}.jpg" for name in ("Forest", "River") for n in range(12, 16))
    assert torch.equal(checkpoint.predictions.tiles, split.validation)
    assert checkpoint.test is not None and len(checkpoint.test) == 8
    assert len(split.train) == 22  # Forest_20 and River_20 stand in no list


real = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(1, 2**53 - 1)
events = st.one_of(
    st.builds(Started, *[whole] * 7, device=st.text(max_size=10), threads=whole),
    st.builds(
        StepDone,
        phase=st.sampled_from(["train", "validation"]),
        epoch=whole,
        step=whole,
        seconds=real,
        loss=st.none() | real,
        accuracy=st.none() | real,
        tiles_per_second=st.none() | real,
        memory_bytes=st.none() | whole,
    ),
    st.builds(EpochDone, whole, *[real] * 9),
    st.builds(Finished, whole, *[real] * 3),
)


@given(events, real)
def test_events_survive_json(event: Event, at: float) -> None:
    assert read_event(encoded_event(event)) == (event, None)
    assert read_event(line_of(encoded_event(event), at)) == (event, at)


def test_figures_that_are_missing_are_left_out() -> None:
    step = StepDone("train", 1, 2, 0.5)
    assert not step.reported
    assert json.loads(encoded_event(step)) == {"kind": "step", "phase": "train", "epoch": 1, "step": 2, "seconds": 0.5}
    assert StepDone("train", 1, 2, 0.5, loss=0.0).reported


FINISHED = {"kind": "finished", "epochs": 1, "seconds": 1, "val_loss": 1, "val_accuracy": 1}


@pytest.mark.parametrize(
    ("entry", "values"),
    [
        ("kind", ["party", ["finished"], None]),
        ("epochs", [0, -1, 1.5, True, "1", None, 10**400]),
        ("val_loss", [float("nan"), float("inf"), True, "1", None, [1]]),
        ("at", [float("nan"), float("inf"), True, "noon", [1]]),
    ],
)
def test_an_entry_that_cannot_be_drawn_makes_no_event(entry: str, values: list[object]) -> None:
    assert read_event(json.dumps(FINISHED).encode()) == (Finished(1, 1.0, 1.0, 1.0), None)
    for value in values:
        with pytest.raises(RunError):
            read_event(json.dumps({**FINISHED, entry: value}).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"epochs": 1}',
        b'{"kind": "finished"}',
        b'{"kind": "epoch", "epoch": 1e999}',
        b"[]",
        b"7",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b'{"kind": "' + b"\xff" + b'"}',
        b'{"kind": "trace", "cycle": 1, "file": "\\ud800", "size_bytes": 1, "seconds": 1}',
        b'{"more": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_event_is_told(line: bytes) -> None:
    with pytest.raises(RunError):
        read_event(line)


def test_unknown_entries_are_ignored() -> None:
    assert read_event(json.dumps({**FINISHED, "more": [1]}).encode()) == (Finished(1, 1.0, 1.0, 1.0), None)
