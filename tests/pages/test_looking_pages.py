"""The instructor looks at somebody's page: the same page, the same choices, the same run, and no hand on it."""

from collections.abc import Callable

import pytest
from fake_engine import FakeEngine, eventually, running
from streamlit.testing.v1 import AppTest

from eurosat_core.classroom.passcode import Passcode
from eurosat_core.lab.lab import Lab
from tests.pages.conftest import MAIN, ME, THREE, App, address, charts, checked, click, keys, put, says

WORD = "open sesame"
HAND = "progress_train"


@pytest.fixture
def desk(lab: Lab, app: App) -> Callable[..., AppTest]:
    """Function: the page that opens for whoever leads, at an address with these parameters."""
    lab.passcode = Passcode(WORD)
    lab.passcode.sign_in("of desk", "desk", WORD)
    return lambda page="train.py", **parameters: app(page, who="desk", **parameters)


def show(test: AppTest, on: str = HAND) -> AppTest:
    """Put the hand up, and let the instructor see the page."""
    assert "looking_show" not in keys(test)
    test.get_by_key(on).set_value("hand")
    return checked(click(checked(test.run()), "looking_show").run())


def test_what_is_seen_is_the_others_page_with_its_run_and_its_choices(
    lab: Lab, app: App, desk: Callable[..., AppTest]
) -> None:
    run = put(lab, "finished", THREE)
    mine = app("train.py", run=run.id)
    mine.get_by_key("train_epochs").set_value(7)
    mine = show(mine)
    assert "looking_stop" in keys(mine)
    seen = desk(see=ME)
    assert address(seen, "run") == run.id and address(seen, "see") == ME
    assert charts(seen) == charts(mine) > 0
    assert seen.get_by_key("train_epochs").value == 7
    assert not seen.sidebar.children and HAND not in {each.key for each in seen.get("button_group")}
    mine.get_by_key("train_epochs").set_value(5)
    checked(mine.run())
    checked(mine.run())
    assert checked(seen.run()).get_by_key("train_epochs").value == 5
    assert lab.participants.name(ME) == ME and len(lab.participants.all()) == 2


def test_nothing_can_be_pressed_in_the_others_name(
    lab: Lab, app: App, engine: FakeEngine, desk: Callable[..., AppTest]
) -> None:
    run = running(lab, engine, owner=ME)
    mine = show(app("train.py", run=run.id))
    seen = desk(see=ME)
    assert "run_stop" in keys(seen)
    seen.button(key="run_stop").click().run()
    assert engine.commands == [] and lab.store.get(run.id).state == "running"
    click(mine, "run_stop")
    eventually(lambda: engine.commands)


PAGES = [each.name for each in sorted(MAIN.parent.glob("*.py")) if each.stem not in ("__init__", "main", "projector")]


@pytest.mark.parametrize("state", ["", "queued", "running", "finished"])
def test_each_page_is_drawn_by_looking_alone(lab: Lab, app: App, desk: Callable[..., AppTest], state: str) -> None:
    query = {"run": put(lab, state, THREE if state == "finished" else []).id} if state else {}
    app()
    for page in (each for each in PAGES if each != "classroom.py"):
        lab.participants.enter(f"of {ME}", page.removesuffix(".py"))
        lab.participants.say(ME, "hand")
        lab.views.allow(ME)
        lab.views.show(ME, page.removesuffix(".py"), query, {})
        seen = desk(page, see=ME)
        assert "nothing can be changed" not in says(seen), page
        assert len(seen.main.children) > 3 and not seen.sidebar.children


def test_it_ends_with_the_hand(lab: Lab, app: App, desk: Callable[..., AppTest]) -> None:
    mine = show(app("train.py"))
    seen = desk(see=ME)
    assert "train_start" in keys(seen)
    mine.get_by_key(HAND).set_value(None)
    checked(mine.run())
    seen = checked(seen.run())
    assert "train_start" not in keys(seen) and len(seen.info) == 1
    assert "train_start" not in keys(desk(see=ME))


@pytest.mark.hostile
def test_nobody_else_sees_it_by_its_address(lab: Lab, app: App, desk: Callable[..., AppTest]) -> None:
    show(app("train.py"))
    assert "train_start" in keys(desk(see=ME))
    for who in (ME, "eve"):
        test = app("train.py", who=who, see=ME)
        assert "train_start" not in keys(test) and len(test.info) == 1
    assert "train_start" not in keys(desk(see="p-0123456789abcdef"))


def test_the_row_has_a_link_only_with_consent(lab: Lab, app: App, desk: Callable[..., AppTest]) -> None:
    mine = app("train.py")
    link = f"(train?see={ME})"
    tables = lambda: "".join(str(each.value.to_numpy()) for each in desk("classroom.py").table)  # noqa: E731
    assert link not in tables()
    mine = show(mine)
    assert link in tables()
    click(mine, "looking_stop")
    assert link not in tables()
