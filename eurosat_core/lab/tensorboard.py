"""TensorBoard for those who know it: a process of its own on this machine's loopback, started when somebody asks.

The app forwards to it (`lab/forwarding.py`), so nothing but the app's own port is open to others. It lives as long as
the server: its process watches its standard input, which the system closes however the server ends.
"""

import importlib.util
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eurosat_core.settings import Settings

__all__ = [
    "KEPT_PROFILES",
    "KEPT_TRAININGS",
    "MAX_TRACE_MB",
    "PATH_PREFIX",
    "RESTART",
    "SHOWN_PROFILES",
    "SHOWN_TRAININGS",
    "TensorBoard",
    "TensorBoardState",
    "plugin_installed",
    "plugin_problem",
]

PATH_PREFIX = "/tensorboard"
# The newest ones when it starts; what is added later is shown, too. TensorBoard holds a training of three minutes in
# about 1 MB of memory, and its profiler tab reads each trace in a process of its own.
SHOWN_TRAININGS, SHOWN_PROFILES = 200, 12
# With more than these it starts anew with the newest ones, for it forgets nothing that it has read.
KEPT_TRAININGS, KEPT_PROFILES = 400, 36
MAX_TRACE_MB = 16  # gzip; its profiler tab needs minutes for a larger one
RESTART = 3
"""Exit status of a process that wants to be started anew."""

_ROOT = Path(__file__).parents[2]
_PLUGIN = "torch_tb_profiler"
_PAUSE_SECONDS = 15.0  # after it failed, before it is tried again
_STOP_SECONDS = 5.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TensorBoardState:
    """Whether it can be used. port: where it listens on 127.0.0.1, while it runs. problem: a sentence, if it failed."""

    phase: Literal["stopped", "starting", "running", "failed"]
    port: int | None = None
    problem: str = ""


def plugin_installed() -> bool:
    """Whether TensorBoard's profiler tab is there: a package of its own, which nothing else needs."""
    return importlib.util.find_spec(_PLUGIN) is not None


def plugin_problem() -> str:
    """Why TensorBoard has no profiler tab, as a sentence with the remedy; empty where it has one."""
    if plugin_installed():
        return ""
    return (
        "TensorBoard's profiler tab needs the package torch-tb-profiler, which is not installed here. The curves are "
        "there all the same. To get the tab, run pip install torch-tb-profiler and start the app again."
    )


class TensorBoard:
    """The server's TensorBoard. All methods may be called from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._port: int | None = None
        self._problem = ""
        self._failed_at = float("-inf")
        self._closed = False
        self._missing = (
            "TensorBoard is not installed here. Install what requirements.txt names; everything else works without it."
            if importlib.util.find_spec("tensorboard") is None
            else ""
        )

    def state(self) -> TensorBoardState:
        """How it stands now; starts nothing."""
        with self._lock:
            return self._look()

    def start(self) -> TensorBoardState:
        """Start it unless it runs, or failed a moment ago. Returns at once; it needs some seconds."""
        with self._lock:
            state = self._look()
            if state.phase in ("running", "starting") or self._missing or self._closed:
                return state
            if state.phase == "failed" and time.monotonic() < self._failed_at + _PAUSE_SECONDS:
                return state
            self._launch()
            return self._look()

    def close(self) -> None:
        """End it for good."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # what it waits for
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _end_children(process.pid)

    def _look(self) -> TensorBoardState:
        if self._missing:
            return TensorBoardState("failed", problem=self._missing)
        process = self._process
        if process is not None and (status := process.poll()) is not None:
            self._ended(process, status)
            process = None
        if process is not None:
            return TensorBoardState("starting" if self._port is None else "running", self._port)
        return TensorBoardState("failed", problem=self._problem) if self._problem else TensorBoardState("stopped")

    def _ended(self, process: "subprocess.Popen[str]", status: int) -> None:
        assert process.stdin is not None
        process.stdin.close()
        _end_children(process.pid)
        self._process = self._port = None
        if status != RESTART:
            logger.warning("TensorBoard ended with status %s", status)
            self._fail(
                f"TensorBoard ended by itself (status {status}). It is tried again in a few seconds; the server's log "
                "says more."
            )

    def _fail(self, problem: str) -> None:
        self._problem, self._failed_at = problem, time.monotonic()

    def _launch(self) -> None:
        self._problem, self._port = "", None
        places = [str(self._settings.runs), str(self._settings.cache)]
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "eurosat_core.lab.tensorboard_process", *places],
                cwd=_ROOT,
                # It has no business with a GPU, and says every detail of each trace otherwise.
                env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TORCH_PROFILER_LOG_LEVEL": "ERROR"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # so that what it started can be found when it is gone
            )
        except OSError as error:
            self._fail(f"TensorBoard could not be started: {error.strerror or error}. Try again in a few seconds.")
            return
        self._process = process
        threading.Thread(target=self._listen, args=(process,), name="tensorboard-port", daemon=True).start()

    def _listen(self, process: "subprocess.Popen[str]") -> None:
        """Take the port that it found, from its first line."""
        assert process.stdout is not None
        with process.stdout:
            line = process.stdout.readline()
        with self._lock:
            if self._process is process and line.strip().isdigit():
                self._port = int(line)


def _end_children(pid: int) -> None:
    """Its profiler tab reads traces in processes of its own, which outlive it when it is killed."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
