"""Cards that fail or are full, played (`cuda_alias`): the first error is told, and memory is given back."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from cuda_alias import Cards, played_cuda
from fake_engine import raising

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import TrainingError
from eurosat_core.lab.jobs import Job, JobResult, run_job
from eurosat_core.speed import roofline
from eurosat_core.speed.plan import Cell, SweepPlan
from eurosat_core.speed.roofline import measure_limits
from eurosat_core.training import loop
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.loop import finite
from eurosat_core.training.step import Trainer

CARD = recipe_config(
    "baseline", "fast", epochs=2, batch_size=20, device="cuda:1", precision="float32", channels_last=False
)
STICKY = "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported"


@pytest.fixture
def cards() -> Iterator[Cards]:
    with played_cuda() as played:
        yield played


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
    assert "device-side assert triggered" in result.message and "unspecified" not in result.message


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
    assert "memory of cuda:1" in result.message and "batches" not in result.message


def test_limits_of_a_failed_card_are_a_failure_of_the_card(monkeypatch: pytest.MonkeyPatch, cards: Cards) -> None:
    monkeypatch.setattr(roofline, "_once", raising(RuntimeError(STICKY)))
    with pytest.raises(TrainingError, match="device-side assert"):
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
