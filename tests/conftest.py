"""Shared fixtures: a fixed number of threads, small generated pictures, the real tiles where there are any, a store,
and a lab whose workers are played by the test."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before torch is loaded: a thread of OpenMP that waits by spinning starves the other one when the cores are busy
# (measured on two loaded cores: a test of the training loop took 9.4 s spinning, 0.8 s sleeping).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
import torch
from cuda_alias import Cards, played_cuda
from fake_engine import FakeEngine, OpenFake, fake_lab, tiles_used
from hypothesis import HealthCheck, settings
from PIL import Image

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore

# Shared machines stall at times: an example may take as long as it needs. The examples are the same every time,
# so that a run never fails for another reason than the change it tests.
settings.register_profile(
    "lab", deadline=None, derandomize=True, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("lab")
torch.set_num_threads(2)

SMALL_COUNTS = {"AnnualCrop": 50, "Forest": 60, "Highway": 40, "River": 50}
COLOURS = [(210, 190, 120), (30, 90, 50), (120, 120, 125), (40, 80, 140)]


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Ids that can be read: of long values, which some tests are about, only the beginning and the length."""
    long = isinstance(val, str | bytes) and len(val) > 80
    return f"{str(val[:40])!r} and on to {len(val)}" if long else None


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """A job sets how many threads torch uses in its process, which here is the tests'."""
    yield
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def compilers_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What experiments there are does not hang on the machine of the tests."""
    monkeypatch.setattr("eurosat_core.speed.experiments.compile_problem", lambda _device: "")


@pytest.fixture(autouse=True)
def own_main_module() -> Iterator[None]:
    """AppTest leaves its script behind as the main module, which processes that a later test starts would run."""
    before = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = before


@pytest.fixture(scope="session")
def eurosat_root() -> Path:
    """The folder with real EuroSAT tiles."""
    place = os.environ.get("EUROSAT_DATA")
    if not place:
        pytest.skip("EUROSAT_DATA is not set: no real tiles")
    return Path(place)


def _save_picture(
    path: Path, label: int = 0, seed: int = 0, size: tuple[int, int] = (64, 64), mode: str = "RGB"
) -> Path:
    """A noisy picture in the colour of its label, in the format of the path's suffix."""
    noise = np.random.default_rng(seed).normal(0, 25, (size[1], size[0], 3))
    pixels = (np.array(COLOURS[label % len(COLOURS)]) + noise).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture(scope="session")
def save_picture() -> Callable[..., Path]:
    """Function: write one generated picture (path, label, seed, size, mode)."""
    return _save_picture


def _small_folder(place: Path, counts: dict[str, int] | None = None) -> Path:
    for label, (name, count) in enumerate((counts or {"Forest": 4, "River": 3}).items()):
        for number in range(1, count + 1):
            _save_picture(place / name / f"{name}_{number}.jpg", label, seed=1000 * label + number)
    return place


@pytest.fixture(scope="session")
def small_folder() -> Callable[..., Path]:
    """Function: write a class-per-folder tree of generated JPEGs (place, counts per class)."""
    return _small_folder


@pytest.fixture(scope="session")
def small_tiles(tmp_path_factory: pytest.TempPathFactory) -> TileSet:
    """200 generated tiles in four classes that colour tells apart. Shared: do not change them."""
    place = tmp_path_factory.mktemp("small")
    return open_tiles(_small_folder(place / "tiles", SMALL_COUNTS), place / "cache")


@pytest.fixture
def cards() -> Iterator[Cards]:
    """GPUs that are played: what was asked of them."""
    with played_cuda() as played:
        yield played


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


@pytest.fixture
def used(small_tiles: TileSet) -> TilesUsed:
    """What a run on the small tiles notes about them."""
    return tiles_used(small_tiles)


@pytest.fixture
def closing() -> Iterator[Callable[[Lab], Lab]]:
    """Function: gives a lab back, and closes it at the end of the test."""
    opened: list[Lab] = []

    def close_later(lab: Lab) -> Lab:
        opened.append(lab)
        return lab

    yield close_later
    for lab in opened:
        lab.close()


@pytest.fixture
def open_fake(tmp_path: Path, small_tiles: TileSet, closing: Callable[[Lab], Lab]) -> OpenFake:
    """Function: open a lab with a fake engine on the small tiles (engine, settings); all are closed at the end."""

    def open_one(engine: FakeEngine | None = None, **settings: Any) -> tuple[Lab, FakeEngine]:
        lab, engine = fake_lab(tmp_path, small_tiles, engine, **settings)
        return closing(lab), engine

    return open_one
