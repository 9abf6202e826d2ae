"""Profiles and measurements as jobs: alone, through the queue with a played engine, and what is kept of them."""

import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bundle_makers import bundle_of
from cuda_alias import played_cuda
from experiment_makers import measured as measured_for
from experiment_makers import put_result
from fake_engine import CONFIG, CPU, GPU, ON_GPU, SPEEDS, FakeEngine, OpenFake, refused, running, wait_for_state
from sweep_makers import MEMORY, cell_of, plan_of, result_of

from eurosat_core.charts.speed import live_frame
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab import jobs
from eurosat_core.lab.jobs import Control, run_job
from eurosat_core.lab.kind import Estimate, Known
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.messages import Job, JobResult
from eurosat_core.lab.own_process import NoAnswerError
from eurosat_core.lab.profile import Profile
from eurosat_core.lab.speeds import Speed
from eurosat_core.lab.sweep import Measurement, least_seconds
from eurosat_core.lab.transfer import Transfer
from eurosat_core.profiling.plan import (
    ProfileDone,
    ProfilePlan,
    ProfileStarted,
    ProfileStep,
    TraceDone,
    profile_config,
)
from eurosat_core.runs.bundles import import_bundle
from eurosat_core.runs.history import (
    History,
    ProfileHistory,
    SweepHistory,
    encoded_event,
    progress,
    read_event,
    seconds_left,
)
from eurosat_core.runs.profiles import Profiles
from eurosat_core.runs.record import UNSEEN_KERNELS, RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.speed import steps as steps_module
from eurosat_core.speed.experiments import plan_experiment
from eurosat_core.speed.plan import LEAST_ROUNDS, Cell, SweepDone, SweepPlan, SweepStarted, TurnDone
from eurosat_core.speed.result import SWEEP_FILE, SweepResult
from eurosat_core.training import step as step_module
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.transfer import TransferPlan, transfer_config

PROFILED = profile_config("baseline", workers=0)
PROFILE = ProfilePlan(wait=0, warmup=1, active=2, repeat=2)
CELLS = (Cell("8", {"batch_size": 8}), Cell("16", {"batch_size": 16}))
SWEEP = SweepPlan(CELLS, "free", "batch_size", "8", "16", seconds=1.0, steps=1)
REQUESTS: dict[str, tuple[TrainConfig, Any]] = {"profile": (PROFILED, PROFILE), "sweep": (MEMORY, SWEEP)}
EACH_KIND = pytest.mark.parametrize("kind", REQUESTS)


@pytest.fixture(autouse=True)
def quiet_profiler() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning: Profiler clears events")
        yield


def done(
    tiles: TileSet,
    kind: str,
    report: Callable[[list[Any]], None] = lambda _events: None,
    control: Control | None = None,
    **changes: Any,
) -> JobResult:
    """What a job of this kind brings back; changes: to the job."""
    config, plan = REQUESTS.get(kind, (CONFIG, PROFILE))
    job = Job("a-run", config, tiles.fingerprint, str(tiles.cache), 1, kind, plan.to_dict())
    return run_job(replace(job, **changes), report, control)


def submit(lab: Lab, kind: str) -> RunRecord:
    """A request of this kind, in the queue."""
    return {"profile": lab.submit_profile, "sweep": lab.submit_sweep}[kind](*REQUESTS[kind], "ada")


# -- the job by itself


def test_a_profile_brings_back_its_traces(small_tiles: TileSet) -> None:
    events: list[Any] = []
    result = done(small_tiles, "profile", events.extend)
    assert (result.state, result.message) == ("finished", "")
    assert set(result.files) == {"trace_1.json.gz", "trace_2.json.gz"}
    assert result.summary["traces"] == 2 and result.summary["steps"] == 6 and result.summary["recorded_steps"] == 4
    assert 0 < result.summary["seconds"] == events[-1].seconds
    assert {"device_name", "threads", "torch"} < set(result.machine)


def test_a_profile_of_a_gpu_keeps_why_it_shows_no_kernel(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, store: RunStore
) -> None:
    monkeypatch.setattr(jobs, "unseen_kernels", lambda device: f"CUPTI is blocked on {device}.")
    config = replace(REQUESTS["profile"][0], device="cuda:1", precision="float32")
    with played_cuda():
        result = done(small_tiles, "profile", config=config)
    assert result.state == "finished", result.message
    assert result.machine[UNSEEN_KERNELS] == "CUPTI is blocked on cuda:1."
    plan = ProfilePlan.from_dict(REQUESTS["profile"][1].to_dict())
    record = store.create(config, "ada", TilesUsed.of(small_tiles), "profile", plan.to_dict())
    store.save(record.id, result.files)
    record = store.update(record.id, state="finished", machine=result.machine)
    told = Profile(config, plan).report(record, store)["overview"]
    assert told["notes"][-1] == result.machine[UNSEEN_KERNELS] and told["advice"] == []
    assert Profiles(store).of_run(record).unseen_reason == result.machine[UNSEEN_KERNELS]


def test_whether_a_gpu_shows_its_kernels_is_asked_once_and_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def ask(*what: Any, seconds: float) -> str:
        asked.append(what)
        if what[1] == "cuda:7":
            raise NoAnswerError("died", status=-11)
        return "No kernel."

    monkeypatch.setattr(jobs, "ask", ask)
    jobs.unseen_kernels.cache_clear()
    assert [jobs.unseen_kernels(each) for each in ("cpu", "cuda:6", "cuda:6")] == ["", "No kernel.", "No kernel."]
    assert "cuda:7" in jobs.unseen_kernels("cuda:7") and "Apple" in jobs.unseen_kernels("mps")
    assert [each[1] for each in asked] == ["cuda:6", "cuda:7"]
    monkeypatch.setattr(jobs, "ask", lambda *_what, **_how: f"No kernel. It says: {90 * 'long '}")
    assert len(jobs.unseen_kernels("cuda:5")) <= 200, "a bundle takes no longer text"
    jobs.unseen_kernels.cache_clear()


def test_nothing_is_told_while_steps_are_recorded(small_tiles: TileSet) -> None:
    events: list[Any] = []
    done(small_tiles, "profile", events.extend, plan=ProfilePlan(wait=1, warmup=2, active=3, repeat=2).to_dict())
    told = [(each.phase, each.step) for each in events if isinstance(each, ProfileStep)]
    assert ("warmup", 3) in told and ("warmup", 9) in told, "the last one before each recording always is"
    assert {phase for phase, _ in told} <= {"wait", "warmup"}
    kinds = [type(each) for each in events]
    assert kinds[0] is ProfileStarted and kinds[-2:] == [TraceDone, ProfileDone]
    assert [read_event(encoded_event(each)) for each in events] == [(each, None) for each in events]


def test_a_measurement_brings_back_its_figures(small_tiles: TileSet) -> None:
    events: list[Any] = []
    result = done(small_tiles, "sweep", events.extend)
    assert (result.state, result.message, set(result.files)) == ("finished", "", {SWEEP_FILE})
    measured = SweepResult.from_json(result.files[SWEEP_FILE])
    assert measured.complete and measured.rounds == result.summary["rounds"] >= LEAST_ROUNDS
    assert [each.config.batch_size for each in measured.cells] == [8, 16]
    assert result.summary["steps"] == sum(turn.steps for each in measured.cells for turn in each.turns)
    assert all(isinstance(each, int | float) for each in result.summary.values())
    assert isinstance(events[0], SweepStarted) and isinstance(events[-1], SweepDone)
    assert [read_event(encoded_event(each)) for each in events] == [(each, None) for each in events]
    assert measured.verdict("16", "cpu").outcome != "unknown"


def stopping_at(number: int, real: Callable[..., Any], control: Control) -> Callable[..., Any]:
    """The function itself, which tells the job to stop when it is called for the so manieth time."""
    calls = 0

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            control.command("stop")
        return real(*arguments)

    return call


@pytest.mark.parametrize(("after", "cycles", "figures"), [(1, 0, ""), (4, 1, "step 4 of 30. 1 ")])
def test_a_profile_stopped_on_the_way(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, after: int, cycles: int, figures: str
) -> None:
    control = Control()
    monkeypatch.setattr(step_module, "loss_of", stopping_at(after, step_module.loss_of, control))
    result = done(small_tiles, "profile", control=control, plan=replace(PROFILE, repeat=10).to_dict())
    assert result.state == "cancelled" and result.message and figures in result.message
    assert sum(name.startswith("trace_") for name in result.files) == cycles
    assert result.summary["traces"] == cycles and result.summary["steps"] == after


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_measurement_stopped_on_the_way(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, rounds: int) -> None:
    control, real = Control(), steps_module.TimedSteps.turn
    stopping = stopping_at(2 * rounds + 1, real, control)
    monkeypatch.setattr(steps_module.TimedSteps, "turn", lambda self, number: stopping(self, number))
    result = done(small_tiles, "sweep", control=control)
    assert result.state == "cancelled"
    if not rounds:  # one of the two settings had its turn, the other had not
        assert result.message
    else:
        assert f"{rounds} rounds of 8" in result.message
        assert not SweepResult.from_json(result.files[SWEEP_FILE]).complete


@EACH_KIND
def test_it_does_not_pause(small_tiles: TileSet, kind: str) -> None:
    control = Control()
    control.command("pause")
    assert done(small_tiles, kind, control=control).state == "finished"


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("sorcery", {}, "'sorcery'"),
        ("profile", {"plan": ProfilePlan(active=0).to_dict()}, "1 to 20"),
        ("profile", {"fingerprint": "another"}, "tiles"),
        ("sweep", {"plan": {}}, "measure"),
        ("sweep", {"plan": {"cells": [{"label": "a", "changes": {"batch_size": 0}}]}}, "“a”"),
    ],
)
def test_what_cannot_be_done_fails_with_a_sentence(
    small_tiles: TileSet, kind: str, changes: dict[str, Any], words: str
) -> None:
    result = done(small_tiles, kind, **changes)
    assert result.state == "failed" and words in result.message and result.files == {}


# -- through the lab


def test_a_profile_goes_through_the_queue(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = submit(lab, "profile")
    assert (run.kind, ProfilePlan.from_dict(run.plan)) == ("profile", PROFILE)
    job = engine.wait_for(run.id)
    assert (job.kind, job.plan) == ("profile", run.plan)
    result: JobResult = engine.work(run.id)
    ended = wait_for_state(lab, run.id, "finished")
    assert ended.summary == result.summary and ended.plan == run.plan
    told = lab.results.history(run.id).profile
    assert told.started and told.done and len(told.traces) == 2
    assert progress(lab.results.history(run.id)) == 1.0 and lab.seconds_left(run.id) == 0.0
    for trace in told.traces:
        assert lab.store.size(run.id, trace.file) == trace.size_bytes == len(lab.store.load(run.id, trace.file))
    assert "trace_9" in refused(lambda: lab.store.load(run.id, "trace_9.json.gz"))


def test_a_measurement_goes_through_the_queue(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = submit(lab, "sweep")
    assert (run.kind, SweepPlan.from_dict(run.plan)) == ("sweep", SWEEP)
    with pytest.raises(RunError):
        lab.sweeps.result(run.id)
    engine.work(run.id)
    ended = wait_for_state(lab, run.id, "finished")
    result = lab.sweeps.result(run.id)
    assert lab.sweeps.result(run.id) is result, "read once"
    assert result.complete and ended.summary["rounds"] == result.rounds
    assert [each.id for each in lab.sweeps.runs("ada", "free")] == [run.id]
    assert lab.sweeps.runs("bob") == [] and lab.sweeps.runs(name="race") == []
    told = lab.results.history(run.id).sweep
    assert told.done and progress(lab.results.history(run.id)) == 1.0
    frame = live_frame(told, ended.config, SweepPlan.from_dict(ended.plan))
    assert len(frame) == 2 * result.rounds and set(frame["series"]) == {"8", "16"}


@EACH_KIND
def test_it_is_stopped_but_not_paused(open_fake: OpenFake, kind: str) -> None:
    lab, engine = open_fake()
    run = submit(lab, kind)
    engine.wait_for(run.id)
    wait_for_state(lab, run.id, "running")
    assert "paused" in refused(lambda: lab.control(run.id, "ada", "pause"))
    assert "ada" in refused(lambda: lab.control(run.id, "bob", "stop"))
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


def test_what_cannot_be_done_is_refused_at_once(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    frozen = TrainConfig(model="efficientnet_lite0", source="features")
    cells = [{"device": "cuda:0"}, {"model": "vgg11_bn"}, {"batch_size": 0}]
    wanted: list[tuple[TrainConfig, Any]] = [
        (frozen, PROFILE),
        (PROFILED, replace(PROFILE, active=0)),
        (replace(PROFILED, device="mps"), PROFILE),
        *((MEMORY, SweepPlan((Cell("a", each),))) for each in cells),
        (MEMORY, SweepPlan()),
    ]
    for config, plan in wanted:
        with pytest.raises(ConfigError):
            (lab.submit_profile if isinstance(plan, ProfilePlan) else lab.submit_sweep)(config, plan, "ada")
    assert lab.store.all()[0] == []


@EACH_KIND
def test_one_that_waits_survives_a_restart(open_fake: OpenFake, kind: str) -> None:
    lab, engine = open_fake()
    interrupted, waiting = running(lab, engine), submit(lab, kind)
    lab.close()
    again, engine = open_fake()
    assert engine.wait_for(waiting.id).plan == json.loads(json.dumps(REQUESTS[kind][1].to_dict()))
    assert again.store.get(interrupted.id).state == "interrupted"


# -- on disk, and from one lab to another


def edited(store: RunStore, run_id: str, change: Callable[[dict[str, Any]], Any]) -> RunStore:
    """The store as another process reads it, after somebody changed what is in a run.json."""
    path = store.folder_of(run_id) / "run.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return RunStore(store.folder)


@pytest.mark.parametrize(
    ("kind", "plan"),
    [
        *(("profile", each) for each in ({"active": 0}, {"unknown": 1}, [], "plan")),
        *(("sweep", each) for each in ({}, {"cells": 3}, {"unknown": 1})),
        *(("train", each) for each in ({"alone": "yes"}, {"group": 3}, {"cells": []})),
    ],
)
def test_a_damaged_plan_is_told(store: RunStore, used: TilesUsed, kind: str, plan: Any) -> None:
    config, good = (each for each in REQUESTS.get(kind, (CONFIG, None)))
    values = {"alone": True, "group": "race-1"} if good is None else good.to_dict()
    run = store.create(config, "ada", used, kind, values)
    assert RunStore(store.folder).get(run.id).plan == json.loads(json.dumps(values))
    with pytest.raises(RunError, match="damaged"):
        edited(store, run.id, lambda values: values.update(plan=plan)).get(run.id)


def test_figures_travel_in_a_bundle(store: RunStore, used: TilesUsed, tmp_path: Path) -> None:
    run = store.create(MEMORY, "ada", used, "sweep", SWEEP.to_dict())
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


def profiled(step: int = 0, traces: int = 0, over: bool = False) -> History:
    """What a profile of 28 steps and 4 cycles has told: its newest step after 2 s, its traces, its end."""
    latest = ProfileStep("warmup", step, 1, 2.0) if step else None
    written = tuple(TraceDone(number, f"trace_{number}.json.gz", 9, 3.0) for number in range(1, traces + 1))
    started, ended = ProfileStarted(28, 4, 338_486, 338_486, "cpu", 2), ProfileDone(28, 4, 9.0)
    return History(profile=ProfileHistory(started, latest, written, ended if over else None))


def measuring(seconds: float = 0.0, over: bool = False) -> History:
    """What a measurement of 20 s has told after so many seconds."""
    ended = SweepDone(8, 20.0) if over else None
    return History(sweep=SweepHistory(SweepStarted(2, 8, 20.0, "cpu", 2), done=ended, seconds=seconds))


@pytest.mark.parametrize(
    ("history", "share", "left"),
    [
        (profiled(), 0.0, None),
        (profiled(4), 4 / 28, 2.0 * 24 / 4),
        (profiled(4, traces=1), 1 / 4, 2.0 * 3),
        (profiled(4, traces=1, over=True), 1.0, 0.0),
        (measuring(), 0.0, 20.0),
        (measuring(5.0), 0.25, 15.0),
        (measuring(50.0), 0.99, 1.0),
        (measuring(20.0, over=True), 1.0, 0.0),
    ],
)
def test_how_far_it_is(history: History, share: float, left: float | None) -> None:
    assert progress(history) == pytest.approx(share)
    assert seconds_left(history) == (left if left is None else pytest.approx(left))


MACHINE = {"threads": 2, "device_name": "Some CPU"}
USED = TilesUsed("f", "folder", "/x", 4000, ("a", "b"))


@dataclass
class Here:
    """A machine with some speeds and runs."""

    speeds: Sequence[Speed] = SPEEDS
    runs: Sequence[RunRecord] = ()

    def known(self, config: TrainConfig) -> Known:
        return Known(config, USED, self.runs, self.speeds, lambda _network: 1_000_000, MACHINE)

    missing: int | None = None

    def tile_seconds(self, config: TrainConfig) -> None:
        raise AssertionError("nobody asks")

    def missing_features(self, config: TrainConfig, plan: TransferPlan) -> int | None:
        return self.missing

    def estimate(self, config: TrainConfig, plan: ProfilePlan) -> Estimate:
        found = Profile(config, plan).estimate(self)
        assert found is not None
        return found


def test_the_estimate_rests_on_the_measurement_and_then_on_a_profile() -> None:
    plan = ProfilePlan()
    config = profile_config("baseline", "fast", batch_size=40, precision="float32", channels_last=False)
    assert Profile(config, plan).estimate(Here(speeds=())) is None
    found = Here().estimate(config, plan)
    assert "measurement" in found.basis
    assert 28 * 40 * 0.0002 < found.seconds < 28 * 40 * 0.0004 + 2
    assert Here().estimate(config, replace(plan, repeat=8, active=1)).seconds > found.seconds
    figures = {"steps": 14, "seconds": 3.0}
    before = RunRecord("the-profile", "ada", "finished", config, USED, 0.0, "profile", summary=figures)
    alike = replace(before, machine=MACHINE)
    found = Here(runs=[alike]).estimate(config, plan)
    assert found.seconds == pytest.approx(6.0) and "the-profile" in found.basis
    slower = replace(config, batch_size=80)
    for other in (before, replace(alike, concurrent_runs=("x",)), replace(alike, config=slower)):
        assert "measurement" in Here(runs=[other]).estimate(config, plan).basis


def test_a_transfer_takes_only_what_is_not_known_yet() -> None:
    config, alone, learning = transfer_config(), TransferPlan(learns=False), TransferPlan(scratch_draws=0)

    def estimate(plan: TransferPlan, missing: int | None, **here: Any) -> Estimate:
        found = Transfer(config, plan).estimate(Here(missing=missing, **here))
        assert found is not None
        return found

    whole = estimate(alone, None)
    assert estimate(alone, 4000).seconds == whole.seconds and whole.basis == estimate(alone, 4000).basis
    part = estimate(alone, 1000)
    assert part.seconds == pytest.approx(whole.seconds / 4) and "3,000 of 4,000" in part.basis
    assert estimate(alone, 0).seconds == 0.0 == estimate(alone, 0, speeds=()).seconds
    learned = estimate(learning, None).seconds - whole.seconds
    assert learned > 0 and estimate(learning, 0).seconds == pytest.approx(learned)
    assert Transfer(config, alone).estimate(Here(speeds=())) is None
    before = RunRecord("one", "ada", "finished", config, USED, 0.0, "transfer", machine=MACHINE, plan=alone.to_dict())
    ran = replace(before, summary={"feature_tiles": 500, "feature_seconds": 5.0})
    assert estimate(alone, 1000, runs=[ran]).seconds == pytest.approx(10.0)


def test_the_estimate_is_the_time_it_is_given_or_what_it_needs() -> None:
    plan = plan_of("a", "b", seconds=20.0)

    def estimate(tile_seconds: float | None) -> float:
        machine: Any = SimpleNamespace(tile_seconds=lambda _config: tile_seconds)
        return Measurement(MEMORY, plan).estimate(machine).seconds

    assert estimate(0.0001) == estimate(None) == 20.0
    assert estimate(0.01) == pytest.approx(least_seconds(MEMORY, plan, lambda _config: 0.01))
    assert estimate(0.01) > 2 * 6 * (3 + 2) * 0.4


def test_steps_timed_on_this_machine_tell_how_long_a_training_takes(
    open_fake: OpenFake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, _ = open_fake()
    here = {"device_name": CPU.name, "threads": lab.settings.threads}
    config, plan = plan_experiment("batch_size", ["cpu"])
    put_result(lab, "ada", config, plan, measured_for(config, plan), machine={**here, "device_name": "Other"})
    asked = replace(MEMORY, epochs=1)
    before = lab.estimates.training(asked)
    assert before is not None and "measurement" in before.basis
    run = put_result(lab, "ada", config, plan, measured_for(config, plan, {"40": 50.0}), machine=here)
    found = lab.estimates.training(asked)
    assert found is not None and run.id in found.basis
    assert found.seconds == pytest.approx((150 + 50 / 3) / 50.0, rel=0.02)
    monkeypatch.setattr(lab.sweeps, "result", None)  # known by now
    assert lab.estimates.training(asked) == found
