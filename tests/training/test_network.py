from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from eurosat_core.data.batches import Batch
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.loop import Checkpoint, train
from eurosat_core.training.network import (
    evaluation_batches,
    make_network,
    predict,
    scores_of,
)
from eurosat_core.training.sources import split_for

CONFIG = TrainConfig(source="memory", epochs=1)
ROUGH = replace(CONFIG, precision="bfloat16", channels_last=True)


def test_networks_differ_by_seed_only() -> None:
    before = torch.get_rng_state()
    one, again, other = (make_network(replace(CONFIG, seed=seed), 4).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.processor
def test_lower_precision_gives_float32_scores_close_by() -> None:
    network, tiles = make_network(CONFIG, 4), torch.rand(5, 3, 64, 64)
    exact, rough = scores_of(network, tiles, "float32"), scores_of(network, tiles, "bfloat16")
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0.05, atol=0.02)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.processor
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


def test_predicting_leaves_no_gradient_and_uses_evaluation_mode(small_tiles: TileSet) -> None:
    network = make_network(CONFIG, 4)
    batches = list(evaluation_batches(CONFIG, small_tiles, torch.arange(10)))
    predicted, confidence = predict(network, iter(batches), CONFIG)
    assert not network.training
    assert not confidence.requires_grad
    assert torch.is_grad_enabled()
    scores = network(batches[0].tiles)
    assert torch.equal(predicted, scores.argmax(1))
    torch.testing.assert_close(confidence, functional.softmax(scores, 1).max(1).values)


@pytest.mark.processor
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
