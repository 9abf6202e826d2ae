"""A real cluster on this machine's loopback: a scheduler with TLS, and workers in processes and folders of their own.

Its settings are those of CLUSTER.md.

with Cluster(folder) as cluster:
    one, two = cluster.add_worker("one"), cluster.add_worker("two")
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
from distributed import Security
from fake_engine import ROOT, eventually

_PATIENCE = 90.0


@dataclass
class Worker:
    """A worker with a nanny, as `dask worker` starts it. home: its own folder; it shares none."""

    name: str
    home: Path
    nanny: "subprocess.Popen[bytes]"

    @property
    def cache(self) -> Path:
        return self.home / "cache"


class Cluster:
    """Its scheduler is there at once; workers come when they are added."""

    def __init__(self, folder: Path) -> None:
        self.tls = folder / "tls"
        self.folder = folder
        self.workers: list[Worker] = []
        self.address = ""
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.tls.mkdir(parents=True)
        security = Security.temporary()
        for name, content in (("ca", "ca_file"), ("cert", "client_cert"), ("key", "client_key")):
            (self.tls / f"{name}.pem").write_text(getattr(security, f"tls_{content}"))
        block = (ROOT / "CLUSTER.md").read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
        (self.folder / "dask.yaml").write_text(block.replace("/path/to/tls", str(self.tls)))
        file = self.folder / "scheduler.json"
        where = ["--host", "127.0.0.1", "--port", "0", "--protocol", "tls", "--scheduler-file", str(file)]
        self._start(self.folder / "scheduler", "scheduler", *where, "--no-dashboard", "--no-show")

        def address() -> str:
            return str(json.loads(file.read_text())["address"]) if file.exists() and file.stat().st_size else ""

        self.address = eventually(address, _PATIENCE)
        return self

    def __exit__(self, *_error: Any) -> None:
        for process in self._processes:
            family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
            for each in family:
                each.kill()
            process.wait(timeout=20)

    def add_worker(self, name: str, *options: str, **environ: str) -> Worker:
        """Start a worker; the lab sees it some seconds later."""
        home = self.folder / name
        process = self._start(home, "worker", self.address, "--nthreads", "2", "--no-dashboard", *options, **environ)
        worker = Worker(name, home, process)
        self.workers.append(worker)
        return worker

    def _start(self, home: Path, what: str, *options: str, **environ: str) -> "subprocess.Popen[bytes]":
        home.mkdir()
        command = [sys.executable, "-m", "dask", what, *options]
        own = {name: value for name, value in os.environ.items() if not name.startswith(("EUROSAT_", "XDG_"))}
        own |= {"HOME": str(home), "EUROSAT_CACHE": str(home / "cache"), "PYTHONPATH": str(ROOT)}
        own |= {"DASK_CONFIG": str(self.folder / "dask.yaml"), "EUROSAT_THREADS": "1"}
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, cwd=home, env=own | environ, stdout=log, stderr=log)
        self._processes.append(process)
        return process
