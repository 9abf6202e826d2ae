"""The Train page while a run waits, runs, pauses or stops, and what its buttons ask of the lab."""

import pytest
from fake_engine import raising

from eurosat_core.errors import RunError
from eurosat_core.lab.lab import Lab
from eurosat_core.training.events import Event, FeaturesDone, StepDone
from tests.pages.conftest import ME, THREE, App, begun, charts, click, epoch, keys, metrics, put, shown, unescaped


def test_a_running_run_shows_its_figures_and_curves(lab: Lab, app: App) -> None:
    step = StepDone("train", 2, 18, 14.0, 1.7, 0.4, 1234.0, 400 * 2**20)
    record = put(lab, "running", [*begun(), epoch(1, 0.3), step])
    test = app("train.py", run=record.id)
    assert {"1,234", "400 MB", "1.70"} <= set(metrics(test).values())
    assert test.progress[0].text.startswith("Epoch 2 of 3 · 4") and test.progress[0].value > 33
    assert charts(test) == 4
    assert {"run_pause", "run_step", "run_stop"} <= keys(test)
    assert test.button(key="run_step").disabled
    assert "result_again" not in keys(test)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], ""),
        ([begun()[0], FeaturesDone(64, 2000, 1.0)], "64 of 2,000"),
        ([begun()[0], FeaturesDone(0, 0, 1.0)], "earlier"),
    ],
    ids=["nothing told", "frozen part computed", "frozen part read"],
)
def test_before_the_first_step_the_page_says_what_is_happening(
    lab: Lab, app: App, events: list[Event], words: str
) -> None:
    record = put(lab, "running", events)
    text = app("train.py", run=record.id).progress[0].text
    assert text and words in text


def test_an_ended_run_says_that_its_time_leaves_the_frozen_part_out(lab: Lab, app: App) -> None:
    summary = {"seconds": 4.0, "train_tiles": 1500, "val_tiles": 500, "feature_tiles": 0}
    record = put(lab, "finished", THREE, summary=summary)
    tables = [each.value.to_string() for each in app("train.py", run=record.id).table]
    assert any("4 s, with outputs" in unescaped(each) for each in tables)


def test_buttons_ask_the_lab_and_a_command_that_comes_too_late_is_explained(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str]] = []
    monkeypatch.setattr(lab, "control", lambda run, owner, command: asked.append((run, owner, command)))
    record = put(lab, "running", begun())
    test = app("train.py", run=record.id)
    click(test, "run_pause")
    assert "Pausing…" in shown(test)
    click(test, "run_stop")
    lab.store.update(record.id, state="paused")
    test.run()
    assert "Paused" in shown(test)
    assert "5 of 36" in test.progress[0].text
    click(test, "run_step")
    assert test.button(key="run_pause").label == "Resume"
    click(test, "run_pause")
    assert asked == [(record.id, ME, command) for command in ("pause", "stop", "step", "resume")]
    record = put(lab, "running", begun())
    monkeypatch.setattr(lab, "control", raising(RunError("Ended")))
    test = click(app("train.py", run=record.id), "run_pause")
    assert "Ended" in [each.value for each in test.caption]
    monkeypatch.setattr(lab.dispatcher, "stopping", lambda _run: True)
    test.run()
    assert test.button(key="run_stop").disabled and "Stopping…" in shown(test), "while it stops the buttons rest"


def test_a_paused_run_says_what_becomes_of_its_place(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    record = put(lab, "paused", begun())

    def said(who: str = ME) -> str:
        return shown(app("train.py", run=record.id, who=who))

    own = said()
    assert "10 minutes" in own and said("bob") != own
    monkeypatch.setattr(lab.dispatcher, "parked", lambda _run: True)
    parked = said()
    test = app("train.py", run=record.id)
    assert "10 minutes" not in parked and not test.button(key="run_pause").disabled
    assert test.button(key="run_step").disabled and test.button(key="run_step").help
    monkeypatch.setattr(lab.dispatcher, "returning", lambda _run: True)
    test = app("train.py", run=record.id)
    assert shown(test) != parked
    assert test.button(key="run_pause").disabled
    assert not test.button(key="run_stop").disabled


@pytest.mark.parametrize("state", ["queued", "running", "paused", "finished"])
def test_someone_elses_run_can_be_watched_only(lab: Lab, app: App, state: str) -> None:
    record = put(lab, state, [] if state == "queued" else THREE, owner="bob")
    test = app("train.py", run=record.id)
    assert "bob’s run" in shown(test)
    assert not {"run_pause", "run_step", "run_stop", "result_again", "result_delete_sure"} & keys(test)
