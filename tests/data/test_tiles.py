import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.transforms import Resize

from eurosat_core.data import tiles as module
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.decoding import decode_picture
from eurosat_core.data.tiles import TileSet, find_place, open_cached, open_tiles
from eurosat_core.errors import DataError
from eurosat_core.settings import Settings

SmallFolder = Callable[..., Path]
SavePicture = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def place(small_folder: SmallFolder, tmp_path: Path) -> Path:
    return small_folder(tmp_path / "place")


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every cache entry that is made from now on."""
    made: list[Path] = []
    write = module._write_entry

    def note(target: Path, *rest: object) -> None:
        made.append(target)
        write(target, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_write_entry", note)
    return made


def torchvision_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(Resize((64, 64))(picture.convert("RGB")))


def snapshot(place: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in place.rglob("*")}


# --- what is in a TileSet ---


def test_pixels_and_labels_are_torchvisions(place: Path, cache: Path) -> None:
    tiles = open_tiles(place, cache)
    oracle = ImageFolder(str(place))
    assert len(tiles) == len(oracle) == 7
    assert tiles.labels.tolist() == oracle.targets
    assert tiles.counts == {"Forest": 4, "River": 3}
    assert (tiles.pixels.dtype, tiles.labels.dtype) == (torch.uint8, torch.int64)
    for number, (path, _) in enumerate(oracle.samples):
        assert np.array_equal(tiles.array[number], torchvision_pixels(Path(path)))


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "RGBA", "LA", "I;16"])
def test_every_colour_mode_becomes_rgb(mode: str, place: Path, cache: Path, save_picture: SavePicture) -> None:
    suffix = {"CMYK": "tif"}.get(mode, "png")
    path = place / "Forest" / f"a.{suffix}"
    if mode == "I;16":
        Image.fromarray(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)).save(path)
    else:
        save_picture(path, mode=mode)
    tiles = open_tiles(place, cache)
    assert np.array_equal(tiles.array[tiles.names.index(f"Forest/a.{suffix}")], torchvision_pixels(path))
    assert (tiles.problems, tiles.resized) == ((), 0)


@pytest.mark.parametrize("size", [(1, 1), (63, 64), (65, 64), (200, 31), (64, 128)])
def test_odd_sizes_are_resized_as_torchvision_does(
    size: tuple[int, int], place: Path, cache: Path, save_picture: SavePicture
) -> None:
    path = save_picture(place / "Forest" / "a.png", size=size)
    tiles = open_tiles(place, cache)
    assert tiles.resized == 1
    assert "1 resized to 64×64" in tiles.description
    assert np.array_equal(tiles.array[tiles.names.index("Forest/a.png")], torchvision_pixels(path))


@pytest.mark.parametrize("name", ["with space", "çé漢字🌲", "a'b\"c", "per%cent#hash", "-dash", "a\nb"])
def test_odd_names(name: str, place: Path, cache: Path, save_picture: SavePicture) -> None:
    save_picture(place / name / f"{name}.jpg")
    tiles = open_tiles(place, cache)
    assert f"{name}/{name}.jpg" in tiles.names
    assert tiles.counts[name] == 1


def test_real_tiles(eurosat_root: Path, tmp_path: Path) -> None:
    """One in a hundred of them, as links, so that the test stays short."""
    source = next(each for each in eurosat_root.rglob("AnnualCrop")).parent
    for folder in sorted(source.iterdir()):
        (tmp_path / "2750" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[::100]:
            (tmp_path / "2750" / folder.name / path.name).symlink_to(path.resolve())
    tiles = open_tiles(tmp_path, tmp_path / "cache")
    assert tiles.source == "eurosat"
    assert (tiles.problems, tiles.resized) == ((), 0)
    for number in (0, len(tiles) // 2, len(tiles) - 1):
        path = tmp_path / "2750" / tiles.names[number]
        assert np.array_equal(tiles.array[number], torchvision_pixels(path))


# --- unreadable pictures ---


def test_unreadable_pictures_are_left_out_and_named(place: Path, cache: Path) -> None:
    (place / "Forest" / "Forest_2.jpg").write_bytes(b"")
    cut = place / "River" / "River_1.jpg"
    cut.write_bytes(cut.read_bytes()[:700])
    tiles = open_tiles(place, cache)
    assert tiles.counts == {"Forest": 3, "River": 2}
    assert tiles.names[1] == "Forest/Forest_3.jpg"
    assert np.array_equal(tiles.array[1], torchvision_pixels(place / "Forest" / "Forest_3.jpg"))
    assert np.array_equal(tiles.array[3], torchvision_pixels(place / "River" / "River_2.jpg"))
    assert len(tiles.problems) == 2
    assert "2 unreadable: Forest/Forest_2.jpg: an empty file; River/River_1.jpg: damaged" in tiles.description


def test_a_class_without_readable_pictures_stays_a_class(place: Path, cache: Path) -> None:
    for path in (place / "Forest").iterdir():
        path.write_bytes(b"")
    tiles = open_tiles(place, cache)
    assert tiles.counts == {"Forest": 0, "River": 3}
    assert tiles.labels.tolist() == [1, 1, 1]
    assert "; and 1 more" in tiles.description


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(data=st.data(), suffix=st.sampled_from(["jpg", "png", "tif", "bmp", "webp"]))
def test_any_damage_is_a_reason_or_a_picture(
    data: st.DataObject, suffix: str, save_picture: SavePicture, tmp_path: Path
) -> None:
    path = save_picture(tmp_path / f"a.{suffix}")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, min(len(content) - 1, 400)) | st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        pixels, _ = decode_picture(path)
    except DataError as error:
        assert str(error)
    else:
        assert pixels.shape == (64, 64, 3)


# --- the cache ---


def test_tiles_are_decoded_once(place: Path, cache: Path, decodings: list[Path]) -> None:
    first = open_tiles(place, cache)
    second = open_tiles(place, cache)
    assert len(decodings) == 1
    assert torch.equal(first.pixels, second.pixels)
    assert replace(first, pixels=first.labels, labels=first.labels) == replace(
        second, pixels=first.labels, labels=first.labels
    )


def _change(place: Path) -> None:
    Image.new("RGB", (64, 64)).save(place / "Forest" / "Forest_1.jpg")


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (_change, 7),
        (lambda place: shutil.copy(place / "River" / "River_1.jpg", place / "Forest" / "new.jpg"), 8),
        (lambda place: (place / "River" / "River_1.jpg").unlink(), 6),
    ],
    ids=["changed", "added", "removed"],
)
def test_a_change_is_noticed(change: Callable[[Path], object], count: int, place: Path, cache: Path) -> None:
    before = open_tiles(place, cache)
    change(place)
    after = open_tiles(place, cache)
    assert len(after) == count
    assert after.fingerprint != before.fingerprint
    assert after.cache != before.cache


def test_fingerprint_is_of_the_tiles_not_of_the_place(place: Path, cache: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(place, tmp_path / "elsewhere"))
    renamed = Path(shutil.copytree(place, tmp_path / "renamed"))
    (renamed / "River").rename(renamed / "Stream")
    own = open_tiles(place, cache)
    assert open_tiles(copy, cache).fingerprint == own.fingerprint
    assert open_tiles(copy, cache).cache != own.cache
    assert open_tiles(renamed, cache).fingerprint != own.fingerprint


def test_fingerprint_tells_labels_apart(place: Path, cache: Path) -> None:
    own = open_tiles(place, cache)
    (place / "River" / "River_1.jpg").rename(place / "Forest" / "Forest_9.jpg")
    moved = open_tiles(place, cache)
    assert torch.equal(moved.pixels, own.pixels)
    assert moved.fingerprint != own.fingerprint


def _spoil_index(**changes: object) -> Callable[[Path], None]:
    def spoil(entry: Path) -> None:
        index = json.loads((entry / "index.json").read_text())
        (entry / "index.json").write_text(json.dumps(index | changes))

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        lambda entry: (entry / "index.json").unlink(),
        lambda entry: (entry / "index.json").write_text('{"format": 1, "names"'),
        lambda entry: (entry / "index.json").write_text("[]"),
        lambda entry: (entry / "index.json").write_bytes(b"\xff\xfe\x00"),
        lambda entry: (entry / "pixels.u8").unlink(),
        lambda entry: (entry / "pixels.u8").write_bytes(b"short"),
        lambda entry: os.truncate(entry / "pixels.u8", 8 * 64 * 64 * 3),
        lambda entry: shutil.rmtree(entry),
        _spoil_index(format=999),
        _spoil_index(names=["one"]),
        _spoil_index(names=7),
        _spoil_index(counts=[4, -3]),
        _spoil_index(counts=[4, 4]),
        _spoil_index(counts=[4, 2, 1]),
        _spoil_index(problems=None),
    ],
)
def test_a_damaged_entry_is_made_anew(
    spoil: Callable[[Path], object], place: Path, cache: Path, decodings: list[Path]
) -> None:
    entry = open_tiles(place, cache).cache
    good = {path.name: path.read_bytes() for path in entry.iterdir()}
    spoil(entry)
    with pytest.raises(DataError, match=r"cache entry .*"):
        open_cached(entry)
    assert len(open_tiles(place, cache)) == 7
    assert len(decodings) == 2
    assert {path.name: path.read_bytes() for path in entry.iterdir()} == good


def test_a_decoding_that_was_stopped_leaves_no_entry(place: Path, cache: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_tiles(place, cache, stop)
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []
    assert len(open_tiles(place, cache)) == 7


def test_leftovers_of_a_killed_decoding_are_swept(place: Path, cache: Path) -> None:
    old, new = cache / "making-old", cache / "making-new"
    for left in (old, new):
        left.mkdir(parents=True)
    os.utime(old, (1, 1))
    open_tiles(place, cache)
    assert not old.exists()
    assert new.exists()  # another process may be at it


def test_the_cache_stays_bounded(
    small_folder: SmallFolder, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MAX_ENTRIES", 2)
    places = [small_folder(tmp_path / f"p{number}", {"a": 1, "b": 1}) for number in range(3)]
    entries = []
    for day, place in enumerate(places):
        entries.append(open_tiles(place, cache).cache)
        os.utime(entries[-1] / "index.json", (1000 + day, 1000 + day))
    assert [entry.exists() for entry in entries] == [False, True, True]
    (entries[1] / "index.json").unlink()  # damaged ones go first
    last = open_tiles(places[0], cache).cache
    assert [entry.exists() for entry in entries] == [True, False, True]
    assert last == entries[0]


def test_two_at_once_decode_once(place: Path, cache: Path, decodings: list[Path]) -> None:
    found: list[TileSet] = []
    threads = [threading.Thread(target=lambda: found.append(open_tiles(place, cache))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decodings) == 1
    assert len({each.fingerprint for each in found}) == 1
    assert len(found) == 4


def test_a_cache_folder_that_cannot_be_written(place: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"could not be kept in .*EUROSAT_CACHE"):
        open_tiles(place, tmp_path / "file" / "cache")


def test_a_full_disk(place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_entry", full)
    with pytest.raises(DataError, match=r"No space left on device\. Free some disk space"):
        open_tiles(place, cache)


def test_nothing_is_written_beside_the_data(place: Path, cache: Path) -> None:
    before = snapshot(place)
    open_tiles(place, cache)
    assert snapshot(place) == before


def test_read_only_data(place: Path, cache: Path) -> None:
    paths = [place, *place.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(open_tiles(place, cache)) == 7
    finally:
        for path in paths:
            path.chmod(0o755)


def test_progress_is_told_to_the_end(place: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 3)
    (place / "Forest" / "Forest_1.jpg").write_bytes(b"")
    told: list[tuple[int, int]] = []
    open_tiles(place, cache, lambda done, total: told.append((done, total)))
    assert told == [(3, 7), (6, 7), (7, 7)]
    open_tiles(place, cache, lambda done, total: told.append((done, total)))
    assert len(told) == 3  # nothing to do the second time


# --- the description ---


@pytest.fixture
def eurosat(small_folder: SmallFolder, tmp_path: Path, cache: Path) -> TileSet:
    return open_tiles(small_folder(tmp_path / "ten", dict.fromkeys(CLASS_NAMES, 1)), cache)


@pytest.mark.parametrize(
    ("count", "words"),
    [(27_000, "27,000 EuroSAT tiles"), (24_300, "24,300 of 27,000 EuroSAT tiles")],
)
def test_eurosat_says_what_is_missing(eurosat: TileSet, count: int, words: str) -> None:
    assert replace(eurosat, names=("tile",) * count).description == words


def test_a_folder_names_its_place(place: Path, cache: Path) -> None:
    assert open_tiles(place, cache).description == f"7 tiles in 2 classes from {place}"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([*CLASS_NAMES[:8], "SeaLake"], "; EuroSAT's River is missing"),
        (CLASS_NAMES[2:], "; EuroSAT's AnnualCrop and Forest are missing"),
        ([*CLASS_NAMES, "Clouds"], "; not EuroSAT's: Clouds"),
        ([*CLASS_NAMES[1:], "Snow"], "; EuroSAT's AnnualCrop is missing; not EuroSAT's: Snow"),
        (["Forest", "Lake", "River"], ""),
    ],
)
def test_missing_and_extra_classes_are_said(
    names: list[str], words: str, small_folder: SmallFolder, tmp_path: Path, cache: Path
) -> None:
    place = small_folder(tmp_path / "place", dict.fromkeys(names, 1))
    assert open_tiles(place, cache).description == f"{len(names)} tiles in {len(names)} classes from {place}{words}"


def test_synthetic_tiles_say_so(cache: Path, monkeypatch: pytest.MonkeyPatch, decodings: list[Path]) -> None:
    labels = np.repeat(np.arange(10), 2)
    pixels = np.zeros((20, 64, 64, 3), dtype=np.uint8)
    monkeypatch.setattr(module.synthetic, "make_tiles", lambda: (pixels, labels))
    tiles = open_tiles(None, cache)
    assert (tiles.source, tiles.place) == ("synthetic", "")
    assert tiles.labels.tolist() == labels.tolist()
    assert tiles.class_names == CLASS_NAMES
    assert tiles.description.startswith("20 synthetic tiles")
    assert "no real satellite data" in tiles.description
    open_tiles(None, cache)
    assert len(decodings) == 1


# --- where tiles are looked for ---


def test_find_place_takes_the_first_of_named_variable_default(small_folder: SmallFolder, tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", small_folder(tmp_path / "full")
    named, variable = Path("named"), Path("variable")
    settings = Settings(tmp_path, tmp_path, data=variable, default_data=(empty, full))
    assert find_place(named, settings) == named
    assert find_place(None, settings) == variable  # taken even if nothing is there: opening it says so
    assert find_place(None, replace(settings, data=None)) == full
    assert find_place(None, replace(settings, data=None, default_data=(empty,))) is None
