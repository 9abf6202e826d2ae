"""A local web server to download from, and short waits; a cache, and sets of pictures to be acquired in it, and what
is noted whenever a cache entry is made.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from acquired_sets import contents
from bad_archives import GOOD
from file_server import FileServer, file_server
from zip_makers import tree_entries, write_zip

from eurosat_core.data import download, tile_cache
from eurosat_core.data.acquire import import_pictures


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, bytes]], FileServer]]:
    """Function: a running server of these files. No proxy stands before it, and its faults are not waited for long.

    A busy machine may itself be silent for a second: tests of a silent server set `STALL_SECONDS` themselves.
    """
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "STALL_SECONDS", 10.0)
    monkeypatch.setattr(download, "_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(download, "_TRIES", 3)
    with ExitStack() as servers:
        yield lambda files: servers.enter_context(file_server(files))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def own_zip(tmp_path: Path) -> Path:
    return write_zip(tmp_path / "own.zip", GOOD)


@pytest.fixture
def earlier(cache: Path, tmp_path: Path) -> dict[str, bytes]:
    """A set that was imported before; what lies in it."""
    import_pictures(write_zip(tmp_path / "earlier.zip", tree_entries(("Ash", "Beech", "Oak"))), cache)
    return contents(cache / "pictures")


@pytest.fixture
def place(small_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """A small folder of tiles."""
    return small_folder(tmp_path / "place")


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every cache entry that is made from now on."""
    made: list[Path] = []
    write = tile_cache._write_entry

    def note(target: Path, *rest: Any) -> None:
        made.append(target)
        write(target, *rest)

    monkeypatch.setattr(tile_cache, "_write_entry", note)
    return made
