"""The benchmark of reading traces, with PyTorch's former plug-in and without it."""

from pathlib import Path
from typing import Any

import pytest

from bench import trace
from eurosat_core.runs.profiles import recorded_trace
from eurosat_core.settings import Settings


@pytest.fixture
def rows_of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Function: run it on one trace, with the plug-in's side or without, and with a small synthetic one."""
    place = tmp_path / "traces"
    place.mkdir()
    (place / "cpu.pt.trace.json.gz").write_bytes(recorded_trace())
    monkeypatch.setenv("EUROSAT_TRACES", str(place))
    monkeypatch.setattr(trace, "EVENTS", 100)
    monkeypatch.setattr(trace, "answer_of", lambda *_: {"seconds": 1.0, "gigabytes": 0.5})
    monkeypatch.setattr(trace, "_plug_in", lambda _path: None)

    def run(installed: bool) -> tuple[str, list[dict[str, Any]]]:
        monkeypatch.setattr(trace, "plugin_installed", lambda: installed)
        said = trace.run(Settings(runs=tmp_path, cache=tmp_path), lambda _line: None)
        return said["about"], said["rows"][:-2]

    return run


def test_both_sides_are_compared(rows_of_run: Any) -> None:
    about, (plug_in, lab) = rows_of_run(True)
    assert "not installed" not in about
    assert "torch-tb-profiler" in plug_in["name"] and lab["ratio"] is not None


def test_without_the_plugin_the_lab_alone_is_measured_and_it_says_why(rows_of_run: Any) -> None:
    about, (lab,) = rows_of_run(False)
    assert "not installed" in about
    assert lab["name"] == "cpu: lab" and len(lab["values"]) == trace.REPEATS
    assert lab["ratio"] is None and lab["promise"] == ""
