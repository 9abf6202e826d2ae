"""An archive on a server of this machine, where its download is kept, and the sentence of one that fails."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
from file_server import FileServer, Serve

from eurosat_core.data.download import Remote, download
from eurosat_core.errors import DataError

__all__ = ["CONTENT", "NAME", "folder", "keep_part", "part", "sentence_of", "server"]

NAME = "EuroSAT.zip"
CONTENT = Random(0).randbytes(300_000)


@pytest.fixture
def server(serve: Serve) -> FileServer:
    return serve({NAME: CONTENT})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "downloads"


@pytest.fixture
def part(folder: Path) -> Path:
    return folder / f"{NAME}.part"


def sentence_of(remote: Remote, folder: Path, **options: Any) -> str:
    """What a download that fails says: one line, and never the name of an exception."""
    with pytest.raises(DataError) as caught:
        download(remote, folder, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "Error" not in sentence
    assert not (folder / remote.name).exists()
    return sentence


def keep_part(part: Path, content: bytes) -> None:
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
