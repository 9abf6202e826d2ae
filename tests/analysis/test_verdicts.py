"""A finding for every way in which a comparison can turn out, of two runs or of both splits."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engine import CONFIG, tiles_used
from msgspec import structs
from run_makers import USED, compared, epoch, make_record, said, seen, through, told

from eurosat_core.analysis import verdicts
from eurosat_core.analysis.verdicts import BothSplits, both_splits, compare_splits, parts_frame
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.finding import Finding
from eurosat_core.runs.history import History
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import recipe_config
from eurosat_core.training.evaluation import Evaluation, Predictions

CPU = recipe_config("baseline", epochs=3)
GPU = replace(CPU, device="cuda:0", pin_memory=True)
TILES = 400


def answers(right: int, start: int = 0, tiles: int = TILES) -> Predictions:
    """Of so many tiles, those from `start` on named rightly, `right` of them."""
    true = [0] * tiles
    return said(true, [0 if start <= at < start + right else 1 for at in range(tiles)])


def pair(one: Predictions, other: Predictions, **changes: Any) -> Any:
    """A CPU run and a GPU run with these answers."""
    runs = []
    for config, predictions in ((CPU, one), (GPU, other)):
        accuracy = float((predictions.true == predictions.predicted).float().mean())
        runs.append((make_record(config=config, **changes), through(0.1, 0.2, accuracy), predictions))
    return compared(*runs)


@pytest.mark.parametrize(
    ("one", "other", "kind", "gap", "lone"),
    [
        (answers(200), answers(200), "same", 0.0, 0),
        (answers(200), answers(203, start=10), "same", -0.0075, 23),
        (answers(240), answers(200), "better", 0.1, 40),
        (answers(200), answers(240), "worse", -0.1, 40),
    ],
)
def test_accuracy_on_the_same_tiles(one: Predictions, other: Predictions, kind: str, gap: float, lone: int) -> None:
    found = verdicts.accuracy_verdict(*pair(one, other))
    assert (found.name, found.figures["gap"]) == (f"accuracy.{kind}", pytest.approx(gap))
    assert found.figures["basis"] == Finding("accuracy.phrase.same_tiles", {"lone": lone, "tiles": TILES})


def test_accuracy_on_other_tiles_of_the_set_leaves_more_to_luck() -> None:
    moved = replace(answers(218), tiles=answers(218).tiles + 100)
    found = verdicts.accuracy_verdict(*pair(answers(200), moved))
    assert found.kind == "same"
    assert found.figures["basis"] == Finding("accuracy.phrase.other_tiles", {"tiles": TILES, "other": TILES})
    assert found.figures["luck"] == pytest.approx(2 * math.hypot(0.025, math.sqrt(0.545 * 0.455 / TILES)))


def test_accuracies_that_must_not_stand_side_by_side() -> None:
    one, other = pair(answers(200), answers(300))
    other = replace(other, record=replace(other.record, tiles=replace(USED, source="synthetic")))
    found = verdicts.accuracy_verdict(one, other)
    assert (found.kind, found.figures["check"]) == ("not_comparable", Finding("same_tiles.synthetic"))
    runs = compared((make_record(), History(), answers(200)), (make_record(), seen(0.5), answers(200)))
    assert verdicts.accuracy_verdict(*runs).name == "accuracy.not_comparable.no_epoch"


def test_you_against_the_network() -> None:
    run, _ = pair(answers(240), answers(240))

    def guessed(right: int, tiles: int) -> Evaluation:
        return Evaluation(("a", "b"), tiles, right / tiles, {}, ((right, tiles - right), (0, 0)))

    assert verdicts.against_you(guessed(7, 10), run).kind == "same"
    assert verdicts.against_you(guessed(10, 10), run).kind == "worse"
    assert verdicts.against_you(guessed(0, 10), run).kind == "better"
    assert verdicts.against_you(guessed(20, 100), run).figures["tiles"] == 100
    assert verdicts.against_you(None, run).kind == "nothing"


# -- devices


def test_pairs_differ_in_the_device_only() -> None:
    record, history, predictions = make_record(config=CPU), through(0.5), answers(200)
    runs = compared(
        (record, history, predictions),
        (make_record(config=GPU), history, predictions),
        (make_record(config=replace(GPU, batch_size=256)), history, predictions),
        (make_record(config=GPU, tiles=replace(USED, fingerprint="other")), history, predictions),
        (make_record(config=GPU, kind="profile"), history, predictions),
    )
    assert [(cpu.record.id, other.record.id) for cpu, other in verdicts.device_pairs(runs)] == [("a", "b")]


@pytest.mark.parametrize(
    ("one", "other", "repeated", "names", "spread"),
    [
        (200, 204, (), ["same.luck"], None),
        (200, 240, (0.45, 0.52, 0.61), ["same.spread"], 0.16),
        (200, 240, (), ["better", "repeat"], None),
        (240, 200, (0.5, 0.51, 0.52), ["worse", "spread"], 0.02),
        (240, 200, (0.5, 0.9), ["worse", "repeat"], None),
    ],
)
def test_the_gpu_does_not_make_the_model_smarter(
    one: int, other: int, repeated: tuple[float, ...], names: list[str], spread: float | None
) -> None:
    found = verdicts.device_verdict(*pair(answers(one), answers(other)), repeated)
    assert told(found) == names
    assert [found.figures[name] for name in ("accuracy", "other_accuracy")] == pytest.approx(
        [one / TILES, other / TILES]
    )
    if spread is not None:
        (about,) = [each for each in (found, *found.then) if "spread" in each.figures]
        assert (about.figures["runs"], about.figures["spread"]) == (3, pytest.approx(spread))


def test_repetitions_share_all_but_seed_and_device() -> None:
    def one(accuracy: float, **changes: Any) -> Any:
        return make_record(summary={"val_accuracy": accuracy}, **{"config": CPU, **changes})

    records = [
        one(0.5),
        one(0.52, config=replace(CPU, seed=7)),
        one(0.54, config=replace(GPU, recipe="fast")),
        one(0.9, config=replace(CPU, batch_size=64)),
        one(0.9, tiles=replace(USED, fingerprint="other")),
        one(0.9, state="cancelled"),
        make_record(config=CPU),
    ]
    assert verdicts.repeated_accuracies(records[0], records) == (0.5, 0.52, 0.54)


# -- speed


def _timed(config: Any, factor: float, **changes: Any) -> Any:
    rates = (500.0, 990.0, 1010.0)
    epochs = tuple(
        structs.replace(epoch(number, 0.5, rate=rate * factor), elapsed_seconds=10.0 * number / factor)
        for number, rate in enumerate(rates, 1)
    )
    history = through(0.5, 0.5, 0.5)
    history = replace(history, epochs=epochs, finished=structs.replace(history.finished, seconds=30.0 / factor))
    return make_record(config=config, machine={"threads": 2}, **changes), history, answers(200)


@pytest.mark.parametrize(
    ("factor", "kind", "ratio"), [(6.0, "faster", 6.0), (0.5, "slower", 2.0), (1.01, "same", 1.01)]
)
def test_speed_of_the_same_work(factor: float, kind: str, ratio: float) -> None:
    found = verdicts.speed_verdict(*compared(_timed(CPU, 1.0), _timed(GPU, factor)))
    assert told(found) == [kind]
    assert found.figures["ratio"] == pytest.approx(ratio)
    assert (found.figures["first_seconds"], found.figures["seconds"]) == (30.0, 30.0 / factor)


def test_what_else_has_to_be_said_about_a_speed() -> None:
    other, history, predictions = _timed(GPU, 6.0, concurrent_runs=("x",), recorded_on="H100, 3 May 2026")
    other = replace(other, machine={"threads": 8})
    found = verdicts.speed_verdict(*compared(_timed(CPU, 1.0), (other, history, predictions)))
    assert told(found) == ["faster", "threads", "company", "recorded"]
    assert found.then[0].figures == {"threads": 8, "first": 2}


def test_other_work_is_not_compared() -> None:
    found = verdicts.speed_verdict(*compared(_timed(CPU, 1.0), _timed(replace(GPU, batch_size=256), 6.0)))
    assert (found.name, found.figures["why"].kind) == ("speed_up.not_comparable.work", "other")


# -- the split


def test_random_against_place() -> None:
    def one(split: str, accuracy: float) -> Any:
        figures = {"val_accuracy": accuracy, "val_tiles": 6000, "train_tiles": 16000}
        return make_record(config=replace(CPU, split=split), summary=figures), through(accuracy), None

    found = verdicts.split_verdict(compared(one("random", 0.8), one("place", 0.7)))
    assert found.name == "split.both.worse" and found.figures["gap"] == pytest.approx(0.1)
    assert verdicts.split_verdict(compared(one("random", 0.8))).kind == "nothing"


def finished(tiles: TileSet, accuracy: float, **changes: Any) -> RunRecord:
    used = replace(tiles_used(tiles), source="eurosat")
    summary = {"val_accuracy": accuracy, "val_tiles": 4860, "train_tiles": 14580}
    config = replace(CONFIG, **changes)
    return RunRecord("20260101-000000-baseline-abcd", "ada", "finished", config, used, 1.0, summary=summary)


def test_runs_of_one_recipe_on_both_splits_are_found(small_tiles: TileSet) -> None:
    records = [
        finished(small_tiles, 0.5, batch_size=99),  # newest, but on one split only
        finished(small_tiles, 0.70, split="place", seed=1),
        finished(small_tiles, 0.80, seed=1),
        finished(small_tiles, 0.84, seed=2),
        finished(small_tiles, 0.10, split="place", epochs=7),
        replace(finished(small_tiles, 0.99), state="failed"),
    ]
    assert both_splits(records) == BothSplits((0.80, 0.84), (0.70,), 14580, 14580, 4860, 4860, CONFIG.epochs)


def test_other_tiles_or_synthetic_ones_are_not_mixed_in(small_tiles: TileSet) -> None:
    one, other = finished(small_tiles, 0.8), finished(small_tiles, 0.7, split="place")
    assert both_splits([one]) is None
    assert both_splits([one, replace(other, tiles=replace(other.tiles, fingerprint="x"))]) is None
    synthetic = [replace(each, tiles=replace(each.tiles, source="synthetic")) for each in (one, other)]
    assert both_splits(synthetic) is None


def found(random: tuple[float, ...], place: tuple[float, ...], more: int = 0) -> BothSplits:
    return BothSplits(random, place, 14580 + more, 14580, 4860, 4860, 15)


@pytest.mark.parametrize(
    ("result", "names", "gap"),
    [
        (found((0.80,), (0.70,)), ["both.worse"], 0.1),
        (found((0.80,), (0.795,)), ["both.same"], 0.005),
        (found((0.70,), (0.80,)), ["both.better"], -0.1),
        (found((0.79, 0.80, 0.81), (0.69, 0.71)), ["both.worse"], 0.1),
        (found((0.80,), (0.70,), more=3645), ["both.worse", "more_tiles"], 0.1),
        (found((0.5, 0.9), (0.4, 0.7)), ["both.same"], 0.15),  # the seeds alone move it by more
    ],
)
def test_each_outcome(result: BothSplits, names: list[str], gap: float) -> None:
    said = compare_splits(result)
    assert told(said) == names and said.figures["gap"] == pytest.approx(gap)
    spread = said.figures["random"]
    assert spread.variant == ("one" if len(result.random) == 1 else "several")
    assert (spread.figures["low"], spread.figures["high"]) == (min(result.random), max(result.random))
    assert [each.figures for each in said.then] == [{"more": 18_225, "fewer": 14_580}][: len(said.then)]


def test_the_record_is_what_its_file_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shipped = json.loads(verdicts._RECORDED.read_text(encoding="utf-8"))
    verdicts.recorded_both_splits.cache_clear()
    recorded = verdicts.recorded_both_splits()
    assert recorded is not None
    assert list(recorded[0].random) == shipped["result"]["random"] and len(recorded[0].place) >= 3
    assert "how" in recorded[1]
    verdicts.recorded_both_splits.cache_clear()
    monkeypatch.setattr(verdicts, "_RECORDED", tmp_path / "missing.json")
    assert verdicts.recorded_both_splits() is None
    verdicts.recorded_both_splits.cache_clear()


def test_the_parts_table_adds_up(small_tiles: TileSet) -> None:
    frame = parts_frame(small_tiles, None, 1)
    assert frame["tiles"].sum() == 200
    by_part = frame.groupby("part")["tiles"].sum()
    assert (by_part["Training"], by_part["Validation"], by_part["Sealed test"]) == (120, 40, 40)
    parts = np.array([0, 1, 2, -1] * 50, dtype=np.int8)
    frame = parts_frame(small_tiles, parts, 1)
    assert frame.groupby("part")["tiles"].sum().to_dict() == dict.fromkeys(verdicts.PART_NAMES, 50)
