"""A run that was recorded elsewhere is shown here, and is never taken for one of this lab's own."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundle_makers import bundle_of, stored_run
from fake_engine import CONFIG, OpenFake, refused
from run_makers import USED, make_record

from eurosat_core.analysis.pace import comparable_run
from eurosat_core.lab.kind import Known
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.speeds import measured_rate
from eurosat_core.lab.train import estimate_seconds
from eurosat_core.runs.bundles import import_bundle
from eurosat_core.runs.game import network_meanwhile
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore

HERE = {"device_name": "Test CPU, 2 cores", "threads": 1}
FIGURES = {"tiles_per_second": 1000.0, "seconds": 60.0, "epochs": 2, "val_accuracy": 0.5}


@pytest.fixture
def lab(open_fake: OpenFake, tmp_path: Path) -> Lab:
    """A lab into which two runs were imported, one of a device that it does not have."""
    lab, _engine = open_fake()
    away = RunStore(tmp_path / "away")
    runs = [stored_run(away), stored_run(away, config=replace(CONFIG, device="cuda:3"), state="interrupted")]
    import_bundle(lab.store, io.BytesIO(bundle_of(away, *(each.id for each in runs))), owner="ada")
    return lab


def test_it_is_shown_with_its_curves_and_mistakes(lab: Lab) -> None:
    for record in lab.store.all()[0]:
        assert record.recorded_on.startswith("Test GPU")
        assert lab.results.history(record.id).epochs[-1].val_accuracy == 0.5
        evaluation = lab.results.evaluation(record.id)
        assert evaluation is not None and evaluation.accuracy == 0.5


def test_it_cannot_be_controlled_but_deleted(lab: Lab) -> None:
    record = lab.store.all()[0][0]
    for command in ("pause", "resume", "step", "stop"):
        assert refused(lambda command=command: lab.control(record.id, "ada", command))
    assert "ada" in refused(lambda: lab.delete(record.id, "bob"))
    lab.delete(record.id, "ada")
    assert record.id not in {each.id for each in lab.store.all()[0]}


def test_it_is_not_touched_when_the_lab_opens_again(lab: Lab, open_fake: OpenFake) -> None:
    before = lab.store.all()[0]
    lab.close()
    again, engine = open_fake()
    assert again.store.all()[0] == before
    assert engine.order == []


def test_a_run_of_the_same_hour_was_not_beside_it(lab: Lab) -> None:
    run = lab.store.create(CONFIG, "ada", USED)
    lab.store.update(run.id, state="running", started=1.0)
    assert lab.store.end(run.id, "finished", "").concurrent_runs == ()


def _twice(**changes: Any) -> list[tuple[RunRecord, bool]]:
    """A run of this machine, and the same one recorded elsewhere; whether it counts here."""
    here = make_record(machine=HERE, summary=FIGURES, config=CONFIG, **changes)
    return [(here, True), (replace(here, recorded_on="Test CPU, 3 May 2026"), False)]


@pytest.mark.parametrize(("record", "counts"), _twice())
def test_it_says_nothing_about_this_machine(record: RunRecord, counts: bool, lab: Lab) -> None:
    known = Known(CONFIG, USED, [record], [], lambda _network: 1, HERE)
    assert (estimate_seconds(known) is not None) == counts
    assert (measured_rate("cpu", [], [record], lab.estimates.model_summary, HERE) is not None) == counts
    assert bool(network_meanwhile([record], 10.0)) == counts


@pytest.mark.parametrize(("record", "counts"), _twice(id="before", created=50.0))
def test_it_is_no_earlier_run_of_the_participant(record: RunRecord, counts: bool) -> None:
    now = make_record(config=replace(CONFIG, batch_size=64))
    assert (comparable_run(now, [record]) is not None) == counts
