"""Fixtures of the lab's tests: a store, and a lab whose workers are played by the test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import FakeEngine, OpenFake, fake_lab, tiles_used

from eurosat_core.data.tiles import TileSet
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.run_record import TilesUsed
from eurosat_core.lab.runs import RunStore


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """A job sets how many threads torch uses in its process, which here is the tests'."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def used(small_tiles: TileSet) -> TilesUsed:
    """What a run on the small tiles notes about them."""
    return tiles_used(small_tiles)


@pytest.fixture
def open_fake(tmp_path: Path, small_tiles: TileSet) -> Iterator[OpenFake]:
    """Function: open a lab with a fake engine on the small tiles (engine, settings); all are closed at the end."""
    opened: list[Lab] = []

    def open_one(engine: FakeEngine | None = None, **settings: Any) -> tuple[Lab, FakeEngine]:
        lab, engine = fake_lab(tmp_path, small_tiles, engine, **settings)
        opened.append(lab)
        return lab, engine

    yield open_one
    for lab in opened:
        lab.close()
