import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_archives import fail_for
from torchvision.datasets import ImageFolder

from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.listing import has_tiles, list_pictures
from eurosat_core.errors import DataError

SmallFolder = Callable[..., Path]


def check_order(place: Path) -> None:
    listing = list_pictures(place)
    oracle = ImageFolder(str(listing.folder))
    assert list(listing.class_names) == oracle.classes
    assert [str(listing.folder / name) for name in listing.names] == [path for path, _ in oracle.samples]
    assert list(listing.labels) == oracle.targets


def test_order_is_torchvisions(small_folder: SmallFolder, tmp_path: Path) -> None:
    # Twelve pictures: by name, 10 comes before 2; capitals come before small letters.
    check_order(small_folder(tmp_path, {"River": 12, "forest": 3, "Beach": 2}))


def test_order_of_real_tiles_is_torchvisions(eurosat_root: Path) -> None:
    check_order(eurosat_root)
    assert list_pictures(eurosat_root).is_eurosat


@pytest.mark.parametrize("inside", ["eurosat/2750", "2750", "EuroSAT_RGB", ""])
def test_class_folders_are_found_where_archives_put_them(
    inside: str, small_folder: SmallFolder, tmp_path: Path
) -> None:
    small_folder(tmp_path / inside)
    listing = list_pictures(tmp_path)
    assert listing.folder == tmp_path / inside
    assert listing.names[0] == "Forest/Forest_1.jpg"
    assert has_tiles(tmp_path)


def test_only_pictures_in_class_folders_count(
    small_folder: SmallFolder, save_picture: Callable[..., Path], tmp_path: Path
) -> None:
    place = small_folder(tmp_path)
    before = list_pictures(place).names
    save_picture(place / "loose.jpg")
    save_picture(place / ".hidden" / "a.jpg")
    save_picture(place / "Forest" / ".hidden.jpg")
    (place / "Forest" / "notes.txt").write_text("no picture")
    (place / "Forest" / "folder.jpg").mkdir()
    (place / "Empty").mkdir()
    (place / "folder.png" / "inner.jpg").mkdir(parents=True)
    (place / "Forest" / "broken.jpg").symlink_to(place / "nowhere.jpg")
    assert list_pictures(place).names == before


@pytest.mark.parametrize("suffix", ["JPG", "jpeg", "png", "TIF", "tiff", "bmp", "webp"])
def test_suffixes(suffix: str, small_folder: SmallFolder, save_picture: Callable[..., Path], tmp_path: Path) -> None:
    place = small_folder(tmp_path)
    save_picture(place / "Forest" / f"other.{suffix}")
    assert f"Forest/other.{suffix}" in list_pictures(place).names


def test_links_to_pictures_are_followed(small_folder: SmallFolder, tmp_path: Path) -> None:
    place = small_folder(tmp_path / "a")
    (place / "Forest" / "link.jpg").symlink_to(place / "River" / "River_1.jpg")
    (tmp_path / "b").symlink_to(place)
    listing = list_pictures(tmp_path / "b")
    assert "Forest/link.jpg" in listing.names
    assert listing.key == list_pictures(place).key  # the same folder under another name


def test_eurosat_is_known_by_its_classes(small_folder: SmallFolder, tmp_path: Path) -> None:
    assert list_pictures(small_folder(tmp_path / "ten", dict.fromkeys(CLASS_NAMES, 1))).is_eurosat
    assert not list_pictures(small_folder(tmp_path / "nine", dict.fromkeys(CLASS_NAMES[1:], 1))).is_eurosat


RIVER = Path("River", "River_1.jpg")


def _grow(place: Path) -> None:
    """Another size, the same time."""
    times = ((place / RIVER).stat().st_atime_ns, (place / RIVER).stat().st_mtime_ns)
    (place / RIVER).write_bytes((place / RIVER).read_bytes() + b"0")
    os.utime(place / RIVER, ns=times)


CHANGES: dict[str, Callable[[Path], object]] = {
    "added": lambda place: shutil.copy(place / RIVER, place / "River" / "new.jpg"),
    "rewritten": lambda place: os.utime(place / RIVER, ns=(1, 1)),
    "grown": _grow,
    "removed": lambda place: (place / RIVER).unlink(),
    "renamed": lambda place: (place / RIVER).rename(place / "River" / "River_0.jpg"),
    "class renamed": lambda place: (place / "River").rename(place / "Stream"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_key_tells_any_change(change: Callable[[Path], object], small_folder: SmallFolder, tmp_path: Path) -> None:
    place = small_folder(tmp_path)
    before = list_pictures(place).key
    assert list_pictures(place).key == before
    change(place)
    assert list_pictures(place).key != before


def test_names_that_are_no_text(small_folder: SmallFolder, tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"tiles \xff")
    try:
        small_folder(place)
        (place / "River" / "River_1.jpg").rename(place / "River" / os.fsdecode(b"\xe9.jpg"))
    except (OSError, UnicodeError):
        pytest.skip("this file system takes text only")
    assert len(list_pictures(place).key) == 32


def test_a_class_folder_that_may_not_be_read(
    small_folder: SmallFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = small_folder(tmp_path)
    seen = []
    denied = PermissionError(13, "Permission denied", str(place / "River"))

    def second_look(path: Path) -> bool:  # found first, then listed
        seen.append(Path(path).name)
        return seen.count("River") == 2

    fail_for(monkeypatch, os, "scandir", denied, second_look)
    with pytest.raises(DataError, match="River"):
        list_pictures(place)


def test_has_tiles_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_tiles(tmp_path)
    assert not has_tiles(tmp_path / "missing")
    fail_for(monkeypatch, os, "scandir", PermissionError(13, "Permission denied"), lambda _path: True)
    assert not has_tiles(tmp_path)
