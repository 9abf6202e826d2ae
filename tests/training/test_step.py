"""The one training step: its parts, its loss, and what updates the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from bench.tuning import main, training_part, tune
from eurosat_core.data.batches import Batch
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.speed.verdict import PARTS
from eurosat_core.training.config import SETTINGS, TrainConfig, recipe_config
from eurosat_core.training.evaluation import Tally
from eurosat_core.training.network import make_network
from eurosat_core.training.sources import split_for
from eurosat_core.training.step import Trainer, loss_of, make_optimizer, make_schedule

CONFIG = TrainConfig(source="memory", epochs=1)


def batches(count: int) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield Batch(torch.rand(8, 3, 64, 64, generator=generator), torch.arange(8) % 4)


def test_a_step_has_five_parts_one_after_the_other(small_tiles: TileSet) -> None:
    seen: list[str] = []

    @contextmanager
    def mark(part: str) -> Iterator[None]:
        seen.append(part)
        yield
        seen.append("end")

    trainer, tally = Trainer(CONFIG, small_tiles), Tally.on(torch.device("cpu"))
    assert trainer.step(batches(1), mark, tally) == tally.tiles == 8
    assert seen == [each for part in PARTS for each in (part, "end")]
    assert all(each.grad is None for each in trainer.network.parameters()), "no gradient outlives its step"
    assert trainer.parameters() == (338_486 - 85 * 6,) * 2  # four classes, not ten


@pytest.mark.processor
def test_marks_change_nothing_and_a_given_end_lets_rate_and_sizes_follow_it(small_tiles: TileSet) -> None:
    config = replace(CONFIG, schedule="cosine")

    def weights(steps: int | None, *, marked: bool = False) -> torch.Tensor:
        trainer, source = Trainer(config, small_tiles, steps=steps), batches(3)
        for _ in range(3):
            trainer.step(source, torch.profiler.record_function) if marked else trainer.step(source)
        return trainer.network.state_dict()["conv1.weight"]

    assert torch.equal(weights(None), weights(None, marked=True))
    assert not torch.equal(weights(None), weights(3)), "the rate follows its schedule"


@pytest.mark.parametrize("optimizer", SETTINGS["optimizer"].choices)
def test_every_optimizer_is_torchs(optimizer: str) -> None:
    config = replace(CONFIG, optimizer=optimizer, learning_rate=0.001, momentum=0.5, weight_decay=0.1)
    made = make_optimizer(config, make_network(config, 4))
    assert type(made).__name__.lower() == optimizer
    assert (made.defaults["lr"], made.defaults["weight_decay"]) == (0.001, 0.1)
    assert made.defaults.get("momentum", 0.5) == 0.5


def test_a_card_updates_all_parameters_at_once_where_pytorch_can() -> None:
    fused = {}
    for optimizer in SETTINGS["optimizer"].choices:
        for device in ("cpu", "cuda:0", "mps"):
            config = replace(CONFIG, optimizer=optimizer, device=device)
            fused[optimizer, device] = make_optimizer(config, make_network(config, 4)).defaults["fused"]
    assert {which for which, on in fused.items() if on} == {(name, "cuda:0") for name in ("sgd", "adam", "adamw")}


@pytest.mark.processor
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_all_at_once_is_the_same_update(optimizer: str) -> None:
    """Up to rounding, over several steps; on the CPU, whose kernel for all is another one than a card's."""
    config = replace(CONFIG, optimizer=optimizer, learning_rate=0.01, weight_decay=0.1, nesterov=True)
    network, other = (make_network(config, 4) for _ in range(2))
    updates = make_optimizer(config, network), make_optimizer(replace(config, device="cuda:0"), other)
    for _ in range(4):
        for one, same in zip(network.parameters(), other.parameters(), strict=True):
            one.grad = torch.rand_like(one)
            same.grad = one.grad.clone()
        for update in updates:
            update.step()
    for one, same in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, same, atol=1e-6, rtol=1e-5)


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
    batch = Batch(torch.rand(5, 3, 64, 64), labels)
    scores, loss, lowered = loss_of(network, batch, config, config.label_smoothing)
    torch.testing.assert_close(lowered, functional.cross_entropy(scores, labels, label_smoothing=0.2))
    assert torch.equal(loss, functional.cross_entropy(scores, labels))
    chances = scores.log_softmax(1)
    targets = torch.full((5, 4), 0.2 / 4).scatter_(1, labels[:, None], 0.8 + 0.2 / 4)
    torch.testing.assert_close(lowered, -(targets * chances).sum(1).mean())
    _, plain, lowered = loss_of(network, batch, CONFIG)
    assert lowered is plain


def test_the_training_part_leaves_out_what_trainings_are_validated_on(small_tiles: TileSet) -> None:
    part, split = training_part(small_tiles), split_for(TrainConfig(), small_tiles)
    assert len(part) == len(split.train) == 150
    validation = {small_tiles.names[each] for each in split.validation.tolist()}
    assert not validation & set(part.names)
    at = small_tiles.names.index(part.names[7])
    assert torch.equal(part.pixels[7], small_tiles.pixels[at]) and part.labels[7] == small_tiles.labels[at]


def test_a_recipe_is_tuned_on_the_rest(small_tiles: TileSet) -> None:
    said: list[str] = []
    config = recipe_config("baseline", "fast", epochs=2, seed=5, precision="float32", channels_last=False)
    found = tune(config, training_part(small_tiles), said.append, held_out=30)
    assert [each.split(":")[0] for each in said] == ["  epoch 1", "  epoch 2"]
    assert f"{found.accuracy:.2%}" in said[-1]
    assert round(found.accuracy * 30, 6) == round(found.accuracy * 30)
    assert 0 <= found.over_symmetries <= 1 and found.seconds > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--no-symmetries"], "symmetries"),
        (["--data", "no/such/folder"], "no/such/folder"),
    ],
)
def test_what_cannot_be_tuned_is_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--recipe", "sprint", *arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
