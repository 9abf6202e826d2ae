"""How fast devices train is measured when the lab opens, and again where something else kept the machine busy then."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import (
    CONFIG,
    CPU,
    GPU,
    ON_GPU,
    SPEEDS,
    FakeEngine,
    OpenFake,
    eventually,
    lab_settings,
    running,
    tiles_used,
)

from eurosat_core.data.tiles import TileSet
from eurosat_core.devices import Device
from eurosat_core.lab import measuring
from eurosat_core.lab.calibration import Speed
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.runs import RunStore


class Counting(FakeEngine):
    """Knows how often it was asked to measure."""

    def __init__(self, *, calm: bool, speeds: tuple[Speed, ...] = SPEEDS) -> None:
        super().__init__(speeds=speeds)
        self.calm = calm
        self.times = 0

    def measure(self, device: str, threads: int) -> list[Speed]:
        self.times += 1
        return super().measure(device, threads)


def seconds(lab: Lab) -> float:
    found = lab.estimate(CONFIG)
    assert found is not None
    return found.seconds


def ended(lab: Lab) -> bool:
    lab._starting.join(timeout=0.1)
    return not lab._starting.is_alive()


def test_beside_other_work_it_is_measured_at_once_and_again_when_that_is_over(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_BUSY_MACHINE_SECONDS", 0.01)
    slow = tuple(replace(each, tile_seconds=50 * each.tile_seconds) for each in SPEEDS)
    lab, engine = open_fake(Counting(calm=False, speeds=slow))
    before = seconds(lab)
    engine.speeds = SPEEDS
    assert not ended(lab) and seconds(lab) == before
    told = lab.estimate(CONFIG)
    assert told and told.is_provisional and "kept the machine busy" in told.basis
    engine.calm = True
    eventually(lambda: ended(lab))
    assert seconds(lab) < before / 10
    told = lab.estimate(CONFIG)
    assert told and not told.is_provisional and "busy" not in told.basis


def test_on_a_calm_machine_once_is_enough(open_fake: OpenFake) -> None:
    engine = Counting(calm=True)
    lab, _ = open_fake(engine)
    eventually(lambda: ended(lab))
    assert engine.times == 1


def test_closing_the_lab_ends_the_waiting(open_fake: OpenFake) -> None:
    lab, _ = open_fake(Counting(calm=False))
    assert seconds(lab) and not ended(lab)
    lab.close()
    eventually(lambda: ended(lab), 5)


def test_nothing_is_measured_again_beside_a_run_nor_beside_a_measurement(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    dispatcher = lab._dispatcher
    training = running(lab, engine, config=ON_GPU)
    assert dispatcher.reserve("cpu"), "what nothing is known of yet is measured beside a training"
    dispatcher.release("cpu")
    assert not dispatcher.reserve("cpu", alone=True) and not dispatcher.reserve(GPU.id)
    engine.end(training.id)
    measured = lab.submit(ON_GPU, "ada", group="race")
    engine.wait_for(measured.id)
    assert not dispatcher.reserve("cpu")


def test_nothing_starts_while_a_device_is_measured(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU)))
    eventually(lambda: ended(lab))
    assert lab._dispatcher.reserve("cpu")
    run = lab.submit(ON_GPU, "ada")
    time.sleep(0.2)
    assert not engine.order
    lab._dispatcher.release("cpu")
    engine.wait_for(run.id)


def test_a_run_that_waited_starts_when_the_devices_are_known(
    open_fake: OpenFake, tmp_path: Path, small_tiles: TileSet
) -> None:
    """Only then the number of threads is known, too."""
    known = threading.Event()

    class Slow(FakeEngine):
        def probe(self) -> tuple[Device, ...]:
            known.wait(20)
            return super().probe()

    store = RunStore(tmp_path / "runs")
    run = store.create(CONFIG, "ada", tiles_used(small_tiles))
    lab = Lab(lab_settings(tmp_path, small_tiles, threads=4, threads_chosen=False), engine := Slow((CPU, GPU))).open()
    try:
        eventually(lambda: lab.tiles().tile_set is not None and lab.place(run.id))
        time.sleep(0.2)
        assert not engine.order
        known.set()
        engine.wait_for(run.id)
        assert engine.jobs[run.id].threads == 3
    finally:
        known.set()
        lab.close()
