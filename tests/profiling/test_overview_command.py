"""`overview TRACE`: the contract of the command line."""

import json

import pytest
from trace_makers import host, kernel, launch, memory, step, text

from eurosat_core.cli import main

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
