"""What a profile of a GPU leaves behind in its process: timed, said, and not handed on to later measurements."""

import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cuda_alias import played_cuda

from eurosat_core.analysis.profile import after_finding
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab import jobs
from eurosat_core.lab import profile as module
from eurosat_core.lab.jobs import Control, run_job
from eurosat_core.lab.messages import Job, JobResult
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.runs.profiles import AFTER, Profile
from eurosat_core.training.config import TrainConfig
from eurosat_core.words.say import say

ON_CPU = profile_config("baseline", workers=0, batch_size=8)
ON_CARD = replace(ON_CPU, device="cuda:1", precision="float32")
PLAN = ProfilePlan(wait=0, warmup=1, active=1, repeat=1)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(jobs, "unseen_kernels", lambda _device: "")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Warning: Profiler clears events")
        yield


def done(tiles: TileSet, config: TrainConfig, plan: ProfilePlan = PLAN) -> JobResult:
    job = Job("a-run", config, tiles.fingerprint, str(tiles.cache), 1, "profile", plan.to_dict())
    return run_job(job, lambda _events: None)


@pytest.mark.parametrize(("after", "slower"), [(0.00101, False), (0.002, True)])
def test_a_process_that_a_profile_made_slower_is_replaced_where_nobody_waits_in_it(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, after: float, slower: bool
) -> None:
    for company in (False, True):
        taken = [0.001, after]
        monkeypatch.setattr(module, "_step_seconds", lambda _config, _tiles, taken=taken: taken.pop(0))
        with monkeypatch.context() as patched, played_cuda():
            if company:
                patched.setitem(jobs._controls, "stands-still", Control())
            result = done(small_tiles, ON_CARD)
        assert result.state == "finished" and result.summary[AFTER] == pytest.approx(after / 0.001)
        assert result.restart_worker == (slower and not company)
    found = after_finding(Profile("a", "run", "", (1,), after=after / 0.001))
    assert found is not None and found.name == f"profile.after.{'slower' if slower else 'same'}" and say(found)


def test_steps_are_timed_around_it_for_real(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TURN_SECONDS", 0.01)
    with played_cuda() as cards:
        result = done(small_tiles, ON_CARD)
    assert result.state == "finished" and result.summary[AFTER] > 0
    assert cards.calls.count("profile") == 1 and "empty_cache" in cards.calls


def test_nobody_waits_for_it_elsewhere(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on a CPU, and not where the very first steps are asked for."""

    def never(*_what: object) -> float:
        raise AssertionError

    monkeypatch.setattr(module, "_step_seconds", never)
    result = done(small_tiles, ON_CPU)
    assert result.state == "finished" and AFTER not in result.summary and not result.restart_worker
    assert after_finding(Profile("a", "run", "", (1,))) is None
    with played_cuda():
        assert AFTER not in done(small_tiles, ON_CARD, replace(PLAN, warmup=0)).summary
