"""What is noted about a machine: kept, told apart from other machines, and never in anybody's way."""

import json
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from eurosat_core import machine_notes as rooms
from eurosat_core.machine_notes import MachineNotes, Note, machine_notes

NOTE = Note("speeds", "cpu", "baseline", {"seconds": 0.1})


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_noted_is_found(tmp_path: Path, kept: bool) -> None:
    notes = machine_notes(tmp_path / "cache" if kept else None, 2)
    assert notes.get("speeds", "cpu", "baseline") is None and notes.all("speeds", "cpu") == {}
    notes.put(NOTE)
    notes.put(NOTE._replace(key="tilenet", value=[1, 2]))
    assert notes.get("speeds", "cpu", "baseline") == {"seconds": 0.1}
    assert notes.all("speeds", "cpu") == {"baseline": {"seconds": 0.1}, "tilenet": [1, 2]}
    assert notes.get("speeds", "cuda:0", "baseline") is None and notes.get("forms", "cpu", "baseline") is None
    notes.put(NOTE._replace(value=3))
    assert notes.get("speeds", "cpu", "baseline") == 3
    assert list(tmp_path.rglob("*.json")) == ([tmp_path / "cache" / "machine.json"] if kept else [])


def test_another_process_sees_it_at_once(tmp_path: Path) -> None:
    one, other = machine_notes(tmp_path, 2), machine_notes(tmp_path, 2)
    assert other.get(*NOTE[:3]) is None
    one.put(NOTE)
    assert other.get(*NOTE[:3]) == NOTE.value


@pytest.mark.parametrize("change", ["threads", "processor", "limit", "torch"])
def test_another_machine_has_notes_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    machine_notes(tmp_path, 2).put(NOTE)
    if change == "processor":
        monkeypatch.setattr(rooms, "cpu_name", lambda: "Another 9000")
    if change == "limit":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    if change == "torch":
        monkeypatch.setattr(rooms, "version", lambda _package: "99.0")
    other = machine_notes(tmp_path, 3 if change == "threads" else 2)
    assert other.get(*NOTE[:3]) is None
    other.put(NOTE._replace(value="theirs"))
    monkeypatch.undo()
    assert machine_notes(tmp_path, 2).get(*NOTE[:3]) == NOTE.value


def test_machines_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    for threads in range(1, 30):
        machine_notes(tmp_path, threads).put(NOTE)
    assert len(json.loads((tmp_path / "machine.json").read_text())) == 16
    assert (
        machine_notes(tmp_path, 29).get(*NOTE[:3]) == NOTE.value and machine_notes(tmp_path, 1).get(*NOTE[:3]) is None
    )


@pytest.mark.parametrize("content", ["", "{", "[1]", '"x"', '{"x": 3}', "\x00\xff"])
def test_a_damaged_file_is_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "machine.json").write_text(content, encoding="latin-1")
    notes = machine_notes(tmp_path, 2)
    assert notes.get(*NOTE[:3]) is None
    notes.put(NOTE)
    assert notes.get(*NOTE[:3]) == NOTE.value


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    with ThreadPool(8) as pool:
        pool.map(lambda at: machine_notes(tmp_path, 2).put(NOTE._replace(key=str(at))), range(40))
    assert set(machine_notes(tmp_path, 2).all("speeds", "cpu")) == {str(at) for at in range(40)}


def test_a_cache_that_is_a_file_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    notes = MachineNotes(tmp_path / "cache" / "machine.json", 2)
    notes.put(NOTE)
    assert notes.get(*NOTE[:3]) is None
