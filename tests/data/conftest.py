"""A local web server to download from, and short waits."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from file_server import FileServer, file_server

from eurosat_core.data import download


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, bytes]], FileServer]]:
    """Function: a running server of these files. No proxy stands before it, and the waits for it are short."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(download, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(download, "_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(download, "_TRIES", 3)
    with ExitStack() as servers:
        yield lambda files: servers.enter_context(file_server(files))
