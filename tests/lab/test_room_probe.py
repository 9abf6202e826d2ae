"""The class is the training set: what a probe learns from the room's guesses, in turns, bounded, once per tile."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.weights import find_weights
from eurosat_core.lab import room_probe
from eurosat_core.lab.inspection import Inspector
from eurosat_core.lab.room_probe import RoomProbe
from eurosat_core.runs import game, guesses, room_labels
from eurosat_core.runs.game import held_out, new_game
from eurosat_core.runs.guesses import GameGuesses, Guess
from eurosat_core.runs.room_labels import counts_on_curve, usable
from eurosat_core.runs.store import RunStore


@pytest.fixture
def spared(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> TileSet:
    """Tiles of which the games show but a part, as of a large set."""
    monkeypatch.setattr(game, "HELD_OUT", len(small_tiles) // 4)
    return small_tiles


@pytest.fixture
def probe(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RoomProbe:
    """With mean colours in place of features: the weights may not be here."""
    monkeypatch.setattr(room_probe, "weights_problem", lambda _name, _cache: "")
    monkeypatch.setattr(RoomProbe, "_frozen", lambda _self, _classes: torch.nn.Identity())
    monkeypatch.setattr(room_probe, "frozen_part", lambda _network, batch: batch.mean((2, 3)))
    return RoomProbe(Inspector(store), tmp_path)


def named(tiles: TileSet, count: int, wrong: int = 0) -> list[Guess]:
    """So many guesses on tiles that games show; the first `wrong` of them name the class after the true one."""
    free = np.setdiff1d(np.arange(len(tiles)), held_out(tiles))
    chosen = np.random.default_rng(0).permutation(free)[:count].tolist()
    true = tiles.labels[chosen].tolist()
    said = [(label + (at < wrong)) % len(tiles.class_names) for at, label in enumerate(true)]
    rows = zip(chosen, true, said, strict=True)
    return [Guess("ada", tiles.fingerprint, *row, 1.0, float(at)) for at, row in enumerate(rows)]


def test_no_game_shows_a_tile_that_is_held_out(spared: TileSet) -> None:
    kept = set(held_out(spared).tolist())
    assert kept and len(kept) <= len(spared) // 4
    assert {spared.class_names[label] for label in spared.labels[list(kept)].tolist()} == set(spared.class_names)
    assert not any(kept & set(new_game(spared, seed, 0.0).tiles) for seed in range(50))


@pytest.mark.parametrize("count", [0, 1, 60])
def test_a_game_shows_a_few_tiles_that_others_named(spared: TileSet, count: int) -> None:
    others = [each.tile for each in named(spared, count)]
    for seed in range(20):
        drawn, alone = (
            new_game(spared, seed, 0.0, [*others, *held_out(spared), len(spared)]),
            new_game(spared, seed, 0.0),
        )
        assert len(set(drawn.tiles)) == game.TILES and drawn.true == alone.true
        assert list(drawn.true) == spared.labels[list(drawn.tiles)].tolist()
        assert len(set(drawn.tiles) & set(others)) >= min(count, game.SHARED)
        assert len(set(drawn.tiles) - set(alone.tiles)) <= game.SHARED


def test_a_small_set_keeps_none_and_says_so(small_tiles: TileSet, probe: RoomProbe) -> None:
    assert len(held_out(small_tiles)) == 0
    assert probe.learn(small_tiles, named(small_tiles, 20), 9).problem


def test_without_weights_there_is_a_sentence(
    spared: TileSet, store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_probe, "weights_problem", lambda _name, _cache: "They are not here.")
    assert RoomProbe(Inspector(store), tmp_path).learn(spared, [], 9).problem == "They are not here."


def test_the_curve_follows_the_labels_in_their_order(spared: TileSet, probe: RoomProbe) -> None:
    right = probe.learn(spared, named(spared, 45), 99)
    assert [each.labels for each in right.points] == [10, 20, 40, 45]
    assert right.held_out == len(held_out(spared)) and right.ready == right.wanted == right.held_out + 45
    assert all(each.room == each.truth and each.only_room == each.only_truth == 0 for each in right.points)
    wrong = probe.learn(spared, named(spared, 45, wrong=45), 99)
    assert [each.truth for each in wrong.points] == [each.truth for each in right.points]
    last = wrong.points[-1]
    assert last.room < last.truth
    assert last.truth - last.room == pytest.approx((last.only_truth - last.only_room) / wrong.held_out)


def test_what_takes_too_long_goes_on_with_the_next_call(
    spared: TileSet, probe: RoomProbe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_probe, "_BATCH", 30)
    said = named(spared, 45)
    first = probe.learn(spared, said, 0)
    assert (first.ready, first.points) == (30, ())
    seen = [probe.learn(spared, said, 0) for _ in range(8)]
    assert seen[-1].ready == seen[-1].wanted and len(seen[-1].points) == 1  # all known ones, and one more, if any
    monkeypatch.setattr(probe, "_judge", None)  # what is known is not computed again
    assert probe.learn(spared, said[:10], 99).points == seen[-1].points


def test_only_what_can_be_learned_from_counts(spared: TileSet) -> None:
    good = named(spared, 3)
    kept = set(held_out(spared).tolist())
    bad = [replace(good[0], tile=len(spared)), replace(good[0], guessed=99), replace(good[0], tile=min(kept))]
    assert usable([*bad, *good], spared, kept) == tuple(good)
    assert len(usable(good * room_labels.MOST, spared, kept)) == room_labels.MOST


@pytest.mark.parametrize(
    ("labels", "counts"), [(9, ()), (10, (10,)), (11, (10, 11)), (40, (10, 20, 40)), (41, (10, 20, 40, 41))]
)
def test_it_is_judged_after_twice_as_many_labels(labels: int, counts: tuple[int, ...]) -> None:
    assert counts_on_curve(labels) == counts


def test_everybodys_guesses_come_in_their_order_from_a_time_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(1000.0)
    monkeypatch.setattr(guesses.time, "time", lambda: next(clock))
    book = GameGuesses(tmp_path / "guesses.jsonl")
    for at, owner in enumerate(("ada", "bob", "ada")):
        book.add(owner, "f", at, 0, 0, 1.0)
    book.add("ada", "another", 9, 0, 0, 1.0)
    everybody = book.of_all("f")
    assert [each.tile for each in everybody] == [0, 1, 2]
    assert book.of_all("f", everybody[-1].at) == everybody[-1:]


@pytest.mark.skipif(find_weights("efficientnet_lite0", Path()) is None, reason="the weights' package is not installed")
def test_real_features_teach_more_than_chance(spared: TileSet, store: RunStore, tmp_path: Path) -> None:
    (*_, last) = RoomProbe(Inspector(store), tmp_path).learn(spared, named(spared, 40), 99).points
    assert last.labels == 40 and last.room == last.truth > 0.5 > 1 / len(spared.class_names)
