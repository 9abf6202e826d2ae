"""The Transfer page: nothing yet, asked for, at work, done, with both splits, gone."""

from dataclasses import replace
from typing import Any

from fake_engine import eventually, tiles_used
from streamlit.testing.v1 import AppTest
from transfer_makers import result_of

from eurosat_core.analysis.guesses import choices
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.events import FeaturesDone
from eurosat_core.training.transfer import (
    TRANSFER_FILE,
    TransferPlan,
    TransferResult,
    TransferStarted,
    Trial,
    TrialDone,
    transfer_config,
)
from tests.pages.conftest import ME, App, alts, charts, click, saw, says, tells

PAGE = "transfer.py"


def found(lab: Lab, result: TransferResult | None = None, owner: str = ME, **changes: Any) -> RunRecord:
    """A finished transfer."""
    tiles = lab.tiles().tile_set
    assert tiles is not None
    config = transfer_config(**changes)
    record = lab.store.create(config, owner, tiles_used(tiles), "transfer", TransferPlan().to_dict())
    kept = result or result_of()
    lab.store.save(record.id, {TRANSFER_FILE: replace(kept, split=config.split).to_json()})
    lab.store.end(record.id, "finished", "", summary={"seconds": 60.0, "val_accuracy": 0.95})
    return lab.store.get(record.id)


def bar(test: AppTest) -> str:
    """What stands over the progress bar."""
    return str(test.get("progress")[0].proto.text)


def test_before_the_first_one(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert tells(test, *(f"transfer/{each}" for each in ("goal", "intro", "empty", "misconception")))
    assert "MACs" in says(test) or "multiply-accumulates" in says(test)
    assert "topk(5)" in "\n".join(each.value for each in test.code)
    assert not test.button(key="transfer_start").disabled
    assert tells(click(test, "next_page"), "compare/goal")


def test_asked_for_it_is_in_the_queue_with_the_settings_shown(lab: Lab, app: App) -> None:
    test = app(PAGE)
    test.get_by_key("transfer_side").set_value(128).run()
    click(test, "transfer_start")
    (record,) = [each for each in lab.store.all()[0] if each.kind == "transfer"]
    assert record.config.input_side == 128 and record.config.source == "features" and record.owner == ME
    assert TransferPlan.from_dict(record.plan) == TransferPlan()
    assert test.button(key="transfer_start").disabled


def test_at_work_it_says_how_far_it_is(lab: Lab, app: App, engine: Any) -> None:
    test = app(PAGE)
    click(test, "transfer_start")
    (record,) = [each for each in lab.store.all()[0] if each.kind == "transfer"]
    eventually(lambda: lab.store.get(record.id).state == "running")
    lab.store.append(
        record.id,
        [
            TransferStarted(45, 15, 15, 2096, 60, 20),
            FeaturesDone(30, 60, 2.0),
        ],
    )
    test = app(PAGE, run=record.id)
    assert "30 of 60" in bar(test)
    lab.store.append(record.id, [FeaturesDone(60, 60, 4.0), TrialDone(Trial("linear", 0, 1, 45, 0.9, 0.1), 5.0)])
    test = app(PAGE, run=record.id)
    assert "1 of 20" in bar(test) and "90.0" in says(test)
    assert test.button(key="transfer_stop")


def test_what_it_found_is_shown_at_once_with_the_guess(lab: Lab, app: App) -> None:
    record = found(lab)
    test = app(PAGE)
    assert charts(test) == 1 and all(alts(test))
    table = next(each.value for each in test.dataframe if "On the features" in each.value)
    assert list(table["Accuracy"]) == [90.0, 95.0]
    assert "55.0" in saw(test) and "synthetic" in saw(test)
    assert tells(test, "transfer/five", "transfer/standardised")
    test = app(PAGE, run=record.id)
    assert choices("transfer_labels")[0] in next(each.options for each in test.get("pills"))


def test_both_splits_stand_side_by_side(lab: Lab, app: App) -> None:
    found(lab, split="random")
    found(lab, result_of(linear={1: [0.4], 0: [0.85]}, neighbours={0: [0.8]}, scratch={}), split="place")
    test = app(PAGE)
    table = next(each.value for each in test.dataframe if "On the features" in each.value)
    assert sorted(table["Split"]) == ["By place"] * 2 + ["Random"] * 2
    assert test.selectbox


def test_one_that_is_gone_or_damaged_is_said(lab: Lab, app: App) -> None:
    record = found(lab)
    lab.store.save(record.id, {TRANSFER_FILE: b"[]"})
    test = app(PAGE, run=record.id)
    assert not test.exception and len(test.error) == 1
    lab.store.delete(record.id)
    test = app(PAGE, run=record.id)
    assert not test.exception and test.button(key="transfer_none")
    assert tells(click(test, "transfer_none"), "transfer/empty")
