"""Code for GPUs, run on cards that are played (`cuda_alias`): the same figures as on the CPU."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from cuda_alias import Cards, played_cuda

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import probe_devices
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.record import CycleRecorded, record
from eurosat_core.speed.steps import TimedSteps
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import Finished
from eurosat_core.training.loop import train

CARD = recipe_config(
    "baseline", "fast", epochs=2, batch_size=20, device="cuda:1", precision="float32", channels_last=True
)


@pytest.fixture
def cards() -> Iterator[Cards]:
    with played_cuda() as played:
        yield played


def finished(config: TrainConfig, tiles: TileSet) -> Finished:
    last = list(train(config, tiles))[-1]
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize(
    "config",
    [
        CARD,
        replace(CARD, source="loader", workers=0, pin_memory=True),
        recipe_config("tilenet", "sprint", epochs=2, batch_size=20, device="cuda:0", precision="float32"),
        recipe_config("efficientnet_lite0", "fast", epochs=2, batch_size=20, device="cuda:1", precision="float32"),
    ],
    ids=["memory", "loader", "tilenet", "frozen"],
)
def test_a_training_on_a_card_is_that_of_the_cpu(small_tiles: TileSet, config: TrainConfig) -> None:
    there = replace(config, device="cpu", pin_memory=False, channels_last=bool(config.channels_last))
    expected = finished(there, small_tiles)
    with played_cuda():
        found = finished(replace(config, channels_last=bool(config.channels_last)), small_tiles)
    assert found.val_loss == pytest.approx(expected.val_loss, rel=1e-3)
    assert found.val_accuracy == pytest.approx(expected.val_accuracy, abs=0.03)


def test_timed_steps_add_up_and_give_memory_back(small_tiles: TileSet, cards: Cards) -> None:
    steps = TimedSteps(CARD, small_tiles)
    assert steps.prepare() > 0
    steps.plan(3, 2)
    turn, validation = steps.turn(1), steps.validation_turn()
    steps.close()
    assert turn.parts is not None and sum(turn.parts) == pytest.approx(turn.seconds, rel=1e-6)
    assert validation.parts is None and cards.calls[-1] == "empty_cache"


def test_a_profile_asks_for_the_cards_activities(small_tiles: TileSet, cards: Cards) -> None:
    kept: list[CycleRecorded] = []
    config = replace(profile_config("baseline"), device="cuda:0", workers=0, batch_size=8)
    events = list(record(config, ProfilePlan(repeat=1), small_tiles, kept.append))
    assert len(kept) == 1 and kept[0].trace and "synchronize" in cards.calls
    assert [each for each in events if type(each).__name__ == "TraceDone"]


def test_cards_are_found_with_their_reasons() -> None:
    with played_cuda(Cards(count=2, name="H100", capability=(9, 0))):
        assert [(each.id, each.name, each.available) for each in probe_devices()[1:]] == [
            ("cuda:0", "H100", True),
            ("cuda:1", "H100", True),
        ]
