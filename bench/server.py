"""The real app in a process of its own, for benchmarks that watch or use it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from bench.processes import ROOT
from eurosat_core.errors import RunError
from eurosat_core.settings import Settings


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def app_server(settings: Settings, runs: Path) -> Iterator[str]:
    """Start `streamlit run` with a run store of its own, and stop it at the end. Yields its address at once."""
    port = _free_port()
    environ = {**os.environ, "EUROSAT_RUNS": str(runs), "EUROSAT_CACHE": str(settings.cache)}
    environ.pop("EUROSAT_DATA", None)  # these settings count, not what this process was started with
    if settings.data is not None:
        environ["EUROSAT_DATA"] = str(settings.data)
    if settings.archive_url is not None:
        environ |= {"EUROSAT_ARCHIVE": settings.archive_url, "EUROSAT_ARCHIVE_MD5": settings.archive_md5 or ""}
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless=true"]
    process = subprocess.Popen(
        [*command, f"--server.port={port}", "--server.address=127.0.0.1"],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_tiles(address: str, seconds: float = 60) -> None:
    """Wait until the app answers and has opened its tiles. Raises `RunError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urlopen(f"{address}/api/health", timeout=2) as answer:
                if b'"tiles_ready":true' in answer.read():
                    return
        except (URLError, OSError):
            pass
        time.sleep(0.05)
    raise RunError(f"The app at {address} did not start within {seconds:.0f} s.")
