"""Splits: every tile in one part, the same for the same seed; and the published lists of the split by place."""

import errno
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
import torch
from bad_archives import fail_for
from file_server import FileServer, plain
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core.data import splits as module
from eurosat_core.data.classes import CLASSES
from eurosat_core.data.download import PLACE_LISTS, Remote
from eurosat_core.data.splits import (
    ABSENT,
    PARTS,
    Split,
    adopt_lists,
    download_lists,
    folder_with_lists,
    has_lists,
    import_lists,
    make_place_split,
    make_split,
    parts_of,
)
from eurosat_core.errors import DataError

EUROSAT_LABELS = torch.repeat_interleave(torch.arange(10), torch.tensor([each.tiles for each in CLASSES]))

labels = st.lists(st.integers(0, 9), min_size=8, max_size=300).map(torch.tensor)


def all_numbers(split: Split) -> list[int]:
    return sorted(split.train.tolist() + split.validation.tolist())


def class_counts(labels: torch.Tensor, part: torch.Tensor) -> list[int]:
    return torch.bincount(labels[part], minlength=10).tolist()


@pytest.mark.parametrize("stratified", [False, True])
def test_sizes_are_the_tutorials(stratified: bool) -> None:
    split = make_split(EUROSAT_LABELS, seed=42, stratified=stratified)
    assert (len(split.train), len(split.validation)) == (20_250, 6_750)
    assert all_numbers(split) == list(range(27_000))


@given(labels=labels, seed=st.integers(0, 2**31 - 1), stratified=st.booleans())
def test_parts_are_disjoint_and_complete(labels: torch.Tensor, seed: int, stratified: bool) -> None:
    split = make_split(labels, seed=seed, stratified=stratified)
    assert len(split.train) == len(labels) * 3 // 4
    assert all_numbers(split) == list(range(len(labels)))
    assert split.validation.tolist() == sorted(split.validation.tolist())


@given(labels=labels, seed=st.integers(0, 1000), data=st.data())
def test_subset_has_exactly_its_size_and_the_classes_shares(
    labels: torch.Tensor, seed: int, data: st.DataObject
) -> None:
    size = data.draw(st.integers(4, len(labels)))
    split = make_split(labels, seed=seed, tiles=size)
    numbers = all_numbers(split)
    assert len(set(numbers)) == len(numbers) == size
    assert set(numbers) <= set(range(len(labels)))
    whole = torch.bincount(labels, minlength=10).tolist()
    chosen = class_counts(labels, torch.tensor(numbers))
    assert all(abs(size * many / len(labels) - some) < 1 for many, some in zip(whole, chosen, strict=True))


def test_workshop_subset_of_eurosat() -> None:
    split = make_split(EUROSAT_LABELS, seed=1, tiles=6000, stratified=True)
    assert (len(split.train), len(split.validation)) == (4500, 1500)
    chosen = class_counts(EUROSAT_LABELS, torch.tensor(all_numbers(split)))
    assert sorted(chosen) == [444, 555, 555, 555, 556, 667, 667, 667, 667, 667]


def test_more_tiles_than_there_are_means_all() -> None:
    labels = EUROSAT_LABELS[::100]
    assert all_numbers(make_split(labels, seed=1, tiles=10**6)) == list(range(len(labels)))


def test_stratified_divides_every_class_alike() -> None:
    split = make_split(EUROSAT_LABELS, seed=3, stratified=True)
    assert class_counts(EUROSAT_LABELS, split.train) == [each.tiles * 3 // 4 for each in CLASSES]
    drawn = make_split(EUROSAT_LABELS, seed=3)
    assert class_counts(EUROSAT_LABELS, drawn.train) != class_counts(EUROSAT_LABELS, split.train)


@pytest.mark.parametrize("options", [{}, {"stratified": True}, {"tiles": 500}, {"train_fraction": 0.5}])
def test_same_seed_same_parts(options: dict[str, object]) -> None:
    first, again, other = (
        make_split(EUROSAT_LABELS, seed=seed, **options)  # type: ignore[arg-type]
        for seed in (7, 7, 8)
    )
    assert torch.equal(first.train, again.train)
    assert torch.equal(first.validation, again.validation)
    assert not torch.equal(first.validation, other.validation)


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    make_split(EUROSAT_LABELS, seed=5, tiles=100, stratified=True)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("labels", "options"), [([], {}), ([0], {}), ([0], {"stratified": True}), ([0, 1], {"train_fraction": 0.1})]
)
def test_too_few_tiles_get_a_sentence(labels: list[int], options: dict[str, object]) -> None:
    with pytest.raises(DataError, match=f"^{len(labels)} tiles"):
        make_split(torch.tensor(labels, dtype=torch.int64), seed=1, **options)  # type: ignore[arg-type]


# --- a sealed test part, and the split by place ---


def test_a_sealed_part_is_a_fifth_of_every_class_and_leaves_60_20_20() -> None:
    split = make_split(EUROSAT_LABELS, seed=42, sealed_test=True)
    assert (len(split.train), len(split.validation), len(split.test)) == (16_200, 5_400, 5_400)
    assert sorted([*all_numbers(split), *split.test.tolist()]) == list(range(27_000))
    assert class_counts(EUROSAT_LABELS, split.test) == [each.tiles // 5 for each in CLASSES]


@given(labels=labels, seed=st.integers(0, 1000), tiles=st.none() | st.integers(8, 100), stratified=st.booleans())
def test_the_sealed_part_depends_on_nothing_but_the_seed(
    labels: torch.Tensor, seed: int, tiles: int | None, stratified: bool
) -> None:
    plain = make_split(labels, seed=seed, sealed_test=True)
    other = make_split(labels, seed=seed, tiles=tiles, stratified=stratified, train_fraction=0.5, sealed_test=True)
    assert torch.equal(plain.test, other.test)
    assert not set(other.test.tolist()) & set(all_numbers(other))


def test_by_place_takes_the_parts_as_they_are() -> None:
    parts = torch.full((27_000,), -1)
    parts[:16_000], parts[16_000:21_000], parts[21_000:26_000] = 0, 1, 2
    split = make_place_split(EUROSAT_LABELS, parts, seed=7, sealed_test=True)
    assert torch.equal(split.train, torch.arange(16_000))
    assert torch.equal(split.validation, torch.arange(16_000, 21_000))
    assert torch.equal(split.test, torch.arange(21_000, 26_000))


@given(labels=labels, data=st.data(), seed=st.integers(0, 1000))
def test_a_subset_by_place_stays_in_its_parts(labels: torch.Tensor, data: st.DataObject, seed: int) -> None:
    parts = torch.tensor(
        [0, 1, *data.draw(st.lists(st.integers(-1, 2), min_size=len(labels) - 2, max_size=len(labels) - 2))]
    )
    train, validation = int((parts == 0).sum()), int((parts == 1).sum())
    size = data.draw(st.integers(max(4, (train + validation) // 2), len(labels)))
    try:
        split = make_place_split(labels, parts, seed=seed, tiles=size)
    except DataError:  # so few tiles that a part rounds to none
        assert min(size * train, size * validation) < train + validation
        return
    assert len(split.train) + len(split.validation) == min(size, train + validation)
    assert bool((parts[split.train] == 0).all()) and bool((parts[split.validation] == 1).all())
    assert len(set(all_numbers(split))) == len(all_numbers(split))
    again = make_place_split(labels, parts, seed=seed, tiles=size)
    assert torch.equal(split.train, again.train)


def test_by_place_needs_tiles_on_both_sides() -> None:
    with pytest.raises(DataError, match="too few"):
        make_place_split(torch.zeros(5, dtype=torch.int64), torch.tensor([0, 0, 0, 2, -1]), seed=1)


Patch = pytest.MonkeyPatch
LISTS = {
    "train.txt": b"Forest_1.jpg\nForest_2.jpg\nRiver_1.jpg\n",
    "val.txt": b"Forest_3.jpg\r\nRiver_2.jpg\r\n",
    "test.txt": b"River_3.jpg",
}
NAMES = ("Forest/Forest_1.jpg", "Forest/Forest_3.jpg", "River/River_3.jpg", "River/River_9.jpg", "River/River_1.jpg")


@pytest.fixture
def small(monkeypatch: Patch) -> None:
    """Three small lists in place of the published ones."""
    set_lists(monkeypatch, "http://127.0.0.1:9")


def set_lists(patch: Patch, where: str) -> None:
    lists = {
        name.removesuffix(".txt"): Remote(f"{where}/{name}", md5(content).hexdigest(), name)
        for name, content in LISTS.items()
    }
    patch.setattr(module, "PLACE_LISTS", lists)


@pytest.fixture
def server(serve: Callable[[dict[str, bytes]], FileServer], monkeypatch: Patch) -> FileServer:
    started = serve(dict(LISTS))
    set_lists(monkeypatch, started.url("")[:-1])
    return started


def write_lists(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in LISTS.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    return write_lists(tmp_path / "lists")


def sentence_of(work: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        work()
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    return sentence


# --- the published lists ---


def test_the_published_lists(eurosat_root: Path, cache: Path) -> None:
    """60, 20 and 20 % of 27,000 tiles, each in one part; torchgeo's own files, checked by their MD5."""
    folder = next(eurosat_root.rglob("eurosat-spatial-train.txt")).parent
    import_lists(eurosat_root, cache)
    read = {part: (folder / PLACE_LISTS[part].name).read_text().split() for part in PARTS}
    assert {part: len(names) for part, names in read.items()} == {"train": 16_200, "val": 5_400, "test": 5_400}
    assert len({name for names in read.values() for name in names}) == 27_000
    names = tuple(f"{name.rpartition('_')[0]}/{name}" for part in PARTS for name in read[part])
    parts = parts_of(names, cache)
    assert parts.dtype == np.int8
    assert np.array_equal(parts, np.repeat([0, 1, 2], [16_200, 5_400, 5_400]))


# --- which part ---


@pytest.mark.usefixtures("small")
def test_parts_of_tiles_by_their_names(lists: Path, cache: Path) -> None:
    import_lists(lists, cache)
    assert parts_of(NAMES, cache).tolist() == [0, 1, 2, ABSENT, 0]
    png = tuple(name.replace(".jpg", ".png") for name in NAMES)  # the same tiles, kept in another format
    assert parts_of(png, cache).tolist() == [0, 1, 2, ABSENT, 0]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "names", [("Forest/mine.jpg", "River/mine.jpg"), (), NAMES[:1], NAMES[1:3], ("Forest_1/Forest_3/a.jpg",)]
)
def test_other_tiles_get_a_sentence(names: tuple[str, ...], lists: Path, cache: Path) -> None:
    import_lists(lists, cache)
    assert "random split" in sentence_of(lambda: parts_of(names, cache))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("missing", [*LISTS, None, "damaged"])
def test_no_lists_get_a_sentence(missing: str | None, lists: Path, cache: Path) -> None:
    if missing is not None:
        import_lists(lists, cache)
    if missing == "damaged":
        (cache / "spatial" / "val.txt").write_bytes(b"\xff\xfe\x00")
    elif missing is not None:
        (cache / "spatial" / missing).unlink()
    assert has_lists(cache) == (missing == "damaged")
    sentence = sentence_of(lambda: parts_of(NAMES, cache))
    assert "prepare" in sentence and "random split" in sentence


# --- imported ---


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("inside", ["", "spatial", "eurosat/spatial"])
def test_lists_are_found_in_the_usual_places(inside: str, tmp_path: Path, cache: Path) -> None:
    write_lists(tmp_path / "place" / inside)
    assert folder_with_lists(tmp_path / "place") == tmp_path / "place" / inside
    import_lists(tmp_path / "place", cache)
    assert has_lists(cache)
    assert {path.name: path.read_bytes() for path in (cache / "spatial").iterdir()} == LISTS


def _disk_full(folder: Path, patch: Patch) -> None:
    written = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        written(path, content[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    patch.setattr(Path, "write_bytes", full)


DENIED = PermissionError(errno.EACCES, "Permission denied")
NOT_FOUND = ["train.txt, val.txt, test.txt"]
BAD_LISTS: dict[str, tuple[Callable[[Path, Patch], object], list[str]]] = {
    "nothing there": (lambda folder, _patch: shutil.rmtree(folder), NOT_FOUND),
    "a file": (lambda folder, _patch: (folder.rename(folder.with_name("x")) / "val.txt").rename(folder), NOT_FOUND),
    "one missing": (lambda folder, _patch: (folder / "val.txt").unlink(), NOT_FOUND),
    "a folder of this name": (
        lambda folder, _patch: (folder / "val.txt").rename(folder / "x") and (folder / "val.txt").mkdir(),
        NOT_FOUND,
    ),
    "another content": (  # as some editors make it
        lambda folder, _patch: (folder / "val.txt").write_bytes(LISTS["val.txt"].replace(b"\r\n", b"\n")),
        ["val.txt", md5(LISTS["val.txt"]).hexdigest()],
    ),
    "cut short": (
        lambda folder, _patch: (folder / "train.txt").write_bytes(LISTS["train.txt"][:-5]),
        ["train.txt", md5(LISTS["train.txt"]).hexdigest()],
    ),
    "forbidden": (
        lambda _folder, patch: fail_for(patch, Path, "read_bytes", DENIED, lambda path: path.name == "val.txt"),
        ["val.txt", "Permission denied"],
    ),
    "disk full": (_disk_full, ["No space", "disk space", "EUROSAT_CACHE"]),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", BAD_LISTS)
def test_bad_lists_get_a_sentence(name: str, lists: Path, cache: Path, monkeypatch: Patch) -> None:
    spoil, words = BAD_LISTS[name]
    spoil(lists, monkeypatch)
    sentence = sentence_of(lambda: import_lists(lists, cache))
    adopted = adopt_lists(lists, cache)
    assert adopted == ("" if words is NOT_FOUND else sentence), "no lists beside the tiles is no fault"
    monkeypatch.undo()
    assert [word for word in words if word not in sentence] == []
    assert list(cache.rglob("*.*")) == []


def test_a_place_whose_name_is_too_long_holds_none(cache: Path) -> None:
    assert folder_with_lists(Path("/" + "x" * 300)) is None
    assert adopt_lists(Path("/" + "x" * 300), cache) == ""


@pytest.mark.usefixtures("small")
def test_lists_beside_the_tiles_are_adopted_once(tmp_path: Path, cache: Path) -> None:
    folder = write_lists(tmp_path / "root" / "eurosat" / "spatial")
    assert adopt_lists(tmp_path / "root", cache) == ""
    assert has_lists(cache)
    (folder / "val.txt").write_text("spoilt later")
    assert adopt_lists(tmp_path / "root", cache) == ""
    assert (cache / "spatial" / "val.txt").read_bytes() == LISTS["val.txt"]


@pytest.mark.usefixtures("small")
def test_many_may_adopt_them_at_once(lists: Path, cache: Path) -> None:
    for _ in range(10):
        start = threading.Barrier(4)

        def adopt(_number: int, start: threading.Barrier = start) -> str:
            start.wait()
            return adopt_lists(lists, cache)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(adopt, range(4))) == [""] * 4
        assert sorted(path.name for path in (cache / "spatial").iterdir()) == sorted(LISTS)
        shutil.rmtree(cache)


# --- downloaded ---


def test_lists_are_downloaded(server: FileServer, cache: Path) -> None:
    download_lists(cache)
    assert has_lists(cache)
    assert {name: (cache / "spatial" / name).read_bytes() for name in LISTS} == LISTS
    assert parts_of(NAMES, cache).tolist() == [0, 1, 2, ABSENT, 0]
    assert [name for name, _ in server.asked] == list(LISTS)
    download_lists(cache)
    assert len(server.asked) == 3, "they were there already"


def test_a_mirror_has_them_beside_its_archive(server: FileServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {
        part: Remote("http://127.0.0.1:9/gone", each.checksum, each.name) for part, each in module.PLACE_LISTS.items()
    }
    monkeypatch.setattr(module, "PLACE_LISTS", gone)
    download_lists(cache, beside=server.url("EuroSAT.zip"))
    assert has_lists(cache)


def test_only_what_is_missing_or_damaged_is_downloaded(server: FileServer, cache: Path) -> None:
    download_lists(cache)
    server.asked.clear()
    (cache / "spatial" / "train.txt").unlink()
    (cache / "spatial" / "val.txt").write_text("spoilt")
    download_lists(cache)
    assert [name for name, _ in server.asked] == ["train.txt", "val.txt"]
    assert parts_of(NAMES, cache).tolist() == [0, 1, 2, ABSENT, 0]


def test_lists_that_cannot_be_had_get_a_sentence(server: FileServer, cache: Path) -> None:
    server.files["test.txt"] = b"another list"
    assert "test.txt" in sentence_of(lambda: download_lists(cache))
    del server.files["test.txt"]
    assert "(status 404)" in sentence_of(lambda: download_lists(cache))
    server.usual = plain(403)
    (cache / "spatial" / "train.txt").unlink()
    sentence = sentence_of(lambda: download_lists(cache))
    assert "train.txt" in sentence and "(status 403)" in sentence
    assert not has_lists(cache)
