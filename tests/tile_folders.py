"""A small folder of tiles, and what is noted whenever a cache entry is made of one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from eurosat_core.data import tile_cache as module

__all__ = ["decodings", "small_place"]

SmallFolder = Callable[..., Path]


@pytest.fixture(name="place")  # under another name here, for a test has a variable `place`
def small_place(small_folder: SmallFolder, tmp_path: Path) -> Path:
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
