"""Pictures downloaded, whole or not at all: cut, stopped, on a full disk, twice at once, over an earlier set; work that
was interrupted or killed; and zips that stay where they are, unpacked once into the cache.
"""

import errno
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from acquired_sets import EUROSAT, ZIP, contents, half_made
from bad_archives import GOOD, fail_for
from file_server import FileServer, Serve, silent_after
from filelock import FileLock
from torchvision.datasets import EuroSAT
from zip_makers import Entry, tree_entries, write_zip, zip_bytes

from eurosat_core.data import acquire, archive
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

Patch = pytest.MonkeyPatch
ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(serve: Serve) -> FileServer:
    return serve({ZIP: zip_bytes(EUROSAT)})


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
    assert stages[-3:] == [Stage("downloading", size, size), Stage("unpacking", 20, 20), Stage("decoding", 20, 20)]
    assert list((cache / "downloads").glob("*.zip*")) == [cache / "downloads" / f"{ZIP}.lock"]
    assert half_made(cache) == []


def test_enough_space_for_archive_pictures_and_pixels_is_asked_for(
    server: FileServer, cache: Path, monkeypatch: Patch
) -> None:
    usage = shutil.disk_usage(cache.anchor)._replace(free=350 * 1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    with pytest.raises(DataError, match=r"EuroSAT\.zip .*350 MB"):
        download_pictures(server.remote(), cache)
    assert acquired_place(cache) is None
    assert half_made(cache) == []


def test_stop_while_downloading_keeps_the_part_which_the_next_call_resumes(server: FileServer, cache: Path) -> None:
    stop = threading.Event()
    server.answers = [silent_after(5000)]
    with pytest.raises(Stopped):
        download_pictures(server.remote(), cache, lambda _stage: stop.set(), stop)
    kept = partly_downloaded(cache)
    assert kept > 0
    assert (acquired_place(cache), half_made(cache)) == (None, [])
    download_pictures(server.remote(), cache)
    assert server.ranges[-1] == f"bytes={kept}-"
    assert partly_downloaded(cache) == 0
    assert acquired_place(cache) is not None


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
        with pytest.raises(DataError, match="No space"):
            download_pictures(server.remote(), cache)
    assert (acquired_place(cache), half_made(cache)) == (None, [])
    download_pictures(server.remote(), cache)
    assert len(server.asked) == 1


def test_a_useless_archive_is_thrown_away(serve: Serve, cache: Path) -> None:
    """Its checksum was right, so it would be the same the next time; but another version may follow."""
    server = serve({ZIP: zip_bytes([Entry("Forest/a.txt", b"text")])})
    with pytest.raises(DataError, match="no pictures"):
        download_pictures(server.remote(), cache)
    assert not (cache / "downloads" / ZIP).exists()
    assert half_made(cache) == []


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


@pytest.mark.parametrize("inside", ["pictures", "pictures/eurosat", "pictures/eurosat/2750"])
def test_a_source_that_is_the_set_itself(inside: str, server: FileServer, cache: Path) -> None:
    place = download_pictures(server.remote(), cache)
    before = contents(place)
    assert import_pictures(cache / inside, cache) == place
    assert contents(place) == before


# --- interrupted or killed: an earlier set stands, and what was half made is removed ---


def test_an_interruption_between_the_renamings_loses_nothing(
    own_zip: Path, cache: Path, earlier: dict[str, bytes], monkeypatch: Patch
) -> None:
    fail_for(monkeypatch, Path, "rename", KeyboardInterrupt(), lambda each: each.name.startswith("acquiring-"))
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


WORKER = """
import sys, threading
from pathlib import Path

from eurosat_core.data import acquire, archive

archive._REPORT_EVERY = 1


def report(stage):
    if stage.done >= 3:
        print("at work", flush=True)
        threading.Event().wait(60)


acquire.import_pictures(Path(sys.argv[2]), Path(sys.argv[1]), report)
"""


@contextmanager
def unpacking_elsewhere(cache: Path, source: Path) -> Iterator[None]:
    """Another process that stands still after three pictures; it is killed at the end."""
    command = [sys.executable, "-c", WORKER, str(cache), str(source)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "at work\n"
        yield
    finally:
        process.kill()
        process.communicate()


def test_killed_while_unpacking(own_zip: Path, cache: Path, earlier: dict[str, bytes]) -> None:
    with unpacking_elsewhere(cache, own_zip):
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


def test_cleaning_up_never_raises(own_zip: Path, cache: Path, monkeypatch: Patch) -> None:
    clean_up(cache)
    assert not cache.exists()
    (cache / "replaced-0").mkdir(parents=True)
    (cache / "replaced-0" / ".source.json").write_text("{}")
    fail_for(monkeypatch, Path, "rename", PermissionError(errno.EACCES, "Permission denied"), lambda _path: True)
    clean_up(cache)
    assert (cache / "replaced-0").exists(), "what cannot be put back must not be thrown away"
    with pytest.raises(DataError, match="Permission denied"):
        import_pictures(own_zip, cache)


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
    for name, words in (("bad.zip", "not a zip"), ("missing.zip", "No such file"), ("", "a folder")):
        with pytest.raises(DataError, match=words):
            unpacked_place(tmp_path / name, cache)
    assert list(cache.glob("*")) == [cache / "pictures.lock"]
