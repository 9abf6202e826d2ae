"""The wrap-up in every state: nothing done, a little, everything; with a GPU, without one, with recorded runs."""

from dataclasses import replace
from typing import Any

import pytest
import streamlit as st
from experiment_makers import put_experiment
from fake_engine import GPU, NO_GPU
from profile_makers import cpu_trace, put_profile
from streamlit.testing.v1 import AppTest

from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.certificate import public_key
from eurosat_core.speed.experiments import EXPERIMENTS
from eurosat_core.training.config import workshop_config
from tests.pages.conftest import ME, THREE, App, begun, checked, click, epoch, keys, pills, put, saw, says, tells
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
    assert tells(test, *(f"wrapup.sentence.{each}" for each in ("learning", "devices", "habit")))
    assert tells(test, "wrapup/nothing", "guesses.none", "wrapup/guesses none", "wrapup.gpu.nothing")
    assert {"train", "tiles", "profiler", "speed"} <= set(links(test).values())
    assert NO_GPU.reason in says(test)
    assert {"wrapup_next_epochs", "wrapup_next_rate", "wrapup_next_layers"} <= keys(test)
    test.button(key="wrapup_next_layers").click().run()  # more layers are a network of one's own
    assert test.session_state["train_model"] == "custom"
    assert test.session_state["train_network"].count("conv") == 3


def test_with_everything_done_each_sentence_rests_on_own_figures(lab: Lab, app: App) -> None:
    everything(lab)
    test = app(PAGE)
    assert all(each in saw(test) for each in ("2 trainings", "1 profile", "4 experiments"))
    assert tells(test, "wrapup.learned", tiles=1500, epochs=3) and "62.0 %" in says(test)
    assert tells(test, "training.confusions") and tells(test, "you.worse", accuracy=1.0, tiles=10)
    for name in ("batch_size", "source", "optimizer"):
        assert tells(test, "wrapup.experiment.found", title=EXPERIMENTS[name].title, device="cpu")
    assert tells(test, "profile.part", part="backward") and tells(test, "wrapup.gpu.nothing")
    assert not tells(test, "wrapup/nothing")


def test_a_gpu_has_its_sentence_and_its_accuracy(gpu_lab: Lab, app: App) -> None:
    everything(gpu_lab, ("cpu", GPU.id))
    test = app(PAGE)
    assert tells(test, "race.devices", title="Baseline CNN", device=GPU.id) and "8.0 times" in says(test)
    assert tells(test, "wrapup.experiment.found", title=EXPERIMENTS["batch_size"].title, device=GPU.id)
    assert tells(test, "tutorial.small.gains") and not tells(test, "wrapup.gpu.nothing")


def test_a_gpu_that_nobody_measured_on_is_a_task(gpu_lab: Lab, app: App) -> None:
    trained(gpu_lab)
    test = app(PAGE)
    assert tells(test, "wrapup.gpu.unused", gpus=["GPU 0"]) and "compare" in links(test).values()


def test_recorded_runs_are_marked_and_a_gpu_that_nobody_measured_on_is_a_task(lab: Lab, app: App) -> None:
    raced(lab, ("cpu", "cuda:0"), recorded_on="H100, 3 May 2026")
    test = app(PAGE)
    assert tells(test, "wrapup/nothing", "wrapup.gpu.nothing")
    assert tells(test, "race.devices") and tells(test, "sweep.recorded", recorded_on="H100, 3 May 2026")


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("cancelled", "training.stopped"),
        ("failed", "training.failed"),
        ("interrupted", "training.interrupted"),
        ("queued", "wrapup/nothing"),
        ("running", "wrapup/nothing"),
    ],
)
def test_a_run_that_did_not_get_through_says_so_and_one_under_way_does_not_count(
    lab: Lab, app: App, state: Any, kind: str
) -> None:
    put(lab, state, [*begun(), epoch(1, 0.3)], message="Memory is full.")
    assert tells(app(PAGE), kind)


def test_guesses_stand_beside_their_measurements_and_wait_for_tiles(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert tells(test, "guesses.trained", accuracy=0.62, epochs=3) and "**about 70**" in says(test)
    assert tells(test, "guesses.profiled", part="backward") and tells(test, "questions.speedup_baseline.open")
    assert tells(test, "guesses.score", answered=8) and tells(test, "guesses.open", guesses=1)
    assert tells(saw(test), "guesses.right", guess="more than half") or tells(saw(test), "guesses.off")
    monkeypatch.setattr(lab.library, "_state", TilesState(None))
    test = app(PAGE)
    test.session_state["guess_colour_alone"] = "1–2 of 10"
    test.run()
    assert tells(test, "questions.colour_alone.open")


def test_the_report_holds_what_the_page_says(lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    everything(lab)
    made: list[Any] = []
    real = st.download_button
    monkeypatch.setattr(st, "download_button", lambda *given, **more: (made.append(given), real(*given, **more))[1])
    test = app(PAGE)
    test.session_state["guess_train_accuracy"] = "about 70"
    test.run()
    contents = {given[2]: given[1] for given in made if len(given) > 2}
    page = contents[f"eurosat-lab-{ME}.html"]().decode()
    assert f"report of {ME}" in page
    assert tells(page, "wrapup.sentence.learning") and "about 70" in page
    assert page.count(EXPERIMENTS["batch_size"].title) >= 2, "the experiment, and what it says of a sentence"
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
    assert tells(test, "next.phrase.epochs", epochs=10, before=3)
    click(test, "wrapup_next_epochs")
    assert test.number_input(key="train_epochs").value == 10
    assert test.session_state["train_learning_rate"] == 0.02


def test_guesses_are_found_again_in_another_session(lab: Lab, app: App) -> None:
    test = app("train.py")
    pills(test).set_value("about 50").run()
    assert "**about 50**" in says(app(PAGE))
    assert pills(app("train.py")).value == "about 50"
    pills(test).set_value(None).run()
    assert "**about 50**" not in says(app(PAGE))


def files(test: AppTest) -> set[str]:
    """What can be downloaded, by the words on its button."""
    return {each.proto.label for each in test.get("download_button")}


def test_a_run_and_a_certificate_can_be_taken_home(lab: Lab, app: App) -> None:
    test = app(PAGE)
    assert tells(test, "wrapup/run files none", "wrapup/certificate none") and len(files(test)) == 1
    trained(lab)
    test = app(PAGE)
    assert len(files(test)) == 4, "report, notebook, certificate and its data; it kept no weights for an ONNX file"
    assert public_key(lab.settings.runs) in [each.value for each in test.code]
    (lab.settings.runs / "certificate_key.pem").write_bytes(b"damaged")
    test = app(PAGE)
    assert [each.value for each in test.error] and len(files(test)) == 2
