"""Which race the Compare page looks at: that in its address, one that was chosen, the newest."""

from streamlit.testing.v1 import AppTest

from eurosat_core.lab.lab import Lab
from tests.pages.conftest import THREE, App, address, checked, click, put, shown
from tests.pages.test_compare_page import PAGE
from tests.pages.test_compare_race import raced


def two_races(lab: Lab) -> tuple[str, str]:
    """An older race and a newer one; each says which it is."""
    older = raced(lab, state="interrupted", message="The older one broke off.")
    newer = raced(lab, state="interrupted", message="The newer one broke off.", created=older.created + 60)
    return older.id, newer.id


def at(test: AppTest, run_id: str) -> AppTest:
    """The page after a click on the sidebar's link to a run."""
    test.query_params["run"] = run_id
    checked(test.run())
    return test


def which(test: AppTest) -> str:
    """The race in the choice, which is the one that is drawn."""
    (choice,) = [each for each in test.selectbox if each.label == "Race"]
    return str(choice.value)


def test_a_link_to_an_earlier_race_opens_that_one(lab: Lab, app: App) -> None:
    older, newer = two_races(lab)
    test = app(PAGE)
    assert which(test) == newer and "The newer one broke off." in shown(test)
    assert which(at(test, older)) == older
    assert "The older one broke off." in shown(test) and "The newer one broke off." not in shown(test)
    test.switch_page("tiles.py").run()
    test.switch_page(PAGE).run()
    assert which(test) == older == address(test, "run")


def test_the_address_follows_a_choice_so_that_the_link_works_again(lab: Lab, app: App) -> None:
    older, newer = two_races(lab)
    test = app(PAGE, run=older)
    next(each for each in test.selectbox if each.label == "Race").set_value(newer).run()
    assert which(test) == newer == address(test, "run")
    assert which(at(test, older)) == older


def test_a_choice_leaves_a_training_in_the_address_and_outlives_another_page(lab: Lab, app: App) -> None:
    older, _newer = two_races(lab)
    training = put(lab, "finished", THREE)
    test = app(PAGE, run=training.id)
    next(each for each in test.selectbox if each.label == "Race").set_value(older).run()
    assert which(test) == older and address(test, "run") == training.id
    test.switch_page("train.py").run()
    test.switch_page(PAGE).run()
    assert which(test) == older


def test_a_new_race_takes_the_place_of_the_one_in_the_address(lab: Lab, app: App) -> None:
    older, _newer = two_races(lab)
    test = app(PAGE, run=older)
    click(test, "compare_race_start")
    started = next(each for each in lab.store.all()[0] if each.is_active)
    assert address(test, "run") == started.id
