from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from eurosat_core.data.batches import Batch
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.models.catalog import model_entry
from eurosat_core.training.config import OPTIMIZERS, TrainConfig
from eurosat_core.training.loop import Checkpoint, train
from eurosat_core.training.network import (
    evaluation_batches,
    make_network,
    predict,
    preprocessing_for,
    scores_of,
)
from eurosat_core.training.sources import split_for
from eurosat_core.training.step import loss_of, make_optimizer, make_schedule, training_loss

CONFIG = TrainConfig(source="memory", epochs=1)
ROUGH = replace(CONFIG, precision="bfloat16", channels_last=True)


def test_networks_differ_by_seed_only() -> None:
    before = torch.get_rng_state()
    one, again, other = (make_network(replace(CONFIG, seed=seed), 4).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])
    assert torch.equal(torch.get_rng_state(), before)


def test_preprocessing_is_the_catalogs() -> None:
    entry, found = model_entry("baseline"), preprocessing_for("baseline", channels_last=True)
    assert (found.mean, found.std, found.channels_last) == (entry.mean, entry.std, True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_torchs(optimizer: str) -> None:
    config = replace(CONFIG, optimizer=optimizer, learning_rate=0.001, momentum=0.5, weight_decay=0.1)
    made = make_optimizer(config, make_network(config, 4))
    assert type(made).__name__.lower() == optimizer
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (0.001, 0.1)
    assert made.defaults.get("momentum", 0.5) == 0.5


def test_frozen_weights_are_not_given_to_the_optimizer() -> None:
    network = make_network(CONFIG, 4).requires_grad_(False)
    network.get_submodule("fc3").requires_grad_(True)
    trained = make_optimizer(CONFIG, network).param_groups[0]["params"]
    assert [id(each) for each in trained] == [id(each) for each in network.get_submodule("fc3").parameters()]


def test_one_cycle_rises_for_a_fifth_and_falls_to_nothing() -> None:
    config = replace(CONFIG, schedule="one_cycle", learning_rate=0.2)
    optimizer = make_optimizer(config, make_network(config, 4))
    schedule = make_schedule(config, optimizer, steps=100)
    assert schedule is not None
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    by_hand = [0.2 * min(step / 20, (101 - step) / 80) for step in range(1, 101)]
    assert rates == pytest.approx(by_hand)
    assert max(rates) == pytest.approx(0.2)
    assert optimizer.param_groups[0]["lr"] == 0.0


def test_the_cosine_is_pytorchs() -> None:
    config = replace(CONFIG, schedule="cosine", learning_rate=0.3)
    ours, theirs = (make_optimizer(config, make_network(config, 4)) for _ in range(2))
    schedules = make_schedule(config, ours, steps=50), torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=50)
    for _ in range(50):
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"])
        for optimizer, schedule in zip((ours, theirs), schedules, strict=True):
            assert schedule is not None
            optimizer.step()
            schedule.step()
    assert ours.param_groups[0]["lr"] == 0.0


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_shortest_one_cycle_still_learns(steps: int) -> None:
    config = replace(CONFIG, schedule="one_cycle")
    optimizer = make_optimizer(config, make_network(config, 4))
    assert make_schedule(config, optimizer, steps) is not None
    assert 0 < optimizer.param_groups[0]["lr"] <= config.learning_rate


def test_smoothed_labels_are_lowered_and_the_plain_loss_is_shown() -> None:
    config = replace(CONFIG, label_smoothing=0.2)
    network, labels = make_network(config, 4), torch.tensor([0, 1, 2, 3, 0])
    scores, loss = loss_of(network, Batch(torch.rand(5, 3, 64, 64), labels), config)
    chances = scores.log_softmax(1)
    targets = torch.full((5, 4), 0.2 / 4).scatter_(1, labels[:, None], 0.8 + 0.2 / 4)
    torch.testing.assert_close(training_loss(scores, loss, labels, config), -(targets * chances).sum(1).mean())
    assert training_loss(scores, loss, labels, CONFIG) is loss


def test_loss_is_the_mean_cross_entropy() -> None:
    network, tiles, labels = make_network(CONFIG, 4), torch.rand(5, 3, 64, 64), torch.tensor([0, 1, 2, 3, 0])
    scores, loss = loss_of(network, Batch(tiles, labels), CONFIG)
    assert torch.equal(scores, network(tiles))
    by_hand = -scores.log_softmax(1)[torch.arange(5), labels].mean()
    torch.testing.assert_close(loss, by_hand)
    assert loss.requires_grad


def test_lower_precision_gives_float32_scores_close_by() -> None:
    network, tiles = make_network(CONFIG, 4), torch.rand(5, 3, 64, 64)
    exact, rough = scores_of(network, tiles, "float32"), scores_of(network, tiles, "bfloat16")
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0.05, atol=0.02)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    "config",
    [CONFIG, ROUGH, replace(CONFIG, batch_size=7), replace(CONFIG, source="loader", workers=0)],
    ids=["memory", "bfloat16", "small batches", "loader"],
)
def test_kept_weights_predict_what_the_run_told(config: TrainConfig, small_tiles: TileSet) -> None:
    kept: list[Checkpoint] = []
    list(train(config, small_tiles, kept.append))
    told, numbers = kept[-1].predictions, split_for(config, small_tiles).validation
    network = make_network(replace(config, seed=config.seed + 1), 4)
    network.load_state_dict(kept[-1].weights)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    predicted, confidence = predict(network, evaluation_batches(config, small_tiles, numbers), config)
    assert torch.equal(told.tiles, numbers)
    assert torch.equal(told.true, small_tiles.labels[numbers])
    assert torch.equal(told.predicted, predicted)
    torch.testing.assert_close(told.confidence, confidence, rtol=0, atol=1e-5)
    assert 0.25 <= confidence.min() <= confidence.max() <= 1


def test_predicting_leaves_no_gradient_and_judges_in_evaluation_mode(small_tiles: TileSet) -> None:
    network = make_network(CONFIG, 4)
    batches = list(evaluation_batches(CONFIG, small_tiles, torch.arange(10)))
    predicted, confidence = predict(network, iter(batches), CONFIG)
    assert not network.training
    assert not confidence.requires_grad
    assert torch.is_grad_enabled()
    scores = network(batches[0].tiles)
    assert torch.equal(predicted, scores.argmax(1))
    torch.testing.assert_close(confidence, functional.softmax(scores, 1).max(1).values)


def test_a_prediction_over_symmetries_is_the_mean_of_eight() -> None:
    config = TrainConfig(source="memory")
    network = make_network(config, 10)
    tiles = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    batches = [Batch(each, torch.zeros(len(each), dtype=torch.int64)) for each in tiles.split(4)]
    predicted, confidence = predict(network, iter(batches), config, symmetries=True)
    sides = (tiles.numpy(), tiles.flip(3).numpy())
    views = [torch.from_numpy(np.rot90(each, turns, (2, 3)).copy()) for each in sides for turns in range(4)]
    with torch.no_grad():
        mean = sum(network(each).softmax(1) for each in views) / 8
    torch.testing.assert_close(confidence, mean.max(1).values)
    assert torch.equal(predicted, mean.argmax(1))
    _, plain = predict(network, iter(batches), config)
    assert not torch.allclose(plain, confidence)
