import os
from collections.abc import Callable
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.listing import has_tiles, list_pictures
from eurosat_core.errors import DataError

SmallFolder = Callable[..., Path]


def test_order_is_torchvisions(small_folder: SmallFolder, tmp_path: Path) -> None:
    # Twelve pictures: by name, 10 comes before 2; capitals come before small letters.
    place = small_folder(tmp_path, {"River": 12, "forest": 3, "Beach": 2})
    oracle = ImageFolder(str(place))
    listing = list_pictures(place)
    assert list(listing.class_names) == oracle.classes
    assert [str(place / name) for name in listing.names] == [path for path, _ in oracle.samples]
    assert list(listing.labels) == oracle.targets


def test_order_of_real_tiles_is_torchvisions(eurosat_root: Path) -> None:
    listing = list_pictures(eurosat_root)
    oracle = ImageFolder(str(listing.folder))
    assert listing.is_eurosat
    assert [str(listing.folder / name) for name in listing.names] == [path for path, _ in oracle.samples]
    assert list(listing.labels) == oracle.targets


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


def _add(place: Path) -> None:
    (place / "River" / "new.jpg").write_bytes((place / "River" / "River_1.jpg").read_bytes())


def _rewrite(place: Path) -> None:  # same size, another time
    os.utime(place / "River" / "River_1.jpg", ns=(1, 1))


def _grow(place: Path) -> None:  # another size, same time
    path = place / "River" / "River_1.jpg"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    path.write_bytes(path.read_bytes() + b"0")
    os.utime(path, ns=times)


@pytest.mark.parametrize(
    "change",
    [
        _add,
        _rewrite,
        _grow,
        lambda place: (place / "River" / "River_1.jpg").unlink(),
        lambda place: (place / "River" / "River_1.jpg").rename(place / "River" / "River_0.jpg"),
        lambda place: (place / "River").rename(place / "Stream"),
    ],
    ids=["added", "rewritten", "grown", "removed", "renamed", "class renamed"],
)
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
    scan, seen = os.scandir, []

    def deny_second_look(path: Path) -> object:  # found first, then listed
        seen.append(Path(path).name)
        if seen.count("River") == 2:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", deny_second_look)
    with pytest.raises(DataError, match="River may not be read"):
        list_pictures(place)


def test_has_tiles_never_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not has_tiles(tmp_path)
    assert not has_tiles(tmp_path / "missing")

    def deny(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", deny)
    assert not has_tiles(tmp_path)
