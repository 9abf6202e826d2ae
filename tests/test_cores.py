"""Which cores may be used, and how busy they are."""

import os
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from eurosat_core import cores
from eurosat_core.cores import CoreMeter, LoadNow, MeanLoad, available_cores, free_cores

Times = namedtuple("Times", "user nice system idle iowait irq softirq guest")


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cores, "_CGROUP_QUOTA", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 7}, raising=False)
    assert available_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200000 100000", 2),
        ("150000 100000\n", 1),
        ("50000 100000", 1),
        ("max 100000", 8),
        ("9900000 100000", 8),
        ("", 8),
    ],
)
def test_a_container_may_take_less_time_than_there_are_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: int
) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(text)
    monkeypatch.setattr(cores, "_CGROUP_QUOTA", quota)
    monkeypatch.setattr(cores, "usable_cores", lambda: set(range(8)))
    assert available_cores() == expected


Clocks = dict[str, float]


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    """What the system's clocks say: `now`, `own` and the busy seconds of `core` 0 and of one that is not ours."""
    told = {"now": 0.0, "own": 0.0, "core": 0.0, "foreign": 0.0}
    monkeypatch.setattr(cores, "usable_cores", lambda: {0, 1})
    monkeypatch.setattr(cores, "_children_seconds", lambda: told.get("children", 0.0))
    monkeypatch.setattr(cores.time, "perf_counter", lambda: told["now"])
    monkeypatch.setattr(cores.time, "process_time", lambda: told["own"])

    def cpu_times(percpu: bool) -> list[Times]:
        core = told["core"]
        return [
            Times(core / 2, core / 8, core / 8, 99.0, 50.0, core / 8, core / 8, core / 2),
            Times(0, 0, 0, 9, 0, 0, 0, 0),
            Times(told["foreign"], 0, 0, 9, 0, 0, 0, 0),
        ]

    monkeypatch.setattr(cores.psutil, "cpu_times", cpu_times)
    return told


def test_what_others_do_is_all_that_this_process_does_not(clocks: Clocks) -> None:
    meter = CoreMeter()
    clocks |= {"now": 2.0, "core": 3.0, "own": 1.0, "foreign": 2.0}
    load = meter.look()
    assert load is not None and load == pytest.approx((2.0, 0.5, 1.0)), "waiting, guests and foreign cores do not count"
    clocks["now"] = 2.05
    assert meter.look() is None, "a moment tells nothing"
    clocks |= {"now": 3.0, "own": 2.0}  # the system's clock may lag behind the process's own
    load = meter.look()
    assert load is not None and load.others == 0.0 and load.own == 1.0


def test_what_it_has_started_is_its_own_where_that_is_asked(clocks: Clocks) -> None:
    alone, family = CoreMeter(), CoreMeter(family=True)
    clocks |= {"now": 1.0, "core": 2.0, "own": 0.5, "children": 1.0}
    assert [each.others for each in (alone.look(), family.look()) if each] == pytest.approx([1.5, 0.5])


def test_the_mean_over_a_job(clocks: Clocks) -> None:
    mean = MeanLoad()
    assert mean.mean is None
    clocks |= {"now": 0.5, "core": 0.5}
    mean.look()
    assert mean.mean is None, "once a second is enough"
    clocks |= {"now": 1.5, "core": 1.5}
    mean.look()
    clocks |= {"now": 2.0, "core": 1.5}
    mean.look(last=True)
    assert mean.mean is not None and mean.mean == pytest.approx((2.0, 0.0, 0.75))


@pytest.mark.parametrize(
    ("busy", "expected"), [(0.0, 2.0), (0.3, 1.7), (1.0, 1.0), (1.5, 2 / 3), (2.0, 2 / 3), (4.0, 0.4)]
)
def test_a_process_gets_what_is_free_or_its_fair_share(
    monkeypatch: pytest.MonkeyPatch, busy: float, expected: float
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: {0, 1})
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    assert free_cores(busy) == pytest.approx(expected)


def test_the_load_now_is_looked_at_when_it_is_asked_and_kept_for_a_second(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clocks["now"] += seconds
        clocks["core"] += seconds

    monkeypatch.setattr(cores.time, "sleep", sleep)
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    now = LoadNow()
    assert now.free_cores() == pytest.approx(1.0) and len(slept) == 1
    clocks["now"] += 0.5
    assert now.free_cores() == pytest.approx(1.0) and len(slept) == 1
    clocks["now"] += 2.0
    assert now.free_cores() == pytest.approx(2.0) and len(slept) == 1, "nobody was busy since; no need to wait"
    clocks |= {"now": clocks["now"] + 3600.0, "core": clocks["core"] + 1800.0}
    assert now.free_cores() == pytest.approx(1.0) and len(slept) == 2, "the mean of an hour says nothing of now"


def test_who_asks_while_another_looks_does_not_wait(clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available_cores", lambda: 2)
    asked: list[float] = []
    now = LoadNow()

    def sleep(seconds: float) -> None:
        if now._busy is not None:
            asked.append(now.free_cores())  # the thread that looks holds the lock
        clocks["now"] += seconds
        clocks["core"] += seconds

    monkeypatch.setattr(cores.time, "sleep", sleep)
    before = now.free_cores()
    clocks["now"] += 3600.0
    assert now.free_cores() == pytest.approx(1.0)
    assert asked == [before]


def test_a_real_busy_process_is_seen() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            stranger, family = CoreMeter(), CoreMeter(family=True)
            time.sleep(1.0)
            seen = stranger.look(), family.look()
            assert seen[0] is not None and seen[0].others > 0.1, "it gets a share of a core, however busy this machine"
            assert seen[1] is not None and seen[1].own > 0.1, "as a child of this process it is its own"
        finally:
            other.kill()
