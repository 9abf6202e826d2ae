"""Where no run can start: nothing can be stored, or loader workers find too little shared memory. Pages say so."""

from typing import Any

import pytest

from eurosat_core.errors import LabError
from eurosat_core.lab.lab import Lab
from eurosat_core.training import problems
from eurosat_core.training.config import recipe_config
from tests.pages.conftest import ME, THREE, App, put, says

STARTS = {
    "train.py": ["train_start"],
    "profiler.py": ["profiler_start"],
    "speed.py": ["speed_start", "speed_free_start", "speed_limits_start"],
    "compare.py": ["compare_race_start", "compare_full_start"],
}
SENTENCE = "No run can be stored in /runs (Read-only file system). Set EUROSAT_RUNS to another folder."


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
    assert not test.exception
    assert "Read-only file system" in says(test)
    assert "EUROSAT_RUNS" in says(test)
    there = buttons(test)
    assert [key for key in STARTS[page] if there.get(key)] == []
    assert set(there) & set(STARTS[page])


@pytest.mark.parametrize("page", ["start.py", "tiles.py", "convolution.py", "model.py", "predict.py", "wrapup.py"])
def test_other_pages_work(read_only: Lab, app: App, page: str) -> None:
    test = app(page)
    assert not test.exception, test.exception[0].message


def test_stored_runs_can_be_looked_at(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    record = put(lab, "finished", THREE)
    monkeypatch.setattr(lab, "runs_problem", SENTENCE)
    test = app("train.py", run=record.id)
    assert not test.exception
    assert not buttons(test)["result_again"]


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
