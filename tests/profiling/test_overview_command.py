"""Traces on the command line: `overview TRACE`, and the benchmark of reading them."""

import json
from pathlib import Path
from typing import Any

import pytest
from trace_makers import host, kernel, launch, memory, step, text

from bench import trace
from eurosat_core.cli import main
from eurosat_core.runs.profiles import recorded_trace
from eurosat_core.settings import Settings

EVENTS = [
    step(1, 0, 100),
    host("aten::conv2d", 10, 50, external=1),
    launch(5, 20, external=1),
    kernel(5, 30, 30, external=1),
    memory(25, 1024, 4096, kind=1, index=0),
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.pt.trace.json"
    path.write_bytes(text(EVENTS, deviceProperties=[{"id": 0, "name": "Card"}]))
    return path


def test_one_object_on_stdout(file, capsys):
    assert main(["overview", str(file), "--json"]) == 0
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert printed.err == ""
    assert [each["step"] for each in result["steps"]] == [1]
    assert result["mean_step_us"] == {
        "Kernel": 30,
        "Memcpy": 0,
        "Memset": 0,
        "Communication": 0,
        "Runtime": 1,
        "DataLoader": 0,
        "CPU exec": 19,
        "Other": 50,
        "Total": 100,
    }
    assert result["devices"] == [
        {"index": 0, "name": "Card", "utilization": 0.3, "sm_efficiency": None, "achieved_occupancy": None}
    ]
    assert result["peak_memory_bytes"] == {"cuda:0": 4096}
    assert result["operators"][0]["name"] == "aten::conv2d"
    assert result["operators"][0]["device_self_us"] == 30
    assert result["kernels"][0]["calls"] == 1
    assert [each["key"] for each in result["advice"]] == ["low_utilization"]


def test_text_for_people(file, capsys):
    assert main(["overview", str(file)]) == 0
    printed = capsys.readouterr().out
    for expected in ("0.100 ms", "GPU 0 (Card)", "30.0", "aten::conv2d", "→"):
        assert expected in printed


def test_text_of_a_trace_without_a_gpu(tmp_path, capsys):
    path = tmp_path / "b.json"
    path.write_bytes(text([host("aten::mm", 0, 5), memory(1, 5, 2**20)]))
    assert main(["overview", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "GPU" not in printed
    assert "1.0 MB" in printed and "Note:" in printed


@pytest.mark.parametrize("content", [b"", b"name,ts\n", text(EVENTS)[:200]])
def test_status_2_and_one_line_for_what_cannot_be_used(tmp_path, capsys, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    assert main(["overview", str(path), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("eurosat_core: ")
    assert printed.err.count("\n") == 1
    assert main(["overview", str(tmp_path / "none.json")]) == 2


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
