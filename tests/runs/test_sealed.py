from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from fake_engine import CONFIG, OpenFake, refused, tiles_used, wait_for_state

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.sealed import against_validation, earlier_openings, has_sealed_test, opened_test, sealed_tiles
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Evaluation, evaluate_predictions

SEALED = replace(CONFIG, sealed_test=True, epochs=1)


@pytest.fixture
def trained(open_fake: OpenFake) -> Callable[[TrainConfig], tuple[Lab, str]]:
    """Function: a lab in which this was trained, and the run."""

    def train(config: TrainConfig) -> tuple[Lab, str]:
        lab, engine = open_fake()
        run = lab.submit(config, "ada")
        engine.wait_for(run.id)
        engine.work(run.id)
        wait_for_state(lab, run.id, "finished")
        return lab, run.id

    return train


def test_a_trained_run_is_opened_once_and_marked(trained: Callable[[TrainConfig], tuple[Lab, str]]) -> None:
    lab, run = trained(SEALED)
    assert has_sealed_test(lab.store, lab.store.get(run)) and sealed_tiles(lab.store, run) == 40
    assert opened_test(lab.store, lab.store.get(run)) is None  # nobody has looked
    assert "test_accuracy" not in lab.store.get(run).summary
    assert "ada" in refused(lambda: lab.open_test(run, "bob"))
    opened = lab.open_test(run, "ada")
    assert opened.tiles == 40
    record = lab.store.get(run)
    assert record.test_opened is not None and record.summary["test_accuracy"] == opened.accuracy
    assert opened_test(lab.store, record) == opened and not has_sealed_test(lab.store, record)
    lab.open_test(run, "ada")
    assert lab.store.get(run).test_opened == record.test_opened  # the first look counts


def test_a_run_without_one_says_how_to_get_one(trained: Callable[[TrainConfig], tuple[Lab, str]]) -> None:
    lab, run = trained(replace(CONFIG, epochs=1))
    assert not has_sealed_test(lab.store, lab.store.get(run))
    assert "--sealed-test" in refused(lambda: lab.open_test(run, "ada"))


def test_damaged_envelope_gets_a_sentence(trained: Callable[[TrainConfig], tuple[Lab, str]]) -> None:
    lab, run = trained(SEALED)
    (lab.store.folder_of(run) / "test.npz").write_bytes(b"PK\x03\x04nonsense")
    assert "damaged" in refused(lambda: lab.open_test(run, "ada"))
    assert lab.store.get(run).test_opened is None


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
    opened_run(store, small_tiles, 100.0, split="place", seed=1)
    other = opened_run(store, small_tiles, 200.0, split="place", seed=2)
    assert earlier_openings(store.all()[0], other) == 1, "by place the seed does not matter"


def judged(right: int, tiles: int) -> Evaluation:
    true = torch.zeros(tiles, dtype=torch.int64)
    predicted = torch.ones(tiles, dtype=torch.int64)
    predicted[:right] = 0
    return evaluate_predictions(true, predicted, ("a", "b"))


@pytest.mark.parametrize(("right", "kind"), [(700, "same"), (660, "same"), (500, "less"), (900, "more")])
def test_a_difference_is_told_only_beyond_two_standard_errors(
    right: int, kind: str, store: RunStore, small_tiles: TileSet
) -> None:
    record = opened_run(store, small_tiles, 1.0)
    record = replace(record, summary={"val_accuracy": 0.7, "val_tiles": 1000})
    found = against_validation(record, judged(right, 1000), 0)
    assert (found.kind, found.then) == (kind, ())
    assert found.figures["gap"] == pytest.approx(0.7 - right / 1000)
    (looks,) = against_validation(record, judged(right, 1000), 2).then
    assert looks.figures == {"looks": 2}
