"""Training steps as CUDA graphs: on cards that are played the steps of the usual way, and on a real one where it is."""

from dataclasses import replace

import pytest
import torch
from cuda_alias import Cards, played_cuda
from cuda_graphs import PlayedGraph
from fake_engine import raising
from launches import launches
from torch import Tensor

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, TrainingError
from eurosat_core.profiling.plan import profile_config
from eurosat_core.speed.steps import TimedSteps
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.evaluation import Tally
from eurosat_core.training.events import EpochDone, StepDone
from eurosat_core.training.execution import WARM_UPS, CaptureError
from eurosat_core.training.loop import Checkpoint, Parking, _Loop, train

FORM = {"device": "cuda:1", "precision": "float32", "channels_last": True, "batch_size": 16, "execution": "graph"}
BASELINE = recipe_config("baseline", source="memory", epochs=2, **{**FORM, "channels_last": False})
TILENET = recipe_config("tilenet", "sprint", epochs=2, colour_jitter=0.2, shift=2, **FORM)
DROPOUT = replace(BASELINE, model="custom", network="conv 4 5 stride 4, relu, dropout 0.4, flatten, linear out")
"""150 training tiles: nine batches of 16 and one of 6 in an epoch."""


def trained(config: TrainConfig, tiles: TileSet) -> tuple[dict[str, Tensor], list[EpochDone]]:
    kept: list[Checkpoint] = []
    events = list(train(config, tiles, kept.append))
    return kept[-1].weights, [each for each in events if isinstance(each, EpochDone)]


def agree(one: tuple[dict[str, Tensor], list[EpochDone]], other: tuple[dict[str, Tensor], list[EpochDone]]) -> None:
    for name, value in other[0].items():
        torch.testing.assert_close(one[0][name], value, rtol=1e-4, atol=1e-5)
    for mine, usual in zip(one[1], other[1], strict=True):
        assert mine.train_loss == pytest.approx(usual.train_loss, rel=1e-4)
        assert mine.train_accuracy == pytest.approx(usual.train_accuracy, abs=1e-6), "every tile is counted once"


@pytest.mark.parametrize(
    ("config", "sizes"),
    [
        (replace(BASELINE, schedule="one_cycle"), 1),
        (replace(BASELINE, optimizer="adam", learning_rate=0.001, source="loader", workers=0), 1),
        (replace(BASELINE, optimizer="adamw", learning_rate=0.001, schedule="cosine", precision="bfloat16"), 1),
        (TILENET, 3),
        (DROPOUT, 1),
        (recipe_config("efficientnet_lite0", "fast", epochs=2, pretrained=False, **FORM), 1),
    ],
    ids=["one cycle", "loader", "bfloat16", "sizes", "dropout", "frozen"],
)
def test_a_graph_learns_what_eager_steps_do(small_tiles: TileSet, config: TrainConfig, sizes: int) -> None:
    with played_cuda():
        usual = trained(replace(config, execution="eager"), small_tiles)
    with played_cuda() as cards:
        found = trained(config, small_tiles)
    agree(found, usual)
    assert cards.calls.count("replay") == 2 * 9 - WARM_UPS * sizes
    assert cards.calls.count("captured") == cards.calls.count("register") == sizes
    assert cards.calls.count("side waits for computing") >= WARM_UPS * sizes, "it is warmed up in a stream of its own"


def test_it_draws_new_dropout_in_every_step_and_leaves_the_generator_alone(small_tiles: TileSet, cards: Cards) -> None:
    before = torch.get_rng_state()
    loop = _Loop(replace(DROPOUT, learning_rate=1e-9, momentum=0.0), small_tiles, None)
    loop.trainer.mode(training=True)
    batch = next(loop.source.train(1))
    losses = [loop.trainer.learn(batch).item() for _ in range(WARM_UPS + 4)]
    assert len(set(losses)) == len(losses)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("config", "most"), [(BASELINE, 3), (replace(TILENET, colour_jitter=0.0), 5)], ids=["baseline", "tilenet"]
)
def test_a_step_is_launched_at_once(small_tiles: TileSet, cards: Cards, config: TrainConfig, most: int) -> None:
    """Rows and labels are copied, lines and the next learning rate brought, the graph launched: 36 and 88 were told."""
    loop = _Loop(replace(config, progressive_resizing=False), small_tiles, None)
    trainer, tally = loop.trainer, Tally.on(loop.device)
    trainer.mode(training=True)
    batches = loop.source.train(1)
    for _ in range(WARM_UPS + 1):
        trainer.learn(next(batches), tally=tally)
    cards.calls.clear()
    with launches() as told:
        trainer.learn(next(batches), tally=tally)
    assert told.total() + cards.calls.count("replay") <= most, told
    assert cards.calls.count("replay") == 1
    assert tally.means()[0] > 0 and tally.tiles == (WARM_UPS + 2) * 16


def test_after_a_pause_off_the_device_it_is_recorded_anew(small_tiles: TileSet) -> None:
    config = replace(BASELINE, schedule="one_cycle")
    with played_cuda():
        usual = trained(replace(config, execution="eager"), small_tiles)
    with played_cuda() as cards:
        parking, kept = Parking(), list[Checkpoint]()
        events = train(config, small_tiles, kept.append, parking=parking)
        epochs = []
        for event in events:
            epochs += [event] if isinstance(event, EpochDone) else []
            if isinstance(event, StepDone) and event.phase == "train" and (event.epoch, event.step) == (1, 6):
                parking.park()
                assert parking._loop is not None
                for each in parking._loop.trainer.network.parameters():
                    each.data = each.data.clone()  # on a card it comes back to another place
                parking.unpark()
    agree((kept[-1].weights, epochs), usual)
    assert cards.calls.count("captured") == 2


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    ("error", "raised", "words"),
    [
        (RuntimeError("CUDA error: operation not permitted when stream is capturing"), CaptureError, "eager"),
        (torch.OutOfMemoryError("CUDA out of memory."), TrainingError, "full"),
    ],
)
def test_what_cannot_be_recorded_is_told_in_a_sentence(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception], words: str
) -> None:
    monkeypatch.setattr(PlayedGraph, "__torch_dispatch__", raising(error))
    with pytest.raises(raised, match=words):
        trained(BASELINE, small_tiles)


def test_it_is_refused_where_it_cannot_be() -> None:
    for changes, words in (({"device": "cpu"}, "CUDA GPU"), ({"optimizer": "adagrad"}, "Adagrad")):
        with pytest.raises(ConfigError, match=words):
            replace(BASELINE, **changes).checked()
    with pytest.raises(ConfigError, match="profile"):
        profile_config("baseline", device="cuda:0", execution="graph")


def test_its_steps_are_timed_as_a_whole(small_tiles: TileSet, cards: Cards) -> None:
    steps = TimedSteps(BASELINE, small_tiles)
    assert steps.prepare() > 0
    steps.plan(3, 0)
    turn = steps.turn(1)
    steps.close()
    assert turn.parts is None and turn.launching is not None and turn.tiles == 16
    assert cards.calls.count("captured") == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize(
    "config", [replace(BASELINE, schedule="one_cycle"), TILENET, DROPOUT], ids=lambda each: each.model
)
def test_a_graph_on_a_real_card(small_tiles: TileSet, config: TrainConfig) -> None:
    """The losses of eager steps, up to the order of sums; with dropout, whose draws come in another order, nearly."""
    config = replace(config, device="cuda:0")
    (_, found), (_, usual) = (trained(replace(config, execution=each), small_tiles) for each in ("graph", "eager"))
    dropout = config.network != ""
    for mine, eager in zip(found, usual, strict=True):
        assert mine.train_loss == pytest.approx(eager.train_loss, rel=0.1 if dropout else 0.01)
