"""The game "Be the classifier": drawing tiles, scoring, and what is found for each outcome."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from fake_engine import CONFIG, tiles_used
from hypothesis import given
from hypothesis import strategies as st
from run_makers import told

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
from eurosat_core.runs.guesses import KEPT, Guess
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import recipe_config


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
