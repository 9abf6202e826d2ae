"""Processes that may not write somewhere, though tests are often run by root, whom no permission binds.

Each function takes a folder and gives the words that stand before a command; where that is not possible here, the test
is skipped with the reason.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["anothers", "mounted_read_only"]

_MOUNT = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


def anothers(folder: Path) -> list[str]:
    """The folder is another user's, and nobody else may write it."""
    things = [folder, *folder.rglob("*")]
    if os.geteuid() != 0:
        for each in things:
            each.chmod(each.stat().st_mode & ~0o222)
        return []
    for each in things:
        os.chown(each, 65534, 65534)
    words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]  # root, but bound by permissions
    return _tried(words, "this root cannot give up its rights")


def mounted_read_only(folder: Path) -> list[str]:
    """The folder is a read-only mount."""
    alone = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    return _tried(["unshare", *alone, "sh", "-c", _MOUNT, "sh", str(folder)], "nothing can be mounted here")


def _tried(words: list[str], otherwise: str) -> list[str]:
    if shutil.which(words[0]) is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip(otherwise)
    return words
