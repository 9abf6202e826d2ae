import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_engine import CONFIG, tiles_used
from run_makers import told

from eurosat_core.analysis import verdicts
from eurosat_core.analysis.verdicts import BothSplits, both_splits, compare_splits, parts_frame
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.runs.record import RunRecord


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
