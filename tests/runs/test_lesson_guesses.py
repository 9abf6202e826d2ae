"""Guesses of the lesson outlive sessions, torn lines and full disks."""

from pathlib import Path

import pytest

from eurosat_core.runs.guesses import LessonGuesses


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guesses.jsonl"


def test_the_newest_guess_counts_and_can_be_taken_back(path: Path) -> None:
    book = LessonGuesses(path)
    assert book.of("ada") == {}
    book.put("ada", "size", "small")
    book.put("ada", "size", "large")
    book.put("ada", "speed", "2×")
    book.put("bob", "size", "small")
    assert book.of("ada") == {"size": "large", "speed": "2×"}
    book.put("ada", "size", None)
    assert book.of("ada") == {"speed": "2×"}
    book.forget("ada")
    assert book.of("ada") == {} and book.of("bob") == {"size": "small"}


def test_another_server_finds_them(path: Path) -> None:
    first, second = LessonGuesses(path), LessonGuesses(path)
    first.put("ada", "size", "small")
    assert second.of("ada") == {"size": "small"}
    first.put("ada", "size", "large")
    assert second.of("ada") == {"size": "large"}


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b'{"owner": "ada"',
        b"[1, 2]",
        b'{"owner": 1, "key": "size", "guess": "x"}',
        b'{"owner": "ada", "key": "size", "guess": "' + b"x" * 500 + b'"}',
        b"[" * 5000,
    ],
)
def test_lines_that_are_none_are_passed_over(path: Path, line: bytes) -> None:
    path.write_bytes(line)
    book = LessonGuesses(path)
    assert book.of("ada") == {}
    book.put("ada", "size", "small")
    assert book.of("ada") == {"size": "small"}


def test_what_the_disk_does_not_take_is_kept_in_memory(path: Path) -> None:
    book = LessonGuesses(path.parent / "missing" / "guesses.jsonl")
    book.put("ada", "size", "small")
    assert book.of("ada") == {"size": "small"}
    path.parent.joinpath("missing").mkdir()
    book.put("ada", "size", "large")
    book.put("ada", "size", None)
    assert book.of("ada") == {}
