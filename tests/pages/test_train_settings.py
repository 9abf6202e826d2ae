"""The Train page before a run: its settings, the estimate, and what the Train button asks of the lab."""

from typing import Any

import pytest
from fake_engine import FakeEngine, eventually, raising

from eurosat_core.errors import RunError
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.kind import Estimate
from eurosat_core.lab.lab import Lab
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.config import SETTINGS, Architecture, TrainConfig, recipe_config, workshop_config
from eurosat_core.training.recipes import RECIPES
from pages.parts.forms import ALL_TILES
from tests.pages.conftest import ME, THREE, App, charts, choose, click, keys, put, shown, unescaped


def test_an_empty_page_keeps_the_contract_and_shows_what_will_be_trained(lab: Lab, app: App) -> None:
    test = app("train.py")
    text = shown(test)
    for part in ("Your task:", "Often believed", "Nothing is training yet", "338,486 parameters"):
        assert part in text
    assert any("PyTorch" in each.label for each in test.expander)
    assert test.dataframe[0].value["Parameters"].tolist() == [456, 0, 2416, 0, 324600, 10164, 850]
    assert test.button(key="train_start").label == "Train on CPU · 3 epochs", "nothing was measured: no estimate"
    assert "How long it takes is" in text
    assert not test.button(key="train_start").disabled
    assert charts(test) == 0
    assert not {"run_stop", "result_again"} & keys(test)


def test_the_estimate_stands_on_the_button(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.estimates, "training", lambda _config: Estimate(12.4, "From a dream."))
    test = app("train.py")
    assert test.button(key="train_start").label == "Train on CPU · 3 epochs · about 12 s"
    assert "From a dream." in shown(test)
    assert "train_smaller" not in keys(test)


def test_a_rough_estimate_is_drawn_again_when_the_network_itself_was_measured(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimates = {"now": Estimate(60.0, "From another network.", is_rough=True)}
    monkeypatch.setattr(lab.estimates, "training", lambda _config: estimates["now"])
    monkeypatch.setattr(lab.estimates, "is_measuring", lambda _config: estimates["now"].is_rough)
    test = app("train.py")
    assert test.button(key="train_start").label.endswith("about 1 min 00 s")
    before = lab.estimates.is_measuring

    def measured_meanwhile(config: TrainConfig) -> bool:
        """While the page is drawn, just before the fragment that waits."""
        told = before(config)
        estimates["now"] = Estimate(20.0, "From its own.")
        return told

    monkeypatch.setattr(lab.estimates, "is_measuring", measured_meanwhile)
    test.run()
    assert test.button(key="train_start").label.endswith("about 20 s")
    assert "From its own." in shown(test) and "From another network." not in shown(test)


def test_the_lessons_training_fits_the_machine(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """One epoch takes 2 seconds here: five of them are 10, and 15 are aimed at."""
    monkeypatch.setattr(lab.estimates, "training", lambda config: Estimate(2.0 * config.epochs, "From a dream."))
    test = app("train.py")
    assert test.session_state["train_epochs"] == 8
    assert test.button(key="train_start").label == "Train on CPU · 8 epochs · about 16 s"
    assert "Changed:" not in shown(test)
    click(test, "train_reset")
    assert test.session_state["train_epochs"] == 3, "the lesson's settings are one click away"
    test.run()
    assert test.session_state["train_epochs"] == 3


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


def test_a_long_training_offers_a_smaller_one(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.estimates, "training", lambda config: Estimate(20.0 * config.epochs, "By epochs."))
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(30).run()
    assert test.button(key="train_start").label.endswith("about 10 min 00 s")
    click(test, "train_smaller")
    assert test.number_input(key="train_epochs").value == 5
    assert test.button(key="train_start").label.endswith("about 1 min 40 s")


def test_train_asks_the_lab_for_what_is_on_screen(lab: Lab, engine: FakeEngine, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(2)
    test.number_input(key="train_batch_size").set_value(32)
    test.selectbox(key="train_optimizer").set_value("sgd").run()
    assert "Batch size 32 (was 64)" in shown(test)
    click(test, "train_start")
    record = lab.store.all()[0][0]
    assert record.owner == ME
    assert (record.config.epochs, record.config.batch_size, record.config.optimizer) == (2, 32, "sgd")
    assert test.query_params["run"] == record.id
    eventually(lambda: record.id in engine.jobs)


def test_a_recipe_sets_what_belongs_to_it_and_leaves_the_rest(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(7).run()
    test.number_input(key="train_colour_jitter").set_value(0.4).run()
    test.get_by_key("train_recipe").set_value("tutorial").run()
    state = test.session_state
    assert (state["train_batch_size"], state["train_source"], state["train_learning_rate"]) == (40, "loader", 0.01)
    assert (state["train_optimizer"], state["train_epochs"], state["train_colour_jitter"]) == ("sgd", 7, 0.0)
    assert "opens every picture file" in shown(test)


def test_what_is_said_of_a_recipe_is_what_it_sets(lab: Lab, app: App) -> None:
    test = app("train.py")
    for recipe in RECIPES:
        words = shown(choose(test, "train_recipe", recipe))
        config = recipe_config("baseline", recipe)
        assert f"batches of {config.batch_size}" in words
        assert f"{SETTINGS['optimizer'].in_words(config.optimizer)} {config.learning_rate:g}" in words
        assert ("bfloat16" if config.precision == "auto" else config.precision) in words
        help_text = unescaped(test.get_by_key("train_tiles").proto.help)
        assert f"{100 * config.train_fraction:.0f} % are for training" in help_text


@pytest.mark.parametrize("model", [name for name, entry in CATALOG.items() if entry.is_pretrained])
def test_the_fast_recipe_of_a_pretrained_model_says_that_its_frozen_part_is_computed_once(
    lab: Lab, app: App, model: str
) -> None:
    test = app("train.py")
    test.selectbox(key="train_model").set_value(model).run()
    config, words = recipe_config(model, "fast"), shown(test)
    assert config.source == "features" and "computed once per tile" in words
    assert config.schedule == "cosine" and f"Adam {config.learning_rate:g}, falling to 0" in words
    assert f"Batches of {config.batch_size}" in words and "decoded tiles from memory" not in words
    test.get_by_key("train_recipe").set_value("tutorial").run()
    assert "opens every picture file" in shown(test) and recipe_config(model, "tutorial").source == "loader"


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


def test_after_a_whole_training_was_left_for_the_lesson_its_epochs_stay_away(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.selectbox(key="train_model").set_value("tilenet").run()
    click(test, "train_reset")
    test.number_input(key="train_epochs").set_value(8).run()
    test.get_by_key("train_recipe").set_value("tutorial").run()
    assert test.number_input(key="train_epochs").value == 8


def test_a_whole_training_that_was_trained_again_takes_its_epochs_along(lab: Lab, app: App) -> None:
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


def test_without_tiles_train_says_why(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.library, "_state", TilesState(None, 5, 100))
    assert "still being opened" in shown(app("train.py"))
    monkeypatch.setattr(lab.library, "_state", TilesState(problem="The disk is full."))
    test = app("train.py")
    assert "There are no tiles to train on. The disk is full." in shown(test)
    assert "still being opened" not in shown(test)
    assert test.button(key="train_start").disabled


def test_settings_outlive_another_page_and_go_back_to_the_lessons(lab: Lab, app: App) -> None:
    test = app("train.py")
    test.number_input(key="train_epochs").set_value(9)
    test.number_input(key="train_seed").set_value(1).run()
    test.switch_page("tiles.py").run()
    test.switch_page("train.py").run()
    assert test.number_input(key="train_epochs").value == 9
    assert "Epochs 9 (was 3)" in shown(test)
    click(test, "train_reset")
    assert test.number_input(key="train_epochs").value == 3
    assert "Changed:" not in shown(test)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("train_epochs", 0, "Epochs is 0. Choose 1 to 200 epochs."),
        ("train_momentum", 1.0, "Momentum of 1 or more"),
    ],
)
def test_bad_settings_have_a_sentence_and_no_train(lab: Lab, app: App, key: str, value: Any, sentence: str) -> None:
    test = app("train.py")
    test.get_by_key("train_recipe").set_value("tutorial").run()
    choose(test, key, value)
    assert sentence in shown(test)
    assert test.button(key="train_start").disabled


def test_what_the_lab_refuses_is_said(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "submit", raising(RunError("You have four runs waiting. Wait for one of them.")))
    test = app("train.py")
    click(test, "train_start")
    assert "four runs waiting" in shown(test)
    assert "run" not in test.query_params


def test_a_gpu_can_be_chosen_and_has_its_own_settings(gpu_lab: Lab, app: App) -> None:
    test = app("train.py")
    assert test.get_by_key("train_pin_memory").disabled
    test.radio(key="device").set_value("cuda:0").run()
    test.get_by_key("train_source").set_value("loader").run()
    assert not test.get_by_key("train_pin_memory").disabled
    test.get_by_key("train_pin_memory").set_value(True).run()
    assert test.button(key="train_start").label.startswith("Train on GPU 0")
    click(test, "train_start")
    config = gpu_lab.store.all()[0][0].config
    assert (config.device, config.pin_memory) == ("cuda:0", True)
    test.radio(key="device").set_value("cpu").run()
    assert not test.error  # pinned memory has no meaning there and is left out


def test_keeping_every_epoch_says_what_it_takes(lab: Lab, app: App) -> None:
    test = app("train.py")
    assert "on disk" not in shown(test)
    test.toggle(key="train_keep_epochs").set_value(True).run()
    assert "3 epochs: about 3.9 MB on disk." in shown(test)
    click(test, "train_start")
    assert lab.store.all()[0][0].config.keep_epochs


def test_keeping_too_much_is_refused_with_the_arithmetic(lab: Lab, app: App) -> None:
    test = app("train.py")
    large = TrainConfig(model="custom", network="conv 8 3, relu, flatten, linear 500, relu, linear out")
    test.session_state["train_model"], test.session_state["train_network"] = large.model, large.network
    test.number_input(key="train_epochs").set_value(50).run()
    test.toggle(key="train_keep_epochs").set_value(True).run()
    assert "a run may keep 512 MB" in shown(test)
    click(test, "train_start")
    assert lab.store.all()[0] == []
    assert [each.value for each in test.error], "said under the button, too"
