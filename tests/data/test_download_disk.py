"""Downloads onto a disk that is full, or into a folder that cannot be written."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from file_server import FileServer
from served_archive import CONTENT, folder, keep_part, part, sentence_of, server

from eurosat_core.data.download import download
from eurosat_core.errors import DataError

__all__ = ["folder", "part", "server"]  # fixtures of served_archive, used here


def test_no_space_is_said_before_the_first_byte(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(folder.anchor)._replace(free=3 * len(CONTENT) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    told: list[int] = []
    sentence = sentence_of(
        server.remote(), folder, told=lambda done, _total: told.append(done), space_for=lambda size: 3 * size
    )
    assert f"need 0.9 MB; {folder} has 0.9 MB free. Free some disk space, or name another folder" in sentence
    assert (told, part.exists()) == ([], False)


def test_what_is_there_already_needs_no_more_space(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_part(part, CONTENT[:200_000])
    usage = shutil.disk_usage(folder.anchor)._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage)
    assert download(server.remote(), folder).read_bytes() == CONTENT


class _FullAfter:
    """A file on a disk that is full after 100,000 bytes."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> "_FullAfter":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        if self.file.tell() > 100_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.file.write(data)


def test_a_disk_that_fills_midway(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def open_full(path: Path, mode: str = "r", **options: Any) -> Any:
        file = opened(path, mode, **options)
        return _FullAfter(file) if path == part and mode == "wb" else file

    monkeypatch.setattr(Path, "open", open_full)
    sentence = sentence_of(server.remote(), folder)
    assert f"EuroSAT.zip could not be kept in {folder}: No space left on device. Free some disk space" in sentence
    kept = part.stat().st_size
    assert kept > 100_000
    monkeypatch.undo()
    download(server.remote(), folder)
    assert server.ranges == ["", f"bytes={kept}-"]


def test_a_folder_that_cannot_be_made(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DataError, match=r"could not be kept in .*cache/downloads: Not a directory.*EUROSAT_CACHE"):
        download(server.remote(), tmp_path / "cache" / "downloads")


def test_a_folder_that_cannot_be_written(
    server: FileServer, folder: Path, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def deny(path: Path, *args: Any, **options: Any) -> Any:  # root may write everywhere, so the refusal is played
        if path == part:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *args, **options)

    monkeypatch.setattr(Path, "open", deny)
    sentence = sentence_of(server.remote(), folder)
    assert f"could not be kept in {folder}: Permission denied" in sentence
    assert "EUROSAT_CACHE" in sentence
