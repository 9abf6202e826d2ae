"""The CPU-only build of PyTorch is enough: nothing here needs what the CUDA build brings along."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Top-level packages of the CUDA build, and distributions that only it needs.
CUDA = r"(nvidia|triton|cuda)\w*"
# Runs in a process of its own, where these cannot be imported: imports every module of the app and trains an epoch.
WITHOUT = """
import importlib, json, pkgutil, re, sys
from dataclasses import replace
from pathlib import Path


class Refused:
    def find_spec(self, name, path=None, target=None):
        if re.fullmatch(sys.argv[3], name.partition(".")[0]):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Refused())
sys.path.insert(0, sys.argv[4])

import eurosat_core, pages.parts, streamlit_app

imported = [
    importlib.import_module(found.name).__name__
    for package in (eurosat_core, pages.parts)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not found.name.endswith("__main__")
]

from eurosat_core.data.tiles import open_tiles
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import Finished
from eurosat_core.training.loop import train

tiles = open_tiles(Path(sys.argv[1]), Path(sys.argv[2]))
events = list(train(TrainConfig(source="memory", epochs=1, device="cpu"), tiles))
there = [name for name in sys.modules if re.fullmatch(sys.argv[3], name.partition(".")[0])]
print(json.dumps({"imported": imported, "there": there, "finished": isinstance(events[-1], Finished)}))
"""


def test_the_app_imports_and_trains_without_the_cuda_packages(
    small_folder: Callable[..., Path], tmp_path: Path
) -> None:
    place = small_folder(tmp_path / "tiles", {"Forest": 12, "River": 12})
    command = [sys.executable, "-c", WITHOUT, str(place), str(tmp_path / "cache"), CUDA, str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["finished"] and found["there"] == []
    assert {"eurosat_core.lab.engine", "eurosat_core.profiling.record", "pages.parts.room"} <= set(found["imported"])


def test_nothing_imports_them_later_either() -> None:
    """Imports inside functions, which importing a module does not run."""
    wanted = re.compile(rf"^\s*(import|from)\s+{CUDA}\b", flags=re.MULTILINE)
    files = [path for room in ("eurosat_core", "pages", "bench") for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 100
    assert [path.name for path in files if wanted.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("file", ["requirements.txt", "tests/requirements.txt"])
def test_no_requirement_asks_for_them(file: str) -> None:
    """CUDA's own packages, gigabytes of them; `nvidia-ml-py` is one file that asks a driver, if there is one."""
    asked = [line.partition("#")[0] for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    assert not [line for line in asked if re.search(r"nvidia-(?!ml-py\b)|triton|cuda|\+cu\d", line)]
