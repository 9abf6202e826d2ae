"""The wrap-up in every state: nothing done, a little, everything; with a GPU, without one, with recorded runs."""

from dataclasses import replace
from typing import Any

import pytest
from experiment_makers import put_experiment
from fake_engine import GPU
from profile_makers import cpu_trace, put_profile
from streamlit.testing.v1 import AppTest

from eurosat_core.lab.lab import Lab
from eurosat_core.training.config import workshop_config
from eurosat_core.words.say import templates
from tests.pages.conftest import ME, THREE, App, begun, checked, click, epoch, keys, put, says
from tests.pages.test_compare_race import raced
from tests.pages.test_train_results import keep_predictions

PAGE = "wrapup.py"


def links(test: AppTest) -> dict[str, str]:
    """Where the page's links go, by their words."""
    return {each.proto.label: each.proto.page for each in test.get("page_link")}


def trained(lab: Lab, **changes: Any) -> Any:
    record = put(lab, "finished", THREE, summary={"val_accuracy": 0.62, "seconds": 30.0}, **changes)
    keep_predictions(lab, record.id)
    return record


def everything(lab: Lab, devices: tuple[str, ...] = ("cpu",)) -> None:
    for device in devices:
        trained(lab, config=workshop_config(device=device))
    trained(lab, config=workshop_config("efficientnet_lite0"))
    put_profile(lab, ME, [cpu_trace()])
    raced(lab, devices)
    for name in ("batch_size", "source", "optimizer"):
        put_experiment(lab, ME, name, devices=devices)
    tiles = lab.tiles().tile_set
    assert tiles is not None
    for number in range(10):
        lab.results.add_guess(ME, tiles, number, int(tiles.labels[number]), 1.0)


def test_with_nothing_done_every_sentence_says_where_its_figures_are(lab: Lab, app: App) -> None:
    test = app(PAGE)
    words = says(test)
    assert all(templates("wrapup")[f"sentence.{each}"] in words for each in ("learning", "devices", "habit"))
    assert "You have not measured anything yet" in words and "Nothing of your own is measured yet." in words
    assert "You have not guessed anything yet" in words
    found = links(test)
    for label in ("Train one", "Name ten tiles", "Record one", "Choose an experiment", "Try a larger batch"):
        assert label in found
    assert "nothing is claimed about one" in words and "No GPU was found on this machine." in words
    assert "the baseline was not trained" in _table(test)
    assert {"wrapup_next_epochs", "wrapup_next_rate", "wrapup_next_layers"} <= keys(test)
    test.button(key="wrapup_next_layers").click().run()  # more layers are a network of one's own
    assert test.session_state["train_model"] == "custom"
    assert test.session_state["train_network"].count("conv") == 3


def _table(test: AppTest) -> str:
    return " ".join(str(each) for table in test.table for each in table.value.to_numpy().flatten())


def test_with_everything_done_each_sentence_rests_on_own_figures(lab: Lab, app: App) -> None:
    everything(lab)
    words = says(app(PAGE))
    assert "You have 2 trainings, 1 profile and 4 experiments of your own." in words
    assert "numbers by looking at 1,500 labelled tiles 3 times" in words
    assert "62.0 %" in words
    assert "Easiest class" in words and "You named 100.0 % of 10 tiles correctly" in words
    assert "A larger batch, on the CPU: batches of 256 against batches of 40: 2.0 times as fast" in words
    assert "Tiles in memory, on the CPU" in words and "Another optimizer, on the CPU" in words
    assert "The longest part was “backward”" in words
    assert "nothing is claimed about one" in words
    assert "not measured anything yet" not in words


def test_a_gpu_has_its_sentence_and_its_accuracy(gpu_lab: Lab, app: App) -> None:
    everything(gpu_lab, ("cpu", GPU.id))
    words = says(app(PAGE))
    assert "Baseline CNN on the GPU 0 against the CPU: 8.0 times as fast" in words
    assert "The GPU does not make the model smarter." in words
    assert "A larger batch, on the GPU 0" in words
    assert "nothing is claimed about one" not in words
    assert "On your machine the small network gained, although it is small" in words


def test_a_gpu_that_nobody_measured_on_is_a_task(gpu_lab: Lab, app: App) -> None:
    trained(gpu_lab)
    test = app(PAGE)
    assert "This machine has a GPU (GPU 0), but you have not measured the same work on it" in says(test)
    assert "Race on both" in links(test)


def test_recorded_runs_are_marked_and_never_ones_own(lab: Lab, app: App) -> None:
    raced(lab, ("cpu", "cuda:0"), recorded_on="H100, 3 May 2026")
    words = says(app(PAGE))
    assert "Nothing of your own is measured yet." in words
    assert "Recorded on H100, 3 May 2026." in words and "8.0 times as fast" in words
    assert "nothing is claimed about one" in words


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("cancelled", "was stopped"),
        ("failed", "failed"),
        ("interrupted", "was cut off"),
        ("queued", "Nothing of your own is measured yet."),
        ("running", "Nothing of your own is measured yet."),
    ],
)
def test_a_run_that_did_not_get_through_says_so_and_one_under_way_does_not_count(
    lab: Lab, app: App, state: Any, words: str
) -> None:
    put(lab, state, [*begun(), epoch(1, 0.3)], message="Memory is full.")
    assert words in says(app(PAGE))


def test_guesses_stand_beside_their_measurements(lab: Lab, app: App) -> None:
    everything(lab)
    test = app(PAGE)
    for key, guess in {
        "train_accuracy": "about 70",
        "profile_part": "Load (fetch a batch)",
        "conv_multiplications": "about 100,000",
        "model_where": "Linear, then convolutions",
        "colour_alone": "1–2 of 10",
        "speedup_baseline": "10×",
        "speed_batch_size": "slower",
        "compare_race": "5 to 20 times as long",
        "predict_face": "above 90 %",
        "wrapup_held": "more than half",
    }.items():
        test.session_state[f"guess_{key}"] = guess
    checked(test.run())
    words = says(test)
    assert "You: about 70 · 62.0 % after 3 epochs" in words.replace("**", "")
    assert "You: Load (fetch a batch) · The longest part was “backward”" in words.replace("**", "")
    assert "Not measured yet. Train it on the CPU and on a GPU" in words
    assert "of 8 answered guesses were right" in words and "1 guess is still open." in words
    assert "You guessed “more than half”" in words


def test_the_report_holds_what_the_page_says(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    everything(lab)
    made: list[Any] = []
    import streamlit as st

    real = st.download_button
    monkeypatch.setattr(st, "download_button", lambda *given, **more: (made.append(given), real(*given, **more))[1])
    test = app(PAGE)
    test.session_state["guess_train_accuracy"] = "about 70"
    test.run()
    label, content, name, _kind = made[-1]
    page = content().decode()
    assert label == "Download the report" and name == f"eurosat-lab-{ME}.html"
    for words in (
        "A CNN learns filters",
        "A larger batch, on the CPU",
        "about 70",
        "Settings and machines",
        "2 runs",
        "Experiment: A larger batch",
    ):
        assert words in page
    assert "default-src 'none'" in page and "http" not in page.replace("http-equiv", "")


def test_later_trainings_join_the_report_until_somebody_chooses(lab: Lab, app: App) -> None:
    first = trained(lab)
    test = app(PAGE)
    assert test.multiselect(key="wrapup_runs").value == [first.id]
    second, third = trained(lab), trained(lab)
    test.switch_page("train.py").run()
    test.switch_page(PAGE).run()
    assert set(test.multiselect(key="wrapup_runs").value) == {first.id, second.id, third.id}
    test.multiselect(key="wrapup_runs").set_value([second.id]).run()
    trained(lab)
    test.switch_page("train.py").run()
    test.switch_page(PAGE).run()
    assert test.multiselect(key="wrapup_runs").value == [second.id]
    test.multiselect(key="wrapup_runs").set_value([]).run()
    assert test.run().multiselect(key="wrapup_runs").value == []
    test.multiselect(key="wrapup_runs").set_value([second.id]).run()
    lab.delete(second.id, ME)
    assert len(test.run().multiselect(key="wrapup_runs").value) == 3


def test_a_suggestion_sets_the_train_page_up(lab: Lab, app: App) -> None:
    trained(lab, config=replace(workshop_config(), learning_rate=0.02))
    test = app(PAGE)
    assert "More epochs: 10 instead of 3" in says(test)
    click(test, "wrapup_next_epochs")
    assert test.title[0].value.startswith("Train: ")
    assert test.number_input(key="train_epochs").value == 10
    assert test.session_state["train_learning_rate"] == 0.02


def test_while_tiles_are_opened(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from eurosat_core.lab.doctor import TilesState

    monkeypatch.setattr(lab.library, "_state", TilesState(None))
    test = app(PAGE)
    test.session_state["guess_colour_alone"] = "1–2 of 10"
    test.run()
    assert "The tiles are still being opened." in says(test)


def test_guesses_are_found_again_in_another_session(lab: Lab, app: App) -> None:
    from tests.pages.conftest import pills

    test = app("train.py")
    pills(test).set_value("about 50").run()
    assert "You: about 50" in says(app(PAGE)).replace("**", "")
    assert pills(app("train.py")).value == "about 50"
    pills(test).set_value(None).run()
    assert "You: about 50" not in says(app(PAGE)).replace("**", "")
