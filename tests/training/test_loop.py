"""What the loop keeps, and that it leaves nothing behind in the process of its consumer."""

import multiprocessing
from dataclasses import replace

import pytest
import torch

from eurosat_core.data.batches import warm_loader_workers
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError
from eurosat_core.training import loop
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.evaluation import memory_bytes
from eurosat_core.training.events import EpochDone, StepDone
from eurosat_core.training.loop import Checkpoint, train
from tests.training.conftest import CONFIG, LOADER, run

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
