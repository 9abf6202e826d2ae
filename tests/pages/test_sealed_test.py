"""The sealed test part on the Train page: closed, opened, somebody else's."""

import numpy as np
import pytest
import torch

from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.config import workshop_config
from eurosat_core.training.evaluation import Predictions, predictions_to_bytes
from tests.pages.conftest import ME, THREE, App, choose, click, keys, put, shown


def sealed(lab: Lab, owner: str = ME) -> RunRecord:
    summary = {"val_accuracy": 0.62, "val_tiles": 500, "train_tiles": 1500}
    record = put(lab, "finished", THREE, owner, config=workshop_config(sealed_test=True), summary=summary)
    labels = torch.from_numpy(np.arange(400) % 10)
    right = torch.where(torch.arange(400) < 100, labels, (labels + 1) % 10)
    content = predictions_to_bytes(Predictions(torch.arange(400), labels, right, torch.full((400,), 0.5)))
    lab.store.save(record.id, {"test.npz": content})
    return record


def test_it_is_opened_on_purpose_and_stays_open(lab: Lab, app: App) -> None:
    record = sealed(lab)
    test = app("train.py", run=record.id)
    assert "400 tiles have been set aside" in shown(test)
    assert "25.0" not in shown(test)  # the figure is not on the page before
    click(test, "sealed_open_sure")
    text = shown(test).replace("\N{NO-BREAK SPACE}", " ")
    assert "400 tiles that nothing was chosen by" in text and "25.0 %" in text and "37.0 percentage points less" in text
    assert lab.store.get(record.id).test_opened is not None
    assert "sealed_open_sure" not in keys(app("train.py", run=record.id))


def test_others_cannot_open_it_and_runs_without_one_show_nothing(lab: Lab, app: App) -> None:
    plain = put(lab, "finished", THREE)
    assert "ealed test part" not in shown(app("train.py", run=plain.id))
    record = sealed(lab, "somebody-else")
    test = app("train.py", run=record.id)
    assert "400 tiles have been set aside" in shown(test)
    assert "sealed_open_sure" not in keys(test)


def test_a_damaged_one_is_a_sentence(lab: Lab, app: App) -> None:
    record = sealed(lab)
    lab.store.save(record.id, {"test.npz": b"nonsense"})
    test = app("train.py", run=record.id)
    assert not test.exception
    assert "damaged" in shown(test)


@pytest.mark.parametrize("split", ["random", "place"])
def test_the_split_is_chosen_on_the_page(split: str, lab: Lab, app: App) -> None:
    test = app("train.py")
    choose(test, "train_split", split)
    test.get_by_key("train_sealed_test").set_value(True).run()
    click(test, "train_start")
    if split == "place":
        assert "Synthetic tiles have no place" in shown(test)
    else:
        (record,) = lab.store.all()[0]
        assert (record.config.split, record.config.sealed_test) == (split, True)
