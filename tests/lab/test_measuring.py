"""Speeds are measured when an estimate needs them: seconds in all, once, and never in a run's way."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import (
    CONFIG,
    CPU,
    GPU,
    NO_GPU,
    ON_GPU,
    SPEEDS,
    Closing,
    FakeEngine,
    OpenFake,
    calm,
    eventually,
    lab_settings,
    new_lab,
    running,
    tiles_used,
)

from eurosat_core.cores import Load
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import Device
from eurosat_core.lab import calibration, estimates, speeds
from eurosat_core.lab.calibration import measure_speed
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.speeds import Speed, known_speeds
from eurosat_core.machine_notes import MachineNotes, Note, machine_notes
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.forms import FORMS

OpenKnown = Callable[[FakeEngine], Lab]
OPEN = recipe_config("baseline", "fast", epochs=2)


class Slow(FakeEngine):
    """Measures until it is told to stop, or for good: `hangs`."""

    def __init__(self, *, hangs: bool = False) -> None:
        super().__init__()
        self.hangs = hangs
        self.measuring, self.go_on = threading.Event(), threading.Event()

    def measure(self, config: TrainConfig, threads: int) -> list[Note] | None:
        self.measuring.set()
        self.go_on.wait(20)
        return super().measure(config, threads) if self.stopped_measuring == 0 else None

    def stop_measuring(self) -> None:
        super().stop_measuring()
        if not self.hangs:
            self.go_on.set()

    def close(self) -> None:
        self.go_on.set()


@pytest.fixture
def open_known(tmp_path: Path, small_tiles: TileSet, closing: Closing) -> OpenKnown:
    """Function: open a lab whose tiles and devices are known, of which nothing was measured."""

    def open_one(engine: FakeEngine) -> Lab:
        lab = closing(new_lab(lab_settings(tmp_path, small_tiles), engine).open())
        eventually(lambda: lab.tiles().tile_set is not None and lab.devices_known())
        return lab

    return open_one


def test_nothing_is_measured_until_an_estimate_asks(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine(speeds=()))
    time.sleep(0.2)
    assert engine.measured == []
    assert lab.estimates.training(CONFIG) is None
    eventually(lambda: engine.measured == [CONFIG])


def test_the_estimate_follows_and_it_is_not_measured_again(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    assert eventually(lambda: lab.estimates.training(OPEN)).seconds > 0
    assert lab.estimates.settled(OPEN).precision == "bfloat16" and lab.estimates.form_choice(OPEN) is not None
    before = list(engine.measured)
    for _ in range(20):
        assert lab.estimates.training(CONFIG) and not lab.estimates.is_measuring(CONFIG)
    assert engine.measured == before


def test_what_could_not_be_measured_is_not_tried_for_ever(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine(speeds=()))
    for _ in range(20):
        assert lab.estimates.training(CONFIG) is None
        time.sleep(0.01)
    assert engine.measured == [CONFIG] and not lab.estimates.is_measuring(CONFIG)


def test_all_measurements_together_take_seconds_only(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(estimates.time, "monotonic", lambda: now[0])

    class Slowly(FakeEngine):
        def measure(self, config: TrainConfig, threads: int) -> list[Note] | None:
            now[0] += 0.9
            return super().measure(config, threads)

    lab, engine = open_fake(Slowly())
    configs = [replace(CONFIG, model="custom", network=f"flatten, linear {n}, linear out") for n in range(10, 20)]
    for each in configs:
        lab.estimates.training(each)
        eventually(lambda: not lab.estimates.measuring._working)
    assert len(engine.measured) == 4, "three seconds are over after the fourth"
    assert lab.estimates.training(configs[-1]).is_rough and not lab.estimates.is_measuring(configs[-1])


def test_the_second_start_measures_nothing(
    open_fake: OpenFake, tmp_path: Path, small_tiles: TileSet, closing: Closing
) -> None:
    lab, engine = open_fake()
    found = eventually(lambda: lab.estimates.sure_seconds(OPEN))
    lab.close()
    again = closing(calm(Lab(lab_settings(tmp_path, small_tiles), engine := FakeEngine(speeds=()))).open())
    eventually(lambda: again.tiles().tile_set is not None and again.devices_known())
    assert again.estimates.sure_seconds(OPEN) == found and engine.measured == []


def test_a_run_does_not_wait_for_a_measurement(open_known: OpenKnown) -> None:
    lab = open_known(engine := Slow())
    assert lab.estimates.training(CONFIG) is None
    engine.measuring.wait(20)
    run = lab.submit(CONFIG, "ada")
    engine.wait_for(run.id)
    eventually(lambda: engine.stopped_measuring == 1)
    eventually(lambda: not lab.estimates.measuring._working)
    assert lab.estimates.is_measuring(CONFIG), "it gave way, so it may come later"


def test_a_measurement_that_hangs_holds_up_nothing(open_known: OpenKnown) -> None:
    lab = open_known(engine := Slow(hangs=True))
    lab.estimates.training(CONFIG)
    engine.measuring.wait(20)
    for _ in range(2):
        run = lab.submit(CONFIG, "ada")
        engine.wait_for(run.id)
        engine.end(run.id)
    lab.estimates.training(CONFIG)
    lab.estimates.training(OPEN)


def test_what_comes_to_its_end_when_the_lab_is_gone_is_not_noted(open_known: OpenKnown) -> None:
    """The next lab on the same folders would take it for its own."""
    lab = open_known(engine := Slow(hangs=True))
    lab.estimates.training(CONFIG)
    assert engine.measuring.wait(10)
    lab.close()
    engine.go_on.set()
    eventually(lambda: not lab.estimates.measuring._working)
    assert not known_speeds("cpu", lab.estimates._notes)


def test_nothing_is_measured_beside_a_run_nor_before_one_that_waits(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU), speeds=()))
    training = running(lab, engine, config=ON_GPU)
    assert lab.estimates.training(CONFIG) is None and lab.estimates.is_measuring(CONFIG)
    time.sleep(0.1)
    assert engine.measured == []
    engine.end(training.id)
    eventually(lambda: lab.estimates.training(CONFIG) or engine.measured == [CONFIG])


def test_after_the_end_nothing_is_measured(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine(speeds=()))
    lab.close()
    lab.estimates.training(CONFIG)
    assert engine.measured == [] and not lab.estimates.is_measuring(CONFIG)


@pytest.mark.parametrize(
    ("speeds", "asked"),
    [(SPEEDS, replace(CONFIG, model="tilenet")), (SPEEDS[1:], CONFIG)],
    ids=["another network", "another precision"],
)
def test_what_else_was_measured_tells_roughly_until_its_own_is(
    open_fake: OpenFake, speeds: tuple[Speed, ...], asked: TrainConfig
) -> None:
    lab, engine = open_fake(FakeEngine(speeds=speeds))
    rough = eventually(lambda: lab.estimates.training(asked))
    assert rough.is_rough and lab.estimates.sure_seconds(asked) is None
    eventually(lambda: lab.estimates.training(asked) and asked in engine.measured)  # once nothing else is
    assert lab.estimates.sure_seconds(replace(CONFIG, precision="bfloat16"))


class _Steps:
    """In place of a trainer's: a tile takes 1 ms, but the steps with these numbers take a second."""

    def __init__(self, *late: int) -> None:
        self.now, self.taken, self.late = 0.0, 0, late

    def step(self, batches: Any) -> None:
        self.taken += 1
        self.now += 1.0 if self.taken in self.late else 0.001 * len(next(batches).labels)

    def mode(self, *, training: bool) -> None:
        assert training


@pytest.mark.parametrize("late", [(2,), (3, 8), (1, 2, 3, 12)])
def test_single_slow_steps_do_not_count(monkeypatch: pytest.MonkeyPatch, late: tuple[int, ...]) -> None:
    """The first estimate had said 15 minutes for 15 seconds: one slow step made all batches small ones."""
    steps, made = _Steps(*late), []
    monkeypatch.setattr(calibration, "Trainer", lambda config, *_: made.append(config) or steps)
    monkeypatch.setattr(calibration.time, "perf_counter", lambda: steps.now)
    compiled = replace(CONFIG, execution="compiled")
    assert calibration._tile_seconds(compiled, lambda: False) == pytest.approx(0.001)
    assert made == [CONFIG], "it would be over before anything is compiled"


def test_what_came_in_between_is_measured_again_with_a_thread_less(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    loads = iter([Load(0.5, 2.0, 0.6), Load(0.5, 1.0, 0.0)])

    def tile_seconds(*_: Any) -> float:
        threads.append(torch.get_num_threads())
        return 0.05 if threads == [2] else 0.002

    monkeypatch.setattr(calibration, "usable_cores", lambda: {0, 1})
    monkeypatch.setattr(calibration, "_tile_seconds", tile_seconds)
    monkeypatch.setattr(calibration.CoreMeter, "look", lambda _: next(loads))
    torch.set_num_threads(2)
    assert calibration._undisturbed(CONFIG, 2, lambda: False) == (0.002, 1.0)
    assert threads == [2, 1]


def test_how_busy_others_are_is_counted_in(open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch) -> None:
    lab, _ = open_fake(FakeEngine(), threads=2)
    free = [2.0]
    monkeypatch.setattr(lab.estimates._load, "free_cores", lambda: free[0])
    alone = eventually(lambda: lab.estimates.training(CONFIG))
    free[0] = 1.0
    beside = lab.estimates.training(CONFIG)
    # All but what a tile takes beside its steps, which is on one core anyway.
    assert beside is not None and 1.8 * alone.seconds < beside.seconds <= 2 * alone.seconds
    assert beside.basis != alone.basis


def test_a_run_that_waited_starts_when_the_devices_are_known(
    open_fake: OpenFake, tmp_path: Path, small_tiles: TileSet, closing: Closing
) -> None:
    """Only then the number of threads is known, too."""
    known = threading.Event()

    class Late(FakeEngine):
        def probe(self) -> tuple[Device, ...]:
            known.wait(20)
            return super().probe()

    store = RunStore(tmp_path / "runs")
    run = store.create(CONFIG, "ada", tiles_used(small_tiles))
    settings = lab_settings(tmp_path, small_tiles, threads=4, threads_chosen=False)
    lab = closing(Lab(settings, engine := Late((CPU, GPU))).open())
    eventually(lambda: lab.tiles().tile_set is not None and lab.place(run.id))
    time.sleep(0.2)
    assert not engine.order
    place = lab.place(run.id)
    assert place is not None and "starting" in lab.holds_up(place)
    known.set()
    engine.wait_for(run.id)
    assert engine.jobs[run.id].threads == 3


def test_a_waiting_run_is_told_what_it_waits_for(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, NO_GPU)))
    first = running(lab, engine, owner="bob")
    runs = [lab.submit(CONFIG, "ada"), lab.submit(CONFIG, "ada")]
    texts = [lab.holds_up(place) for each in runs if (place := lab.place(each.id))]
    assert len(texts) == 2 and all("bob" in each and "CPU" in each for each in texts)
    lab.control(first.id, "bob", "pause")
    place = lab.place(runs[0].id)
    assert place is not None and "paused" in lab.holds_up(place)


# -- what a worker measures


@pytest.fixture
def notes(tmp_path: Path) -> MachineNotes:
    return machine_notes(tmp_path, 1)


@pytest.mark.processor
@pytest.mark.parametrize(
    ("model", "recipe"), [("baseline", "fast"), ("tilenet", "record"), ("efficientnet_lite0", "fast")]
)
def test_a_measurement_gives_plausible_figures(model: str, recipe: str, notes: MachineNotes) -> None:
    config = recipe_config(model, recipe)
    found = measure_speed(config, 1, notes)
    assert found is not None and {each.topic for each in found} <= {FORMS, speeds.SPEEDS}
    (speed,) = known_speeds("cpu", notes)
    assert speed.architecture == config.architecture and speed.precision in ("float32", "bfloat16")
    assert 1e-6 < speed.tile_seconds < 10 and 1e-6 < speed.picture_seconds < 1 and 0 < speed.cores <= 1
    assert not CATALOG[model].is_pretrained or speed.tile_seconds > 1e-5
    elsewhere = machine_notes(None, 1)
    for each in found:
        elsewhere.put(each)
    assert known_speeds("cpu", elsewhere) == [speed], "what it returns is all that is to know"


@pytest.mark.parametrize("damaged", [None, 3, {}, {"device": "cpu"}])
def test_a_damaged_note_is_no_speed(notes: MachineNotes, damaged: Any) -> None:
    notes.put(Note(speeds.SPEEDS, "cpu", "x", damaged))
    notes.put(Note(speeds.SPEEDS, "cpu", "y", {**vars(SPEEDS[0]), "tile_seconds": 0.0}))
    assert known_speeds("cpu", notes) == []


def test_it_ends_between_two_steps_when_a_run_wants_the_device(
    notes: MachineNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "_SECONDS", 600.0)  # else it would be over by itself
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(measure_speed(CONFIG, 1, notes)))
    thread.start()
    eventually(lambda: not calibration._idle.is_set())
    assert measure_speed(CONFIG, 1, notes) is None, "one at a time"
    assert calibration.give_way(30.0)
    thread.join(30)
    assert len(found) == 1 and not thread.is_alive()


def test_nobody_waits_for_a_step_that_hangs(notes: MachineNotes, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(calibration, "_tile_seconds", lambda *_: go_on.wait(30) and None)
    thread = threading.Thread(target=lambda: measure_speed(CONFIG, 1, notes))
    thread.start()
    try:
        eventually(lambda: not calibration._idle.is_set())
        began = time.monotonic()
        assert not calibration.give_way(0.2)
        assert time.monotonic() - began < 10, "it waited a moment, not for the end"
    finally:
        go_on.set()
        thread.join(30)
    assert known_speeds("cpu", notes) == []


def test_a_run_in_the_same_process_ends_it(notes: MachineNotes) -> None:
    assert measure_speed(CONFIG, 1, notes, wanted=lambda: True) is None
    assert known_speeds("cpu", notes) == []
