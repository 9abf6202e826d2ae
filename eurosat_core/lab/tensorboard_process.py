"""TensorBoard's process: `python -m eurosat_core.lab.tensorboard_process RUNS CACHE`, started by the server.

It serves a log folder of its own in the cache, keeps that in step with the runs, and ends when its standard input does.
Its first line on stdout is its port.
"""

import importlib.metadata
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from eurosat_core.lab.runs import RunStore
from eurosat_core.lab.tensorboard import PATH_PREFIX, RESTART, plugin_installed

__all__ = ["main"]

_SYNC_SECONDS = 3.0
_PREPARE_SECONDS = 3.0  # for traces, before it opens; the others follow
_NICENESS = 5  # reading traces must not disturb what is being measured

logger = logging.getLogger(__name__)


def main(runs: Path, cache: Path) -> None:
    """Serve until the server ends, or until it must start anew."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in the server's terminal comes here, too
    with suppress(AttributeError, OSError):
        os.nice(_NICENESS)
    folder, held = _own_folder(cache / "tensorboard")
    temporary = _temporary(folder)
    ending = threading.Lock()

    def end(status: int) -> None:
        ending.acquire()  # the first one ends it
        for each in psutil.Process().children(recursive=True):  # the profiler tab's, each at work on a trace
            with suppress(psutil.Error):
                each.kill()
        for place in (temporary, folder):
            shutil.rmtree(place, ignore_errors=True)
        held.release()
        Path(held.lock_file).unlink(missing_ok=True)
        os._exit(status)  # threads of the profiler tab would wait for ever

    def end_with_server() -> None:
        sys.stdin.buffer.read()
        end(0)

    threading.Thread(target=end_with_server, daemon=True).start()
    try:
        temporary.mkdir(mode=0o700)
        # So that nothing is left behind when it is killed.
        os.environ |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
        tempfile.tempdir = str(temporary)
        _serve(RunStore(runs), folder)
    except BaseException:
        logger.exception("TensorBoard failed")
        end(1)
    end(RESTART)


def _serve(store: RunStore, folder: Path) -> None:
    """Returns when TensorBoard should start anew."""
    # Imported here, for processes that read traces import this module, too.
    from tensorboard.program import TensorBoard

    from eurosat_core.lab.tensorboard_logs import TensorBoardLogs

    logs = TensorBoardLogs(store, folder / "logs", with_profiles=plugin_installed())
    until = time.monotonic() + _PREPARE_SECONDS
    while logs.sync() and time.monotonic() < until:
        pass
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it warns of its own plug-ins' habits
    board = TensorBoard(plugins=_plugins())
    board.configure(
        logdir=str(folder / "logs"),
        host="127.0.0.1",
        port=0,
        path_prefix=PATH_PREFIX,
        load_fast="false",  # the fast loader is one more process, with a port of its own
        reload_interval=5.0,
    )
    print(board.launch().rstrip("/").removesuffix(PATH_PREFIX).rpartition(":")[2], flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody listens there any more
    while not logs.is_stale:
        time.sleep(_SYNC_SECONDS)
        try:
            logs.sync()
        except OSError as error:  # the disk is full, or the runs cannot be reached: what is there stays
            logger.warning("TensorBoard's logs are not up to date: %s", error)


def _plugins() -> list[Any]:
    """TensorBoard's tabs. One from another package that cannot be loaded is left out: it would end TensorBoard."""
    from tensorboard import default

    found: list[Any] = default.get_static_plugins()
    for each in importlib.metadata.entry_points(group="tensorboard_plugins"):
        try:
            found.append(each.load())
        except Exception as error:
            logger.warning("TensorBoard goes without %s, which cannot be loaded: %s", each.value, error)
    return found


def _own_folder(place: Path) -> tuple[Path, FileLock]:
    """A fresh folder in `place`, and the lock that says it is in use; those of dead processes are removed."""
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.lock"):
        with suppress(Timeout, OSError):
            with FileLock(old, timeout=0):
                dead = old.with_suffix("")
                for left in (_temporary(dead), dead):
                    shutil.rmtree(left, ignore_errors=True)
            old.unlink(missing_ok=True)
    folder = place / secrets.token_hex(8)
    held = FileLock(folder.with_suffix(".lock"), timeout=10, thread_local=False)
    held.acquire()
    folder.mkdir()
    return folder, held


def _temporary(folder: Path) -> Path:
    """Where the profiler tab keeps what it has read. Not in `folder`: the path of a socket in it must be short."""
    return Path(tempfile.gettempdir()) / f"eurosat-{folder.name}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
