"""A table of folders that cannot be used, and pictures that cannot be read, each with the words of its sentence."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eurosat_core.data import decoding, listing
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError

Patch = pytest.MonkeyPatch


@pytest.fixture
def save(save_picture: Callable[..., Path]) -> Callable[..., Path]:
    return save_picture


def _file(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    place.write_text("no folder")
    return place


def _missing(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    return place / "typo"


def _endless_name(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    return place / ("x" * 300)


def _empty(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    place.mkdir()
    return place


def _loose_pictures(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    save(place / "a.jpg")
    save(place / "b.jpg")
    return place


def _no_pictures(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    for name in ("Forest", "River"):
        (place / name).mkdir(parents=True)
        (place / name / "notes.txt").write_text("no picture")
    return place


def _one_class(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    save(place / "Forest" / "a.jpg")
    (place / "River").mkdir()
    return place


def _one_class_deep(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    save(place / "eurosat" / "2750" / "Forest" / "a.jpg")
    return place


def _pictures_too_deep(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    for name in ("Forest", "River"):
        save(place.joinpath(*"abcdefgh", name, "a.jpg"))
    return place


def _only_an_archive(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    place.mkdir()
    (place / "EuroSAT.zip").write_bytes(b"PK")
    return place


def _only_other_pictures(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    for name in ("Forest", "River"):
        (place / name).mkdir(parents=True)
        for number in range(3):
            (place / name / f"{number}.gif").write_bytes(b"GIF89a")
    return place


def _too_many_classes(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    for number in range(101):
        save(place / f"class{number}" / "a.jpg", size=(1, 1))
    return place


def _too_many_pictures(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    patch.setattr(listing, "_MAX_PICTURES", 3)
    for name in ("Forest", "River"):
        save(place / name / "a.jpg")
        save(place / name / "b.jpg")
    return place


def _nothing_readable(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    for name in ("Forest", "River"):
        (place / name).mkdir(parents=True)
        (place / name / "a.jpg").write_text("<html>not found</html>")
    return place


def _only_broken_links(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    for name in ("Forest", "River"):
        (place / name).mkdir(parents=True)
        (place / name / "a.jpg").symlink_to(place / "moved away.jpg")
    return place


def _forbidden(place: Path, save: Callable[..., Path], patch: Patch) -> Path:
    save(place / "Forest" / "a.jpg")

    def deny(path: Path) -> None:  # root may read everything, so the refusal is played
        raise PermissionError(13, "Permission denied", str(path))

    patch.setattr(os, "scandir", deny)
    return place


FOLDERS = [
    (_file, ["is not a zip archive", "one subfolder of pictures per class"]),
    (_missing, ["There is no folder", "typo", "Check the path"]),
    (_endless_name, ["There is no folder"]),
    (_empty, ["No pictures were found", "one subfolder per class"]),
    (_loose_pictures, ["No pictures were found", "Forest/Forest_1.jpg"]),
    (_no_pictures, ["No pictures were found"]),
    (_one_class, ["Only one class folder", "Forest", "at least two"]),
    (_one_class_deep, ["Only one class folder", "2750"]),
    (_pictures_too_deep, ["No pictures were found", "one subfolder per class"]),
    (_only_an_archive, ["No pictures were found", "EuroSAT.zip: name that, or unpack it"]),
    (_only_other_pictures, ["No pictures were found", "left out: 6 of .gif"]),
    (_too_many_classes, ["101 folders", "at most 100 classes"]),
    (_too_many_pictures, ["4 pictures", "at most 3"]),
    (_nothing_readable, ["None of the 2 pictures", "2 × not a picture", "Forest/a.jpg"]),
    (_only_broken_links, ["No pictures were found"]),
    (_forbidden, ["may not be read", "permission"]),
]


@pytest.mark.parametrize(("make", "words"), FOLDERS, ids=lambda value: getattr(value, "__name__", ""))
def test_bad_folder_gets_a_sentence(
    make: Callable[..., Path],
    words: list[str],
    save: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: Patch,
) -> None:
    place = make(tmp_path / "place", save, monkeypatch)
    with pytest.raises(DataError) as caught:
        open_tiles(place, tmp_path / "cache")
    monkeypatch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert "\n" not in sentence
    assert list(tmp_path.glob("cache/tiles-*/")) == []
    assert list(tmp_path.glob("cache/making-*")) == []


def _empty_file(path: Path, patch: Patch) -> None:
    path.write_bytes(b"")


def _text(path: Path, patch: Patch) -> None:
    path.write_text("<html>not found</html>")


def _cut_short(path: Path, patch: Patch) -> None:
    path.write_bytes(path.read_bytes()[:800])


def _only_a_header(path: Path, patch: Patch) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _too_large(path: Path, patch: Patch) -> None:
    patch.setattr(decoding, "_MAX_PIXELS", 64 * 64 - 1)


def _bomb(path: Path, patch: Patch) -> None:
    patch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 64 * 64 // 2 - 1)


def _unreadable(path: Path, patch: Patch) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    patch.setattr("builtins.open", deny)


def _gone(path: Path, patch: Patch) -> None:
    path.unlink()


PICTURES = [
    (_empty_file, "an empty file"),
    (_text, "not a picture"),
    (_cut_short, "cut short"),
    (_only_a_header, "damaged or cut short|not a picture"),
    (_too_large, r"too large \(64×64 pixels\)"),
    (_bomb, "too large to be a tile"),
    (_unreadable, "no permission"),
    (_gone, "gone"),
]


@pytest.mark.parametrize(("spoil", "words"), PICTURES, ids=lambda value: getattr(value, "__name__", ""))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_bad_picture_gets_a_reason(
    spoil: Callable[[Path, Patch], None],
    words: str,
    suffix: str,
    save: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: Patch,
) -> None:
    path = save(tmp_path / f"tile.{suffix}")
    spoil(path, monkeypatch)
    with pytest.raises(DataError, match=words):
        decoding.decode_picture(path)
