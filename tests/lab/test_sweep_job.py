"""Measurements as jobs of the lab: alone, through the queue with a played engine, and what is kept of them."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from bundle_makers import bundle_of
from experiment_makers import measured as measured_for
from experiment_makers import put_result
from fake_engine import CONFIG, CPU, GPU, ON_GPU, SPEEDS, FakeEngine, OpenFake, refused, running, wait_for_state
from sweep_makers import MEMORY, cell_of, plan_of, result_of

from eurosat_core.charts.speed import live_frame
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab.jobs import Control, Job, run_job
from eurosat_core.lab.sweep import Measurement, least_seconds
from eurosat_core.runs.bundles import import_bundle
from eurosat_core.runs.history import History, SweepHistory, encoded_event, progress, read_event, seconds_left
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.speed import steps as steps_module
from eurosat_core.speed.experiments import plan_experiment
from eurosat_core.speed.plan import LEAST_ROUNDS, Cell, SweepDone, SweepPlan, SweepStarted, TurnDone
from eurosat_core.speed.result import SWEEP_FILE, SweepResult

PLAN = SweepPlan(
    (Cell("8", {"batch_size": 8}), Cell("16", {"batch_size": 16})),
    "free",
    "batch_size",
    "8",
    "16",
    seconds=1.0,
    steps=1,
)


def job_for(tiles: TileSet, **changes: Any) -> Job:
    job = Job("a-run", MEMORY, tiles.fingerprint, str(tiles.cache), 1, "sweep", PLAN.to_dict())
    return replace(job, **changes)


# -- the job by itself


def test_a_measurement_brings_back_its_figures(small_tiles: TileSet) -> None:
    events: list[Any] = []
    result = run_job(job_for(small_tiles), events.extend)
    assert (result.state, result.message, set(result.files)) == ("finished", "", {SWEEP_FILE})
    measured = SweepResult.from_json(result.files[SWEEP_FILE])
    assert measured.complete and measured.rounds == result.summary["rounds"] >= LEAST_ROUNDS
    assert [each.config.batch_size for each in measured.cells] == [8, 16]
    assert result.summary["steps"] == sum(turn.steps for each in measured.cells for turn in each.turns)
    assert all(isinstance(each, int | float) for each in result.summary.values())
    assert result.events == len(events) and isinstance(events[0], SweepStarted) and isinstance(events[-1], SweepDone)
    assert [read_event(encoded_event(each)) for each in events] == [(each, None) for each in events]
    assert measured.verdict("16", "cpu").outcome != "unknown"


@pytest.mark.parametrize(("after", "rounds"), [(3, 0), (14, 2)])
def test_stopped_on_the_way(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, after: int, rounds: int) -> None:
    control, made, real = Control(), 0, steps_module.TimedSteps.turn

    def stopping(self: Any, number: int) -> Any:
        nonlocal made
        made += 1
        if made == 2 * rounds + 1:
            control.command("stop")
        return real(self, number)

    monkeypatch.setattr(steps_module.TimedSteps, "turn", stopping)
    result = run_job(job_for(small_tiles), lambda _events: None, control)
    assert result.state == "cancelled"
    if not rounds:  # one of the two settings had its turn, the other had not
        assert "1 round" in result.message or "nothing was measured" in result.message
    else:
        assert f"after {rounds} rounds of 8" in result.message
        assert not SweepResult.from_json(result.files[SWEEP_FILE]).complete


def test_it_does_not_pause(small_tiles: TileSet) -> None:
    control = Control()
    control.command("pause")
    assert run_job(job_for(small_tiles), lambda _events: None, control).state == "finished"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": {}}, "Nothing to measure"),
        ({"plan": {"cells": [{"label": "a", "changes": {"batch_size": 0}}]}}, "“a” cannot be measured"),
        ({"fingerprint": "another"}, "tiles have changed"),
    ],
)
def test_what_cannot_be_done_fails_with_a_sentence(small_tiles: TileSet, changes: dict[str, Any], words: str) -> None:
    result = run_job(job_for(small_tiles, **changes), lambda _events: None)
    assert result.state == "failed" and words in result.message and result.files == {}


# -- through the lab


def test_a_measurement_goes_through_the_queue(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit_sweep(MEMORY, PLAN, "ada")
    assert (run.kind, SweepPlan.from_dict(run.plan)) == ("sweep", PLAN)
    with pytest.raises(RunError, match="measured nothing"):
        lab.sweeps.result(run.id)
    engine.work(run.id)
    done = wait_for_state(lab, run.id, "finished")
    result = lab.sweeps.result(run.id)
    assert lab.sweeps.result(run.id) is result, "read once"
    assert result.complete and done.summary["rounds"] == result.rounds
    assert [each.id for each in lab.sweeps.runs("ada", "free")] == [run.id]
    assert lab.sweeps.runs("bob") == [] and lab.sweeps.runs(name="race") == []
    told = lab.results.history(run.id).sweep
    assert told.done and progress(lab.results.history(run.id)) == 1.0
    frame = live_frame(told, done.config, SweepPlan.from_dict(done.plan))
    assert len(frame) == 2 * result.rounds and set(frame["label"]) == {"8", "16"}


def test_it_is_stopped_but_not_paused(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit_sweep(MEMORY, PLAN, "ada")
    engine.wait_for(run.id)
    wait_for_state(lab, run.id, "running")
    assert "cannot be paused" in refused(lambda: lab.control(run.id, "ada", "pause"))
    assert "belongs to ada" in refused(lambda: lab.control(run.id, "bob", "stop"))
    lab.control(run.id, "ada", "stop")
    wait_for_state(lab, run.id, "cancelled")


def test_while_a_gpu_is_measured_the_cpu_stands_still(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU), speeds=()))
    both = SweepPlan((Cell("a", {"device": "cpu"}), Cell("a", {"device": GPU.id})), seconds=1.0)
    first = running(lab, engine, config=CONFIG)
    measured = lab.submit_sweep(replace(MEMORY, device=GPU.id), both, "ada")
    later = [lab.submit(each, "ada") for each in (CONFIG, ON_GPU)]
    assert engine.order == [first.id] and lab.place(measured.id)
    engine.end(first.id)
    engine.wait_for(measured.id)
    assert engine.jobs[measured.id].config.device == GPU.id and engine.order == [first.id, measured.id]
    engine.end(measured.id)
    for each in later:
        engine.wait_for(each.id)


def test_what_cannot_be_measured_is_refused_at_once(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    plans = [
        SweepPlan((Cell("a", {"device": "cuda:0"}),)),
        SweepPlan((Cell("a", {"model": "vgg11_bn"}),)),
        SweepPlan((Cell("a", {"batch_size": 0}),)),
        SweepPlan(),
    ]
    for plan in plans:
        with pytest.raises(ConfigError):
            lab.submit_sweep(MEMORY, plan, "ada")
    assert lab.store.all()[0] == []


def test_a_waiting_measurement_survives_a_restart(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    running(lab, engine)
    waiting = lab.submit_sweep(MEMORY, PLAN, "ada")
    lab.close()
    _, engine = open_fake()
    assert engine.wait_for(waiting.id).plan == json.loads(json.dumps(PLAN.to_dict()))


# -- on disk, and from one lab to another


@pytest.mark.parametrize("plan", [{}, {"cells": 3}, {"unknown": 1}])
def test_a_damaged_plan_is_told(store: RunStore, used: TilesUsed, plan: Any) -> None:
    run = store.create(MEMORY, "ada", used, "sweep", PLAN.to_dict())
    path = store.folder_of(run.id) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "plan": plan}))
    with pytest.raises(RunError, match="damaged"):
        RunStore(store.folder).get(run.id)


@pytest.mark.parametrize("plan", [{"alone": "yes"}, {"group": 3}, {"cells": []}])
def test_a_training_has_only_so_much_of_a_plan(store: RunStore, used: TilesUsed, plan: Any) -> None:
    run = store.create(CONFIG, "ada", used, "train", {"alone": True, "group": "race-1"})
    assert RunStore(store.folder).get(run.id).plan["group"] == "race-1"
    path = store.folder_of(run.id) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "plan": plan}))
    with pytest.raises(RunError, match="settings that cannot be used"):
        RunStore(store.folder).get(run.id)


def test_figures_travel_in_a_bundle(store: RunStore, used: TilesUsed, tmp_path: Any) -> None:
    run = store.create(MEMORY, "ada", used, "sweep", PLAN.to_dict())
    result = result_of(cell_of("8", [0.01] * 6), cell_of("16", [0.02] * 6))
    store.save(run.id, {SWEEP_FILE: result.to_json()})
    store.append(run.id, [SweepStarted(2, 8, 1.0, "cpu", 2), TurnDone("train", 0, 1, 0.5, 400.0)])
    store.update(run.id, state="finished", started=1.0, ended=2.0, machine={"device_name": "Some CPU", "threads": 2})
    bundle = tmp_path / "bundle.zip"
    bundle.write_bytes(bundle_of(store, run.id))
    other = RunStore(tmp_path / "elsewhere")
    added = import_bundle(other, bundle).added[0]
    assert added.recorded_on.startswith("Some CPU") and added.kind == "sweep"
    assert SweepResult.from_json(other.load(added.id, SWEEP_FILE)) == result
    store.save(run.id, {SWEEP_FILE: result.to_json().replace(b"0.02", b"-0.02")})
    with pytest.raises(RunError, match=r"sweep\.json"):
        bundle_of(store, run.id)


# -- how far, how long


def test_how_far_a_measurement_is() -> None:
    begun = SweepHistory(started=SweepStarted(2, 8, 20.0, "cpu", 2))
    assert progress(History(sweep=begun)) == 0.0 and seconds_left(History(sweep=begun)) == 20.0
    further = History(sweep=replace(begun, seconds=5.0))
    assert progress(further) == pytest.approx(0.25) and seconds_left(further) == pytest.approx(15.0)
    late = History(sweep=replace(begun, seconds=50.0))
    assert progress(late) == 0.99 and seconds_left(late) == 1.0
    over = History(sweep=replace(begun, seconds=20.0, done=SweepDone(8, 20.0)))
    assert progress(over) == 1.0 and seconds_left(over) == 0.0


def test_the_estimate_is_the_time_it_is_given_or_what_it_needs() -> None:
    plan = plan_of("a", "b", seconds=20.0)

    def estimate(tile_seconds: float | None) -> float:
        machine: Any = SimpleNamespace(tile_seconds=lambda _config: tile_seconds)
        return Measurement(MEMORY, plan).estimate(machine).seconds

    assert estimate(0.0001) == estimate(None) == 20.0
    assert estimate(0.01) == pytest.approx(least_seconds(MEMORY, plan, lambda _config: 0.01))
    assert estimate(0.01) > 2 * 6 * (3 + 2) * 0.4


def test_the_lab_estimates_a_measurement(open_fake: OpenFake) -> None:
    lab, _ = open_fake(FakeEngine(speeds=SPEEDS))
    assert lab.estimates.tile_seconds(MEMORY) == pytest.approx(0.0004, rel=0.5)
    assert lab.estimates.sweep(MEMORY, PLAN).seconds >= 1.0


def test_steps_timed_on_this_machine_tell_how_long_a_training_takes(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, _ = open_fake(FakeEngine(speeds=SPEEDS))
    here = {"device_name": CPU.name, "threads": lab.settings.threads}
    config, plan = plan_experiment("batch_size", ["cpu"])
    elsewhere = put_result(
        lab, "ada", config, plan, measured_for(config, plan), machine={**here, "device_name": "Other"}
    )
    asked = replace(MEMORY, epochs=1)
    before = lab.estimates.training(asked)
    assert before is not None and "short measurement" in before.basis, elsewhere.id
    run = put_result(lab, "ada", config, plan, measured_for(config, plan, {"40": 50.0}), machine=here)
    found = lab.estimates.training(asked)
    assert found is not None and run.id in found.basis
    assert found.seconds == pytest.approx((150 + 50 / 3) / 50.0, rel=0.02)
    monkeypatch.setattr(lab.sweeps, "result", None)  # known by now
    assert lab.estimates.training(asked) == found
