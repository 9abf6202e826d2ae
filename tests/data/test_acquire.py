"""Pictures downloaded and imported, whole or not at all: cut, killed, twice at once, over an earlier set."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bad_archives import BAD, GOOD
from file_server import FileServer, cut_after, silent_after
from filelock import FileLock
from torchvision.datasets import EuroSAT, ImageFolder
from zip_makers import Entry, jpeg, tree_entries, write_zip, zip_bytes

from eurosat_core.data import acquire, archive, download
from eurosat_core.data.acquire import (
    Stage,
    acquired_place,
    clean_up,
    download_pictures,
    import_pictures,
    left_out,
    partly_downloaded,
    unpacked_place,
)
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.download import Stopped
from eurosat_core.data.listing import list_pictures
from eurosat_core.errors import DataError

Serve = Callable[[dict[str, bytes]], FileServer]
SmallFolder = Callable[..., Path]
Patch = pytest.MonkeyPatch
ROOT = Path(__file__).parent.parent.parent
EUROSAT = tree_entries(CLASS_NAMES, inside="2750/")
ZIP = "EuroSAT.zip"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def server(serve: Serve) -> FileServer:
    return serve({ZIP: zip_bytes(EUROSAT)})


@pytest.fixture
def own_zip(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "own.zip", GOOD)


@pytest.fixture
def earlier(cache: Path, tmp_path: Path) -> dict[str, bytes]:
    """A set that was imported before; what lies in it."""
    import_pictures(write_zip(tmp_path / "earlier.zip", tree_entries(("Ash", "Beech", "Oak"))), cache)
    return contents(cache / "pictures")


def contents(place: Path) -> dict[str, bytes]:
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def half_made(cache: Path) -> list[Path]:
    return [*cache.glob("acquiring-*"), *cache.glob("replaced-*")]


# --- downloads ---


def test_eurosat_is_downloaded_as_torchvision_lays_it_out(server: FileServer, cache: Path) -> None:
    stages: list[Stage] = []
    place = download_pictures(server.remote(), cache, stages.append)
    assert place == acquired_place(cache) == cache / "pictures"
    assert left_out(place) == ()
    oracle = EuroSAT(str(place))
    assert oracle.classes == list(CLASS_NAMES)
    assert len(oracle) == len(EUROSAT) == 20
    for each in EUROSAT:
        assert (place / "eurosat" / str(each.name)).read_bytes() == each.content
    assert list_pictures(place).is_eurosat
    size = len(server.files[ZIP])
    assert stages[-2:] == [Stage("downloading", size, size), Stage("unpacking", 20, 20)]
    assert list((cache / "downloads").glob("*.zip*")) == [cache / "downloads" / f"{ZIP}.lock"]
    assert half_made(cache) == []


def test_own_classes_stand_at_the_top(serve: Serve, cache: Path) -> None:
    server = serve({ZIP: zip_bytes(tree_entries(("A", "B", "C"), inside="deep/down/"))})
    place = download_pictures(server.remote(), cache)
    assert sorted(each.name for each in place.iterdir()) == [".source.json", "A", "B", "C"]
    assert list_pictures(place).class_names == ("A", "B", "C")


def test_enough_space_for_archive_pictures_and_pixels_is_asked_for(
    server: FileServer, cache: Path, monkeypatch: Patch
) -> None:
    usage = shutil.disk_usage(cache.anchor)._replace(free=350 * 1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    with pytest.raises(DataError, match=r"EuroSAT\.zip and what is made of it need 350 MB; .* has 350 MB free\. Free"):
        download_pictures(server.remote(), cache)
    assert acquired_place(cache) is None
    assert half_made(cache) == []


def test_a_cut_download_is_resumed_by_the_next_call(server: FileServer, cache: Path) -> None:
    server.answers = [cut_after(5000), *([cut_after(0)] * 3)]
    with pytest.raises(DataError, match="the connection broke off"):
        download_pictures(server.remote(), cache)
    assert partly_downloaded(cache) == 5000
    assert (acquired_place(cache), half_made(cache)) == (None, [])
    server.answers.clear()
    download_pictures(server.remote(), cache)
    assert server.ranges[-1] == "bytes=5000-"
    assert partly_downloaded(cache) == 0
    assert acquired_place(cache) is not None


def test_stop_while_downloading_keeps_the_part(server: FileServer, cache: Path) -> None:
    stop = threading.Event()
    server.answers = [silent_after(5000)]
    with pytest.raises(Stopped):
        download_pictures(server.remote(), cache, lambda _stage: stop.set(), stop)
    assert partly_downloaded(cache) > 0
    assert (acquired_place(cache), half_made(cache)) == (None, [])


def test_stop_while_unpacking_keeps_the_archive(server: FileServer, cache: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(archive, "_REPORT_EVERY", 3)
    stop = threading.Event()

    def report(stage: Stage) -> None:
        if stage.name == "unpacking":
            stop.set()

    with pytest.raises(Stopped):
        download_pictures(server.remote(), cache, report, stop)
    assert (acquired_place(cache), half_made(cache)) == (None, [])
    assert (cache / "downloads" / ZIP).exists()
    download_pictures(server.remote(), cache)
    assert len(server.asked) == 1, "it was there already"
    assert not (cache / "downloads" / ZIP).exists()


def test_a_full_disk_while_unpacking_keeps_the_archive(server: FileServer, cache: Path, monkeypatch: Patch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archive.shutil, "copyfileobj", full)
        with pytest.raises(DataError, match=r"No space left on device\. Free some disk space"):
            download_pictures(server.remote(), cache)
    assert (acquired_place(cache), half_made(cache)) == (None, [])
    download_pictures(server.remote(), cache)
    assert len(server.asked) == 1


def test_a_useless_archive_is_thrown_away(serve: Serve, cache: Path) -> None:
    """Its checksum was right, so it would be the same the next time; but another version may follow."""
    server = serve({ZIP: zip_bytes([Entry("Forest/a.txt", b"text")])})
    with pytest.raises(DataError, match="holds no pictures in class folders"):
        download_pictures(server.remote(), cache)
    assert not (cache / "downloads" / ZIP).exists()
    assert half_made(cache) == []


def test_two_at_once_download_once(server: FileServer, cache: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(download, "STALL_SECONDS", 30.0)
    server.answers = [silent_after(1000)]
    places: list[Path] = []
    waiting = threading.Event()

    def work(report: Callable[[Stage], None]) -> None:
        places.append(download_pictures(server.remote(), cache, report))

    def heard(stage: Stage) -> None:
        if stage == Stage("waiting"):
            waiting.set()

    first = threading.Thread(target=work, args=(lambda _stage: None,))
    first.start()
    assert server.reached.wait(20)
    second = threading.Thread(target=work, args=(heard,))
    second.start()
    assert waiting.wait(20)
    server.go_on.set()
    first.join(20)
    second.join(20)
    assert places == [cache / "pictures"] * 2
    assert len(server.asked) == 1


def test_who_comes_when_the_set_stands_already_but_is_not_released(server: FileServer, cache: Path) -> None:
    """While the first one still removes what it replaced."""
    place = download_pictures(server.remote(), cache)
    lock = FileLock(cache / "pictures.lock", thread_local=False)
    lock.acquire()
    assert download_pictures(server.remote(), cache, lambda _stage: lock.release()) == place
    assert len(server.asked) == 1


def test_what_another_one_imported_meanwhile_is_not_taken_for_the_download(
    server: FileServer, own_zip: Path, cache: Path
) -> None:
    cache.mkdir()
    lock = FileLock(cache / "pictures.lock", thread_local=False)
    lock.acquire()
    released = threading.Event()

    def meanwhile(stage: Stage) -> None:
        if stage.name == "waiting" and not released.is_set():
            import_elsewhere()
            lock.release()
            released.set()

    def import_elsewhere() -> None:
        other = import_pictures(own_zip, cache.with_name("other"))
        shutil.move(other, cache / "pictures")

    place = download_pictures(server.remote(), cache, meanwhile)
    assert released.is_set()
    assert list_pictures(place).is_eurosat


def test_stop_is_heard_while_another_one_is_at_it(server: FileServer, cache: Path) -> None:
    cache.mkdir()
    stop = threading.Event()
    with FileLock(cache / "pictures.lock", thread_local=False), pytest.raises(Stopped):
        download_pictures(server.remote(), cache, lambda _stage: stop.set(), stop)
    assert server.asked == []


def test_a_second_download_takes_the_place_of_the_first(serve: Serve, cache: Path) -> None:
    server = serve({ZIP: zip_bytes(EUROSAT)})
    download_pictures(server.remote(), cache)
    server.files[ZIP] = zip_bytes(tree_entries(CLASS_NAMES, each=3))
    place = download_pictures(server.remote(), cache)
    assert len(list_pictures(place).names) == 30
    assert half_made(cache) == []


# --- imports ---


def test_a_zip_is_imported(own_zip: Path, cache: Path) -> None:
    stages: list[Stage] = []
    place = import_pictures(own_zip, cache, stages.append)
    own_zip.unlink()
    assert place == acquired_place(cache)
    assert list_pictures(place).names == tuple(each.name for each in GOOD)
    assert stages == [Stage("unpacking", 6, 6)]
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
    assert stages == [Stage("copying", 7, 7)]
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
    assert seen == [earlier] * 6


@pytest.mark.parametrize("names", [(".tree", "A", "B"), ("eurosat", "2750"), ("EuroSAT_RGB", "2750", "eurosat")])
def test_classes_with_names_that_we_use_ourselves(names: tuple[str, ...], tmp_path: Path, cache: Path) -> None:
    place = import_pictures(write_zip(tmp_path / "a.zip", tree_entries(names)), cache)
    visible = tuple(sorted(each for each in names if not each.startswith(".")))
    assert list_pictures(place).class_names == visible
    assert ImageFolder(str(place), allow_empty=True).classes == list(visible)


def test_what_was_left_out_is_kept(own_zip: Path, cache: Path) -> None:
    write_zip(own_zip, [*GOOD, Entry("Forest/bad.jpg", jpeg(), crc=1)])
    place = import_pictures(own_zip, cache)
    assert len(left_out(place)) == 1
    assert left_out(place)[0].startswith("Forest/bad.jpg: damaged in the archive")


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
    assert left_out(place) == (
        "Forest/Forest_2.jpg: too large to be a tile",
        "River/River_1.jpg: Permission denied",
    )
    assert len(list_pictures(place).names) == 5


def _nothing_readable(source: Path, patch: Patch) -> None:
    patch.setattr(acquire, "_MAX_PICTURE_BYTES", 10)


def _disk_full(source: Path, patch: Patch) -> None:
    written = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "River_2.jpg":
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(path, content)

    patch.setattr(Path, "write_bytes", full)


def _may_not_write(source: Path, patch: Patch) -> None:
    def refuse(path: Path, content: bytes) -> int:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    patch.setattr(Path, "write_bytes", refuse)


def _one_class_unreadable(source: Path, patch: Patch) -> None:
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:
        if path.parent.name == "River":
            raise OSError(errno.EIO, "Input/output error")
        return read(path)

    patch.setattr(Path, "read_bytes", refuse)


def _one_class(source: Path, patch: Patch) -> None:
    shutil.rmtree(source / "River")


def _gone(source: Path, patch: Patch) -> None:
    shutil.rmtree(source)


BAD_FOLDERS = [
    (_nothing_readable, ["None of the pictures under", "too large to be a tile", "Give yourself read permission"]),
    (_disk_full, ["could not be kept in", "No space left on device. Free some disk space", "EUROSAT_CACHE"]),
    (_may_not_write, ["could not be kept in", "Permission denied", "name another folder in EUROSAT_CACHE"]),
    (_one_class_unreadable, ["Only one class folder", "source/Forest", "at least two classes"]),
    (_one_class, ["Only one class folder", "source/Forest"]),
    (_gone, ["There is no folder", "Check the path"]),
]


@pytest.mark.parametrize(("make", "words"), BAD_FOLDERS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_folder_leaves_the_earlier_set(
    make: Callable[[Path, Patch], None],
    words: list[str],
    small_folder: SmallFolder,
    cache: Path,
    tmp_path: Path,
    earlier: dict[str, bytes],
    monkeypatch: Patch,
) -> None:
    source = small_folder(tmp_path / "source")
    make(source, monkeypatch)
    with pytest.raises(DataError) as caught:
        import_pictures(source, cache)
    monkeypatch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert "acquiring-" not in sentence
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []


def _only_one_class(path: Path, patch: Patch) -> None:
    write_zip(path, tree_entries(("Forest",)))


def _too_many_classes(path: Path, patch: Patch) -> None:
    write_zip(path, tree_entries(tuple(f"class{number}" for number in range(101)), each=1))


def _one_class_damaged(path: Path, patch: Patch) -> None:
    write_zip(path, [replace(each, crc=1) if "River" in str(each.name) else each for each in GOOD])


def _renaming_fails(path: Path, patch: Patch) -> None:
    write_zip(path, GOOD)
    rename = Path.rename

    def refuse(source: Path, target: Path) -> Path:
        if source.name.startswith("acquiring-"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(source, target)

    patch.setattr(Path, "rename", refuse)


NO_SET = [
    (_only_one_class, ["Only one class folder", "bad.zip/Forest", "at least two classes"]),
    (_too_many_classes, ["bad.zip has 101 folders", "at most 100 classes"]),
    (_one_class_damaged, ["Only one class folder", "bad.zip/Forest"]),
    (_renaming_fails, ["could not be kept in", "Device or resource busy. Free some disk space"]),
]


@pytest.mark.parametrize(("make", "words"), [*BAD, *NO_SET], ids=lambda value: getattr(value, "__name__", ""))
def test_a_bad_archive_leaves_the_earlier_set(
    make: Callable[[Path, Patch], None],
    words: list[str],
    cache: Path,
    tmp_path: Path,
    earlier: dict[str, bytes],
    monkeypatch: Patch,
) -> None:
    path = tmp_path / "bad.zip"
    make(path, monkeypatch)
    with pytest.raises(DataError) as caught:
        import_pictures(path, cache)
    monkeypatch.undo()
    sentence = str(caught.value)
    assert [word for word in words if word not in sentence] == []
    assert "acquiring-" not in sentence or "could not be unpacked into" in sentence
    assert len(sentence.splitlines()) == 1
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []


def test_an_endless_name_gets_a_sentence(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(DataError, match="There is no folder"):
        import_pictures(tmp_path / ("x" * 300), cache)
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        unpacked_place(tmp_path / ("x" * 300), cache)


def test_a_cache_that_cannot_be_made(own_zip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for work in (lambda cache: import_pictures(own_zip, cache), lambda cache: unpacked_place(own_zip, cache)):
        with pytest.raises(DataError, match=r"could not be kept in .*/file/cache: .* name another folder in EUROSAT_"):
            work(tmp_path / "file" / "cache")
    clean_up(tmp_path / "file" / "cache")
    assert acquired_place(tmp_path / "file" / "cache") is None
    assert partly_downloaded(tmp_path / "file" / "cache") == 0


@pytest.mark.parametrize("inside", ["pictures", "pictures/eurosat", "pictures/eurosat/2750"])
def test_a_source_that_is_the_set_itself(inside: str, server: FileServer, cache: Path) -> None:
    place = download_pictures(server.remote(), cache)
    before = contents(place)
    assert import_pictures(cache / inside, cache) == place
    assert contents(place) == before


def test_a_source_in_the_cache_beside_the_set(own_zip: Path, cache: Path, earlier: dict[str, bytes]) -> None:
    place = import_pictures(unpacked_place(own_zip, cache), cache)
    assert list_pictures(place).class_names == ("Forest", "River")
    with pytest.raises(DataError, match="No pictures were found"):
        import_pictures(cache, cache)
    (cache / "downloads").mkdir()
    shutil.move(own_zip, cache / "downloads" / ZIP)
    assert import_pictures(cache / "downloads" / ZIP, cache) == place


# --- killed, interrupted ---


def test_an_interruption_between_the_renamings_loses_nothing(
    own_zip: Path, cache: Path, earlier: dict[str, bytes], monkeypatch: Patch
) -> None:
    rename = Path.rename

    def interrupted(source: Path, target: Path) -> Path:
        if source.name.startswith("acquiring-"):
            raise KeyboardInterrupt
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        import_pictures(own_zip, cache)
    monkeypatch.undo()
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []
    import_pictures(own_zip, cache)  # the lock was given back


@pytest.mark.parametrize("next_one", [clean_up, lambda cache: unpacked_place(cache.with_name("own.zip"), cache)])
def test_killed_between_the_renamings(
    next_one: Callable[[Path], object], own_zip: Path, cache: Path, earlier: dict[str, bytes]
) -> None:
    """The old set was moved away, the new one not yet put in its place."""
    (cache / "pictures").rename(cache / "replaced-0123abcd")
    shutil.copytree(cache / "replaced-0123abcd", cache / "replaced-older")
    (cache / "replaced-older" / ".source.json").write_text('{"origin": "", "acquired": 1, "left_out": []}')
    (cache / "acquiring-0123abcd" / "Forest").mkdir(parents=True)
    next_one(cache)
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []


def test_killed_after_the_renamings(cache: Path, earlier: dict[str, bytes]) -> None:
    """The new set stands, the old one was being removed."""
    shutil.copytree(cache / "pictures", cache / "replaced-0123abcd")
    clean_up(cache)
    assert contents(cache / "pictures") == earlier
    assert half_made(cache) == []


WORKER = """
import sys, threading
from pathlib import Path

from eurosat_core.data import acquire, archive
from eurosat_core.data.remote import Remote

archive._REPORT_EVERY = acquire._REPORT_EVERY = 1


def report(stage):
    if stage.name == sys.argv[1] and stage.done >= int(sys.argv[2]):
        print("at work", flush=True)
        threading.Event().wait(60)


cache = Path(sys.argv[3])
if sys.argv[1] == "downloading":
    acquire.download_pictures(Remote(*sys.argv[4:]), cache, report)
else:
    acquire.import_pictures(Path(sys.argv[4]), cache, report)
"""


@contextmanager
def at_work(stage: str, done: int, cache: Path, *arguments: object) -> Iterator[None]:
    """Another process that stands still in the middle of its work; it is killed at the end."""
    command = [sys.executable, "-c", WORKER, stage, done, cache, *arguments]
    process = subprocess.Popen([str(each) for each in command], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield
    finally:
        process.kill()
        process.communicate()


def test_killed_while_unpacking(own_zip: Path, cache: Path, earlier: dict[str, bytes]) -> None:
    with at_work("unpacking", 3, cache, own_zip):
        clean_up(cache)
        assert len(half_made(cache)) == 1, "what another process is making is not ours to remove"
        stop = threading.Event()
        stages: list[Stage] = []

        def report(stage: Stage) -> None:
            stages.append(stage)
            stop.set()

        with pytest.raises(Stopped):
            import_pictures(own_zip, cache, report, stop)
        assert stages == [Stage("waiting")]
    (left,) = half_made(cache)
    assert len(list(left.rglob("*.jpg"))) == 3
    assert contents(cache / "pictures") == earlier
    clean_up(cache)
    assert half_made(cache) == []
    assert contents(cache / "pictures") == earlier
    assert list_pictures(import_pictures(own_zip, cache)).class_names == ("Forest", "River")


def test_killed_while_copying(small_folder: SmallFolder, tmp_path: Path, cache: Path) -> None:
    source = small_folder(tmp_path / "source")
    with at_work("copying", 3, cache, source):
        pass
    assert (acquired_place(cache), len(half_made(cache))) == (None, 1)
    assert len(list_pictures(import_pictures(source, cache)).names) == 7
    assert half_made(cache) == []


def test_killed_while_downloading(serve: Serve, cache: Path) -> None:
    server = serve({ZIP: zip_bytes([*EUROSAT, Entry("filler", os.urandom(300_000))])})
    remote = server.remote()
    server.answers = [silent_after(200_000)]
    with at_work("downloading", 100_000, cache, remote.url, remote.md5, remote.name):
        pass
    kept = partly_downloaded(cache)
    assert 0 < kept <= 200_000
    assert acquired_place(cache) is None
    place = download_pictures(remote, cache)
    assert server.ranges == ["", f"bytes={kept}-"]
    assert list_pictures(place).is_eurosat
    assert half_made(cache) == []


def test_cleaning_up_never_raises(cache: Path, monkeypatch: Patch) -> None:
    clean_up(cache)
    assert not cache.exists()
    (cache / "replaced-0").mkdir(parents=True)
    (cache / "replaced-0" / ".source.json").write_text("{}")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    clean_up(cache)
    assert (cache / "replaced-0").exists(), "what cannot be put back must not be thrown away"
    with pytest.raises(DataError, match=r"could not be kept in .*: Permission denied"):
        import_pictures(write_zip(cache.with_name("a.zip"), GOOD), cache)


# --- a zip that stays where it is ---


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
