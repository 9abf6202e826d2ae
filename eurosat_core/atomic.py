"""Files that are written whole or not at all, whoever reads or dies meanwhile."""

import secrets
import time
from contextlib import suppress
from pathlib import Path

__all__ = ["write_whole"]

_REPLACE_TRIES = 10


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; nothing is left behind when the disk is full."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_bytes(content)
        for attempt in range(_REPLACE_TRIES):
            try:
                partial.replace(path)
                break
            except PermissionError:  # on Windows, while a page reads it
                if attempt == _REPLACE_TRIES - 1:
                    raise
                time.sleep(0.02)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
