"""A zip of pictures that stays where it is: unpacked once into the cache, of which few are kept."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from acquired_sets import half_made
from bad_archives import GOOD
from zip_makers import tree_entries, write_zip

from eurosat_core.data import acquire
from eurosat_core.data.acquire import acquired_place, unpacked_place
from eurosat_core.data.listing import list_pictures
from eurosat_core.errors import DataError

Patch = pytest.MonkeyPatch


def test_a_zip_is_unpacked_once(own_zip: Path, cache: Path, monkeypatch: Patch) -> None:
    unpacked: list[Path] = []
    honest = acquire.unpack_pictures

    def note(archive: Path, *arguments: Any, **options: Any) -> Any:
        unpacked.append(archive)
        return honest(archive, *arguments, **options)

    monkeypatch.setattr(acquire, "unpack_pictures", note)
    place = unpacked_place(own_zip, cache)
    assert unpacked_place(own_zip, cache) == place
    assert len(unpacked) == 1
    assert own_zip.exists()
    assert list_pictures(place).class_names == ("Forest", "River")
    assert acquired_place(cache) is None, "it is not the set that was acquired"
    write_zip(own_zip, tree_entries(("A", "B")))
    other = unpacked_place(own_zip, cache)
    assert other != place
    assert list_pictures(other).class_names == ("A", "B")
    shutil.rmtree(other / "A")  # by hand: it is made anew, not given away as it is
    assert list_pictures(unpacked_place(own_zip, cache)).class_names == ("A", "B")
    assert len(unpacked) == 3
    assert half_made(cache) == []


def test_few_unpacked_zips_are_kept(tmp_path: Path, cache: Path) -> None:
    archives = [write_zip(tmp_path / f"{number}.zip", GOOD) for number in range(5)]
    places = [unpacked_place(each, cache) for each in archives]
    kept = {each for each in places if each.exists()}
    assert kept == set(places[-acquire._UNPACKED_KEPT :])


def test_a_bad_zip_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "bad.zip").write_text("no archive")
    with pytest.raises(DataError, match="is not a zip archive"):
        unpacked_place(tmp_path / "bad.zip", cache)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        unpacked_place(tmp_path / "missing.zip", cache)
    with pytest.raises(DataError, match="is a folder"):
        unpacked_place(tmp_path, cache)
    assert list(cache.glob("*")) == [cache / "pictures.lock"]
