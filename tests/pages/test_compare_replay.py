"""Replay on the Compare page: it plays, pauses, jumps and ends, and is marked as replay all the time."""

import time
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.lab.lab import Lab
from pages.parts.compare import curves
from tests.pages.conftest import App, charts, checked, choose, click, keys, put, shown, tells
from tests.pages.test_compare_page import PAGE, trained


class Clock:
    """A clock that goes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(curves, "time", made)
    return made


@pytest.fixture
def test(lab: Lab, clock: Clock, app: App) -> AppTest:
    """The page with two runs of 30 seconds, an epoch every ten."""
    trained(lab)
    trained(lab, "tilenet", 0.9, wrong=10)
    return app(PAGE)


def later(test: AppTest, clock: Clock, seconds: float) -> str:
    clock.now += seconds
    checked(test.run())
    return shown(test)


def moment(test: AppTest) -> str:
    (text,) = [each.proto.text for each in test.get("progress") if "own clock" in each.proto.text]
    return str(text)


def test_it_plays_at_the_true_speed_and_ends_by_itself(test: AppTest, clock: Clock) -> None:
    assert "1× speed" in shown(test) and tells(test, "race.starting")
    later(test, clock, 10)
    assert moment(test).startswith("0.0 s of 30 s"), "it stands still until play is pressed"
    before = charts(test)
    click(test, "compare_play")
    text = later(test, clock, 12)
    assert moment(test).startswith("12 s of 30 s") and "compare_pause" in keys(test)
    assert "1× speed" in text
    assert charts(test) == before + 1
    assert "20.7" in text and "30.0" in text  # both accuracies after the first epoch
    assert tells(later(test, clock, 30), "race.over.done") and "compare_play" in keys(test)
    assert moment(test).startswith("30 s of 30 s")
    later(test, clock, 100)
    click(test, "compare_play")
    assert moment(test).startswith("0.0 s")  # from the start again


def test_pause_keeps_the_moment_and_another_speed_goes_on_from_it(test: AppTest, clock: Clock) -> None:
    click(test, "compare_play")
    later(test, clock, 5)
    click(test, "compare_pause")
    later(test, clock, 60)
    assert moment(test).startswith("5 s")
    click(test, "compare_play")
    later(test, clock, 2)
    assert moment(test).startswith("7 s")
    click(test, "compare_restart")
    assert moment(test).startswith("0.0 s") and "compare_pause" in keys(test)  # and plays on
    later(test, clock, 5)
    choose(test, "compare_speed", 10)
    later(test, clock, 1)
    assert moment(test).startswith("15 s") and "10× speed" in shown(test)
    choose(test, "compare_runs", test.session_state["compare_runs"][:1])
    assert moment(test).startswith("0.0 s"), "other runs are replayed from their start"


def test_a_run_that_told_nothing_has_no_replay(lab: Lab, app: App) -> None:
    put(lab, "finished", [], summary={"val_accuracy": 0.5})
    assert tells(app(PAGE), "compare/replay short")
