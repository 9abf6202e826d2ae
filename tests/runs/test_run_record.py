"""A `run.json` that anybody may have edited: each kind of damage gets its sentence; and the sealed test part."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import CONFIG, OpenFake, refused, tiles_used, wait_for_state

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.sealed import against_validation, earlier_openings, has_sealed_test, opened_test, sealed_tiles
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import Evaluation, evaluate_predictions

ID = "20260102-030405-baseline-00ff"

Spoil = Callable[[Path, dict[str, Any]], Any]


def wrote(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    """A run.json that holds what `change` makes of a good one."""

    def spoil(folder: Path, values: dict[str, Any]) -> None:
        changed = change(values)
        (folder / "run.json").write_text(json.dumps(values if changed is None else changed))

    return spoil


def text(content: str | bytes) -> Spoil:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder, _values: (folder / "run.json").write_bytes(data)


def replaced(folder: Path, _values: dict[str, Any]) -> None:
    (folder / "run.json").unlink()
    (folder / "run.json").mkdir()


def put(name: str, value: Any) -> Spoil:
    return wrote(lambda values: values.update({name: value}))


BAD_FOLDERS: dict[str, tuple[Spoil, str]] = {
    "not JSON": (text("{'state': "), "is not JSON"),
    "empty file": (text(""), "is not JSON"),
    "binary": (text(b"\x80\x02\xff\x00"), "is not JSON"),
    "nested without end": (text("[" * 100_000), "is not JSON"),
    "list": (text("[1, 2]"), "no set of named values"),
    "null": (text("null"), "no set of named values"),
    "other version": (put("format", 99), "another version of the lab"),
    "no version": (wrote(lambda values: values.pop("format") and None), "another version of the lab"),
    "unknown entry": (put("colour", "red"), "unknown entry 'colour'"),
    "bad setting": (wrote(lambda values: values["config"].update(epochs=0)), "Epochs is 0"),
    "unknown setting": (wrote(lambda values: values["config"].update(speed=9)), "no setting called 'speed'"),
    "settings are a list": (put("config", [1]), "settings that cannot be used"),
    "unknown state": (put("state", "asleep"), "entry 'state'"),
    "state is a list": (put("state", ["running"]), "entry 'state'"),
    "missing entry": (wrote(lambda values: values.pop("owner") and None), "lacks the entry 'owner'"),
    "no tiles": (wrote(lambda values: values.pop("tiles") and None), "lacks the entry 'tiles'"),
    "tiles without classes": (wrote(lambda values: values["tiles"].pop("class_names") and None), "'tiles.class_names'"),
    "count of tiles is text": (wrote(lambda values: values["tiles"].update(count="many")), "entry 'tiles.count'"),
    "foreign id": (put("id", ID), f"belongs to {ID}"),
    "owner is a number": (put("owner", 5), "entry 'owner'"),
    "never created": (put("created", None), "entry 'created'"),
    "started on a word": (put("started", "yesterday"), "entry 'started'"),
    "ended at infinity": (put("ended", float("inf")), "entry 'ended'"),
    "figures are text": (put("summary", {"epochs": "3"}), "entry 'summary'"),
    "figures are a list": (put("summary", [3]), "entry 'summary'"),
    "run.json is a folder": (replaced, "cannot be read"),
    "no run.json": (lambda folder, _: (folder / "run.json").unlink(), "has no run.json"),
    "no permission": (lambda folder, _: (folder / "run.json").chmod(0), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_run_folder_gets_a_sentence_and_the_others_stay(store: RunStore, used: TilesUsed, case: str) -> None:
    if case == "no permission" and (sys.platform == "win32" or os.geteuid() == 0):
        pytest.skip("this user may read everything")
    good, bad = store.create(CONFIG, "ada", used), store.create(CONFIG, "ada", used)
    spoil, words = BAD_FOLDERS[case]
    folder = store.folder_of(bad.id)
    spoil(folder, json.loads((folder / "run.json").read_text()))
    if case == "no run.json":  # of a young folder it would be thought that it is just being made
        os.utime(folder, (1, 1))
    sentence = refused(lambda: store.get(bad.id))
    assert words in sentence and bad.id in sentence
    assert store.all() == ([good], [sentence])
    assert store.mark_interrupted() == []
    store.delete(bad.id) if case == "no run.json" else None
    assert store.get(good.id) == good


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
