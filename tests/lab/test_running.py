"""The book of runs that workers have."""

import time
from pathlib import Path

import pytest
from filelock import FileLock

from eurosat_core.lab.queue import Running, RunningRuns, Waiting


def having(tmp_path: Path, *runs: tuple[str, str]) -> RunningRuns:
    """A book with these runs: (id, device) each."""
    book = RunningRuns()
    for run_id, device in runs:
        book.add(Waiting(run_id, "ada", device, 60.0), FileLock(tmp_path / run_id))
    return book


def of(book: RunningRuns, run_id: str) -> Running:
    found = book.get(run_id)
    assert found is not None
    return found


def test_a_parked_run_leaves_its_device_to_others_until_it_returns(tmp_path: Path) -> None:
    book = having(tmp_path, ("first", "cpu"), ("second", "cuda:0"))
    assert book.busy() == {"cpu", "cuda:0"}
    of(book, "first").paused_since = time.monotonic() - 61.0
    assert book.park(paused_seconds=60.0) == []
    assert book.busy() == {"cuda:0"} and book.parked_on("cpu") == [of(book, "first")]
    book.add(Waiting("third", "bob", "cpu", None), FileLock(tmp_path / "third"))
    assert book.is_away("first") and not book.is_away("second")
    book.command_away("first", "resume")
    book.command_away("first", "resume")  # a second click
    assert book.returning() == [of(book, "first")] and book.is_returning("first")
    book.remove("third")
    book.take_back("first")
    assert book.busy() == {"cpu", "cuda:0"} and book.is_away("first") and book.returning() == []
    assert not book.returned("first", arrived=False)
    assert book.ahead() == [of(book, "second"), of(book, "first")] and book.busy() == {"cuda:0"}
    book.take_back("first")
    assert book.returned("first", arrived=True)
    assert not book.is_away("first") and of(book, "first").paused_since is None


def test_a_run_that_ended_does_not_return(tmp_path: Path) -> None:
    book = having(tmp_path, ("first", "cpu"))
    book.command_away("first", "resume")
    book.remove("first")
    book.remove("first")  # its end may be told twice
    assert not book.returned("first", arrived=True)
    assert "first" not in book and not book.is_returning("first") and not list(book)


def test_only_so_many_parked_runs_are_kept_and_the_oldest_go_first(tmp_path: Path) -> None:
    book = having(tmp_path, *((f"run {number}", "cpu") for number in range(10)))
    for _, running in book:
        running.paused_since = time.monotonic() - 61.0
    assert [each.waiting.run_id for each in book.park(paused_seconds=60.0)] == ["run 0", "run 1"]
    of(book, "run 0").stopping = True
    assert [each.waiting.run_id for each in book.park(paused_seconds=60.0)] == ["run 1"]


def test_what_a_run_still_needs(tmp_path: Path) -> None:
    running = of(having(tmp_path, ("first", "cpu")), "first")
    assert running.still_needs(12.0).seconds == 12.0
    running.began -= 20.0
    assert running.still_needs(None).seconds == pytest.approx(40.0, abs=1.0)
    running.began -= 100.0
    assert running.still_needs(None).seconds == 0.0
    running.paused_since = 0.0
    assert running.still_needs(12.0).seconds is None
