import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fake_engine import epoch_done, finished, started, step

from eurosat_core.runs.history import MAX_POINTS, History, HistoryReader, encoded_event, line_of
from eurosat_core.training.events import Event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def line(event: Event, at: float = 1.0) -> str:
    return line_of(encoded_event(event), at).decode()


def add(path: Path, *content: Any, at: float = 1.0) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(each if isinstance(each, str) else line(each, at) for each in content)


def test_a_run_is_read_as_it_grows(path: Path) -> None:
    assert HistoryReader(path.parent).read() == History(), "it is a folder, which cannot be opened"
    reader = HistoryReader(path)
    assert reader.read() == History(), "nothing was told yet"
    add(path, started(), step(1), at=1)
    first = reader.read()
    assert (first.started, first.steps, first.latest, first.events) == (started(), (step(1),), step(1), 2)
    add(path, step(2), epoch_done(1), at=2)
    second = reader.read()
    assert second.epochs == (epoch_done(1),) and second.latest == step(2) and second.updated == 2
    add(path, finished(), at=3)
    assert reader.read().finished == finished()
    assert HistoryReader(path).read() == reader.read()
    assert first.events == 2, "what was handed out does not change"


def test_only_what_was_added_is_read(path: Path) -> None:
    reader = HistoryReader(path)
    add(path, started(), step(1))
    before = reader.read()
    assert reader.read() is before
    size = path.stat().st_size
    path.write_bytes(b"x" * size)  # what was read already is not looked at again
    add(path, step(2))
    assert reader.read().steps == (step(1), step(2))


def test_a_torn_last_line_waits_for_its_rest(path: Path) -> None:
    reader = HistoryReader(path)
    whole = line(step(2))
    add(path, started(), step(1), whole[:25])
    assert reader.read().events == 2
    add(path, whole[25:-1])
    assert reader.read().events == 2
    add(path, whole[-1])
    assert reader.read().latest == step(2)


GARBAGE = [
    *("", "nonsense", "null", "[1, 2]", '"text"', "{}", '{"kind": "step"}', '{"kind": "unknown", "at": 1}'),
    *('{"kind": ["step"]}', '{"kind": "finished", "colour": "red"}', "\x00\x00\x00", "[" * 100_000),
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_line_that_is_no_event_is_passed_over(path: Path, garbage: str) -> None:
    add(path, started(), f"{garbage}\n", step(1))
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    add(path, encoded_event(step(2)).decode() + "\n")
    history = HistoryReader(path).read()
    assert history.events == 3 and history.latest == step(2)
    assert history.updated == 1, "an event without a time keeps the time before"


@pytest.mark.parametrize("count", [1, MAX_POINTS - 1, MAX_POINTS, MAX_POINTS + 1, 4 * MAX_POINTS + 1, 5000])
def test_at_most_max_points_with_the_first_and_the_newest(path: Path, count: int) -> None:
    add(path, *(step(number) for number in range(1, count + 1)))
    steps = HistoryReader(path).read().steps
    assert min(count, MAX_POINTS // 2) <= len(steps) <= MAX_POINTS
    assert steps[0] == step(1) and steps[-1] == step(count)
    assert count >= MAX_POINTS or len(steps) == count


def test_a_run_of_hours_stays_small_and_whole(path: Path) -> None:
    reader = HistoryReader(path)
    template = line(step(0))  # written out 20,000 times, dataclasses would take most of the test's time
    for part in range(10):
        numbers = range(part * 2000 + 1, part * 2000 + 2001)
        add(path, *(template.replace('"step":0', f'"step":{each}') for each in numbers))
        reader.read()
    assert len(reader._steps) <= 4 * MAX_POINTS
    history = reader.read()
    numbers = [each.step for each in history.steps]
    assert history.events == 20_000 and numbers[-1] == 20_000 and len(numbers) <= MAX_POINTS
    # Evenly over the whole run: the beginning of the curve is as well drawn as its end.
    gaps = [after - before for before, after in pairwise(numbers[:-1])]
    assert max(gaps) == min(gaps)
    assert HistoryReader(path).read() == history, "however it was read"


def test_one_reader_serves_many_sessions(path: Path) -> None:
    reader = HistoryReader(path)
    add(path, started())
    problems: list[str] = []
    done = threading.Event()

    def follow() -> None:
        last = 0
        while not done.is_set():
            history = reader.read()
            if history.events < last or len(history.steps) != history.events - 1:
                problems.append(f"{history.events} after {last}")
            last = history.events

    threads = [threading.Thread(target=follow) for _ in range(20)]
    for each in threads:
        each.start()
    for number in range(1, 301):
        add(path, step(number))
    done.set()
    for each in threads:
        each.join()
    assert not problems
    assert reader.read().events == 301
