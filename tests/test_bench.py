"""Benchmarks of busy machines: the busy processes are there while wanted, and each figure has its promise."""

import time

import psutil
import pytest

from bench import busy, first
from bench.busy import busy_processes
from eurosat_core.cores import CoreMeter
from eurosat_core.settings import Settings


def test_busy_processes_are_busy_and_gone_afterwards() -> None:
    with busy_processes(2) as processes:
        found = [psutil.Process(each.pid) for each in processes]
        meter = CoreMeter()
        time.sleep(0.5)
        load = meter.look()
        assert load is not None and load.others > 0.1, "they get their share, however busy this machine is"
        assert all(each.is_running() for each in found)
    assert not any(each.is_running() for each in found)


def test_they_are_gone_after_an_error_too() -> None:
    with pytest.raises(ValueError, match="of the benchmark"), busy_processes(1) as processes:
        process = psutil.Process(processes[0].pid)
        raise ValueError("of the benchmark")
    assert not process.is_running()


def test_every_row_has_its_ratio_and_promise(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Sides that would take minutes answer at once: fixed threads 100, 20 and 10 tiles a second, the lab 98, 55, 35."""
    answers = {"fixed": [100.0, 20.0, 10.0], "lab": [98.0, 55.0, 35.0]}
    monkeypatch.setattr(busy, "answer_of", lambda command: {"rates": answers[command[6]]})
    told: list[str] = []
    found = busy.run(Settings(tmp_path / "runs", tmp_path / "cache", threads=2), told.append)
    rows = {each["name"]: each for each in found["rows"]}
    assert len(rows) == 12 and len(told) == busy.TURNS * 4
    lab = [rows[name]["ratio"] for name in rows if name.startswith("baseline") and "as the lab trains" in name]
    assert lab == pytest.approx([0.98, 55 / 98, 35 / 98])
    assert [each["promise"] for each in found["rows"] if "lab" in each["name"]][:3] == ["≥ 0.97", "≥ 0.45", "≥ 0.3"]


def test_the_first_training_is_promised_idle_and_busy() -> None:
    assert {busy_count for busy_count, _ in first.PROMISES} == set(first.BUSY)
    assert {moment for _, moment in first.PROMISES} <= set(first.NAMES)
