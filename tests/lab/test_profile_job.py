"""Profiles as jobs of the lab: alone, through the queue with a played engine, and what is kept when they end early."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from fake_engine import CONFIG, CPU, GPU, ON_GPU, SPEEDS, FakeEngine, OpenFake, refused, running, wait_for_state

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab.calibration import Speed
from eurosat_core.lab.jobs import Control, Job, JobResult, run_job
from eurosat_core.lab.kind import Estimate, Known
from eurosat_core.lab.profile import OPERATORS_FILE, Profile
from eurosat_core.profiling.plan import (
    ProfileDone,
    ProfileEvent,
    ProfilePlan,
    ProfileStarted,
    ProfileStep,
    TraceDone,
    profile_config,
)
from eurosat_core.runs.history import History, ProfileHistory, encoded_event, progress, read_event, seconds_left
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training import step as step_module
from eurosat_core.training.config import TrainConfig

PROFILED = profile_config("baseline", workers=0)
PLAN = ProfilePlan(wait=0, warmup=1, active=2, repeat=2)


def job_for(tiles: TileSet, plan: ProfilePlan = PLAN, **changes: Any) -> Job:
    job = Job("a-run", PROFILED, tiles.fingerprint, str(tiles.cache), 1, "profile", plan.to_dict())
    return replace(job, **changes)


# -- the job by itself


def test_a_profile_brings_back_its_traces(small_tiles: TileSet) -> None:
    events: list[Any] = []
    result = run_job(job_for(small_tiles), events.extend)
    assert (result.state, result.message) == ("finished", "")
    assert set(result.files) == {"trace_1.json.gz", "trace_2.json.gz", OPERATORS_FILE}
    assert result.summary["traces"] == 2 and result.summary["steps"] == 6 and result.summary["recorded_steps"] == 4
    assert 0 < result.summary["seconds"] == events[-1].seconds
    assert {"device_name", "threads", "torch"} < set(result.machine)
    table = json.loads(result.files[OPERATORS_FILE])
    assert (table["cycle"], table["cycles"], table["first_step"], table["last_step"]) == (2, 2, 5, 6)
    assert {"name": "ProfilerStep*", "calls": 2}.items() <= next(
        each for each in table["rows"] if each["name"] == "ProfilerStep*"
    ).items()
    assert result.events == len(events)


def test_nothing_is_told_while_steps_are_recorded(small_tiles: TileSet) -> None:
    events: list[ProfileEvent] = []
    plan = ProfilePlan(wait=1, warmup=2, active=3, repeat=2)
    run_job(job_for(small_tiles, plan), events.extend)
    told = [(each.phase, each.step) for each in events if isinstance(each, ProfileStep)]
    assert ("warmup", 3) in told and ("warmup", 9) in told, "the last one before each recording always is"
    assert {phase for phase, _ in told} <= {"wait", "warmup"}
    kinds = [type(each) for each in events]
    assert kinds[0] is ProfileStarted and kinds[-2:] == [TraceDone, ProfileDone]
    assert [read_event(encoded_event(each)) for each in events] == [(each, None) for each in events]


@pytest.mark.parametrize(
    ("after", "cycles", "words"),
    [(1, 0, "before its first cycle was complete"), (4, 1, "after step 4 of 30. 1 complete cycle can be looked at")],
)
def test_stopped_on_the_way(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, after: int, cycles: int, words: str
) -> None:
    control, steps, real = Control(), 0, step_module.loss_of

    def stopping(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == after:
            control.command("stop")
        return real(*arguments)

    monkeypatch.setattr(step_module, "loss_of", stopping)
    result = run_job(job_for(small_tiles, replace(PLAN, repeat=10)), lambda _events: None, control)
    assert result.state == "cancelled" and words in result.message
    assert sum(name.startswith("trace_") for name in result.files) == cycles
    assert (OPERATORS_FILE in result.files) == bool(cycles)
    assert result.summary["traces"] == cycles and result.summary["steps"] == after


def test_it_does_not_pause(small_tiles: TileSet) -> None:
    control = Control()
    control.command("pause")
    assert run_job(job_for(small_tiles), lambda _events: None, control).state == "finished"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there_is_a_sentence(small_tiles: TileSet) -> None:
    result = run_job(job_for(small_tiles, config=replace(PROFILED, device="cuda:0")), lambda _events: None)
    assert result.state == "failed" and "cuda:0" in result.message and result.restart_worker


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "sorcery"}, "knows no run of the kind 'sorcery'"),
        ({"plan": ProfilePlan(active=0)}, "Choose 1 to 20"),
        ({"fingerprint": "another"}, "tiles have changed"),
    ],
)
def test_what_cannot_be_done_fails_with_a_sentence(small_tiles: TileSet, changes: dict[str, Any], words: str) -> None:
    result = run_job(job_for(small_tiles, **changes), lambda _events: None)
    assert result.state == "failed" and words in result.message and result.files == {}


# -- through the lab


def test_a_profile_goes_through_the_queue(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit_profile(PROFILED, PLAN, "ada")
    assert (run.kind, ProfilePlan.from_dict(run.plan)) == ("profile", PLAN)
    job = engine.wait_for(run.id)
    assert (job.kind, job.plan) == ("profile", run.plan)
    result: JobResult = engine.work(run.id)
    done = wait_for_state(lab, run.id, "finished")
    assert done.summary == result.summary and done.plan == run.plan
    told = lab.results.history(run.id).profile
    assert told.started and told.done and len(told.traces) == 2
    assert progress(lab.results.history(run.id)) == 1.0 and lab.seconds_left(run.id) == 0.0
    for trace in told.traces:
        assert lab.store.size(run.id, trace.file) == trace.size_bytes == len(lab.store.load(run.id, trace.file))
    assert "cannot be" not in refused(lambda: lab.store.load(run.id, "trace_9.json.gz"))


def test_it_is_stopped_but_not_paused(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit_profile(PROFILED, PLAN, "ada")
    engine.wait_for(run.id)
    wait_for_state(lab, run.id, "running")
    assert "cannot be paused" in refused(lambda: lab.control(run.id, "ada", "pause"))
    lab.control(run.id, "ada", "stop")
    wait_for_state(lab, run.id, "cancelled")


def test_it_has_the_machine_to_itself(open_fake: OpenFake) -> None:
    lab, engine = open_fake(FakeEngine((CPU, GPU), speeds=()))
    first = running(lab, engine, config=ON_GPU)
    profile = lab.submit_profile(PROFILED, PLAN, "ada")
    later = lab.submit(CONFIG, "ada")
    assert lab.place(profile.id) and lab.place(later.id), "although the CPU is idle"
    engine.end(first.id)
    engine.wait_for(profile.id)
    assert engine.order == [first.id, profile.id]
    engine.end(profile.id)
    engine.wait_for(later.id)


def test_what_cannot_be_profiled_is_refused_at_once(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    frozen = TrainConfig(model="efficientnet_lite0", source="features")
    for config, plan in ((frozen, PLAN), (PROFILED, replace(PLAN, active=0)), (replace(PROFILED, device="mps"), PLAN)):
        with pytest.raises(ConfigError):
            lab.submit_profile(config, plan, "ada")
    assert lab.store.all()[0] == []


def test_a_waiting_profile_survives_a_restart(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    interrupted = running(lab, engine)
    waiting = lab.submit_profile(PROFILED, PLAN, "ada")
    lab.close()
    again, engine = open_fake()
    assert engine.wait_for(waiting.id).plan == PLAN.to_dict()
    assert again.store.get(interrupted.id).state == "interrupted"


# -- on disk


def test_runs_of_before_there_were_plans_are_trainings(store: RunStore, used: TilesUsed) -> None:
    run = store.create(CONFIG, "ada", used)
    path = store.folder_of(run.id) / "run.json"
    values = json.loads(path.read_text())
    del values["plan"]
    path.write_text(json.dumps(values))
    assert RunStore(store.folder).get(run.id).plan == {}


@pytest.mark.parametrize("plan", [{"active": 0}, {"unknown": 1}, [], "plan"])
def test_a_damaged_plan_is_told(store: RunStore, used: TilesUsed, plan: Any) -> None:
    run = store.create(PROFILED, "ada", used, "profile", PLAN.to_dict())
    path = store.folder_of(run.id) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "plan": plan}))
    with pytest.raises(RunError, match="damaged"):
        RunStore(store.folder).get(run.id)


# -- how far, how long


STARTED = ProfileStarted(28, 4, 338_486, 338_486, "cpu", 2)


def history(*events: ProfileEvent) -> History:
    steps = [each for each in events if isinstance(each, ProfileStep)]
    traces = tuple(each for each in events if isinstance(each, TraceDone))
    done = next((each for each in events if isinstance(each, ProfileDone)), None)
    return History(profile=ProfileHistory(STARTED, steps[-1] if steps else None, traces, done))


def test_how_far_a_profile_is() -> None:
    step, trace = ProfileStep("warmup", 4, 1, 2.0), TraceDone(1, "trace_1.json.gz", 9, 3.0)
    assert progress(history()) == 0.0 and seconds_left(history()) is None
    assert progress(history(step)) == pytest.approx(4 / 28)
    assert seconds_left(history(step)) == pytest.approx(2.0 * 24 / 4)
    assert progress(history(step, trace)) == pytest.approx(1 / 4)
    assert progress(history(step, trace, ProfileDone(28, 4, 9.0))) == 1.0


MACHINE = {"threads": 2, "device_name": "Some CPU"}
USED = TilesUsed("f", "folder", "/x", 4000, ("a", "b"))


@dataclass
class Here:
    """A machine with some speeds and runs."""

    speeds: Sequence[Speed] = SPEEDS
    runs: Sequence[RunRecord] = ()

    def known(self, config: TrainConfig) -> Known:
        return Known(config, USED, self.runs, self.speeds, lambda _network: 1_000_000, MACHINE)

    def tile_seconds(self, config: TrainConfig) -> None:
        raise AssertionError("nobody asks")

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
    before = RunRecord(
        "the-profile", "ada", "finished", config, USED, 0.0, "profile", summary={"steps": 14, "seconds": 3.0}
    )
    alike = replace(before, machine=MACHINE)
    found = Here(runs=[alike]).estimate(config, plan)
    assert found.seconds == pytest.approx(6.0) and "the-profile" in found.basis
    for other in (
        before,
        replace(alike, concurrent_runs=("x",)),
        replace(alike, config=replace(config, batch_size=80)),
    ):
        assert "measurement" in Here(runs=[other]).estimate(config, plan).basis


def test_the_lab_estimates_a_profile(open_fake: OpenFake) -> None:
    lab, _ = open_fake()
    found = lab.estimates.profile(PROFILED, PLAN)
    assert found is not None and 0 < found.seconds < 60


@pytest.fixture(autouse=True)
def quiet_profiler() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning: Profiler clears events")
        yield
