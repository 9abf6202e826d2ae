"""The game "Be the classifier", and guesses on disk, the game's and the lesson's: through damage, on a full disk."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_engine import CONFIG, ROOT, OpenFake, tiles_used
from hypothesis import given
from hypothesis import strategies as st
from run_makers import told

from eurosat_core import records
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.runs.game import (
    Score,
    classes_to_guess,
    confusion_frame,
    evaluate_guesses,
    mix_up_table,
    mix_ups,
    network_meanwhile,
    new_game,
    outcome,
)
from eurosat_core.runs.guesses import KEPT, GameGuesses, Guess, LessonGuesses
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import recipe_config

# --- on disk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guesses.jsonl"


def add(book: GameGuesses, tile: int = 1, owner: str = "ada", fingerprint: str = "f") -> None:
    book.add(owner, fingerprint, tile, 2, 3, 1.234)


def tiles_in(book: GameGuesses, owner: str = "ada", fingerprint: str = "f") -> list[int]:
    return [each.tile for each in book.of(owner, fingerprint)]


def test_guesses_are_kept_per_participant_and_tile_set(path: Path) -> None:
    book = GameGuesses(path)
    assert book.of("ada", "f") == ()
    add(book, 1)
    add(book, 2, owner="bob *x* \ud800\n")
    add(book, 3, fingerprint="g")
    for each in (book, GameGuesses(path)):
        assert tiles_in(each) == [1]
        assert tiles_in(each, owner="bob *x* \ud800\n") == [2]
        assert tiles_in(each, fingerprint="g") == [3]
    (found,) = book.of("ada", "f")
    assert (found.true, found.guessed, found.seconds) == (2, 3, 1.23)
    assert len(path.read_bytes().splitlines()) == 3


GOOD = {"owner": "ada", "fingerprint": "f", "tile": 7, "true": 0, "guessed": 1, "seconds": 1, "at": 2.5}
ANSWER = {"owner": "ada", "key": "size", "guess": "no", "at": 2.5}
NO_GUESSES = [
    {**GOOD, name: value}
    for name, value in [
        ("owner", 3),
        ("fingerprint", None),
        ("tile", -1),
        ("tile", True),
        ("true", "1"),
        ("guessed", 1.0),
        ("seconds", float("nan")),
        ("at", "now"),
        ("more", 1),
        ("owner", "a" * 5000),
    ]
]


@pytest.mark.parametrize(
    "line",
    [
        *(b"{", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 100_000),
        *(json.dumps(each).encode() for each in NO_GUESSES),
        *(json.dumps({**ANSWER, name: value}).encode() for name, value in [("owner", 1), ("guess", "x" * 500)]),
        json.dumps({name: value for name, value in GOOD.items() if name != "at"}).encode(),
    ],
)
def test_damaged_lines_are_passed_over(line: bytes, path: Path) -> None:
    book, answers = GameGuesses(path), LessonGuesses(path.with_name("lesson.jsonl"))
    add(book, 1)
    answers.put("ada", "size", "small")
    for each in path.parent.iterdir():
        with each.open("ab") as file:
            file.write(line + b"\n")
    add(book, 2)
    answers.put("ada", "speed", "2×")
    assert tiles_in(book) == tiles_in(GameGuesses(path)) == [1, 2]
    assert (
        answers.of("ada") == LessonGuesses(path.with_name("lesson.jsonl")).of("ada") == {"size": "small", "speed": "2×"}
    )


def test_a_torn_last_line_waits_or_is_cut_off(path: Path) -> None:
    book = GameGuesses(path)
    add(book, 1)
    whole = json.dumps(GOOD).encode()
    with path.open("ab") as file:
        file.write(whole[:20])
    assert tiles_in(book) == [1]
    add(book, 2)  # the torn line does not take this one with it
    assert tiles_in(book) == [1, 2]
    with path.open("ab") as file:
        file.write(whole[:20])
    assert tiles_in(book) == [1, 2]
    with path.open("ab") as file:
        file.write(whole[20:] + b"\n")
    assert tiles_in(book) == [1, 2, 7]


def test_only_what_was_added_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = GameGuesses(path)
    taken: list[Guess] = []
    take = book._take
    monkeypatch.setattr(book, "_take", lambda guess: taken.append(guess) or take(guess))
    for tile in range(5):
        add(book, tile)
        assert tiles_in(book) == list(range(tile + 1))
    assert tiles_in(book) == list(range(5))
    assert len(taken) == 5


def test_a_file_begun_anew_is_read_anew(path: Path) -> None:
    book = GameGuesses(path)
    add(book, 1)
    add(book, 2)
    assert tiles_in(book) == [1, 2]
    path.write_bytes(b"")
    add(book, 3)
    assert tiles_in(book) == [3]


def test_memory_and_reading_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = GameGuesses(path)
    for tile in range(KEPT + 5):
        add(book, tile)
    assert tiles_in(book) == list(range(5, KEPT + 5))
    monkeypatch.setattr(records, "_MOST_BYTES", 1000)
    newest = tiles_in(GameGuesses(path))
    assert 5 <= len(newest) <= 10 and newest[-1] == KEPT + 4  # what is older was passed over
    monkeypatch.setattr(records, "_MOST_KNOWN", 2)
    book = GameGuesses(path)
    for owner in ("bob", "cy", "di"):
        add(book, 1, owner=owner)
    assert tiles_in(book) == [] and tiles_in(book, "cy") == tiles_in(book, "di") == [1]


def test_a_huge_line_is_not_read_again_and_again(path: Path) -> None:
    path.write_bytes(b"x" * 10_000)
    book = GameGuesses(path)
    assert book.of("ada", "f") == ()
    assert book._offset == 10_000
    add(book, 1)
    assert tiles_in(book) == [1]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no O_APPEND that several processes can rely on")
def test_threads_and_processes_write_at_once(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from eurosat_core.runs.guesses import GameGuesses\n"
        f"book = GameGuesses(Path({str(path)!r}))\n"
        "for tile in range(150): book.add(sys.argv[1], 'f', tile, 2, 3, 1.0)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, name], cwd=ROOT) for name in ("bob", "cy")]
    book = GameGuesses(path)

    def work(owner: str) -> None:
        for tile in range(150):
            add(book, tile, owner=owner)
            assert len(book.of(owner, "f")) == tile + 1

    threads = [threading.Thread(target=work, args=(owner,)) for owner in ("ada", "di")]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.wait(timeout=60) for each in writers] == [0, 0]
    for owner in ("ada", "bob", "cy", "di"):
        assert tiles_in(book, owner) == tiles_in(GameGuesses(path), owner) == list(range(150))


@pytest.mark.parametrize("broken", ["no folder", "full", "half full"])
def test_a_disk_that_takes_nothing_does_not_break_the_game(
    broken: str, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    book = GameGuesses(path)
    add(book, 1)
    if broken == "no folder":
        book = GameGuesses(path.parent / "gone" / "guesses.jsonl")
        add(book, 1)
    else:
        monkeypatch.setattr(book, "_write", _writer(path, broken))
    with caplog.at_level(logging.WARNING):
        add(book, 2)
    assert caplog.records
    assert tiles_in(book) == [1, 2]
    assert tiles_in(book) == [1, 2]


def _writer(path: Path, how: str) -> Callable[[bytes], None]:
    def write(line: bytes) -> None:
        if how == "half full":
            with path.open("ab") as file:
                file.write(line[: len(line) // 2])
        raise OSError(28, "No space left on device")

    return write


# --- the lesson's


def test_the_newest_answer_counts_and_can_be_taken_back(path: Path) -> None:
    book, another_servers = LessonGuesses(path), LessonGuesses(path)
    assert book.of("ada") == {}
    for owner, key, guess in (("ada", "size", "small"), ("ada", "size", "large"), ("ada", "speed", "2×")):
        book.put(owner, key, guess)
        assert another_servers.of(owner)[key] == guess
    book.put("bob", "size", "small")
    assert book.of("ada") == {"size": "large", "speed": "2×"}
    book.put("ada", "size", None)
    assert book.of("ada") == another_servers.of("ada") == {"speed": "2×"}
    book.forget("ada")
    assert book.of("ada") == {} and book.of("bob") == {"size": "small"}


def test_an_answer_that_the_disk_does_not_take_is_kept_in_memory(path: Path) -> None:
    book = LessonGuesses(path.parent / "missing" / "guesses.jsonl")
    book.put("ada", "size", "small")
    book.put("ada", "speed", "2×")
    path.parent.joinpath("missing").mkdir()
    book.put("ada", "size", "large")
    assert book.of("ada") == {"size": "large", "speed": "2×"}
    book.put("ada", "size", None)
    assert book.of("ada") == {"speed": "2×"}


# --- the lab


def test_the_lab_keeps_guesses_by_nickname_and_tile_set(open_fake: OpenFake, small_tiles: TileSet) -> None:
    lab, _ = open_fake()
    tiles = lab.tiles().tile_set
    assert tiles is not None
    assert lab.results.guesses("ada") is None
    lab.results.add_guess("ada", tiles, 0, 1, 2.0)
    lab.results.add_guess("ada", tiles, len(tiles) - 1, 3, 2.0)
    lab.results.add_guess("bob", tiles, 0, 0, 2.0)
    found = lab.results.guesses("ada")
    assert found is not None
    assert (found.tiles, found.accuracy) == (2, 0.5)
    assert found.confusion[0][1] == found.confusion[3][3] == 1
    assert found.most_confused() == ("AnnualCrop", "Forest", 1)
    assert lab.results.guesses("ada", replace(tiles, fingerprint="other")) is None
    assert (lab.store.folder / "guesses.jsonl").exists()
    assert lab.store.all() == ([], [])  # the file is not taken for a run


def test_no_guesses_while_tiles_are_opened(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, _ = open_fake()
    monkeypatch.setattr(type(lab.library), "tile_set", None)
    assert lab.results.guesses("ada") is None


def tile_set(tiles: TileSet, *counts: int) -> TileSet:
    """A tile set with so many tiles per class; its pixels are not looked at."""
    return replace(
        tiles,
        label_array=np.repeat(np.arange(len(counts)), counts),
        class_names=tuple(f"class {number}" for number in range(len(counts))),
        names=tuple(f"tile {number}" for number in range(sum(counts))),
        fingerprint=f"of {counts}",
    )


# --- drawing


@given(
    counts=st.lists(st.integers(0, 30), min_size=2, max_size=100).filter(lambda counts: sum(map(bool, counts)) > 1),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_game_has_different_tiles_of_the_classes_about_evenly(
    counts: list[int], seed: int, small_tiles: TileSet
) -> None:
    tiles = tile_set(small_tiles, *counts)
    drawn = new_game(tiles, seed, 0.0)
    assert len(drawn.tiles) == len(set(drawn.tiles)) == min(10, sum(counts))
    assert drawn.true == tuple(tiles.labels[list(drawn.tiles)].tolist())
    filled = sum(map(bool, counts))
    assert drawn.classes == filled == len(classes_to_guess(tiles))
    if min(each for each in counts if each) > 10:
        assert max(Counter(drawn.true).values()) <= -(-10 // filled) + 1


def test_games_differ_and_repeat_for_their_seed(small_tiles: TileSet) -> None:
    assert new_game(small_tiles, 1, 0.0) == new_game(small_tiles, 1, 0.0)
    assert len({new_game(small_tiles, seed, 0.0).tiles for seed in range(20)}) == 20


def test_the_last_tile_cannot_be_named_by_elimination(small_tiles: TileSet) -> None:
    tiles = tile_set(small_tiles, *[30] * 10)
    assert any(len(set(new_game(tiles, seed, 0.0).true)) < 10 for seed in range(20))


def test_one_class_is_nothing_to_guess(small_tiles: TileSet) -> None:
    assert classes_to_guess(tile_set(small_tiles, 0, 5, 0)) == (1,)


# --- playing


def test_answers_skips_and_mistakes_are_counted(small_tiles: TileSet) -> None:
    played = new_game(small_tiles, 3, 100.0)
    for at, true in enumerate(played.true):
        label = None if at == 0 else (true + 1) % 4 if at < 4 else true
        assert not played.is_over
        played = played.answered(at, label, 102.0 + 2 * at)
    assert played.is_over
    score = played.score()
    assert score == Score(right=6, answered=9, skipped=1, classes=4, seconds=20.0)
    assert [tile for tile, _, _ in played.mistakes()] == list(played.tiles[1:4])
    assert played.answered(10, 0, 200.0) is played


def test_clicks_that_meant_another_tile_are_ignored(small_tiles: TileSet) -> None:
    first = new_game(small_tiles, 3, 100.0).answered(0, 1, 105.0)
    assert first.at == 1
    assert first.answered(0, 1, 110.0) is first
    assert first.answered(1, 1, 105.1) is first  # the other half of a double click
    assert first.answered(1, 1, 105.5).at == 2
    seen = first.seen(107.0)  # drawing it took two seconds, in which the other half waited
    assert seen.answered(1, 1, 107.1) is seen
    assert seen.seen(120.0) is seen  # the page was drawn again
    assert seen.answered(1, 1, 108.0).at == 2


# --- what is found


@pytest.mark.parametrize(
    ("score", "name", "luck"),
    [
        (Score(7, 10, 0, 10, 40.0), "better.some", 9.1e-6),
        (Score(3, 10, 0, 10, 40.0), "luck.above", 0.07),
        (Score(2, 10, 0, 10, 40.0), "luck.below", 0.264),
        (Score(1, 10, 0, 10, 40.0), "luck.below", 0.651),
        (Score(0, 10, 0, 10, 40.0), "luck.below", 1.0),
        (Score(10, 10, 0, 10, 40.0), "better.all", 1e-10),
        (Score(2, 2, 8, 2, 9.0), "luck.all", 0.25),
        (Score(1, 1, 9, 100, 9.0), "better.all", 0.01),
    ],
)
def test_each_outcome(score: Score, name: str, luck: float) -> None:
    found = outcome(score, synthetic=False)
    assert told(found) == [name]
    assert found.figures["luck"] == pytest.approx(luck, rel=0.01)
    assert found.figures["expected"] == pytest.approx(score.answered / score.classes)
    assert told(outcome(score, synthetic=True)) == [name, "synthetic"]


def test_a_game_of_skips() -> None:
    assert told(outcome(Score(0, 0, 10, 10, 9.0), synthetic=True)) == ["skipped"]


def guess(true: int, guessed: int) -> Guess:
    return Guess("ada", "f", 0, true, guessed, 1.0, 1.0)


CLASSES = ("River", "Highway", "Forest", "own *class*")


def test_confusions_of_guesses() -> None:
    evaluation = evaluate_guesses([guess(0, 1), guess(0, 1), guess(1, 1), guess(3, 1), guess(9, 0)], CLASSES)
    assert evaluation is not None
    assert evaluation.tiles == 4  # a label that the classes do not have is damaged
    assert evaluation.confusion[0] == (0, 2, 0, 0)
    found = mix_ups(evaluation)
    assert told(found) == ["mix_ups.some"] and told(found.figures["guesses"]) == ["phrase.all"]
    about = [found.figures[name] for name in ("accuracy", "true", "said", "times")]
    assert about == [0.25, "River", "Highway", 2]
    frame = confusion_frame(evaluation)
    assert len(frame) == 9  # Forest does not occur
    assert frame["kind"].value_counts().to_dict() == {"none": 6, "wrong": 2, "right": 1}
    assert frame.iloc[1].tolist() == ["River", "Highway", 2, "wrong"]
    assert mix_up_table(evaluation).to_numpy().tolist() == [
        ["River", "Highway", "twice"],
        ["own *class*", "Highway", "once"],
    ]


def test_no_guesses_and_no_mix_ups() -> None:
    assert evaluate_guesses([], CLASSES) is None
    one = evaluate_guesses([guess(1, 1)], CLASSES)
    assert one is not None
    assert told(mix_ups(one)) == ["mix_ups.none"] and told(mix_ups(one).figures["guesses"]) == ["phrase.one"]
    many = evaluate_guesses([guess(1, 1)] * KEPT, CLASSES)
    assert many is not None
    assert told(mix_ups(many).figures["guesses"]) == ["phrase.newest"]


def run(tiles: TileSet, **changes: object) -> RunRecord:
    summary = {"tiles_per_second": 834.0}
    record = RunRecord("20260101-000000-baseline-abcd", "ada", "finished", CONFIG, tiles_used(tiles), 1.0)
    return replace(record, **{"summary": summary, **changes})


def test_a_network_meanwhile_by_the_newest_finished_run(small_tiles: TileSet) -> None:
    def measured(rate: float, **changes: object) -> RunRecord:
        return run(small_tiles, summary={"tiles_per_second": rate}, **changes)

    records = [
        measured(9e9, state="failed"),
        measured(9e9, kind="profile"),
        run(small_tiles, summary={}),
        measured(float("nan")),
        measured(100_000.0, config=recipe_config("efficientnet_lite0", source="features")),  # of its last layer alone
        run(small_tiles, config=replace(CONFIG, device="cuda:0"), concurrent_runs=("another",)),
        measured(5.0),
    ]
    found = network_meanwhile(records, 42.4)
    assert told(found) == ["meanwhile.busy"]
    assert found is not None and (found.figures["tiles"], found.figures["rate"]) == (35_000, 834.0)
    assert (found.figures["title"], found.figures["device"]) == ("Baseline CNN", "cuda:0")
    assert told(network_meanwhile(records[-1:], 42.4)) == ["meanwhile.alone"]
    for known, seconds in ((records[:5], 42.4), ([], 42.4), (records, 0.0)):
        assert network_meanwhile(known, seconds) is None
