"""The command line as a test has it: places of its own, the tiles that it names, and what a command answers."""

import json
from pathlib import Path

import pytest

from eurosat_core.cli import main

__all__ = ["ask", "folder", "places"]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs and cache of this test only, and no tiles but those it names."""
    monkeypatch.setenv("EUROSAT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("EUROSAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EUROSAT_DATA", raising=False)
    return tmp_path


@pytest.fixture
def folder(small_folder, tmp_path: Path):
    """Function: a class-per-folder tree with so many pictures of each class; its path as text."""

    def make(place: str = "tiles", **counts: int) -> str:
        return str(small_folder(tmp_path / place, counts))

    return make


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]):
    """Run a command with --json; its exit status, the object it printed, and what stood on stderr."""

    def run(*arguments: str):
        try:
            status = main([*arguments, "--json"])
        except SystemExit as stop:  # argparse's way out
            status = stop.code
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else None, printed.err

    return run
