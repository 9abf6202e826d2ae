"""The Train page before a run: its settings, the estimate, and what the Train button asks of the lab."""

from dataclasses import replace
from typing import Any

import pytest
from fake_engine import FakeEngine, eventually, raising
from profile_makers import cpu_trace, put_profile

from eurosat_core.data import weights
from eurosat_core.errors import LabError
from eurosat_core.lab import library as library_module
from eurosat_core.lab.kind import Estimate
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.library import Fetch
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.config import SETTINGS, Architecture, TrainConfig, recipe_config, workshop_config
from eurosat_core.training.recipes import RECIPES
from pages.parts.forms import ALL_TILES
from tests.pages.conftest import (
    ME,
    THREE,
    App,
    address,
    charts,
    choose,
    click,
    keys,
    put,
    shown,
    tells,
    unescaped,
)

CHANGED = "(was "  # of a setting that differs from the lesson's


def test_an_empty_page_keeps_the_contract_and_shows_what_will_be_trained(lab: Lab, app: App) -> None:
    test = app("train.py")
    assert tells(test, "train/goal", "train/empty") and "338,486 parameters" in shown(test)
    assert test.dataframe[0].value["Parameters"].tolist() == [456, 0, 2416, 0, 324600, 10164, 850]
    assert test.button(key="train_start").label.endswith(" CPU · 3 epochs"), "nothing was measured: no estimate"
    assert not test.button(key="train_start").disabled
    assert charts(test) == 0
    assert not {"run_stop", "result_again"} & keys(test)


def test_a_rough_estimate_is_drawn_again_and_an_estimate_stands_on_the_button(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab.estimates, "training", lambda _config: Estimate(12.4, "Dreamt"))
    test = app("train.py")
    assert test.button(key="train_start").label.endswith(" CPU · 3 epochs · about 12 s")
    assert "Dreamt" in shown(test)
    assert "train_smaller" not in keys(test)
    estimates = {"now": Estimate(60.0, "Another’s", is_rough=True)}
    monkeypatch.setattr(lab.estimates, "training", lambda _config: estimates["now"])
    monkeypatch.setattr(lab.estimates, "is_measuring", lambda _config: estimates["now"].is_rough)
    test = app("train.py")
    assert test.button(key="train_start").label.endswith("about 1 min 00 s")
    before = lab.estimates.is_measuring

    def measured_meanwhile(config: TrainConfig) -> bool:
        """While the page is drawn, just before the fragment that waits."""
        told = before(config)
        estimates["now"] = Estimate(20.0, "Mine")
        return told

    monkeypatch.setattr(lab.estimates, "is_measuring", measured_meanwhile)
    test.run()
    assert test.button(key="train_start").label.endswith("about 20 s")
    assert "Mine" in shown(test) and "Another’s" not in shown(test)


def test_the_lessons_training_fits_the_machine_and_a_long_one_offers_a_smaller(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One epoch takes 2 seconds here: five of them are 10, and 15 are aimed at."""
    monkeypatch.setattr(lab.estimates, "training", lambda config: Estimate(2.0 * config.epochs, "From a dream."))
    test = app("train.py")
    assert test.session_state["train_epochs"] == 8
    assert test.button(key="train_start").label.endswith(" 8 epochs · about 16 s")
    assert CHANGED not in shown(test)
    click(test, "train_reset")
    assert test.session_state["train_epochs"] == 3, "the lesson's settings are one click away"
    test.run()
    assert test.session_state["train_epochs"] == 3
    monkeypatch.setattr(lab.estimates, "training", lambda config: Estimate(20.0 * config.epochs, "By epochs."))
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(30).run()
    assert test.button(key="train_start").label.endswith("about 10 min 00 s")
    click(test, "train_smaller")
    assert test.number_input(key="train_epochs").value == 5
    assert test.button(key="train_start").label.endswith("about 1 min 40 s")


def test_what_a_participant_chose_is_not_fitted(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    speed: dict[str, float | None] = {"epoch": None}
    monkeypatch.setattr(
        lab.estimates,
        "training",
        lambda config: Estimate(speed["epoch"] * config.epochs, "x") if speed["epoch"] else None,
    )
    test = app("train.py")
    test.get_by_key("train_epochs").set_value(5).run()
    speed["epoch"] = 0.1
    test.run()
    assert test.session_state["train_epochs"] == 5


def test_train_asks_the_lab_for_what_is_on_screen(lab: Lab, engine: FakeEngine, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(2)
    test.number_input(key="train_batch_size").set_value(32)
    test.selectbox(key="train_optimizer").set_value("sgd").run()
    assert f"{SETTINGS['batch_size'].title} 32 (was 64)" in shown(test)
    click(test, "train_start")
    record = lab.store.all()[0][0]
    assert record.owner == ME
    assert (record.config.epochs, record.config.batch_size, record.config.optimizer) == (2, 32, "sgd")
    assert test.query_params["run"] == record.id
    eventually(lambda: record.id in engine.jobs)


def test_a_recipe_sets_what_belongs_to_it_leaves_the_rest_and_says_so(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(7).run()
    test.number_input(key="train_colour_jitter").set_value(0.4).run()
    test.get_by_key("train_recipe").set_value("tutorial").run()
    state = test.session_state
    assert (state["train_batch_size"], state["train_source"], state["train_learning_rate"]) == (40, "loader", 0.01)
    assert (state["train_optimizer"], state["train_epochs"], state["train_colour_jitter"]) == ("sgd", 7, 0.0)
    assert tells(test, "train/recipe tutorial")
    for recipe in RECIPES:
        choose(test, "train_recipe", recipe)
        config = recipe_config("baseline", recipe)
        figures = {
            "batch_size": config.batch_size,
            "optimizer": SETTINGS["optimizer"].in_words(config.optimizer),
            "learning_rate": f"{config.learning_rate:g}",
        }
        assert tells(test, f"train/recipe {recipe}", **figures)
        assert ("bfloat16" if config.precision == "auto" else config.precision) in shown(test)
        assert f"{100 * config.train_fraction:.0f} %" in unescaped(test.get_by_key("train_tiles").proto.help)


@pytest.mark.parametrize("model", [name for name, entry in CATALOG.items() if entry.is_pretrained])
def test_the_fast_recipe_of_a_pretrained_model_says_that_its_frozen_part_is_computed_once(
    lab: Lab, app: App, model: str
) -> None:
    test = app("train.py")
    test.selectbox(key="train_model").set_value(model).run()
    config = recipe_config(model, "fast")
    assert (config.source, config.schedule) == ("features", "cosine")
    assert tells(
        test,
        "train/recipe fast pretrained",
        batch_size=config.batch_size,
        optimizer="Adam",
        learning_rate=f"{config.learning_rate:g}",
    )
    choose(test, "train_recipe", "tutorial")
    assert tells(test, "train/recipe tutorial") and recipe_config(model, "tutorial").source == "loader"


def test_a_recipe_that_is_a_whole_training_brings_its_epochs_and_takes_them_along(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(4).run()
    test.selectbox(key="train_model").set_value("tilenet").run()
    config = recipe_config("tilenet", "fast")
    assert test.number_input(key="train_epochs").value == config.epochs
    assert test.number_input(key="train_learning_rate").value == config.learning_rate
    assert not test.button(key="train_start").disabled
    test.session_state["train_recipe"] = "sprint"
    test.selectbox(key="train_model").set_value("baseline").run()  # has no such recipe
    assert test.session_state["train_recipe"] == "fast"
    assert test.number_input(key="train_epochs").value == 3
    assert test.number_input(key="train_learning_rate").value == recipe_config("baseline", "fast").learning_rate
    assert not test.button(key="train_start").disabled


def test_a_whole_training_takes_its_epochs_along(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.selectbox(key="train_model").set_value("tilenet").run()
    click(test, "train_reset")
    test.number_input(key="train_epochs").set_value(8).run()
    test.get_by_key("train_recipe").set_value("tutorial").run()
    assert test.number_input(key="train_epochs").value == 8
    record = put(lab, "finished", THREE, config=recipe_config("tilenet", "fast"))
    test = app("train.py", run=record.id)
    click(test, "result_again")
    assert test.number_input(key="train_epochs").value == record.config.epochs
    assert test.session_state["train_tiles"] == ALL_TILES
    test.selectbox(key="train_model").set_value("baseline").run()
    lesson_config = workshop_config("baseline")
    assert test.number_input(key="train_epochs").value == lesson_config.epochs
    assert test.session_state["train_stratified"] == lesson_config.stratified != record.config.stratified


def test_a_recipe_with_another_network_shows_its_costs_and_leaves_it_to_its_own_model(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.selectbox(key="train_model").set_value("tilenet").run()

    def million_macs() -> float:
        return float(next(each.value["MACs (M)"].sum() for each in test.dataframe if "MACs (M)" in each.value))

    usual, pooled = million_macs(), lab.estimates.model_summary(Architecture("tilenet"))
    assert usual == pytest.approx(pooled.macs / 1e6)
    test.get_by_key("train_recipe").set_value("record").run()
    assert (
        million_macs()
        == pytest.approx(lab.estimates.model_summary(Architecture("tilenet", stem_pool=False)).macs / 1e6)
        != usual
    )
    assert not test.toggle(key="train_stem_pool").value and not test.button(key="train_start").disabled
    test.selectbox(key="train_model").set_value("baseline").run()
    assert test.toggle(key="train_stem_pool").disabled and not test.button(key="train_start").disabled


def test_settings_outlive_another_page_and_go_back_to_the_lessons(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(9)
    test.number_input(key="train_seed").set_value(1).run()
    test.switch_page("tiles.py").run()
    test.switch_page("train.py").run()
    assert test.number_input(key="train_epochs").value == 9
    assert "9 (was 3)" in shown(test)
    click(test, "train_reset")
    assert test.number_input(key="train_epochs").value == 3
    assert CHANGED not in shown(test)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("momentum", 1.0)])
def test_bad_settings_have_a_sentence_and_no_train(lab: Lab, app: App, name: str, value: Any) -> None:
    test = app("train.py")
    test.get_by_key("train_recipe").set_value("tutorial").run()
    choose(test, f"train_{name}", value)
    with pytest.raises(LabError) as refused:
        replace(recipe_config("baseline", "tutorial"), **{name: value}).checked()
    assert [unescaped(each.value) for each in test.error] == [str(refused.value)]
    assert test.button(key="train_start").disabled


def test_a_gpu_can_be_chosen_and_has_its_own_settings(gpu_lab: Lab, app: App) -> None:
    test = app("train.py")
    assert test.get_by_key("train_pin_memory").disabled
    test.radio(key="device").set_value("cuda:0").run()
    test.get_by_key("train_source").set_value("loader").run()
    assert not test.get_by_key("train_pin_memory").disabled
    test.get_by_key("train_pin_memory").set_value(True).run()
    assert " GPU 0 ·" in test.button(key="train_start").label
    click(test, "train_start")
    config = gpu_lab.store.all()[0][0].config
    assert (config.device, config.pin_memory) == ("cuda:0", True)
    test.radio(key="device").set_value("cpu").run()
    assert not test.error  # pinned memory has no meaning there and is left out


def test_keeping_every_epoch_says_what_it_takes_and_too_much_is_refused(lab: Lab, app: App) -> None:
    test = app("train.py")
    large = TrainConfig(model="custom", network="conv 8 3, relu, flatten, linear 500, relu, linear out")
    test.session_state["train_model"], test.session_state["train_network"] = large.model, large.network
    test.number_input(key="train_epochs").set_value(50).run()
    test.toggle(key="train_keep_epochs").set_value(True).run()
    assert "512 MB" in shown(test)
    click(test, "train_start")
    assert lab.store.all()[0] == []
    assert [each.value for each in test.error], "said under the button, too"
    test = app("train.py")
    test.toggle(key="train_keep_epochs").set_value(True).run()
    assert "3.9 MB" in shown(test)
    click(test, "train_start")
    assert lab.store.all()[0][0].config.keep_epochs


# -- a pretrained model on the Train page: its weights missing, the ways on, and the bundled one that needs none


def test_missing_weights_are_said_with_three_ways_on(lab: Lab, app: App) -> None:
    test = choose(app("train.py"), "train_model", "vgg11_bn")
    assert any("507 MB" in each.value for each in test.warning)
    assert {"fetch_weights", "weights_bundled", "weights_random"} <= keys(test)
    assert test.button(key="train_start").disabled
    click(test, "weights_random")
    assert not test.button(key="train_start").disabled
    assert "off (was on)" in shown(test)  # labelled, never silent
    assert "fetch_weights" not in keys(test)
    test = choose(test, "train_pretrained", True)
    click(test, "weights_bundled")
    assert test.get_by_key("train_model").value == "efficientnet_lite0"
    assert test.get_by_key("train_source").value == "features"
    click(test, "train_start")
    assert lab.store.all()[0][0].config.model == "efficientnet_lite0"


def test_a_download_is_asked_for_and_its_failure_said(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "download_weights", raising(weights.DataError("Gone!")))
    test = choose(app("train.py"), "train_model", "vgg11_bn")
    click(test, "fetch_weights")
    eventually(lambda: (fetch := lab.library.fetching()) and not fetch.is_active)
    test.run()
    assert "Gone!" in shown(test)
    fetch = lab.library.fetching()
    assert fetch is not None and (fetch.what, fetch.owner, fetch.stage) == ("weights", ME, "failed")


def test_its_progress_stands_on_the_train_page_alone(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "_fetch", Fetch("weights", ME, "downloading", 100 * 2**20, 507 * 2**20))
    test = choose(app("train.py"), "train_model", "vgg11_bn")
    assert any("100 MB of 507 MB" in str(each.proto.text) for each in test.get("progress"))
    tiles = app("tiles.py")
    assert not any("507 MB" in str(each.proto.text) for each in tiles.get("progress"))
    button = tiles.button(key="fetch_tiles")
    assert button.disabled and button.help  # one download at a time, and it says so


# -- what other pages set up for the Train page: its settings are open there, not the training that was looked at last


@pytest.mark.parametrize(
    ("page", "button"),
    [
        ("wrapup.py", "wrapup_next_epochs"),
        ("compare.py", "compare_train"),
        ("model.py", "model_change_train"),
        ("profiler.py", "profiler_train_data_loading"),
    ],
)
def test_settings_are_open_although_a_training_was(lab: Lab, app: App, page: str, button: str) -> None:
    put_profile(lab, ME, [cpu_trace()])
    record = put(lab, "finished", THREE, summary={"val_accuracy": 0.62, "seconds": 30.0})
    test = app("train.py", run=record.id)
    assert address(test, "run") == record.id
    test.switch_page(page)
    test.session_state["profiler_part"] = "advice"
    test.run()
    click(test, button)
    assert test.title[0].value.startswith("Train: ") and "run" not in test.query_params
    (settings,) = [each for each in test.expander if each.label.startswith("Settings")]
    assert settings.proto.expanded
