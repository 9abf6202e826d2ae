"""What the instructor asks of everybody: a question, to come along, and how it is going; and the projector."""

from types import SimpleNamespace
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from eurosat_core.classroom.passcode import Passcode
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.game import held_out
from eurosat_core.runs.room_labels import Learned, Point
from tests.pages.conftest import ME, THREE, App, charts, checked, choose, click, keys, open_tiles, put, shown, tells
from tests.told import told_as

QUESTION, WORD = "conv_multiplications", "open sesame"
RIGHT, WRONG = "about 100,000", "about 1,000"


@pytest.fixture
def led(lab: Lab, app: App) -> AppTest:
    """The instructor's page, with the question chosen."""
    lab.passcode = Passcode(WORD)
    lab.passcode.sign_in(f"of {ME}", ME, WORD)
    return choose(app("classroom.py"), "ask_question", QUESTION)


def vote(test: AppTest, guess: str, sure: int, turn: int = 1) -> AppTest:
    """Answer the first question of the room."""
    choose(test, f"vote_guess_1_{turn}", guess)
    return choose(test, f"vote_sure_1_{turn}", sure)


def is_asked(test: AppTest) -> bool:
    return any(str(each.key).startswith("vote_") for each in test.get("pills"))


def test_without_a_passcode_nobody_is_asked_anything(lab: Lab, app: App) -> None:
    lab.rounds.open(QUESTION)
    assert not is_asked(app("tiles.py", who="ada"))


def test_a_question_reaches_everybody_and_what_was_measured_ends_it(lab: Lab, app: App, led: AppTest) -> None:
    click(led, "ask_open")
    ada, bob = app("tiles.py", who="ada"), app("model.py", who="bob")
    for who, guess in ((ada, WRONG), (bob, RIGHT)):
        assert is_asked(who)
        vote(who, guess, 2)
    assert {each.guess for each in lab.rounds.votes(1, 1).values()} == {RIGHT, WRONG}
    assert lab.lesson_guesses.of("ada")[QUESTION] == WRONG
    click(led, "ask_talk")
    assert not is_asked(checked(ada.run()))
    click(led, "ask_second")
    vote(checked(ada.run()), RIGHT, 3, turn=2)
    click(led, "ask_shown")
    shown = lab.rounds.current()
    assert shown is not None and shown.right == RIGHT
    before = charts(app("start.py", who="cy"))
    assert charts(checked(ada.run())) > 0 and before > 0
    click(led, "ask_close")
    assert lab.rounds.current() is None and "ask_open" in keys(led)
    assert lab.rounds.all()[0].right == RIGHT
    assert not led.dataframe
    led.session_state["ask_before"] = True
    assert checked(led.run()).dataframe[0].value["measured"].tolist() == [RIGHT]


def test_an_answer_that_came_too_late_counts_in_no_vote(lab: Lab, app: App, led: AppTest) -> None:
    click(led, "ask_open")
    ada = app("tiles.py", who="ada")
    choose(ada, "vote_guess_1_1", WRONG)
    asked = lab.rounds.current()
    assert asked is not None
    lab.rounds.go(asked.number, "second")
    choose(ada, "vote_sure_1_1", 2)  # her page still shows the first vote
    assert lab.rounds.votes(1, 1) == lab.rounds.votes(1, 2) == {}
    assert not ada.error, "above the next vote nothing is over"
    lab.rounds.go(asked.number, "shown")
    assert len(checked(ada.run()).error) == 1


def test_an_answer_that_is_taken_back_still_counts_and_is_shown(lab: Lab, app: App, led: AppTest) -> None:
    click(led, "ask_open")
    ada = vote(app("tiles.py", who="ada"), WRONG, 2)
    choose(ada, "vote_guess_1_1", None)
    assert ada.session_state["vote_guess_1_1"] == WRONG
    assert [each.guess for each in lab.rounds.votes(1, 1).values()] == [WRONG]


def test_only_who_leads_may_ask(lab: Lab, app: App, led: AppTest) -> None:
    lab.passcode.sign_out(f"of {ME}")
    led.button(key="ask_open").click().run()
    assert lab.rounds.all() == []


def test_the_projector_shows_counts_and_no_names_nor_the_sidebar(lab: Lab, app: App, led: AppTest) -> None:
    projector = app("projector.py", who="beamer")
    assert not projector.sidebar.text_input and not charts(projector)
    click(led, "ask_open")
    vote(app("tiles.py", who="adalbert"), RIGHT, 1)
    checked(projector.run())
    chart = projector.get("vega_lite_chart")[0]
    assert "adalbert" not in str(chart.proto)
    assert charts(projector) == 1


def test_hidden_votes_are_counted_and_shown_in_the_end(lab: Lab, app: App, led: AppTest) -> None:
    choose(led, "ask_hidden", True)
    click(led, "ask_open")
    projector = app("projector.py", who="beamer")
    assert charts(projector) == 0
    click(led, "ask_shown")
    assert charts(checked(projector.run())) == 1


def test_everybody_is_brought_along_once_and_may_step_off(lab: Lab, app: App, led: AppTest) -> None:
    ada = app("tiles.py", who="ada")
    choose(led, "bring_page", "model")
    click(led, "bring")
    assert checked(ada.run()).title[0].value.startswith("Model")
    checked(ada.switch_page("tiles.py").run())
    assert checked(ada.run()).title[0].value.startswith("Tiles")
    click(led, "bring")
    assert checked(ada.run()).title[0].value.startswith("Model")


def test_nobody_is_kept_where_the_room_was(lab: Lab, app: App, led: AppTest) -> None:
    choose(led, "bring_page", "start")
    click(led, "bring")
    ada = app("tiles.py", who="ada")
    assert len(ada.get("page_link")) == 1
    click(led, "release")
    assert lab.guide.now.page == ""
    assert not checked(ada.run()).get("page_link")


def test_who_is_stuck_shows_beside_their_name_until_they_move_on(lab: Lab, app: App, led: AppTest) -> None:
    ada = choose(app("tiles.py", who="ada"), "progress_tiles", "stuck")
    assert list(checked(led.run()).table[0].value["Says"]) == ["Stuck"]
    checked(ada.switch_page("model.py").run())
    assert list(checked(led.run()).table[0].value["Says"]) == [""]


def test_the_board_lists_everybody_once_and_is_on_the_projector_if_shown(lab: Lab, app: App, led: AppTest) -> None:
    for who in ("ada", "bob"):
        app("tiles.py", who=who)
        put(lab, "finished", THREE, owner=who, summary={"val_accuracy": 0.7, "seconds": 12.0})
    put(lab, "finished", THREE, owner="bob", summary={"val_accuracy": 0.8, "seconds": 30.0})
    table = checked(led.run()).table[1].value
    assert list(table["Name"]) == ["bob", "ada"] and list(table["Rank"]) == ["1", "2"]
    projector = app("projector.py", who="beamer")
    assert charts(projector) == 0
    choose(led, "board_shown", True)
    assert charts(checked(projector.run())) == 2


def test_the_rooms_labels_teach_a_classifier_on_the_projector(
    lab: Lab, app: App, led: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles, points = open_tiles(lab), (Point(10, 0.4, 0.5, 2, 32), Point(11, 0.5, 0.5, 3, 3))
    monkeypatch.setattr(
        lab, "room_probe", SimpleNamespace(learn=lambda *_: Learned(points, 300, 311, 311)), raising=False
    )
    projector = app("projector.py", who="beamer")
    choose(led, "labels_shown", True)
    assert lab.guide.now.labels
    assert not led.toggle(key="labels_shown").proto.set_value, "what a browser has it is not told: it may have changed"
    assert not charts(checked(projector.run()))
    free = [at for at in range(len(tiles)) if at not in held_out(tiles)]
    for at in free[:11]:
        lab.results.add_guess("adalbert", tiles, at, 0, 1.0)
    assert charts(checked(projector.run())) == 2
    assert "adalbert" not in str([each.proto for each in projector.get("vega_lite_chart")]) + shown(projector)
    assert tells(projector, "room_labels.synthetic")
    assert charts(checked(led.run())) == 2
    click(led, "labels_anew")
    assert not charts(checked(projector.run()))


def test_a_classifier_that_cannot_learn_here_says_why(
    lab: Lab, app: App, led: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = open_tiles(lab)
    free = [at for at in range(len(tiles)) if at not in held_out(tiles)]
    for at in free[:12]:
        lab.results.add_guess("ada", tiles, at, 1, 1.0)
    learned = [Learned(problem="No weights here."), Learned((), 300, 64, 312)]
    monkeypatch.setattr(lab, "room_probe", SimpleNamespace(learn=lambda *_: learned[0]), raising=False)
    assert "No weights here." in shown(checked(led.run()))
    learned.pop(0)
    assert charts(checked(led.run())) == 1
    (progress,) = led.get("progress")
    assert told_as("classroom/labels looking", done=64, all=312).search(progress.proto.text)


def test_the_report_has_the_rounds_and_nobodys_name(
    lab: Lab, app: App, led: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    real = st.download_button
    monkeypatch.setattr(st, "download_button", lambda *given, **more: (made.append(given), real(*given, **more))[1])
    click(led, "ask_open")
    vote(app("tiles.py", who="lady-ada"), WRONG, 2)
    for step in ("ask_talk", "ask_second"):
        click(led, step)
    vote(app("tiles.py", who="lady-ada"), RIGHT, 3, turn=2)
    for step in ("ask_shown", "ask_close"):
        click(led, step)
    put(lab, "finished", THREE, owner="lady-ada", summary={"val_accuracy": 0.62, "seconds": 30.0})
    content = next(given[1] for given in reversed(made) if given[2] == "eurosat-lab-room.html")
    page = content().decode()
    assert "0 of 1 right" in page and "1 of 1 right" in page and RIGHT in page
    assert told_as("rounds.up", before=0, votes=1, after=1).search(page)
    assert "1 participant" in page and "1 run" in page and "62" in page
    assert "lady" not in page
