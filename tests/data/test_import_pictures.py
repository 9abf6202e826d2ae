"""Folders and archives that are imported: what comes of them, what is left out, and what becomes of an earlier set."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from acquired_sets import ZIP, contents, half_made
from bad_archives import GOOD
from torchvision.datasets import EuroSAT, ImageFolder
from zip_makers import Entry, jpeg, tree_entries, write_zip

from eurosat_core.data import acquire, archive
from eurosat_core.data.acquire import Stage, acquired_place, import_pictures, left_out, unpacked_place
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.listing import list_pictures

SmallFolder = Callable[..., Path]
Patch = pytest.MonkeyPatch


def test_a_zip_is_imported(own_zip: Path, cache: Path) -> None:
    stages: list[Stage] = []
    place = import_pictures(own_zip, cache, stages.append)
    own_zip.unlink()
    assert place == acquired_place(cache)
    assert list_pictures(place).names == tuple(each.name for each in GOOD)
    assert stages == [Stage("unpacking", 6, 6), Stage("decoding", 6, 6)]
    assert json.loads((place / ".source.json").read_text())["origin"] == str(own_zip)


def test_a_class_tree_is_imported(small_folder: SmallFolder, tmp_path: Path, cache: Path) -> None:
    source = small_folder(tmp_path / "source")
    (source / "readme.txt").write_text("not taken over")
    (source / "Forest" / "Thumbs.db").write_text("not taken over")
    stages: list[Stage] = []
    place = import_pictures(source, cache, stages.append)
    taken = contents(place)
    del taken[".source.json"]
    assert taken == {name: (source / name).read_bytes() for name in list_pictures(source).names}
    assert stages == [Stage("copying", 7, 7), Stage("decoding", 7, 7)]
    assert left_out(place) == ()


def test_a_torchvision_root_is_imported(small_folder: SmallFolder, tmp_path: Path, cache: Path) -> None:
    small_folder(tmp_path / "root" / "eurosat" / "2750", dict.fromkeys(CLASS_NAMES, 1))
    (tmp_path / "root" / "eurosat" / "EuroSAT.zip").write_bytes(b"not taken over")
    place = import_pictures(tmp_path / "root", cache)
    shutil.rmtree(tmp_path / "root")
    assert EuroSAT(str(place)).classes == list(CLASS_NAMES)
    assert sorted(each.name for each in (place / "eurosat").iterdir()) == ["2750"]


def test_a_zip_without_a_suffix_or_with_another(own_zip: Path, cache: Path) -> None:
    place = import_pictures(own_zip.rename(own_zip.with_name("download (1)")), cache)
    assert len(list_pictures(place).names) == 6


def test_an_import_replaces_the_earlier_set(own_zip: Path, cache: Path, earlier: dict[str, bytes]) -> None:
    place = import_pictures(own_zip, cache)
    assert list_pictures(place).class_names == ("Forest", "River")
    assert half_made(cache) == []


def test_the_earlier_set_stands_until_the_new_one_is_whole(
    own_zip: Path, cache: Path, earlier: dict[str, bytes], monkeypatch: Patch
) -> None:
    monkeypatch.setattr(archive, "_REPORT_EVERY", 1)
    seen: list[dict[str, bytes]] = []
    import_pictures(own_zip, cache, lambda _stage: seen.append(contents(cache / "pictures")))
    assert seen == [earlier] * 7  # six pictures, and decoding


@pytest.mark.parametrize("names", [(".tree", "A", "B"), ("eurosat", "2750"), ("EuroSAT_RGB", "2750", "eurosat")])
def test_classes_with_names_that_we_use_ourselves(names: tuple[str, ...], tmp_path: Path, cache: Path) -> None:
    place = import_pictures(write_zip(tmp_path / "a.zip", tree_entries(names)), cache)
    visible = tuple(sorted(each for each in names if not each.startswith(".")))
    assert list_pictures(place).class_names == visible
    assert ImageFolder(str(place), allow_empty=True).classes == list(visible)


def test_what_was_left_out_is_kept(own_zip: Path, cache: Path) -> None:
    write_zip(own_zip, [*GOOD, Entry("Forest/bad.jpg", jpeg(), crc=1)])
    place = import_pictures(own_zip, cache)
    (kind,) = left_out(place)
    assert (kind.reason, kind.count, kind.example) == ("damaged in the archive", 1, "Forest/bad.jpg")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"left_out": 3}', '{"left_out": ["a"], "acquired": "x"}'])
def test_a_damaged_note_of_the_source_says_nothing(text: str, own_zip: Path, cache: Path) -> None:
    place = import_pictures(own_zip, cache)
    (place / ".source.json").write_text(text)
    assert left_out(place) == ()
    assert acquired_place(cache) == place
    assert left_out(cache) == ()


def test_pictures_that_cannot_be_copied_are_left_out(
    small_folder: SmallFolder, tmp_path: Path, cache: Path, monkeypatch: Patch
) -> None:
    source = small_folder(tmp_path / "source")
    monkeypatch.setattr(acquire, "_MAX_PICTURE_BYTES", 5000)
    (source / "Forest" / "Forest_2.jpg").write_bytes(bytes(5001))
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.name == "River_1.jpg" and source in path.parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    place = import_pictures(source, cache)
    assert [str(each) for each in left_out(place)] == [
        "Forest/Forest_2.jpg: too large to be a tile",
        "River/River_1.jpg: Permission denied",
    ]
    assert len(list_pictures(place).names) == 5


def test_a_source_in_the_cache_beside_the_set(own_zip: Path, cache: Path, earlier: dict[str, bytes]) -> None:
    place = import_pictures(unpacked_place(own_zip, cache), cache)
    assert list_pictures(place).class_names == ("Forest", "River")
    before = contents(place)
    assert import_pictures(cache, cache) == place
    assert contents(place) == before
    (cache / "downloads").mkdir()
    shutil.move(own_zip, cache / "downloads" / ZIP)
    assert import_pictures(cache / "downloads" / ZIP, cache) == place
