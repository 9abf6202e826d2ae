"""Where something is started, on whichever page: when nothing can be, the page says why; a waiting run its place."""

from collections.abc import Callable
from typing import Any

import pytest
from experiment_makers import put_result
from fake_engine import raising
from profile_makers import put_profile

from eurosat_core.errors import LabError, RunError
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.queue import Place
from eurosat_core.runs.record import RunRecord
from eurosat_core.speed.experiments import plan_experiment
from eurosat_core.training import problems
from eurosat_core.training.config import recipe_config
from tests.pages.conftest import ME, THREE, App, click, keys, put, says, tells

STARTS = {
    "train.py": ["train_start"],
    "profiler.py": ["profiler_start"],
    "speed.py": ["speed_start", "speed_free_start", "speed_limits_start"],
    "compare.py": ["compare_race_start", "compare_full_start"],
}
SENTENCE = "Read-only: set EUROSAT_RUNS."


@pytest.fixture
def read_only(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab that found its folder for runs read-only."""
    monkeypatch.setattr(lab, "runs_problem", SENTENCE)
    return lab


def buttons(test: Any) -> dict[str, bool]:
    """Which buttons can be pressed, by key."""
    return {each.key: not each.disabled for each in test.button}


@pytest.mark.parametrize("page", STARTS)
def test_nothing_can_be_started_and_the_page_says_why(read_only: Lab, app: App, page: str) -> None:
    test = app(page)
    assert SENTENCE in says(test)
    there = buttons(test)
    assert [key for key in STARTS[page] if there.get(key)] == []
    assert set(there) & set(STARTS[page])


@pytest.mark.parametrize("page", ["start.py", "tiles.py", "convolution.py", "model.py", "predict.py", "wrapup.py"])
def test_other_pages_work(read_only: Lab, app: App, page: str) -> None:
    app(page)


def test_stored_runs_can_be_looked_at(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    record = put(lab, "finished", THREE)
    monkeypatch.setattr(lab, "runs_problem", SENTENCE)
    assert not buttons(app("train.py", run=record.id))["result_again"]


def test_too_little_shared_memory_is_said_beside_the_button(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(problems, "free_shared_memory", lambda: 2**20)
    test = app("train.py")
    assert buttons(test)["train_start"], "from memory it can be trained"
    test.get_by_key("train_recipe").set_value("tutorial").run()
    config = recipe_config("baseline", "tutorial")
    assert config.source == "loader"
    with pytest.raises(LabError, match="shared memory"):
        lab.submit(config, ME)
    assert not lab.store.all()[0]
    assert "shared memory" in says(test)
    assert not buttons(test)["train_start"]


@pytest.mark.parametrize("state", [TilesState(None, 5, 100), TilesState(problem="Full.")])
@pytest.mark.parametrize("page", ["train.py", "profiler.py", "speed.py"])
def test_without_tiles_nothing_starts(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, page: str, state: TilesState
) -> None:
    monkeypatch.setattr(lab.library, "_state", state)
    test = app(page)
    assert state.problem in says(test) and not buttons(test)[STARTS[page][0]]
    assert page != "profiler.py" or tells(test, "profile.step"), "the recorded example needs none"


@pytest.mark.parametrize(
    ("page", "starts"),
    [
        ("train.py", "submit"),
        ("profiler.py", "submit_profile"),
        ("speed.py", "submit_sweep"),
        ("compare.py", "submit_sweep"),
    ],
)
def test_what_the_lab_refuses_is_said(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, page: str, starts: str
) -> None:
    monkeypatch.setattr(lab, starts, raising(RunError("*Full*")))
    test = click(app(page), STARTS[page][0])
    assert [each.value for each in test.error] == [r"\*Full\*"] and "run" not in test.query_params


def waiting_sweep(lab: Lab) -> RunRecord:
    config, plan = plan_experiment("batch_size", ["cpu"])
    return put_result(lab, ME, config, plan, None, state="queued")


@pytest.mark.parametrize(
    ("page", "waiting", "stop"),
    [
        ("train.py", lambda lab: put(lab, "queued", []), "run_stop"),
        ("profiler.py", lambda lab: put_profile(lab, ME, [], state="queued"), "profiler_stop"),
        ("speed.py", waiting_sweep, "speed_stop"),
    ],
)
def test_a_waiting_run_tells_its_place(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, page: str, waiting: Callable[[Lab], RunRecord], stop: str
) -> None:
    run = waiting(lab)
    assert "2 of 3" not in says(app(page, run=run.id)), "it has no place yet"
    monkeypatch.setattr(lab, "place", lambda _run: Place(2, 3, 41.0))
    test = app(page, run=run.id)
    assert "2 of 3" in says(test) and "41 s" in says(test)
    assert test.button(key=stop).label == "Leave the queue" and "run_pause" not in keys(test)
