"""The Classroom page: who leads by passcode, who is here, and the queue in the instructor's hands."""

import re
from typing import Any

import pytest
from fake_engine import FakeEngine, eventually, wait_for_state
from streamlit.testing.v1 import AppTest

from eurosat_core.classroom.passcode import Passcode
from eurosat_core.errors import RunError
from eurosat_core.lab.lab import Lab
from eurosat_core.training.config import workshop_config
from pages.parts import lesson
from tests.pages.conftest import ME, THREE, App, checked, choose, click, keys, put, shown, unescaped

PAGE, WORD = "classroom.py", "open sesame"
EVIL = "*x* ![x](//y)"
OTHERS = ("ada", "bob", EVIL)


def sign_in(test: AppTest, typed: str = WORD) -> AppTest:
    test.text_input(key="passcode_input").set_value(typed)
    return click(test, "sign_in")


@pytest.fixture
def led(lab: Lab, app: App) -> AppTest:
    """The page of whoever leads."""
    lab.passcode = Passcode(WORD)
    return sign_in(app(PAGE))


def controls(test: AppTest) -> set[str]:
    return {key for key in keys(test) if re.match("queue_|stop_|first_|up_|down_|delete_any|dry_run|sign_out", key)}


def lines(lab: Lab) -> list[str]:
    return [each.run_id for each in lab.dispatcher.waiting()]


def test_without_a_passcode_the_page_says_how_to_set_it_and_has_no_controls(lab: Lab, app: App) -> None:
    put(lab, "running", [], owner="ada")
    test = app(PAGE)
    assert "passcode" in test.code[0].value and not controls(test)
    assert "passcode_input" not in {each.key for each in test.text_input}


@pytest.mark.parametrize("typed", ["", "sesame", "OPEN SESAME"])
def test_a_wrong_passcode_opens_nothing(lab: Lab, app: App, typed: str) -> None:
    lab.passcode = Passcode(WORD)
    test = sign_in(app(PAGE), typed)
    assert len(test.error) == 1 and not controls(test)
    assert test.text_input(key="passcode_input").value == ""
    assert not lab.passcode.leads(f"of {ME}")


def test_it_opens_for_this_browser_alone_and_until_it_signs_out(lab: Lab, app: App, led: AppTest) -> None:
    assert "queue_hold" in controls(led)
    assert WORD not in repr(dict(led.query_params)) + repr(led.session_state._state.filtered_state)
    assert not controls(app(PAGE, who="ada"))
    click(led, "start_over")
    assert "queue_hold" in controls(checked(led.switch_page(PAGE).run()))
    click(led, "sign_out")
    assert not controls(led)
    assert not lab.passcode.leads(f"of {ME}")


def test_everybody_is_listed_with_their_page_and_names_are_only_words(lab: Lab, app: App, led: AppTest) -> None:
    for who in OTHERS:
        app("tiles.py", who=who)
    put(lab, "finished", THREE, owner=EVIL)
    table = checked(led.run()).table[0].value
    assert sorted(map(unescaped, table["Name"])) == sorted(OTHERS)
    assert EVIL not in list(table["Name"])
    assert set(table["Page"]) == {lesson.pages()["tiles"]["title"]}
    assert sorted(table["Runs"]) == ["0", "0", "1"]
    assert not any(":gray[" in each for each in table["Name"])


def test_who_was_not_seen_for_long_fades(lab: Lab, app: App, led: AppTest) -> None:
    app("tiles.py", who="ada")
    seen, page = lab.participants._here["ada"]
    lab.participants._here["ada"] = (seen - 1000.0, page)
    table = checked(led.run()).table[0].value
    assert all(cell.startswith(":gray[") for cell in table.iloc[0])
    lab.participants._here["ada"] = (seen - 100_000.0, page)
    assert len(checked(led.run()).table) == 0


def test_who_lost_the_own_code_gets_one_from_the_instructor(lab: Lab, app: App, led: AppTest) -> None:
    app(who="ada")
    checked(led.run())
    assert led.button(key="lost_code").disabled
    choose(led, "lost_participant", "ada")
    click(led, "lost_code")
    elsewhere = app(who="bob")
    elsewhere.text_input(key="code_input").set_value(led.code[0].value)
    click(elsewhere, "code_enter")
    assert elsewhere.text_input(key="nickname_input").value == "ada"
    lab.passcode.sign_out(f"of {ME}")
    click(led, "lost_code")
    assert not led.code  # drawn while it led


def test_the_instructor_holds_moves_limits_stops_and_deletes_runs_of_all(
    lab: Lab, engine: FakeEngine, led: AppTest
) -> None:
    click(led, "queue_hold")
    assert lab.dispatcher.held
    ids = [lab.submit(workshop_config(), who).id for who in OTHERS]
    checked(led.run())
    assert lines(lab) == ids and engine.order == []
    assert led.button(key=f"up_{ids[0]}").disabled and led.button(key=f"down_{ids[2]}").disabled
    assert EVIL not in "".join(each.value for each in led.markdown)
    click(led, f"first_{ids[2]}")
    assert lines(lab) == [ids[2], ids[0], ids[1]]
    click(led, f"down_{ids[2]}")
    assert lines(lab) == ids[:1] + ids[2:] + ids[1:2]
    click(led, f"stop_{ids[1]}")
    assert lab.store.get(ids[1]).state == "cancelled"
    click(led, "queue_hold")
    eventually(lambda: engine.order == [ids[0]])
    wait_for_state(lab, ids[0], "running")
    click(checked(led.run()), f"stop_{ids[0]}")
    wait_for_state(lab, ids[0], "cancelled")
    lab.dispatcher.hold(True)
    choose(led, "queue_limit", 1)
    lab.submit(workshop_config(), "ada")
    with pytest.raises(RunError):
        lab.submit(workshop_config(), "ada")
    lab.submit(workshop_config(), "bob")
    record = put(lab, "finished", THREE, owner="a nickname of an older version")
    checked(led.run())
    assert led.button(key="delete_any_sure").disabled
    choose(led, "delete_any", record.id)
    click(led, "delete_any_sure")
    with pytest.raises(RunError):
        lab.store.get(record.id)


def test_a_dry_run_is_timed(lab: Lab, engine: FakeEngine, led: AppTest) -> None:
    click(led, "dry_run_cpu")
    (run_id,) = led.session_state["dry_runs"].values()
    engine.wait_for(run_id)
    assert lab.store.get(run_id).owner == ME
    engine.end(run_id, summary={"seconds": 42.0, "val_accuracy": 0.5})
    wait_for_state(lab, run_id, "finished")
    assert "42 s" in shown(checked(led.run()))


def test_a_closed_page_is_closed_for_all_but_who_leads(lab: Lab, app: App, led: AppTest) -> None:
    ada = app("tiles.py", who="ada")
    choose(led, "closed_pages", ["tiles", "speed"])
    for page, closed in (("tiles.py", True), ("speed.py", True), ("train.py", False), ("start.py", False)):
        checked(ada.switch_page(page).run())
        assert (lesson.text("classroom")["closed"] in shown(ada)) == closed, page
        checked(led.switch_page(page).run())
        assert lesson.text("classroom")["closed"] not in shown(led)
    checked(led.switch_page(PAGE).run())
    assert led.get_by_key("closed_pages").value == ["tiles", "speed"]
    choose(led, "closed_pages", [])
    assert lesson.text("classroom")["closed"] not in shown(checked(ada.switch_page("tiles.py").run()))


def test_the_instructors_settings_become_everybodys_once(lab: Lab, app: App, led: AppTest) -> None:
    ada = app("train.py", who="ada")
    before = ada.session_state["train_batch_size"]
    checked(led.switch_page("train.py").run())
    choose(led, "train_batch_size", 64)
    choose(led, "train_epochs", 7)
    click(checked(led.switch_page(PAGE).run()), "preset_give")
    checked(ada.run())
    assert [ada.session_state[f"train_{name}"] for name in ("batch_size", "epochs")] == [64, 7]
    choose(ada, "train_batch_size", 128)
    assert checked(ada.run()).session_state["train_batch_size"] == 128  # one's own, from then on
    click(checked(led.run()), "preset_drop")
    assert checked(ada.run()).session_state["train_batch_size"] == before


def test_what_was_drawn_for_a_leader_does_nothing_after_signing_out(lab: Lab, led: AppTest) -> None:
    lab.passcode.sign_out(f"of {ME}")
    click(led, "queue_hold")  # drawn while it led
    assert not lab.dispatcher.held and not controls(led)


@pytest.mark.parametrize("secret", ["", "x", f"of {ME}"])
def test_at_the_door_the_lab_asks_too(lab: Lab, secret: str) -> None:
    lab.passcode = Passcode(WORD)
    with pytest.raises(RunError):
        lab.instructor(secret)


def test_a_waiting_participant_is_told_that_the_queue_is_held(lab: Lab, app: App) -> None:
    lab.dispatcher.hold(True)
    place: Any = lab.place(lab.submit(workshop_config(), ME).id)
    assert place.starts_in_seconds is None
    assert lab.holds_up(place)
    lab.dispatcher.hold(False)
