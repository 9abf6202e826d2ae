"""How much a card is told in a step: on a card that is played, by the operation (`launches`)."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from cuda_alias import played_cuda
from launches import launches

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.evaluation import Tally
from eurosat_core.training.loop import _Loop
from eurosat_core.training.step import loss_of

FORM = {"device": "cuda:0", "precision": "float32", "channels_last": True, "batch_size": 16}
BASELINE = recipe_config("baseline", source="memory", **{**FORM, "channels_last": False})
TILENET = recipe_config("tilenet", "fast", **FORM)
FROZEN = recipe_config("efficientnet_lite0", "fast", pretrained=False, **FORM)


def counted(config: TrainConfig, tiles: TileSet) -> tuple[Counter[str], Counter[str]]:
    """Operations of one step of a training, and of its network alone: forward, loss, backward."""
    with played_cuda():
        loop = _Loop(config, tiles, None)
        list(loop.fill_features())
        trainer, tally = loop.trainer, Tally.on(loop.device)
        trainer.mode(training=True)
        batches = loop.source.train(1)
        trainer.learn(next(batches), tally=tally)  # what is made once is made in the first step
        with launches() as all_of_it:
            batch = next(batches)
            trainer.learn(batch, tally=tally)
        with launches() as of_network:
            _, _, lowered = loss_of(trainer.train_network, batch, config, config.label_smoothing)
            lowered.backward(torch.ones((), device=trainer.device))
        del of_network["aten.ones"]
        loop.source.close()
        if loop.features is not None:
            loop.features.release()
    return all_of_it, of_network


@pytest.mark.parametrize(
    ("config", "network", "beside"),
    [
        (BASELINE, 32, 4),  # tiles, labels, normalised, and the update
        (TILENET, 79, 9),  # and resized; lines brought, their places in two, and the view
        (replace(TILENET, progressive_resizing=False, symmetries=False, label_smoothing=0.0), 71, 4),
        (FROZEN, 7, 4),  # features, labels, and the update with its count of steps
    ],
    ids=["baseline", "tilenet", "tilenet-plain", "frozen"],
)
def test_a_card_is_told_little_beside_the_network(
    config: TrainConfig, network: int, beside: int, small_tiles: TileSet
) -> None:
    """In all 36, 88, 75 and 11 operations; before this was counted 49 for the baseline, 142 for tilenet, 28 frozen."""
    all_of_it, of_network = counted(config, small_tiles)
    assert of_network.total() <= network, of_network
    assert all_of_it.total() - of_network.total() <= beside, all_of_it - of_network


def test_nothing_is_asked_of_the_card_in_a_step(small_tiles: TileSet) -> None:
    """A number that is read from the card waits for everything it was told before."""
    for config in (BASELINE, replace(TILENET, colour_jitter=0.2), replace(BASELINE, optimizer="adam"), FROZEN):
        found, _ = counted(config, small_tiles)
        assert not {"aten._local_scalar_dense", "aten.nonzero"} & set(found)


def test_drawing_on_the_processor_costs_the_card_nothing() -> None:
    with played_cuda(), launches() as found:
        drawn = torch.rand(4, generator=torch.Generator()) * 2
        there = torch.zeros(4, device=torch.device("cuda:0"))
        assert found == {"aten.zeros": 1}
        there += drawn.to(torch.device("cuda:0"))
        assert found == {"aten.zeros": 1, "copy to the card": 1, "aten.add_": 1}
        there.view(2, 2).t()
    assert found.total() == 3
