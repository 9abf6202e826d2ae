"""The instructor deals values out; each participant trains one; the projector shows the dots."""

import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.classroom.passcode import Passcode
from eurosat_core.lab.lab import Lab
from tests.pages.conftest import ME, THREE, App, charts, checked, choose, click, keys, says

WORD = "open sesame"


@pytest.fixture
def led(lab: Lab, app: App) -> AppTest:
    """The instructor's page."""
    lab.passcode = Passcode(WORD)
    lab.passcode.sign_in(f"of {ME}", ME, WORD)
    return app("classroom.py")


def end(lab: Lab, run_id: str, accuracy: float) -> None:
    """A training has ended, as a worker would leave it."""
    lab.store.append(run_id, THREE)
    lab.store.update(run_id, state="finished", summary={"val_accuracy": accuracy, "seconds": 9.0})


def test_each_trains_the_own_value_and_the_projector_shows_the_dots(lab: Lab, app: App, led: AppTest) -> None:
    click(led, "deal_open")
    deal = lab.experiments.current()
    assert deal is not None and deal.setting == "seed"
    ada, bob = app("tiles.py", who="ada"), app("model.py", who="bob")
    for who, seed in ((ada, 1), (bob, 2)):
        assert f"seed: **{seed}**" in says(who)
        click(who, "dealt_train")
        assert "dealt_train" not in keys(who)
    runs = {each.owner: each for each in lab.store.all()[0]}
    assert {owner: each.config.seed for owner, each in runs.items()} == {"ada": 1, "bob": 2}
    projector = app("projector.py", who="beamer")
    assert charts(projector) == 0 and "0 of 2" in says(projector)
    end(lab, runs["bob"].id, 0.6)
    checked(projector.run())
    assert charts(projector) == 1 and "1 of 2" in says(projector)
    assert "bob" not in str(projector.get("vega_lite_chart")[0].proto)
    before = charts(ada)
    assert charts(checked(ada.run())) == before  # who still trains does not see the others
    end(lab, runs["ada"].id, 0.7)
    assert charts(checked(ada.run())) == before + 1
    click(led, "deal_end")
    assert lab.experiments.current() is None and "deal_open" in keys(led)
    assert charts(checked(projector.run())) == 0


def test_only_who_leads_deals(lab: Lab, app: App, led: AppTest) -> None:
    lab.passcode.sign_out(f"of {ME}")
    led.button(key="deal_open").click().run()
    assert lab.experiments.all() == []


def test_whoever_leads_gets_no_value_nor_does_the_projector_and_values_must_be_trainable(
    lab: Lab, led: AppTest, app: App
) -> None:
    choose(led, "deal_setting", "batch_size")
    choose(led, "deal_values_batch_size", "8, 99999")
    click(led, "deal_open")
    assert lab.experiments.all() == [] and led.error
    click(led, "deal_open")
    app("tiles.py", who=ME)
    app("projector.py", who="beamer")
    assert lab.experiments.hands(1) == ()


def test_a_training_that_failed_can_be_tried_again_and_one_that_ended_not(lab: Lab, app: App, led: AppTest) -> None:
    click(led, "deal_open")
    ada = click(app("tiles.py", who="ada"), "dealt_train")
    (first,) = lab.store.all()[0]
    lab.store.update(first.id, state="failed", message="No memory left.")
    checked(ada.run())
    assert "No memory left." in says(ada) and "dealt_train" in keys(ada)
    second = lab.train_hand("ada")
    hand = lab.experiments.hands(1)[0]
    assert hand.run == second.id and second.config == first.config
    end(lab, second.id, 0.5)
    assert "dealt_train" not in keys(checked(ada.run()))


def test_what_stands_against_a_training_is_said(lab: Lab, app: App, led: AppTest) -> None:
    click(led, "deal_open")
    lab.runs_problem = "No room!"
    ada = click(app("tiles.py", who="ada"), "dealt_train")
    assert "No room!" in says(ada) and "dealt_train" in keys(ada)
    assert lab.store.all()[0] == []
