"""Cards that fail, are full or are shared, played (`cuda_alias`): the first error is told, and memory is given back."""

import gc
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
import torch
from cuda_alias import Cards, in_backward
from fake_engine import CONFIG, CPU, GPU, ON_GPU, FakeEngine, OpenFake, eventually, raising, running

from eurosat_core.data import batches
from eurosat_core.data.batches import MemorySource
from eurosat_core.data.splits import make_split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import SLICE
from eurosat_core.errors import TrainingError
from eurosat_core.lab.jobs import Control, run_job
from eurosat_core.lab.messages import Command, Job, JobResult
from eurosat_core.speed import roofline
from eurosat_core.speed.plan import Cell, SweepPlan
from eurosat_core.speed.roofline import measure_limits
from eurosat_core.training import loop, step
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import Finished
from eurosat_core.training.loop import Parking, finite, train
from eurosat_core.training.network import float32_flags, preprocessing_for
from eurosat_core.training.step import Trainer

CARD = recipe_config(
    "baseline", "fast", epochs=2, batch_size=20, device="cuda:1", precision="float32", channels_last=False
)
STICKY = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"


def done(tiles: TileSet, config: TrainConfig = CARD, **changes: Any) -> JobResult:
    job = replace(Job("a-run", config, tiles.fingerprint, str(tiles.cache), threads=1), **changes)
    return run_job(job, lambda _events: None)


def measured(tiles: TileSet, **changes: Any) -> JobResult:
    """A measurement of one setting. changes: to its plan."""
    plan = SweepPlan((Cell("20", {"batch_size": 20}),), seconds=1.0, rounds=6, steps=1)
    return done(tiles, kind="sweep", plan=replace(plan, **changes).to_dict())


@pytest.mark.usefixtures("cards")
def test_what_a_card_said_first_is_told(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed card answers every further call with an error, also the one that gives memory back."""

    def failing(*_arguments: Any, **_named: Any) -> None:
        monkeypatch.setattr(torch.cuda, "empty_cache", raising(RuntimeError("CUDA error: unspecified launch failure")))
        raise RuntimeError(STICKY)

    monkeypatch.setattr(Trainer, "learn", failing)
    result = measured(small_tiles)
    assert (result.state, result.restart_worker) == ("failed", True), result.message
    assert "device-side" in result.message and "unspecified" not in result.message


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64.00 MiB"), RuntimeError("cuda: out of memory")],
)
def test_limits_of_a_full_card_need_no_new_worker(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(roofline, "_once", raising(error))
    result = measured(small_tiles, limits=True)
    assert (result.state, result.restart_worker) == ("failed", False), result.message
    assert "cuda:1" in result.message and "batches" not in result.message


def test_limits_of_a_failed_card_are_a_failure_of_the_card(monkeypatch: pytest.MonkeyPatch, cards: Cards) -> None:
    monkeypatch.setattr(roofline, "_once", raising(RuntimeError(STICKY)))
    with pytest.raises(TrainingError, match="device-side"):
        measure_limits("cuda:0")
    assert cards.calls[-1] == "empty_cache"


@pytest.mark.parametrize("fails", [False, True], ids=["finished", "failed"])
def test_a_run_gives_its_memory_back(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, cards: Cards, fails: bool
) -> None:
    """Nothing that lay on the card is alive when its memory is given back."""
    alive: list[int] = []
    monkeypatch.setattr(
        torch.cuda, "empty_cache", lambda: alive.append(sum(type(each) is Trainer for each in gc.get_objects()))
    )
    if fails:
        monkeypatch.setattr(loop, "finite", lambda _loss, epoch, step: finite(float("nan"), epoch, step))
    result = done(small_tiles)
    assert result.state == ("failed" if fails else "finished"), result.message
    assert alive == [0] and cards.calls[0] == "set_device"


@pytest.mark.usefixtures("cards")
def test_a_race_over_two_cards_notes_the_names_of_both(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda card: {"cuda:0": "H100", "cuda:1": "L4"}[str(card)])
    cells = tuple(Cell(each, {"device": each}) for each in ("cpu", "cuda:0", "cuda:1"))
    machine = measured(small_tiles, cells=cells).machine
    assert (machine["device_name"], machine["other_devices"]) == ("L4", {"cuda:0": "H100"})


# -- one's memory is everybody's


def source_on(tiles: TileSet, device: str = "cuda:0", seed: int = 1) -> MemorySource:
    split = make_split(tiles.labels, seed=seed, tiles=50)
    return MemorySource(tiles, split, torch.device(device), preprocessing_for("baseline"), batch_size=8, seed=seed)


@pytest.mark.usefixtures("cards")
def test_runs_share_the_tiles_on_a_card(small_tiles: TileSet) -> None:
    one, other, elsewhere = source_on(small_tiles), source_on(small_tiles, seed=2), source_on(small_tiles, "cuda:1")
    assert one._pixels is other._pixels is not elsewhere._pixels and len(batches._resident) == 2
    for each, expected in ((one, source_on(small_tiles, "cpu")), (other, source_on(small_tiles, "cpu", seed=2))):
        for got, want in zip((*each.train(3), *each.validation()), (*expected.train(3), *expected.validation())):  # noqa: B905
            assert torch.allclose(got.tiles, want.tiles, atol=1e-5) and torch.equal(got.labels, want.labels)
    one.close()
    assert next(other.train(1)).tiles.shape == (8, 3, 64, 64)
    for each in (other, elsewhere):
        each.close()
    assert not batches._resident, "nobody needs them any more"


@pytest.mark.usefixtures("cards")
def test_of_a_large_set_only_what_is_needed_is_brought(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [each for source in (source_on(small_tiles),) for each in (*source.train(2), *source.validation())]
    monkeypatch.setattr(batches, "_SHARED_BYTES", 1000)
    source = source_on(small_tiles)
    assert len(source._pixels) == 50 and not batches._resident
    for got, want in zip((*source.train(2), *source.validation()), expected, strict=True):
        assert torch.allclose(got.tiles, want.tiles, atol=1e-5) and torch.equal(got.labels, want.labels)
    source.park()
    source.unpark()
    assert torch.equal(next(source.train(2)).tiles, expected[0].tiles)


def parked_once(config: TrainConfig, tiles: TileSet, at: int, look: Callable[[], object]) -> list[Any]:
    """A training's events; after the event with this number it leaves its card, `look` is called, and it comes back."""
    parking, events = Parking(), []
    for number, event in enumerate(train(config, tiles, parking=parking)):
        events.append(event)
        if number == at:
            parking.park()
            look()
            parking.unpark()
    return events


@pytest.mark.parametrize(
    ("config", "at"),
    [
        (CARD, 3),
        (CARD, 10),  # the first validation step
        (recipe_config("tilenet", "sprint", epochs=1, batch_size=20, device="cuda:0", precision="float32"), 3),
        (recipe_config("efficientnet_lite0", "fast", epochs=2, batch_size=20, device="cuda:0", precision="float32"), 5),
    ],
    ids=["training", "validation", "tilenet", "frozen"],
)
def test_a_parked_training_leaves_its_card_and_goes_on_as_if_nothing_had_been(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, cards: Cards, config: TrainConfig, at: int
) -> None:
    config = replace(config, channels_last=bool(config.channels_last))
    expected = list(train(config, small_tiles))[-1]
    moved: list[tuple[str, int]] = []
    real = step.move

    def watched(tensors: Any, device: torch.device) -> None:
        found = list(tensors)
        for each in found:  # as on a card, they lie elsewhere behind it
            each.data = each.data.clone(memory_format=torch.preserve_format)
        real(found, device)
        moved.extend((str(device), each.data_ptr()) for each in found)

    def look() -> None:
        (trainer,) = (each for each in gc.get_objects() if type(each) is Trainer)
        left = {where for to, where in moved if to == "cpu"}
        momentum = [each for state in trainer._optimizer.state.values() for each in state.values()]
        ours = [*trainer.network.parameters(), *trainer.network.buffers(), *momentum]
        assert {each.data_ptr() for each in ours if isinstance(each, torch.Tensor)} <= left
        assert not batches._resident and cards.calls[-1] == "empty_cache"

    monkeypatch.setattr(step, "move", watched)
    last = parked_once(config, small_tiles, at, look)[-1]
    assert isinstance(last, Finished) and isinstance(expected, Finished)
    assert (last.val_loss, last.val_accuracy) == (expected.val_loss, expected.val_accuracy)


@pytest.mark.usefixtures("cards")
def test_a_training_that_comes_back_multiplies_as_before(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """How float32 is multiplied is the process's, and another run may have wanted TF32 meanwhile."""
    seen = in_backward(monkeypatch, lambda: float32_flags()["matmul"])
    another = replace(CARD, device="cuda:0", epochs=1, precision="tf32")
    parked_once(replace(CARD, epochs=1), small_tiles, 2, lambda: list(train(another, small_tiles)))
    assert [how for how, _ in groupby(seen)] == ["ieee", "tf32", "ieee"]


def test_a_run_on_another_slice_ends_with_a_sentence(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SLICE, "cuda:0")
    result = done(small_tiles)
    assert (result.state, result.restart_worker) == ("failed", False) and "Parts of a GPU" in result.message


class _Away:
    """Work that notes when it leaves its card and comes back."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def park(self) -> None:
        self.told.append("park")

    def unpark(self) -> None:
        self.told.append("unpark")


@pytest.mark.parametrize(("ends_with", "told"), [("resume", ["park", "unpark"]), ("stop", ["park"])])
def test_a_run_that_stands_still_is_told_to_leave(ends_with: Command, told: list[str]) -> None:
    control, work, waited = Control(), _Away(), threading.Event()
    control.command("park")
    assert control.wait(work) == 0.0 and not work.told, "one that runs has its place"  # type: ignore[arg-type]
    control.command("pause")
    thread = threading.Thread(target=lambda: (control.wait(work), waited.set()))  # type: ignore[arg-type, func-returns-value]
    thread.start()
    control.command("park")
    eventually(lambda: work.told)
    assert not waited.is_set()
    control.command(ends_with)
    thread.join(20)
    assert waited.is_set() and work.told == told


@pytest.mark.parametrize("config", [ON_GPU, CONFIG], ids=["gpu", "cpu"])
def test_who_gives_a_card_away_leaves_its_memory(open_fake: OpenFake, config: TrainConfig) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)), pause_minutes=0.001)
    first = running(lab, engine, "ada", config)
    lab.control(first.id, "ada", "pause")
    eventually(lambda: lab.dispatcher.parked(first.id))
    second = running(lab, engine, "bob", config)
    assert ((first.id, "park") in engine.commands) == (config is ON_GPU)
    engine.end(second.id)
    lab.control(first.id, "ada", "resume")
    eventually(lambda: engine.commands[-1] == (first.id, "resume"))
