"""Acquisitions that were interrupted or killed: an earlier set stands, and what was half made is removed."""

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from acquired_sets import EUROSAT, ZIP, contents, half_made
from bad_archives import GOOD
from file_server import Serve, silent_after
from zip_makers import Entry, write_zip, zip_bytes

from eurosat_core.data.acquire import (
    Stage,
    acquired_place,
    clean_up,
    download_pictures,
    import_pictures,
    partly_downloaded,
    unpacked_place,
)
from eurosat_core.data.download import Stopped
from eurosat_core.data.listing import list_pictures
from eurosat_core.errors import DataError

SmallFolder = Callable[..., Path]
Patch = pytest.MonkeyPatch
ROOT = Path(__file__).parent.parent.parent


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
from eurosat_core.data.download import Remote

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
