"""Profiles: their plan against torch's own schedule, and recorded here and now against torch's own operator table."""

import gc
import gzip
import json
import multiprocessing
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.profiler import ProfilerAction, schedule

from eurosat_core import profiling
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, DataError, TrainingError
from eurosat_core.lab.own_process import ask
from eurosat_core.models.catalog import CATALOG
from eurosat_core.profiling import record as recorder
from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.overview import MARK, overview_of
from eurosat_core.profiling.plan import (
    ProfileDone,
    ProfileEvent,
    ProfilePlan,
    ProfileStarted,
    ProfileStep,
    TraceDone,
    profile_config,
    profile_problem,
    trace_file,
)
from eurosat_core.profiling.record import (
    CycleRecorded,
    Pull,
    explained_kernels_problem,
    kernels_problem,
    library_reason,
    record,
)
from eurosat_core.profiling.trace import read_trace
from eurosat_core.speed.verdict import PARTS as STEP_PARTS
from eurosat_core.training import step as step_module
from eurosat_core.training.config import TrainConfig

PARTS = tuple(MARK + part for part in STEP_PARTS)
LOADER = profile_config("baseline", workers=0)
SHORT = ProfilePlan(wait=0, warmup=1, active=2, repeat=2)


def recorded(
    tiles: TileSet, config: TrainConfig = LOADER, plan: ProfilePlan = SHORT
) -> tuple[list[ProfileEvent], list[CycleRecorded]]:
    kept: list[CycleRecorded] = []
    return list(record(config, plan, tiles, kept.append)), kept


def named(cycle: CycleRecorded, start: str) -> list[dict[str, Any]]:
    """The host's events with a duration whose names begin so, in order of time."""
    events = json.loads(gzip.decompress(cycle.trace))["traceEvents"]
    own = ("user_annotation", "cpu_op")  # not what the device did meanwhile
    found = (each for each in events if each.get("ph") == "X" and each.get("cat") in own)
    return sorted((each for each in found if each["name"].startswith(start)), key=lambda each: each["ts"])


def inside(inner: dict[str, Any], outer: dict[str, Any]) -> bool:
    ends = inner["ts"] + inner["dur"] <= outer["ts"] + outer["dur"] + 1
    return bool(outer["ts"] - 1 <= inner["ts"] and ends)


@pytest.fixture(scope="module", autouse=True)
def torchs() -> Iterator[dict[bytes, list[Any]]]:
    """torch's own table of the operators in each trace."""
    found: dict[bytes, list[Any]] = {}
    real = recorder._exported

    def exported(finished: Any) -> bytes:
        trace = real(finished)
        found[trace] = list(finished.key_averages())
        return trace

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "_exported", exported)
        yield found


@pytest.fixture(scope="module")
def tutorial(small_tiles: TileSet) -> tuple[list[ProfileEvent], list[CycleRecorded]]:
    """The tutorial's baseline, batch, DataLoader with its processes, and schedule."""
    return recorded(small_tiles, profile_config("baseline"), ProfilePlan())


Recorded = tuple[list[ProfileEvent], list[CycleRecorded]]


def test_every_cycle_leaves_a_trace(tutorial: Recorded) -> None:
    events, cycles = tutorial
    assert [each.cycle for each in cycles] == [1, 2, 3, 4]
    steps = [each for each in events if isinstance(each, ProfileStep)]
    assert [each.step for each in steps] == list(range(1, 29)), "more steps than the 150 tiles have batches"
    assert isinstance(events[0], ProfileStarted) and events[0].parameters == 336_000 + 1_976
    assert isinstance(events[-1], ProfileDone) and (events[-1].steps, events[-1].cycles) == (28, 4)
    told = [each for each in events if isinstance(each, TraceDone)]
    assert [(each.file, each.size_bytes) for each in told] == [
        (trace_file(each.cycle), len(each.trace)) for each in cycles
    ]
    order = [events.index(each) for each in told]
    assert all(isinstance(events[at - 1], ProfileStep) and events[at - 1].phase == "active" for at in order)


def test_the_parts_of_every_step_stand_in_order(tutorial: Recorded) -> None:
    for cycle in tutorial[1]:
        steps = named(cycle, "ProfilerStep#")
        first, _last = ProfilePlan().recorded_in(cycle.cycle)
        assert [each["name"] for each in steps] == [f"ProfilerStep#{first - 1 + at}" for at in range(3)]
        for step in steps:
            parts = [each for each in named(cycle, "eurosat.") if inside(each, step)]
            assert tuple(each["name"] for each in parts) == PARTS
            ends = [each["ts"] + each["dur"] for each in parts]
            assert all(end <= after["ts"] + 1 for end, after in zip(ends, parts[1:], strict=False))


def test_the_loader_writes_its_own_annotation_into_every_step(tutorial: Recorded) -> None:
    for cycle in tutorial[1]:
        loads = named(cycle, "eurosat.load")
        waits = named(cycle, "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__")
        assert len(loads) == 3
        for load in loads:
            own = [each for each in waits if inside(each, load)]
            assert own and sum(each["dur"] for each in own) > 0


def test_what_is_read_back_equals_torchs_table_row_by_row(tutorial: Recorded, torchs: dict[bytes, list[Any]]) -> None:
    for cycle in tutorial[1]:
        trace = read_trace(cycle.trace)
        read = {each.name: each for each in operator_table(trace)}
        assert set(read) == {each.key for each in torchs[cycle.trace]}
        assert (read["ProfilerStep*"].calls, read["aten::conv2d"].calls) == (3, 6)
        for row in torchs[cycle.trace]:
            mine = read[row.key]
            assert (mine.calls, mine.cpu_memory_bytes) == (row.count, row.cpu_memory_usage)
            times = row.cpu_time_total, row.self_cpu_time_total
            assert (mine.cpu_total_us, mine.cpu_self_us) == pytest.approx(times, abs=1)
        loader = read["enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__"]
        assert 0 < overview_of(trace).mean_step_us["DataLoader"] * 3 <= loader.cpu_total_us + 1


def test_memory_is_recorded_when_asked_for(small_tiles: TileSet, torchs: dict[bytes, list[Any]]) -> None:
    for memory in (True, False):
        _, (cycle, *_) = recorded(small_tiles, plan=replace(SHORT, memory=memory, repeat=1))
        text = gzip.decompress(cycle.trace).decode()
        assert ('"[memory]"' in text) == memory
        assert any(each.cpu_memory_usage for each in torchs[cycle.trace]) == memory


def test_tiles_from_memory_are_copied_nowhere_and_still_have_all_parts(small_tiles: TileSet) -> None:
    _, cycles = recorded(small_tiles, profile_config("baseline", "fast"))
    for cycle in cycles:
        parts = [each["name"] for each in named(cycle, "eurosat.")]
        assert tuple(parts) == PARTS * 2
        assert not named(cycle, "enumerate(DataLoader)")


def test_every_step_has_a_whole_batch(small_tiles: TileSet) -> None:
    config = profile_config("baseline", batch_size=64, workers=0)  # 150 tiles: 64, 64, 22
    _, cycles = recorded(small_tiles, config, ProfilePlan(wait=0, warmup=1, active=5, repeat=1, memory=False))
    assert len(named(cycles[0], "eurosat.load")) == 5
    for load in named(cycles[0], "eurosat.load")[1:2]:
        nexts = [each for each in named(cycles[0], "enumerate(DataLoader)") if inside(each, load)]
        assert len(nexts) == 3, "the 22 left over, the end of the epoch, and a batch of the next one"


def test_stopped_on_the_way_the_complete_cycles_are_kept(small_tiles: TileSet) -> None:
    """And the profiler is free for the next."""
    for complete, step in ((0, 2), (1, 5), (2, None)):
        kept: list[CycleRecorded] = []
        events = record(LOADER, SHORT, small_tiles, kept.append)
        for event in events:
            if isinstance(event, ProfileStep) and event.step == step:
                break
        events.close()
        assert [each.cycle for each in kept] == list(range(1, complete + 1))


def test_no_event_comes_between_a_steps_end_and_the_next_ones_recording(small_tiles: TileSet) -> None:
    """What a consumer does with the event of the last step before the recording must not stand in the trace."""
    kept: list[CycleRecorded] = []
    for event in record(LOADER, replace(SHORT, repeat=1), small_tiles, kept.append):
        if isinstance(event, ProfileStep) and event.phase != "active":
            torch.linalg.svd(torch.eye(3))
    assert not named(kept[0], "aten::linalg_svd")


def test_it_trains_as_it_records(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    real = step_module.loss_of

    def noting(*arguments: Any) -> Any:
        scores, loss, lowered = real(*arguments)
        losses.append(loss.item())
        return scores, loss, lowered

    monkeypatch.setattr(step_module, "loss_of", noting)
    recorded(small_tiles, profile_config("baseline", "fast"), ProfilePlan(active=5, memory=False))
    assert sum(losses[-4:]) < sum(losses[:4])


@pytest.mark.parametrize("stopped", [False, True])
def test_nothing_lives_on(small_tiles: TileSet, stopped: bool) -> None:
    """Loader workers that Python collects later would hold up whatever runs then; a network would hold memory."""
    gc.collect()
    gc.disable()
    try:
        events = record(profile_config("baseline"), SHORT, small_tiles)
        network = weakref.ref(next_network(events))
        for event in events:
            if stopped and isinstance(event, TraceDone):
                break
        events.close()
        assert not multiprocessing.active_children()
        del events
        assert network() is None
    finally:
        gc.enable()


def next_network(events: Pull) -> torch.nn.Module:
    """The network of a profile that has just been started."""
    next(events)
    return events.gi_frame.f_locals["recorder"]._trainer.network  # type: ignore[no-any-return]


@pytest.mark.parametrize("warmup", [0, 1])
def test_a_plan_without_warm_up_and_a_batch_of_all_tiles(
    small_tiles: TileSet, warmup: int, recwarn: pytest.WarningsRecorder
) -> None:
    config = profile_config("baseline", batch_size=1000, workers=0)
    _, cycles = recorded(small_tiles, config, ProfilePlan(wait=0, warmup=warmup, active=1, repeat=2))
    assert len(cycles) == 2
    assert not [each for each in recwarn if "warmup" in str(each.message)]


# -- what goes wrong


@pytest.mark.parametrize(
    ("config", "plan", "error", "told"),
    [
        (LOADER, ProfilePlan(steps=6), ConfigError, "at least 7"),
        (TrainConfig(model="efficientnet_lite0", source="features"), SHORT, ConfigError, "whole network"),
        (replace(LOADER, split="place"), SHORT, DataError, "lists"),
    ],
)
def test_refused_before_the_first_step(
    small_tiles: TileSet, config: TrainConfig, plan: ProfilePlan, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        next(record(config, plan, small_tiles))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Raised by the third step, if there is one."""
    errors: list[BaseException] = []
    real, done = step_module.loss_of, 0

    def failing_loss(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        if done == 5 and errors:
            raise errors[0]
        return real(*arguments)

    monkeypatch.setattr(step_module, "loss_of", failing_loss)
    yield errors


def test_memory_that_runs_out_is_a_sentence_and_keeps_what_was_recorded(
    small_tiles: TileSet, failing: list[BaseException]
) -> None:
    failing.append(torch.OutOfMemoryError("out of memory"))
    kept: list[CycleRecorded] = []
    with pytest.raises(TrainingError, match="20 tiles"):
        list(record(LOADER, SHORT, small_tiles, kept.append))
    assert len(kept) == 1
    failing.clear()
    assert recorded(small_tiles)[1], "and the profiler is free for the next"


def test_a_full_disk_is_a_sentence(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.profiler.profile, "export_chrome_trace", full)
    calls: list[str] = []
    for name in ("prepare_trace", "start_trace"):
        real = getattr(torch.profiler.profile, name)
        monkeypatch.setattr(
            torch.profiler.profile, name, lambda self, name=name, real=real: (calls.append(name), real(self))[1]
        )
    with pytest.raises(TrainingError, match="No space"):
        list(record(LOADER, SHORT, small_tiles))
    prepared = [calls[at - 1] for at, each in enumerate(calls) if each == "start_trace"]
    assert prepared == ["prepare_trace"] * len(prepared), "starting what was not prepared is a crash with PyTorch 2.11"
    monkeypatch.undo()
    assert recorded(small_tiles)[1], "and the profiler is free for the next"


def test_every_model_can_be_profiled_with_both_recipes(small_tiles: TileSet) -> None:
    for model in CATALOG.keys() - {"vgg11_bn"}:  # half a gigabyte of random weights
        for recipe in ("tutorial", "fast"):
            config = profile_config(model, recipe, pretrained=False, batch_size=16, workers=0)
            _, cycles = recorded(small_tiles, config, ProfilePlan(wait=0, warmup=1, active=1, repeat=1))
            assert tuple(each["name"] for each in named(cycles[0], "eurosat.")) == PARTS


@pytest.mark.parametrize(
    ("device", "kernels_us", "told"),
    [
        ("cpu", None, "GPU kernel"),  # a step that truly ran, and none of it on a GPU
        ("cpu", [0.0, 12.5], ""),
        ("cuda:0", None, "cuda:0"),
        ("mps", None, "CPU"),
    ],
)
def test_whether_kernels_are_seen(
    device: str, kernels_us: list[float] | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device == "cuda:0" and torch.cuda.is_available():
        pytest.skip("this machine has the device that is to be missing")
    if kernels_us is not None:
        rows = [SimpleNamespace(self_device_time_total=each) for each in kernels_us]
        monkeypatch.setattr(torch.profiler.profile, "key_averages", lambda _self: rows)
    problem = kernels_problem(device)
    assert told in problem and bool(problem) == bool(told)


CUPTI_LOG = """USDT:2026-05-03 12:00:00 1:1 ActivityProfiler.cpp:1] start
WARN:2026-05-03 12:00:00 1:1 Other.cpp:9] something else
ERROR:2026-05-03 12:00:00 1:1 CuptiActivityApi.cpp:234] CUPTI_ERROR_INSUFFICIENT_PRIVILEGES (35).
"""


def test_the_librarys_own_reason_is_found_in_its_log() -> None:
    assert library_reason(CUPTI_LOG) == "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES (35)"
    assert library_reason("WARN:2026 1:1 a.cpp:9] first\nERROR:2026 1:1 a.cpp:9] second") == "first"
    assert library_reason("no log\n") == ""


def blocked_profile() -> str:
    """In a process of its own: a profile during which the library logs that it is refused."""
    profiling.record.kernels_problem = lambda _device: os.write(2, CUPTI_LOG.encode()) and "No kernel."
    return explained_kernels_problem("cuda:0")


def test_a_blocked_profiler_is_told_with_the_librarys_reason() -> None:
    assert "CUPTI_ERROR_INSUFFICIENT_PRIVILEGES (35)" in ask(blocked_profile, seconds=60)


ACTIONS = {
    "wait": {ProfilerAction.NONE},
    "warmup": {ProfilerAction.WARMUP},
    "active": {ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE},
}


def test_the_defaults_are_the_tutorials() -> None:
    plan = ProfilePlan().checked()
    assert (plan.wait, plan.warmup, plan.active, plan.repeat, plan.memory) == (2, 2, 3, 4, True)
    assert (plan.total_steps, plan.traces, plan.recorded_steps) == (28, 4, 12)
    assert "".join(step.phase[0] for step in plan.strip()) == "wwwwaaa" * 4
    assert [step.number for step in plan.strip() if step.writes] == [7, 14, 21, 28]
    assert plan.recorded_in(4) == (26, 28)


@given(st.builds(ProfilePlan, st.integers(0, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)))
def test_the_strip_is_what_torch_does(plan: ProfilePlan) -> None:
    told = schedule(wait=plan.wait, warmup=plan.warmup, active=plan.active, repeat=plan.repeat)
    for step in plan.strip():
        assert told(step.number - 1) in ACTIONS[step.phase]
        assert (told(step.number - 1) is ProfilerAction.RECORD_AND_SAVE) == step.writes
    assert told(plan.total_steps) is ProfilerAction.NONE
    recorded = [step.number for step in plan.strip() if step.phase == "active" and step.cycle == plan.repeat]
    assert (recorded[0], recorded[-1]) == plan.recorded_in(plan.repeat)
    assert plan.recorded_steps == sum(step.phase == "active" for step in plan.strip())


@pytest.mark.parametrize(("steps", "traces"), [(7, 1), (13, 1), (14, 2), (28, 4)])
def test_an_incomplete_cycle_leaves_no_trace(steps: int, traces: int) -> None:
    plan = ProfilePlan(steps=steps).checked()
    assert len(plan.strip()) == steps
    assert plan.traces == traces == sum(step.writes for step in plan.strip())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": 6}, "at least 7"),
        ({"steps": 29}, "28 steps"),
        ({"active": 0}, "1 to 20"),
        ({"repeat": 0}, "1 to 10"),
        ({"wait": -1}, "steps to wait"),
        ({"warmup": 2.0}, "entry 'warmup'"),
        ({"repeat": True}, "entry 'repeat'"),
        ({"memory": 1}, "entry 'memory'"),
        ({"wait": 100}, "420 steps"),
        ({"active": 20}, "at most 60"),
        ({"steps": "7"}, "entry 'steps'"),
        ({"stack": True}, "unknown entry 'stack'"),
    ],
)
def test_what_cannot_be_carried_out_is_a_sentence(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as error:
        ProfilePlan.from_dict(values)
    assert words in str(error.value) and str(error.value).endswith(".")


def test_a_plan_survives_json() -> None:
    plan = ProfilePlan(wait=0, warmup=0, active=1, repeat=2, memory=False, steps=2)
    assert ProfilePlan.from_dict(plan.to_dict()) == plan
    assert ProfilePlan.from_dict({}) == ProfilePlan()
    with pytest.raises(ConfigError):
        ProfilePlan.from_dict([])  # type: ignore[arg-type]


def test_the_tutorials_way_comes_first() -> None:
    config = profile_config("baseline")
    assert (config.recipe, config.source, config.batch_size) == ("tutorial", "loader", 40)
    assert profile_config("baseline", "fast").source == "memory"


def test_the_whole_network_is_profiled() -> None:
    assert profile_config("efficientnet_lite0", "fast").source == "memory"
    with pytest.raises(ConfigError, match="frozen"):
        profile_config("efficientnet_lite0", "fast", source="features")
    assert not profile_problem(TrainConfig())


def test_a_plan_needs_no_torch() -> None:
    code = "import sys, eurosat_core.profiling.plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
