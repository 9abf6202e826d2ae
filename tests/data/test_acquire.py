"""Pictures downloaded, whole or not at all: cut, stopped, on a full disk, twice at once, over an earlier set."""

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from acquired_sets import EUROSAT, ZIP, contents, half_made
from file_server import FileServer, Serve, cut_after, silent_after
from filelock import FileLock
from torchvision.datasets import EuroSAT
from zip_makers import Entry, tree_entries, zip_bytes

from eurosat_core.data import archive, download
from eurosat_core.data.acquire import (
    Stage,
    acquired_place,
    download_pictures,
    import_pictures,
    left_out,
    partly_downloaded,
)
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.download import Stopped
from eurosat_core.data.listing import list_pictures
from eurosat_core.errors import DataError

Patch = pytest.MonkeyPatch


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


@pytest.mark.parametrize("inside", ["pictures", "pictures/eurosat", "pictures/eurosat/2750"])
def test_a_source_that_is_the_set_itself(inside: str, server: FileServer, cache: Path) -> None:
    place = download_pictures(server.remote(), cache)
    before = contents(place)
    assert import_pictures(cache / inside, cache) == place
    assert contents(place) == before
