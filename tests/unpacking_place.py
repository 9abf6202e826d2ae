"""A place to unpack archives in, and all that lies there before and afterwards."""

import stat
from pathlib import Path

import pytest
from bad_archives import GOOD

__all__ = ["GOOD_NAMES", "names_in", "place", "snapshot"]

GOOD_NAMES = [str(each.name) for each in GOOD]


def snapshot(place: Path, without: Path) -> dict[str, object]:
    """All that lies under `place` but not under `without`: kind, size, content and time of each."""
    found: dict[str, object] = {}
    for path in sorted(place.rglob("*")):
        if path == without or without in path.parents:
            continue
        status = path.lstat()
        content = b""
        if stat.S_ISREG(status.st_mode):
            with open(path, "rb") as file:  # noqa: PTH123 (some tests let Path.open fail)
                content = file.read()
        mtime = 0 if path == without.parent else status.st_mtime_ns
        found[str(path)] = (status.st_mode, content, mtime)
    return found


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder between two others with something in them, where the archive lies and is unpacked."""
    for path in ("outside/secret.jpg", "place/beside/secret.jpg"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("as it was")
    return tmp_path / "place"
