"""Looking for devices: a card that hangs, dies or fails is named with its reason, and the others can be used."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fake_engine import CPU, lab_settings, raising

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import SLICE, Device, first_kernel_problem, probe_devices
from eurosat_core.lab import engine as module
from eurosat_core.lab.engine import DaskEngine
from eurosat_core.lab.worker import introduce, versions

CARDS = tuple(Device(f"cuda:{at}", "H100", 2**30) for at in range(4))


class Workers:
    """Stands in for Dask's client and cluster: workers answer as they are told, by (question, address)."""

    def __init__(self, answers: dict[tuple[Callable[..., Any], str], Callable[[], Any]]) -> None:
        self.worker_spec: dict[str, Any] = {"cpu": {}}
        self.security = None
        self.restarted: list[str] = []
        self._answers = answers
        self._threads = ThreadPoolExecutor()

    def scale(self, _workers: int) -> None: ...

    def scheduler_info(self, n_workers: int = -1) -> dict[str, Any]:
        return {"workers": {name: {"name": name} for name in self.worker_spec}}

    def restart_workers(self, workers: list[str], timeout: float) -> None:
        self.restarted += workers

    def submit(
        self, question: Callable[..., Any], *_arguments: Any, workers: list[str], **_options: Any
    ) -> Future[Any]:
        return self._threads.submit(self._answers.get((question, workers[0]), lambda: None))


def opened(folder: Path, tiles: TileSet, workers: Workers, *, embedded: bool = True) -> DaskEngine:
    engine = DaskEngine(lab_settings(folder, tiles))
    engine._client = workers  # type: ignore[assignment]
    engine._cluster = workers if embedded else None  # type: ignore[assignment]
    return engine


def hanging() -> None:
    time.sleep(2)


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PROBE_SECONDS", 0.5)


def test_one_bad_card_does_not_fail_the_others(tmp_path: Path, small_tiles: TileSet) -> None:
    first = first_kernel_problem
    workers = Workers(
        {
            (probe_devices, "cpu"): lambda: (CPU, *CARDS),
            (first, "cuda:0"): hanging,
            (first, "cuda:1"): lambda: "It failed.",
            (first, "cuda:2"): raising(RuntimeError("the worker died")),
            (first, "cuda:3"): lambda: "",
        }
    )
    found = opened(tmp_path, small_tiles, workers).probe()
    assert [(each.id, each.available) for each in found] == [
        ("cpu", True),
        *((f"cuda:{at}", at == 3) for at in range(4)),
    ]
    assert found[2].reason == "It failed." and "in time" in found[1].reason and not found[4].reason


def test_a_driver_that_hangs_leaves_the_cpu(tmp_path: Path, small_tiles: TileSet) -> None:
    workers = Workers({(probe_devices, "cpu"): hanging})
    cpu, gpu = opened(tmp_path, small_tiles, workers).probe()
    assert cpu.available and not gpu.available and "in time" in gpu.reason
    assert workers.restarted == ["cpu"], "the process that asked hangs, too"


def test_a_worker_that_hangs_does_not_hide_a_cluster(tmp_path: Path, small_tiles: TileSet) -> None:
    answer = {"versions": versions(), "devices": (CPU, CARDS[0]), "host": "far", "cores": 8, "threads": 8}
    workers = Workers({(introduce, "cpu"): hanging, (introduce, "far"): lambda: answer})
    workers.worker_spec["far"] = {}
    engine = opened(tmp_path, small_tiles, workers, embedded=False)
    try:
        assert [each.id for each in engine.probe()] == ["cpu", "cuda:0"]
        assert [(each.device, each.worker) for each in engine.slots()] == [("cpu", "far"), ("cuda:0", "far")]
    finally:
        engine._closing.set()


def test_a_slice_of_a_card_gets_a_process_that_sees_nothing_else(
    tmp_path: Path, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And every card's process, before it computes anything, what deterministic products need."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    part = Device("cuda:1", "A100 MIG 1g.5gb", None, visible="MIG-1")
    workers = Workers(
        {(probe_devices, "cpu"): lambda: (CPU, CARDS[0], part), (first_kernel_problem, "cuda:0"): lambda: ""}
        | {(first_kernel_problem, "cuda:1"): lambda: ""}
    )
    opened(tmp_path, small_tiles, workers).probe()
    environments = {name: spec["options"]["env"] for name, spec in workers.worker_spec.items() if spec}
    own = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    assert environments == {"cuda:0": own, "cuda:1": own | {"CUDA_VISIBLE_DEVICES": "MIG-1", SLICE: "cuda:1"}}
