"""The lab with its real workers: one lab for all tests of this file, since it takes seconds to start."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from fake_engine import CONFIG, eventually, lab_settings, refused, wait_for_state

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab import engine as engine_module
from eurosat_core.lab.engine import DaskEngine
from eurosat_core.lab.lab import Lab, open_lab
from eurosat_core.lab.messages import Slot
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.choices import choice_of
from eurosat_core.training.config import recipe_config

pytestmark = pytest.mark.engine

# One tile a step and a thousand epochs' worth of work: it ends when it is told to.
LONG = replace(CONFIG, epochs=200, batch_size=1)
PATIENCE = 90.0  # seconds; a fresh worker loads torch first, which may take long on a busy machine


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, small_tiles: TileSet) -> Iterator[Lab]:
    opened = open_lab(lab_settings(tmp_path_factory.mktemp("engine"), small_tiles))
    eventually(lambda: opened.tiles().tile_set and opened.devices_known(), PATIENCE)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def nothing_left_running(lab: Lab) -> Iterator[None]:
    yield
    for run in lab.store.all()[0]:
        if run.is_active:
            lab.control(run.id, run.owner, "stop")
            wait_for_state(lab, run.id, "cancelled", "finished", "failed", timeout=PATIENCE)


def engine(lab: Lab) -> DaskEngine:
    assert isinstance(lab._engine, DaskEngine)
    return lab._engine


def worker_process(lab: Lab) -> psutil.Process:
    own = engine(lab)
    (pid,) = own._open_client.run(os.getpid, workers=[own._address_of("cpu")]).values()
    return psutil.Process(pid)


def running(lab: Lab, owner: str = "ada") -> RunRecord:
    """A long run that has told of a step."""
    run = lab.submit(LONG, owner)
    eventually(lambda: lab.results.history(run.id).latest, PATIENCE)
    return run


def told(lab: Lab, run: RunRecord) -> int:
    return lab.results.history(run.id).events


def standing(lab: Lab, run: RunRecord) -> int:
    """Events told, once a paused run has come to a stand."""
    before = -1
    while before != (before := told(lab, run)):
        time.sleep(2)  # reports come ten times a second, on a busy machine later
    return before


def test_a_training_goes_through_a_worker(lab: Lab) -> None:
    run = lab.submit(CONFIG, "ada")
    done = wait_for_state(lab, run.id, "finished", timeout=PATIENCE)
    history = lab.results.history(run.id)
    assert history.started and history.finished and [each.epoch for each in history.epochs] == [1, 2]
    assert history.started.threads == lab.settings.threads == done.machine["threads"]
    evaluation = lab.results.evaluation(run.id)
    assert evaluation and evaluation.accuracy == pytest.approx(done.summary["val_accuracy"])
    assert done.summary["val_accuracy"] == history.epochs[-1].val_accuracy
    assert lab.store.load(run.id, "model.pt")
    found = lab.estimates.training(CONFIG)
    assert found and run.id in found.basis


def test_a_worker_measures_what_an_estimate_needs_and_a_run_settles_what_was_left_open(lab: Lab) -> None:
    recipe = recipe_config("baseline", "fast", epochs=1, batch_size=20)
    eventually(lambda: lab.estimates.sure_seconds(recipe), PATIENCE)
    assert not lab.estimates.settled(recipe).is_open and lab.estimates.form_choice(recipe) is not None
    run = lab.submit(recipe, "ada")
    done = wait_for_state(lab, run.id, "finished", timeout=PATIENCE)
    assert done.config == lab.estimates.settled(recipe) and choice_of(
        done.machine["form"]
    ) == lab.estimates.form_choice(recipe)


def test_a_run_that_comes_in_the_middle_of_a_measurement_goes_first(lab: Lab) -> None:
    large = "conv 64 5 pad same, relu, conv 64 5 pad same, relu, maxpool 8, flatten, linear out"
    config = recipe_config("custom", "fast", network=large)
    eventually(lambda: (lab.estimates.training(config), lab.estimates.measuring._working)[1], PATIENCE)
    run = lab.submit(CONFIG, "ada")
    wait_for_state(lab, run.id, "finished", timeout=PATIENCE)
    eventually(lambda: not lab.estimates.measuring._working, PATIENCE)


def test_pause_one_step_resume_stop(lab: Lab) -> None:
    run = running(lab)
    lab.control(run.id, "ada", "pause")
    assert lab.store.get(run.id).state == "paused"
    before = standing(lab, run)
    lab.control(run.id, "ada", "step")
    eventually(lambda: told(lab, run) > before)
    assert standing(lab, run) - before in (1, 2)  # the end of an epoch may lie between
    lab.control(run.id, "ada", "resume")
    eventually(lambda: told(lab, run) > before + 3)
    assert lab.store.get(run.id).state == "running"
    lab.control(run.id, "ada", "stop")
    done = wait_for_state(lab, run.id, "cancelled")
    assert "stopped" in done.message and lab.results.history(run.id).finished is None


def test_loader_workers_inside_a_worker(lab: Lab) -> None:
    config = replace(CONFIG, source="loader", workers=2, epochs=1, channels_last=False)
    run = lab.submit(config, "ada")
    done = wait_for_state(lab, run.id, "finished", "failed", timeout=PATIENCE)
    assert done.state == "finished", done.message
    assert done.summary["epochs"] == 1


def test_a_profile_goes_through_a_worker(lab: Lab) -> None:
    run = lab.submit_profile(profile_config("baseline"), ProfilePlan(repeat=2), "ada")
    done = wait_for_state(lab, run.id, "finished", "failed", timeout=PATIENCE)
    assert done.state == "finished", done.message
    told = lab.results.history(run.id).profile
    assert told.done and [each.file for each in told.traces] == ["trace_1.json.gz", "trace_2.json.gz"]
    trace = gzip.decompress(lab.store.load(run.id, "trace_2.json.gz"))
    assert b"enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__" in trace and b"eurosat.update" in trace
    found = lab.estimates.profile(run.config, ProfilePlan())
    assert found and run.id in found.basis


def test_a_killed_worker_fails_its_run_and_no_other(lab: Lab) -> None:
    first = running(lab)
    queued = [lab.submit(CONFIG, owner) for owner in ("bob", "cleo", "bob")]
    assert all(lab.place(each.id) for each in queued)
    killed = worker_process(lab)
    prepared = engine(lab)._preparing["cpu"]
    killed.send_signal(signal.SIGKILL)
    now = wait_for_state(lab, first.id, "failed", timeout=PATIENCE)
    assert "died" in now.message and now.ended
    assert lab.results.history(first.id).events > 0
    for run in queued:
        wait_for_state(lab, run.id, "finished", timeout=PATIENCE)
    assert worker_process(lab).pid != killed.pid
    eventually(lambda: engine(lab)._preparing["cpu"] is not prepared, PATIENCE)
    engine(lab)._preparing["cpu"].result(timeout=PATIENCE)


def test_a_worker_that_is_killed_again_while_it_starts_comes_back(lab: Lab) -> None:
    """Before, its device had no worker until the app was restarted."""
    killed = worker_process(lab)
    killed.kill()

    def starting() -> list[psutil.Process]:
        return [
            each
            for each in psutil.Process().children()
            if each.status() != psutil.STATUS_ZOMBIE and each != killed and "spawn_main" in " ".join(each.cmdline())
        ]

    eventually(starting, PATIENCE)[0].kill()
    run = lab.submit(CONFIG, "ada")
    wait_for_state(lab, run.id, "finished", "failed", timeout=PATIENCE)
    assert lab.store.get(run.id).state == "finished", lab.store.get(run.id).message


def test_a_worker_that_hangs_holds_nobody_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, whoever pressed Stop waited for ever."""
    monkeypatch.setattr("eurosat_core.lab.engine._COMMAND_SECONDS", 0.5)
    monkeypatch.setattr("eurosat_core.lab.dispatch._STOP_SECONDS", 1.0)
    hung, process = running(lab), worker_process(lab)
    process.suspend()
    pressed = time.monotonic()
    lab.control(hung.id, "ada", "stop")
    assert time.monotonic() - pressed < 20
    ended = wait_for_state(lab, hung.id, "cancelled")
    assert ended.message and ended.ended
    run = lab.submit(CONFIG, "bob")
    wait_for_state(lab, run.id, "finished", timeout=PATIENCE)
    assert not process.is_running() and lab.store.get(hung.id) == ended


def test_a_worker_that_is_killed_before_the_lab_is_open_is_started_again(
    tmp_path: Path, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, the lab took no run until it was restarted."""
    usual, tries = engine_module.SpecCluster, []

    def fails_once(*arguments: Any, **options: Any) -> Any:
        tries.append(options)
        if len(tries) == 1:
            raise RuntimeError("Nanny failed to start.")
        return usual(*arguments, **options)

    monkeypatch.setattr(engine_module, "SpecCluster", fails_once)
    own = DaskEngine(lab_settings(tmp_path, small_tiles))
    own.open(lambda _message: None)
    try:
        assert own.probe()[0].id == "cpu" and len(tries) == 2
    finally:
        own.close()
    tries.clear()
    monkeypatch.setattr(engine_module, "_TRIES", 1)
    assert refused(lambda: DaskEngine(lab_settings(tmp_path, small_tiles)).open(lambda _message: None))


def test_a_worker_can_be_replaced(lab: Lab) -> None:
    before, prepared = worker_process(lab).pid, engine(lab)._preparing["cpu"]
    engine(lab).restart(Slot("cpu", "cpu"))
    assert engine(lab)._preparing["cpu"] is not prepared
    run = lab.submit(LONG, "ada")
    wait_for_state(lab, run.id, "running", timeout=PATIENCE)
    lab.control(run.id, "ada", "stop")  # the fresh process still loads torch, and must not forget it
    wait_for_state(lab, run.id, "cancelled", timeout=PATIENCE)
    assert worker_process(lab).pid != before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux gives each thread its own priority")
def test_training_lets_pages_go_first_and_a_worker_still_listens(lab: Lab) -> None:
    def priorities() -> dict[int, int]:
        threads = [each.id for each in worker_process(lab).threads()]
        return {each: os.getpriority(os.PRIO_PROCESS, each) for each in threads}

    running(lab)
    mine, worker = os.getpriority(os.PRIO_PROCESS, 0), worker_process(lab).pid
    eventually(lambda: max(priorities().values()) >= mine + 5, PATIENCE)
    assert priorities()[worker] == mine, "the thread that takes commands"


def test_a_prepared_worker_has_loaded_what_a_first_optimizer_needs() -> None:
    code = (
        "import sys, torch; from eurosat_core.data import batches; batches.warm_loader_workers = lambda **_: None;"
        "from eurosat_core.lab import worker; worker.prepare();"
        "known = {*sys.modules}; torch.optim.AdamW([torch.zeros(1)]).step(); print(*{*sys.modules} - known)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not [each for each in loaded if not each.startswith("torch.optim")]


@pytest.mark.hostile
def test_nothing_listens_beyond_loopback(lab: Lab) -> None:
    running(lab)
    processes = [each for each in psutil.Process().children(recursive=True) if each.is_running()]
    assert worker_process(lab) in processes
    listening = [
        each.laddr.ip
        for process in [psutil.Process(), *processes]
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert listening and set(listening) == {"127.0.0.1"}


def test_the_server_never_touches_a_gpu(lab: Lab) -> None:
    assert lab.devices()[0].id == "cpu" and len(lab.devices()) >= 2, "a missing GPU is listed, with the reason"
    assert not torch.cuda.is_initialized()


def test_a_running_cluster_is_used_like_the_embedded_one(lab: Lab, tmp_path: Path, small_tiles: TileSet) -> None:
    security, address = engine(lab)._open_client.security, engine(lab)._open_client.scheduler.address
    for name, content in (("ca", "ca_file"), ("cert", "client_cert"), ("key", "client_key")):
        (tmp_path / f"{name}.pem").write_text(getattr(security, f"tls_{content}"))
    settings = lab_settings(tmp_path, small_tiles, scheduler=address, scheduler_tls=tmp_path)
    guest = open_lab(settings)
    try:
        eventually(lambda: guest.tiles().tile_set and guest.devices_known(), PATIENCE)
        run = guest.submit(CONFIG, "ada")
        wait_for_state(guest, run.id, "finished", timeout=PATIENCE)
        assert guest.results.history(run.id).finished
        assert any(address in each.text for each in guest.room())
        assert run.id not in [each.id for each in lab.store.all()[0]], "the host's lab keeps to its own runs"
    finally:
        guest.close()


def test_what_has_no_worker_is_a_sentence(lab: Lab) -> None:
    assert "cuda:7" in refused(lambda: engine(lab)._address_of("cuda:7", wait_seconds=0.0))
    assert not engine(lab).command("20260102-030405-baseline-00ff", "stop")
    assert refused(lambda: DaskEngine(lab.settings)._open_client)
