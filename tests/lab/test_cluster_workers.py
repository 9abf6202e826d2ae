"""Beyond one machine: workers in processes and folders of their own, a scheduler with TLS, and no shared folder."""

import gzip
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest
from cluster import Cluster
from fake_engine import CONFIG, ROOT, eventually, lab_settings, wait_for_state

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab import worker
from eurosat_core.lab.engine import DaskEngine
from eurosat_core.lab.lab import Lab, open_lab
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.record import RunRecord
from eurosat_core.settings import Settings

pytestmark = pytest.mark.engine

LONG = replace(CONFIG, epochs=200, batch_size=1)  # it ends when it is told to
PATIENCE = 180.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster")) as opened:
        opened.add_worker("one")
        opened.add_worker("two")
        yield opened


@pytest.fixture(scope="module")
def settings(cluster: Cluster, small_tiles: TileSet, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    options = {"scheduler": cluster.address, "scheduler_tls": cluster.tls}
    return lab_settings(tmp_path_factory.mktemp("server"), small_tiles, **options)


@pytest.fixture
def lab(settings: Settings) -> Iterator[Lab]:
    opened = opened_lab(settings)
    yield opened
    for run in opened.store.all()[0]:
        if run.is_active:
            opened.control(run.id, run.owner, "stop")
            wait_for_state(opened, run.id, "cancelled", "finished", "failed", timeout=PATIENCE)
    opened.close()


def opened_lab(settings: Settings) -> Lab:
    lab = open_lab(settings)
    eventually(lambda: lab.tiles().tile_set and len(lab._engine.slots()) == 2, PATIENCE)
    return lab


def engine(lab: Lab) -> DaskEngine:
    assert isinstance(lab._engine, DaskEngine)
    return lab._engine


def running(lab: Lab, owner: str) -> RunRecord:
    """A long run that has told of a step."""
    run = lab.submit(LONG, owner)
    eventually(lambda: lab.results.history(run.id).latest, PATIENCE)
    return lab.store.get(run.id)


def address_of(lab: Lab, run: RunRecord) -> str:
    return lab.dispatcher._running[run.id].slot.worker


def process_of(lab: Lab, run: RunRecord) -> psutil.Process:
    return psutil.Process(engine(lab)._tell(address_of(lab, run), os.getpid))


def on_disk(settings: Settings, run_id: str) -> list[bytes]:
    """The events of a run without the times at which they were written."""
    lines = (settings.runs / run_id / "events.jsonl").read_bytes().splitlines()
    return [b"{" + each.partition(b",")[2] for each in lines]


def test_both_workers_train_profile_and_stop(lab: Lab, cluster: Cluster, small_tiles: TileSet) -> None:
    first, second = running(lab, "ada"), running(lab, "bob")
    assert address_of(lab, first) != address_of(lab, second), "both at once"
    assert first.cluster == cluster.address and first.host
    for each in cluster.workers:  # which had nothing
        (sent,) = each.cache.glob("tiles-sent-*")
        assert sent.name.endswith(small_tiles.fingerprint) and (sent / "pixels.u8").stat().st_size
    lab.control(first.id, "ada", "stop")
    assert wait_for_state(lab, first.id, "cancelled", timeout=PATIENCE).message
    trained = lab.submit(CONFIG, "cleo")
    profiled = lab.submit_profile(profile_config("baseline"), ProfilePlan(repeat=1), "dora")
    done = wait_for_state(lab, trained.id, "finished", "failed", timeout=PATIENCE)
    assert done.state == "finished", done.message
    evaluation = lab.results.evaluation(trained.id)
    assert evaluation and evaluation.accuracy == pytest.approx(done.summary["val_accuracy"])
    assert lab.store.load(trained.id, "model.pt") and done.machine["threads"] == 1
    lab.control(second.id, "bob", "stop")  # the profile waits for a machine without other runs
    done = wait_for_state(lab, profiled.id, "finished", "failed", timeout=PATIENCE)
    assert done.state == "finished", done.message
    assert b"DataLoader" in gzip.decompress(lab.store.load(profiled.id, "trace_1.json.gz"))
    assert [*cluster.workers[0].cache.glob("pictures-sent-*"), *cluster.workers[1].cache.glob("pictures-sent-*")]
    assert any("2 workers" in each.text for each in lab.room())


def test_a_killed_server_is_followed_by_one_that_finds_its_runs(settings: Settings) -> None:
    code = (
        "import json, sys; sys.path += ['tests', '.']; from tests.lab import test_cluster_workers as own\n"
        "from eurosat_core.settings import load_settings; from pathlib import Path; import dataclasses\n"
        "values = json.loads(sys.argv[1]); paths = {'runs', 'cache', 'data', 'scheduler_tls'}\n"
        "settings = own.Settings(**{name: Path(each) if name in paths else each for name, each in values.items()})\n"
        "lab = own.opened_lab(settings); print(*[own.running(lab, each).id for each in ('ada', 'bob')], flush=True)\n"
        "sys.stdin.read()"
    )
    named = {name: getattr(settings, name) for name in ("runs", "cache", "data", "scheduler", "scheduler_tls")}
    arguments = [sys.executable, "-c", code, json.dumps(named, default=str)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        first, second = server.stdout.readline().split()
        server.send_signal(signal.SIGKILL)
    with (settings.runs / first / "events.jsonl").open("ab") as file:
        file.write(b'{"at":1.0,"kind":"st')  # it was killed while it wrote
    before = len(on_disk(settings, second))
    lab = opened_lab(settings)
    try:
        eventually(lambda: len(lab.dispatcher._running) == 2, PATIENCE)
        for run_id in (first, second):
            assert lab.store.get(run_id).state == "running"
        eventually(lambda: len(on_disk(settings, second)) > before + 3, PATIENCE)
        killed = lab.store.get(first)
        process_of(lab, killed).kill()
        gone = wait_for_state(lab, first, "failed", timeout=PATIENCE)
        assert "gone" in gone.message and lab.store.get(second).state == "running", "one run, and no other"
        address = address_of(lab, lab.store.get(second))
        lab.control(second, "bob", "pause")
        eventually(lambda: lab.store.get(second).state == "paused")

        def all_told() -> bool:
            told, _ = engine(lab)._tell(address, worker.news, second, 0, 0.0)
            return bool(told == on_disk(settings, second))

        eventually(all_told, PATIENCE)  # none lost, none twice
        lab.control(second, "bob", "stop")
        wait_for_state(lab, second, "cancelled", timeout=PATIENCE)
        eventually(lambda: second not in engine(lab).found(), PATIENCE)
        eventually(lambda: len(engine(lab).slots()) == 2, PATIENCE)  # its nanny has started another one
    finally:
        lab.close()


def test_what_ends_while_there_is_no_server_is_found_ended(settings: Settings) -> None:
    lab = opened_lab(settings)
    short, lost = lab.submit(replace(CONFIG, epochs=30), "ada"), running(lab, "bob")
    eventually(lambda: lab.results.history(short.id).latest, PATIENCE)
    process = process_of(lab, lost)
    lab.close()
    assert lab.store.get(lost.id).state == lab.store.get(short.id).state == "running", "they go on"
    process.kill()
    again = opened_lab(settings)
    try:
        assert again.store.get(lost.id).state == "interrupted"
        done = wait_for_state(again, short.id, "finished", timeout=PATIENCE)
        assert [each.epoch for each in again.results.history(short.id).epochs] == [*range(1, 31)]
        assert done.summary["epochs"] == 30 and again.store.load(short.id, "model.pt")
    finally:
        again.close()
