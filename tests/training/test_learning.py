"""What is learned: as much as by a plain loop, on every path, with every optimiser."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from eurosat_core.data.batches import MemorySource, epoch_order
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.training.config import SETTINGS, TrainConfig
from eurosat_core.training.events import EpochDone
from eurosat_core.training.network import make_network, preprocessing_for
from eurosat_core.training.sources import split_for
from tests.training.conftest import CONFIG, LOADER, of_kind, run


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


@pytest.mark.parametrize("optimizer", SETTINGS["optimizer"].choices)
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
