"""Loader workers and the memory through which they hand their batches over: how much they need, and too little."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from eurosat_core.data.tile_cache import open_synthetic
from eurosat_core.training import problems
from eurosat_core.training.problems import free_shared_memory, loader_bytes

ROOT = Path(__file__).parents[2]
TILE = 3 * 64 * 64 * 4
TRAIN = """
import sys
from pathlib import Path

from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import TrainingError
from eurosat_core.training import problems
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.loop import train

if __name__ == "__main__":
    if sys.argv[2] == "later":  # as when another run takes the rest meanwhile
        problems.free_shared_memory = lambda: None
    config = TrainConfig(epochs=1, batch_size=40, workers=1, tiles=200)
    try:
        print("steps:", sum(1 for _ in train(config, open_tiles(None, Path(sys.argv[1])))))
    except TrainingError as error:
        print("refused:", error)
"""


def test_all_batches_ahead_and_the_one_that_is_computed() -> None:
    for workers, prefetch, batch in ((1, 2, 40), (2, 4, 128), (3, 3, 64)):
        needed = loader_bytes(batch, workers, prefetch, 27_000)
        assert 1 <= needed / ((workers * prefetch + 1) * batch * TILE) < 1.02


def test_a_small_set_needs_no_more_than_itself() -> None:
    assert loader_bytes(40, 8, 8, 100) < 100 * TILE * 1.02
    assert loader_bytes(4096, 1, 1, 100) < 100 * TILE * 1.02


def test_without_workers_nothing_is_handed_over() -> None:
    assert loader_bytes(4096, 0, 2, 27_000) == 0


def test_free_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(problems, "SHARED_MEMORY", tmp_path)
    status = namedtuple("status", "f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda _place: status(16, 4096), raising=False)
    assert free_shared_memory() == 65_536
    monkeypatch.setattr(problems, "SHARED_MEMORY", tmp_path / "none")
    assert free_shared_memory() == 0, "workers cannot even be started then"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert free_shared_memory() is None


@pytest.fixture
def small_shared_memory() -> list[str]:
    """The beginning of a command that runs the rest with a real /dev/shm of so many kilobytes, its last argument."""
    for unshare in (["unshare", "-m"], ["unshare", "-Urm"]):
        begin = [*unshare, "sh", "-c", 'mount -t tmpfs -o size="$0"k tmpfs /dev/shm && exec "$@"']
        if shutil.which("unshare") and subprocess.run([*begin, "64", "true"], capture_output=True).returncode == 0:
            return begin
    pytest.skip("a /dev/shm of another size cannot be mounted here")


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the synthetic tiles, which take seconds to paint."""
    cache = tmp_path_factory.mktemp("cache")
    open_synthetic(cache)
    return cache


@pytest.mark.parametrize(
    ("kilobytes", "when", "said"),
    [
        (65_536, "before", ["steps:"]),  # what a container has
        (4_096, "before", ["refused:", "5.7 MB", "4.0 MB", "--shm-size"]),
        (1_976, "later", ["refused:", "is full", "--shm-size"]),  # room for 40 tiles, none for their labels: no hang
    ],
)
def test_a_training_in_little_shared_memory(
    small_shared_memory: list[str], synthetic: Path, tmp_path: Path, kilobytes: int, when: str, said: list[str]
) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    done = subprocess.run(
        [*small_shared_memory, str(kilobytes), sys.executable, str(tmp_path / "train.py"), str(synthetic), when],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert [each for each in said if each not in done.stdout] == [], done.stdout + done.stderr[-2000:]
