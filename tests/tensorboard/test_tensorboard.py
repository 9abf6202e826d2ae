"""TensorBoard's process: started when asked, on loopback alone, ended with the server however that ends."""

import importlib.util
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from fake_engine import ROOT, epoch_done, eventually, finished, started

from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.tensorboard import process as tensorboard
from eurosat_core.tensorboard.process import TensorBoard
from eurosat_core.training.config import TrainConfig

PATIENCE = 120.0  # seconds, for everything that starts processes
USED = TilesUsed("print", "synthetic", "", 200, ("a", "b"))
# A server without pages, to be killed.
SERVER = """
import sys, time
from pathlib import Path

from eurosat_core.tensorboard.process import TensorBoard
from eurosat_core.settings import Settings

board = TensorBoard(Settings(runs=Path(sys.argv[1]), cache=Path(sys.argv[2])))
while board.start().port is None:
    time.sleep(0.05)
print(board._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs=tmp_path / "runs", cache=tmp_path / "cache")


@pytest.fixture
def board(settings: Settings) -> Iterator[TensorBoard]:
    made = TensorBoard(settings)
    yield made
    made.close()


@pytest.fixture
def store(settings: Settings) -> RunStore:
    return RunStore(settings.runs)


@pytest.fixture
def run(store: RunStore) -> str:
    """A training that has told an epoch."""
    record = store.create(TrainConfig(source="memory"), "ada", USED)
    store.append(record.id, [started(), epoch_done(1)])
    return record.id


def running(board: TensorBoard) -> int:
    """Wait until it runs; its port."""
    return int(eventually(lambda: board.start().port, PATIENCE))


def asked(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/tensorboard/{path}", timeout=60) as answer:
        return json.loads(answer.read())


def process_of(board: TensorBoard) -> psutil.Process:
    assert board._process is not None
    return psutil.Process(board._process.pid)


@pytest.mark.engine
def test_it_starts_when_asked_shows_the_runs_and_ends_with_the_lab(
    board: TensorBoard, settings: Settings, store: RunStore, run: str
) -> None:
    assert board.state().phase == "stopped"
    assert board.start().phase == "starting"
    port = running(board)
    assert board.start().port == port, "one is enough"
    both = {f"{run}/train", f"{run}/validation"}
    eventually(lambda: set(asked(port, "data/plugin/scalars/tags")) >= both, PATIENCE)
    tags = asked(port, "data/plugin/scalars/tags")
    assert set(tags) == both
    assert "epoch/accuracy" in tags[f"{run}/validation"]
    process = process_of(board)
    family = [process, *process.children(recursive=True)]
    listening = [
        each.laddr for one in family for each in one.net_connections(kind="inet") if each.status == psutil.CONN_LISTEN
    ]
    assert [(each.ip, each.port) for each in listening] == [("127.0.0.1", port)]

    store.append(run, [epoch_done(2), finished()])
    values = f"data/plugin/scalars/scalars?run={run}/validation&tag=epoch/accuracy"
    assert [step for _, step, _ in eventually(lambda: _longer(asked(port, values), 1), PATIENCE)] == [1, 2]

    board.close()
    assert board.state().phase == "stopped" and not process.is_running()
    assert not list((settings.cache / "tensorboard").iterdir()), "it leaves nothing behind"
    assert board.start().phase == "stopped", "not after the end"


def without(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    """Pretend that a package is not installed."""
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == absent else there(name, *more))


def _longer(found: list[Any], than: int) -> list[Any] | None:
    return found if len(found) > than else None


@pytest.mark.engine
def test_it_dies_with_a_server_that_is_killed_and_the_next_one_tidies_up(tmp_path: Path, settings: Settings) -> None:
    places = [str(settings.runs), str(settings.cache)]
    server = subprocess.Popen([sys.executable, "-c", SERVER, *places], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    with server.stdout:
        child = psutil.Process(int(server.stdout.readline()))
    server.kill()
    server.wait()
    eventually(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, PATIENCE)
    left = settings.cache / "tensorboard" / "0123"  # of one that was killed itself
    left.mkdir(parents=True)
    left.with_suffix(".lock").touch()
    board = TensorBoard(settings)
    running(board)
    assert not left.exists() and not left.with_suffix(".lock").exists()
    board.close()


@pytest.mark.engine
def test_it_starts_again_when_it_died_and_anew_when_a_run_was_deleted(
    board: TensorBoard, store: RunStore, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "_PAUSE_SECONDS", 0.0)
    running(board)
    process = process_of(board)
    if tensorboard.plugin_installed():  # only its tab starts processes, to read traces
        assert eventually(lambda: psutil.Process(process.pid).children(recursive=True), PATIENCE)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    state = board.state()
    assert state.phase == "failed" and "tried again" in state.problem
    assert not psutil.wait_procs(children, PATIENCE)[1], "what it started goes with it"
    port = running(board)
    assert eventually(lambda: asked(port, "data/plugin/scalars/tags"), PATIENCE)

    store.delete(run)
    eventually(lambda: board.state().phase == "stopped", PATIENCE)
    assert asked(running(board), "data/plugin/scalars/tags") == {}


def test_after_a_failure_it_waits_a_moment(board: TensorBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", sys.executable + "-that-is-not-there")
    state = board.start()
    assert state.phase == "failed" and state.problem
    monkeypatch.undo()
    assert board.start() == state


def test_a_missing_package_is_said_and_nothing_is_started(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "tensorboard")
    board = TensorBoard(settings)
    assert board.state() == board.start()
    assert board.state().phase == "failed"
    assert "requirements.txt" in board.state().problem


def test_only_its_own_tab_needs_the_plugin(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch_tb_profiler")
    assert TensorBoard(settings).state().phase == "stopped", "it can be started"
    assert not tensorboard.plugin_installed() and "torch-tb-profiler" in tensorboard.plugin_problem()
    monkeypatch.setattr(tensorboard, "_PLUGIN", "json")
    assert tensorboard.plugin_installed() and tensorboard.plugin_problem() == ""


@pytest.mark.engine
def test_a_plugin_that_cannot_be_loaded_takes_only_its_own_tab_away(
    board: TensorBoard, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    (broken / "torch_tb_profiler").mkdir(parents=True)
    (broken / "torch_tb_profiler" / "__init__.py").write_text("raise ImportError('made for another pandas')\n")
    listed = broken / "torch_tb_profiler-0.4.3.dist-info"
    listed.mkdir()
    (listed / "METADATA").write_text("Metadata-Version: 2.1\nName: torch-tb-profiler\nVersion: 0.4.3\n")
    (listed / "entry_points.txt").write_text("[tensorboard_plugins]\ntorch_profiler = torch_tb_profiler.plugin:Tab\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    port = running(board)
    assert eventually(lambda: f"{run}/validation" in asked(port, "data/plugin/scalars/tags"), PATIENCE)
    tabs = asked(port, "data/plugins_listing")
    assert tabs["scalars"]["enabled"] and "pytorch_profiler" not in tabs


def test_the_server_does_not_load_it() -> None:
    code = "import sys, eurosat_core.tensorboard.process as t, eurosat_core.tensorboard.process; assert t.TensorBoard\n"
    code += "print([name for name in ('tensorboard', 'torch', 'pandas', 'streamlit') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
