"""A pretrained model on the Train page: its weights missing, the ways on, and the bundled one that needs none."""

from typing import Any

import pytest

from eurosat_core.data import weights
from eurosat_core.lab import library as library_module
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.library import Fetch
from tests.fake_engine import eventually
from tests.pages.conftest import ME, App, choose, click, keys, shown


def test_missing_weights_are_said_with_three_ways_on(lab: Lab, app: App) -> None:
    test = choose(app("train.py"), "train_model", "vgg11_bn")
    assert "not on this machine (507 MB)" in shown(test)
    assert {"fetch_weights", "weights_bundled", "weights_random"} <= keys(test)
    assert test.button(key="train_start").disabled
    click(test, "weights_random")
    assert not test.button(key="train_start").disabled
    assert "Starts from ImageNet weights off (was on)" in shown(test)  # labelled, never silent
    assert "fetch_weights" not in keys(test)
    test = choose(test, "train_pretrained", True)
    click(test, "weights_bundled")
    assert test.get_by_key("train_model").value == "efficientnet_lite0"
    assert test.get_by_key("train_source").value == "features"
    click(test, "train_start")
    assert lab.store.all()[0][0].config.model == "efficientnet_lite0"


def test_a_download_is_asked_for_and_its_failure_said(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_arguments: Any) -> None:
        raise weights.DataError("The server is gone. Try again.")

    monkeypatch.setattr(library_module, "download_weights", fails)
    test = choose(app("train.py"), "train_model", "vgg11_bn")
    click(test, "fetch_weights")
    eventually(lambda: (fetch := lab.library.fetching()) and not fetch.is_active)
    test.run()
    assert "The server is gone. Try again." in shown(test)
    fetch = lab.library.fetching()
    assert fetch is not None and (fetch.what, fetch.owner, fetch.stage) == ("weights", ME, "failed")


def test_its_progress_stands_on_the_train_page_alone(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "_fetch", Fetch("weights", ME, "downloading", 100 * 2**20, 507 * 2**20))
    test = choose(app("train.py"), "train_model", "vgg11_bn")
    assert any("100 MB of 507 MB" in str(each.proto.text) for each in test.get("progress"))
    tiles = app("tiles.py")
    assert not any("507 MB" in str(each.proto.text) for each in tiles.get("progress"))
    assert tiles.button(key="fetch_tiles").disabled  # one download at a time, and it says so
    assert "Another download" in tiles.button(key="fetch_tiles").help
