"""The server is killed with SIGKILL in the middle of its work, and another one takes over its run store."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from fake_engine import CONFIG, ROOT, eventually, lab_settings, locked_elsewhere, tiles_used, wait_for_state

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.lab import open_lab
from eurosat_core.runs.store import RunStore

pytestmark = pytest.mark.engine

PATIENCE = 120.0  # seconds, for everything that starts processes

# A server without pages: one run is finished, one under way, two wait. Then it says so, and works on.
SERVER = """
import json, sys, time
from dataclasses import replace
from pathlib import Path

from eurosat_core.lab.lab import open_lab
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig


def main() -> None:
    runs, cache, data = map(Path, sys.argv[1:])
    lab = open_lab(Settings(runs=runs, cache=cache, data=data, threads=1))
    while lab.tiles().tile_set is None:
        time.sleep(0.05)
    short = TrainConfig(source="memory", epochs=1, batch_size=20)
    done = lab.submit(short, "ada")
    while lab.store.get(done.id).is_active:
        time.sleep(0.05)
    ran = lab.submit(replace(short, epochs=200, batch_size=1), "ada")
    while not lab.results.history(ran.id).latest:
        time.sleep(0.05)
    waiting = [lab.submit(short, "bob"), lab.submit(short, "cleo")]
    print(json.dumps([done.id, ran.id, *(each.id for each in waiting)]), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    main()
"""


@contextmanager
def server(script: Path, tiles: TileSet) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The server's process and the ids of its runs: finished, under way, and two that wait."""
    script.write_text(SERVER)
    command = [sys.executable, str(script), str(script.parent / "runs"), str(tiles.cache.parent), tiles.place]
    inherited = psutil.Process().environ()
    places = [str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])]
    environment = {**inherited, "PYTHONPATH": os.pathsep.join(places)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def gone(process: psutil.Process) -> bool:
    """Ended; where nobody collects orphans, an ended process stays listed as a zombie."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def files_of(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name != "lock"}


def test_a_killed_server_loses_nothing(tmp_path: Path, small_tiles: TileSet) -> None:
    store = RunStore(tmp_path / "runs")
    with server(tmp_path / "server.py", small_tiles) as (process, (done, ran, *waiting)):
        workers = psutil.Process(process.pid).children(recursive=True)
        assert workers
        process.kill()
        process.wait()
        eventually(lambda: all(gone(each) for each in workers), PATIENCE)
    assert [store.get(each).state for each in (done, ran, *waiting)] == ["finished", "running", "queued", "queued"]
    before, told = files_of(store.folder_of(done)), (store.folder_of(ran) / "events.jsonl").read_bytes()
    assert {"run.json", "events.jsonl", "model.pt", "predictions.npz", "split.json"} == set(before) and told

    elsewhere = store.create(replace(CONFIG, epochs=7), "command line", tiles_used(small_tiles))
    elsewhere = store.update(elsewhere.id, state="running")
    with locked_elsewhere(store, elsewhere.id):
        lab = open_lab(lab_settings(tmp_path, small_tiles))
        try:
            now = lab.store.get(ran)
            assert now.state == "interrupted" and now.ended and "was stopped" in now.message
            assert lab.results.history(ran).latest and (store.folder_of(ran) / "events.jsonl").read_bytes() == told
            for run_id in waiting:
                wait_for_state(lab, run_id, "finished", timeout=PATIENCE)
            assert files_of(store.folder_of(done)) == before
            assert lab.store.get(elsewhere.id) == elsewhere
        finally:
            lab.close()
