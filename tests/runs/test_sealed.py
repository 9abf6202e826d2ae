from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fake_engine import CONFIG, OpenFake, refused, tiles_used, wait_for_state

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.sealed import against_validation, earlier_openings, has_sealed_test, opened_test, sealed_tiles
from eurosat_core.runs.store import RunStore
from eurosat_core.training.evaluation import (
    Evaluation,
    Predictions,
    evaluate_predictions,
    predictions_from_bytes,
    predictions_to_bytes,
)

SEALED = replace(CONFIG, sealed_test=True, epochs=1)


def test_a_trained_run_is_opened_once_and_marked(open_fake: OpenFake, small_tiles: TileSet) -> None:
    lab, engine = open_fake()
    run = lab.submit(SEALED, "ada")
    engine.wait_for(run.id)
    engine.work(run.id)
    wait_for_state(lab, run.id, "finished")
    assert has_sealed_test(lab.store, lab.store.get(run.id)) and sealed_tiles(lab.store, run.id) == 40
    assert opened_test(lab.store, lab.store.get(run.id)) is None  # nobody has looked
    assert "test_accuracy" not in lab.store.get(run.id).summary
    assert "belongs to ada" in refused(lambda: lab.open_test(run.id, "bob"))
    opened = lab.open_test(run.id, "ada")
    assert opened.tiles == 40
    record = lab.store.get(run.id)
    assert record.test_opened is not None and record.summary["test_accuracy"] == opened.accuracy
    assert opened_test(lab.store, record) == opened and not has_sealed_test(lab.store, record)
    lab.open_test(run.id, "ada")
    assert lab.store.get(run.id).test_opened == record.test_opened  # the first look counts


def test_a_run_without_one_says_how_to_get_one(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit(replace(CONFIG, epochs=1), "ada")
    engine.wait_for(run.id)
    engine.work(run.id)
    wait_for_state(lab, run.id, "finished")
    assert not has_sealed_test(lab.store, lab.store.get(run.id))
    assert "--sealed-test" in refused(lambda: lab.open_test(run.id, "ada"))


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path)


def opened_run(store: RunStore, small_tiles: TileSet, when: float | None, **changes: object) -> RunRecord:
    record = store.create(replace(SEALED, **changes), "ada", tiles_used(small_tiles))  # type: ignore[arg-type]
    return store.update(record.id, test_opened=when)


def test_looks_are_counted_per_test_part(store: RunStore, small_tiles: TileSet) -> None:
    first = opened_run(store, small_tiles, 100.0)
    opened_run(store, small_tiles, 200.0, batch_size=64)
    opened_run(store, small_tiles, 150.0, seed=7)  # other tiles
    opened_run(store, small_tiles, None)
    third = opened_run(store, small_tiles, 300.0)
    sealed = opened_run(store, small_tiles, None)
    records = store.all()[0]
    assert [earlier_openings(records, each) for each in (first, third, sealed)] == [0, 2, 3]


def test_by_place_the_seed_does_not_matter(store: RunStore, small_tiles: TileSet) -> None:
    opened_run(store, small_tiles, 100.0, split="place", seed=1)
    other = opened_run(store, small_tiles, 200.0, split="place", seed=2)
    assert earlier_openings(store.all()[0], other) == 1


def judged(right: int, tiles: int) -> Evaluation:
    true = torch.zeros(tiles, dtype=torch.int64)
    predicted = torch.ones(tiles, dtype=torch.int64)
    predicted[:right] = 0
    return evaluate_predictions(true, predicted, ("a", "b"))


@pytest.mark.parametrize(
    ("right", "words"),
    [(700, "no difference we can measure"), (500, "percentage points less"), (900, "percentage points more")],
)
def test_a_sentence_for_each_outcome(right: int, words: str, store: RunStore, small_tiles: TileSet) -> None:
    record = opened_run(store, small_tiles, 1.0)
    record = replace(record, summary={"val_accuracy": 0.7, "val_tiles": 1000})
    text = against_validation(record, judged(right, 1000), 0)
    assert words in text and "1,000 tiles" in text and "before" not in text
    assert "2 other runs had been scored" in against_validation(record, judged(right, 1000), 2)


def test_damaged_envelope_gets_a_sentence(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit(SEALED, "ada")
    engine.wait_for(run.id)
    engine.work(run.id)
    wait_for_state(lab, run.id, "finished")
    (lab.store.folder_of(run.id) / "test.npz").write_bytes(b"PK\x03\x04nonsense")
    assert "damaged" in refused(lambda: lab.open_test(run.id, "ada"))
    assert lab.store.get(run.id).test_opened is None


def test_predictions_survive_the_way_to_the_disk() -> None:
    predictions = Predictions(*(torch.arange(3) for _ in range(3)), torch.tensor([0.5, 0.25, 1.0]))
    again = predictions_from_bytes(predictions_to_bytes(predictions))
    assert torch.equal(again.confidence, predictions.confidence) and len(again) == 3
