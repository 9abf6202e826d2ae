"""The panel "Get the real tiles" and the view of the splits, on a page of their own: no page has to be drawn around."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_engine import raising
from streamlit.testing.v1 import AppTest

from eurosat_core.errors import DataError
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.library import Fetch
from eurosat_core.training.config import workshop_config
from tests.pages.conftest import ME, alone, charts, choose, click, keys, open_tiles, put, shown, tells


def panel(lab: Lab, monkeypatch: pytest.MonkeyPatch, fetch: Fetch | None) -> AppTest:
    def script() -> None:
        from pages.parts.tiles import get

        get.draw()

    monkeypatch.setattr(lab.library, "_fetch", fetch)
    return alone(script)


def splits(split: str = "random") -> AppTest:
    def script() -> None:
        from pages.parts import session
        from pages.parts.tiles import views

        views.draw_split(session.lab().tiles().tile_set)

    test = alone(script)
    return test if split == "random" else choose(test, "tiles_split", split)


def real(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the synthetic tiles pass for real ones."""
    tiles = replace(open_tiles(lab), source="eurosat")
    monkeypatch.setattr(lab.library, "_state", replace(lab.tiles(), tile_set=tiles))


def test_synthetic_tiles_come_with_the_offer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(lab.library, "fetch", lambda what, owner: asked.append((what, owner)))
    test = panel(lab, monkeypatch, None)
    assert tells(test, "get_tiles/offer", "get_tiles/offline")
    click(test, "fetch_tiles")
    assert asked == [("tiles", ME)]


def test_real_tiles_need_no_offer_but_missing_lists_are_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    real(lab, monkeypatch)
    assert shown(panel(lab, monkeypatch, None)) == ""
    test = panel(lab, monkeypatch, Fetch("tiles", ME, "done", problem="Lost"))
    assert [each.value for each in test.warning] == ["Lost"]


def progress(test: AppTest) -> str:
    return str(test.get("progress")[0].proto.text)


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        (Fetch("tiles", ME), "Waiting"),
        (Fetch("tiles", ME, "downloading", 30 * 2**20, 90 * 2**20, 12.0), "30 MB of 90 MB, about 12 s"),
        (Fetch("tiles", ME, "downloading", 30 * 2**20), ": 30 MB"),
        (Fetch("tiles", ME, "unpacking", 512, 27000), "Unpacking: 512 of 27,000"),
        (Fetch("tiles", ME, "decoding", 512, 27000), ": 512"),
    ],
)
def test_progress_is_told_with_a_way_to_stop(
    fetch: Fetch, words: str, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = panel(lab, monkeypatch, fetch)
    assert words in progress(test)
    assert keys(test) == {"fetch_stop"}
    click(test, "fetch_stop")
    assert lab.library._stop.is_set()
    assert test.button(key="fetch_stop").disabled


def test_others_watch_but_cannot_stop(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    test = panel(lab, monkeypatch, Fetch("tiles", "somebody *else*", "downloading", 5, 10))
    assert keys(test) == set()
    assert "somebody *else*" in shown(test)


def test_what_went_wrong_is_said_with_the_way_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    test = panel(lab, monkeypatch, Fetch("tiles", ME, "failed", problem="[Gone](x)"))
    assert [each.value for each in test.error] == [r"\[Gone\]\(x\)"]
    assert not test.button(key="fetch_tiles").disabled
    (lab.settings.cache / "downloads").mkdir(exist_ok=True)
    part = lab.settings.cache / "downloads" / "EuroSAT.zip.part"
    part.write_bytes(bytes(3 * 2**20))
    try:
        test = panel(lab, monkeypatch, Fetch("tiles", ME, "stopped"))
        assert "3.0 MB" in test.button(key="fetch_tiles").label
    finally:
        part.unlink()


# --- the view of the splits ---


def test_the_random_split_shows_its_parts_and_by_place_synthetic_tiles_have_none(lab: Lab) -> None:
    test = splits()
    assert [each.value for each in test.metric] == ["1,200", "400", "400"]
    assert charts(test) == 1
    assert tells(test, "splits/intro", "splits/sealed")
    test = splits("place")
    assert tells(test, "splits/synthetic")
    assert charts(test) == 0 and not keys(test)


def test_by_place_lists_are_fetched_a_problem_in_them_is_a_sentence_and_they_make_the_parts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    real(lab, monkeypatch)
    asked: list[str] = []
    monkeypatch.setattr(lab.library, "fetch", lambda what, _owner: asked.append(what))
    test = splits("place")
    assert test.button(key="tiles_train_place").disabled and not test.button(key="tiles_train_random").disabled
    click(test, "fetch_lists")
    assert asked == ["lists"]
    monkeypatch.setattr(lab.library, "place_parts", raising(DataError("*Others*")))
    assert "*Others*" in shown(splits("place"))
    parts = np.array([0] * 1000 + [1] * 500 + [2] * 400 + [-1] * 100, dtype=np.int8)
    monkeypatch.setattr(lab.library, "place_parts", lambda: parts)
    test = splits("place")
    assert [each.value for each in test.metric] == ["1,000", "500", "400"]
    assert "100 tiles" in shown(test)  # in none of the lists
    assert not test.button(key="tiles_train_place").disabled


@pytest.mark.parametrize("source", ["eurosat", "synthetic"])  # the latter say nothing, and the record stands in
def test_own_runs_on_both_splits_are_compared(lab: Lab, source: Any) -> None:
    for split, accuracy in (("random", 0.8), ("place", 0.7)):
        summary = {"val_accuracy": accuracy, "val_tiles": 4860, "train_tiles": 14580}
        record = put(lab, "finished", [], config=workshop_config(split=split), summary=summary)
        lab.store.update(record.id, tiles=replace(record.tiles, source=source))
    test = splits()
    assert tells(test, "split.both.worse", gap=0.1) == (source == "eurosat")
    assert any(each.icon == ":material/history:" for each in test.info) == (source == "synthetic")
