"""The lab's tiles: opened, downloaded, exchanged while the lab is open."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import CONFIG, Closing, FakeEngine, eventually, lab_settings, raising, refused

from eurosat_core.data import acquire, splits, tiles
from eurosat_core.data.acquire import Stage
from eurosat_core.data.download import Stopped
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, DataError
from eurosat_core.lab import library as module
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.library import Fetch


@pytest.fixture
def own_tiles(small_folder: Callable[..., Path], tmp_path: Path) -> Path:
    return small_folder(tmp_path / "archive", {"Forest": 12, "River": 12})


@pytest.fixture
def downloads(own_tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is downloaded is these tiles."""

    def download(_remote: object, cache: Path, report: Callable[[Stage], None], _stop: object) -> Path:
        report(Stage("downloading", 10, 100))
        return acquire.import_pictures(own_tiles, cache, report)

    monkeypatch.setattr(acquire, "download_pictures", download)


@pytest.fixture
def lab(tmp_path: Path, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, closing: Closing) -> Lab:
    """A lab without data, on tiles that stand in for the synthetic ones."""
    synthetic = replace(small_tiles, source="synthetic")
    real = module.open_tiles

    def open_tiles(where: Path | None, *rest: Any) -> TileSet:
        return synthetic if where is None else real(where, *rest)

    monkeypatch.setattr(tiles, "open_tiles", open_tiles)
    monkeypatch.setattr(module, "open_tiles", open_tiles)
    monkeypatch.setattr(splits, "download_lists", lambda *_: None)
    lab = closing(Lab(lab_settings(tmp_path, None), FakeEngine()).open())
    eventually(lambda: lab.tiles().tile_set)
    return lab


def ended(lab: Lab) -> Fetch:
    fetch: Fetch = eventually(lambda: (now := lab.library.fetching()) and not now.is_active and now)
    return fetch


def test_a_download_exchanges_the_tiles(lab: Lab, downloads: None) -> None:
    assert lab.library.fetching() is None
    lab.library.fetch("tiles", "ada")
    fetch = ended(lab)
    assert (fetch.stage, fetch.owner, fetch.problem) == ("done", "ada", "")
    tile_set = lab.tiles().tile_set
    assert tile_set is not None and len(tile_set) == 24
    run = lab.submit(CONFIG, "ada")
    assert run.tiles.fingerprint == tile_set.fingerprint


def test_one_download_however_many_ask(lab: Lab, own_tiles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    go_on = threading.Event()

    def download(_remote: object, cache: Path, report: Callable[[Stage], None], _stop: object) -> Path:
        calls.append(1)
        report(Stage("downloading", 50, 100))
        go_on.wait(20)
        return acquire.import_pictures(own_tiles, cache, report)

    monkeypatch.setattr(acquire, "download_pictures", download)
    for who in ("ada", "bob", "eve"):
        lab.library.fetch("tiles", who)
    fetch = eventually(lambda: (f := lab.library.fetching()) and f.done and f)
    assert (fetch.owner, fetch.stage, fetch.done, fetch.total) == ("ada", "downloading", 50, 100)
    assert refused(lambda: lab.library.stop_fetch("bob")) and lab.library.fetching() == fetch
    go_on.set()
    assert ended(lab).stage == "done"
    assert len(calls) == 1


def test_stop_is_heard_and_the_next_try_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(_remote: object, _cache: Path, _report: object, stop: threading.Event) -> Path:
        assert stop.wait(20)
        raise Stopped

    monkeypatch.setattr(acquire, "download_pictures", download)
    lab.library.fetch("tiles", "ada")
    lab.library.stop_fetch("ada")
    assert ended(lab).stage == "stopped"
    monkeypatch.setattr(acquire, "download_pictures", raising(DataError("No server.")))
    lab.library.fetch("tiles", "bob")
    fetch = ended(lab)
    assert (fetch.stage, fetch.owner, fetch.problem) == ("failed", "bob", "No server.")
    lab.library.stop_fetch("bob")  # nothing to stop: nothing happens


def test_an_unexpected_failure_is_worded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acquire, "download_pictures", raising(RecursionError("deep")))
    lab.library.fetch("tiles", "ada")
    assert "RecursionError" in ended(lab).problem


def test_tiles_without_lists_are_tiles_all_the_same(lab: Lab, downloads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "download_lists", raising(DataError("No lists.")))
    lab.library.fetch("tiles", "ada")
    fetch = ended(lab)
    assert fetch.stage == "done" and "No lists." in fetch.problem
    assert len(lab.tiles().tile_set or ()) == 24
    lab.library.fetch("lists", "ada")
    assert ended(lab).stage == "failed"


def test_time_left_comes_from_the_pace(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    library = lab.library
    library._fetch = Fetch("tiles", "ada")
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    library._report(Stage("downloading", 100, 1000))  # resumed: what was there before says nothing of the pace
    now[0] += 2
    library._report(Stage("downloading", 300, 1000))
    fetch = library.fetching()
    assert fetch is not None and fetch.seconds_left == pytest.approx(7.0)
    library._report(Stage("unpacking", 5, 10))
    fetch = library.fetching()
    assert fetch is not None and fetch.seconds_left is None


def test_what_was_acquired_stands_in_for_a_named_place_that_is_bad(
    own_tiles: Path, tmp_path: Path, small_tiles: TileSet, closing: Closing
) -> None:
    settings = lab_settings(tmp_path, None, data=tmp_path / "typo")
    acquire.import_pictures(own_tiles, settings.cache)
    lab = closing(Lab(settings, FakeEngine()).open())
    state = eventually(lambda: lab.tiles() if lab.tiles().tile_set else None)
    assert "typo" in state.problem and len(state.tile_set) == 24
    assert "EUROSAT_DATA" in state.remedy


def test_leftovers_are_removed_when_a_lab_opens(tmp_path: Path, small_tiles: TileSet, closing: Closing) -> None:
    settings = lab_settings(tmp_path, small_tiles, cache=tmp_path / "cache")
    left = settings.cache / "acquiring-1234"
    left.mkdir(parents=True)
    closing(Lab(settings, FakeEngine()).open())
    eventually(lambda: not left.exists())


def test_the_split_by_place_says_why_it_cannot_be_had(lab: Lab, downloads: None) -> None:
    assert "Synthetic tiles" in lab.library.place_problem()
    with pytest.raises(ConfigError, match="Synthetic tiles"):
        lab.submit(replace(CONFIG, split="place"), "ada")
    lab.library.fetch("tiles", "ada")
    ended(lab)
    assert not lab.library.has_place_lists()
    assert lab.library.place_problem()
    lists = lab.settings.cache / "spatial"
    lists.mkdir()
    for part, number in (("train", 1), ("val", 2), ("test", 3)):
        (lists / splits.PLACE_LISTS[part].name).write_text(f"Forest_{number}.jpg")
    assert lab.library.place_problem() == ""
    assert sorted(lab.library.place_parts().tolist(), reverse=True)[:3] == [2, 1, 0]
    assert lab.submit(replace(CONFIG, split="place"), "ada").state == "queued"
