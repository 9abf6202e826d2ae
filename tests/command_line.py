"""The command line as a test has it: places of its own, the tiles that it names, and what a command answers."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eurosat_core.cli import main
from eurosat_core.profiling.plan import QUIET_PROFILER

__all__ = ["Ask", "Trained", "ask", "folder", "places", "trained"]

Ask = Callable[..., tuple[Any, Any, str]]
Trained = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs and cache of this test only, and no tiles but those it names."""
    monkeypatch.setenv("EUROSAT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("EUROSAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EUROSAT_DATA", raising=False)
    for name in QUIET_PROFILER:  # the command line sets them
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return tmp_path


@pytest.fixture
def folder(small_folder, tmp_path: Path):
    """Function: a class-per-folder tree with so many pictures of each class; its path as text."""

    def make(place: str = "tiles", **counts: int) -> str:
        return str(small_folder(tmp_path / place, counts))

    return make


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    """Run a command with --json; its exit status, the object it printed, and what stood on stderr."""

    def run(*arguments: str) -> tuple[Any, Any, str]:
        status: Any
        try:
            status = main([*arguments, "--json"])
        except SystemExit as stop:  # argparse's way out
            status = stop.code
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else None, printed.err

    return run


@pytest.fixture
def trained(ask: Ask) -> Trained:
    """Function: train by the Fast recipe on these tiles; the object that was printed of a run that has finished."""

    def run(data: str, *options: str, model: str = "baseline", epochs: int = 1) -> dict[str, Any]:
        arguments = ("train", "--model", model, "--recipe", "fast", "--epochs", str(epochs), "--data", data)
        status, result, said = ask(*arguments, *options)
        assert (status, result and result["state"]) == (0, "finished"), said
        return result

    return run
