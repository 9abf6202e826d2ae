"""The game "Be the classifier": drawing tiles, scoring, and a sentence for each outcome."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from fake_engine import CONFIG, tiles_used
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.runs.game import (
    Score,
    classes_to_guess,
    confusion_frame,
    evaluate_guesses,
    in_words,
    mix_up_table,
    mix_ups,
    network_meanwhile,
    new_game,
)
from eurosat_core.runs.guesses import KEPT, Guess
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import recipe_config


def tile_set(tiles: TileSet, *counts: int) -> TileSet:
    """A tile set with so many tiles per class; its pixels are not looked at."""
    return replace(
        tiles,
        labels=torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts)),
        class_names=tuple(f"class {number}" for number in range(len(counts))),
        names=tuple(f"tile {number}" for number in range(sum(counts))),
        fingerprint=f"of {counts}",
    )


def flat(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


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


# --- sentences


@pytest.mark.parametrize(
    ("score", "words", "not_said"),
    [
        (Score(7, 10, 0, 10, 40.0), ["7 of 10 tiles right", "gets 1.0 on average (10 %)", "more than luck"], "Skip"),
        (Score(3, 10, 0, 10, 40.0), ["above that", "no better than chance", "as well in 7 %"], "starts"),
        (Score(2, 10, 0, 10, 40.0), ["no better than chance", "luck alone does as well in 26 %"], "above"),
        (Score(1, 10, 0, 10, 40.0), ["no better than chance", "A network starts there too"], "above"),
        (Score(0, 10, 0, 10, 40.0), ["0 of 10 tiles right", "no better than chance", "100 %"], "more than luck"),
        (Score(10, 10, 0, 10, 40.0), ["10 of 10 tiles right: all", "has to learn that from examples"], "mixed up"),
        (Score(2, 2, 8, 2, 9.0), ["2 of 2 tiles right: all", "luck alone does as well in 25 %"], "no better"),
        (Score(1, 1, 9, 100, 9.0), ["1 of 1 tile right: all"], "luck"),
        (Score(0, 0, 10, 10, 9.0), ["You skipped every tile"], "chance"),
    ],
)
def test_a_sentence_for_each_outcome(score: Score, words: list[str], not_said: str) -> None:
    text = flat(in_words(score, synthetic=False))
    assert [each for each in words if each not in text] == []
    assert not_said not in text and "synthetic" not in text
    assert "synthetic" in in_words(score, synthetic=True) or not score.answered


def guess(true: int, guessed: int) -> Guess:
    return Guess("ada", "f", 0, true, guessed, 1.0, 1.0)


CLASSES = ("River", "Highway", "Forest", "own *class*")


def test_confusions_of_guesses() -> None:
    evaluation = evaluate_guesses([guess(0, 1), guess(0, 1), guess(1, 1), guess(3, 1), guess(9, 0)], CLASSES)
    assert evaluation is not None
    assert evaluation.tiles == 4  # a label that the classes do not have is damaged
    assert evaluation.confusion[0] == (0, 2, 0, 0)
    text = flat(mix_ups(evaluation))
    assert "4 guesses" in text and "25.0 %" in text and "River, taken for Highway (twice)" in text
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
    one, many = (evaluate_guesses([guess(1, 1)] * times, CLASSES) for times in (1, KEPT))
    assert one is not None and "nothing was mixed up" in mix_ups(one)
    assert many is not None and "200 newest guesses" in mix_ups(many)


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
    text = network_meanwhile(records, 42.4)
    assert "In your 42 s, a network would have learned from about 35,000 tiles" in text
    assert "the Baseline CNN on GPU 0 went through 834 tiles/s while training with other work beside it" in text
    assert text.endswith("in the newest finished run here that tells.")
    assert "beside" not in network_meanwhile(records[-1:], 42.4)
    assert network_meanwhile(records[:5], 42.4) == network_meanwhile([], 42.4) == network_meanwhile(records, 0.0) == ""
