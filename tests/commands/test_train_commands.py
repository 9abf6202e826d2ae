"""`train` on the command line: what it trains on, where the run is found, how it fails, and what it refuses."""

import pytest
import torch
from command_line import ask, folder, places

from eurosat_core.runs.store import RunStore

__all__ = ["ask", "folder", "places"]  # fixtures of command_line; `places` is for every test here


def test_a_full_disk_ends_the_run_with_a_sentence(ask, folder, places, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunStore, "save", full)
    options = ["--recipe", "fast", "--epochs", "1", "--data", folder(Forest=12, River=12)]
    status, _, said = ask("train", "--model", "baseline", *options)
    assert (status, "No space left" in said) == (2, True)
    (record,) = RunStore(places / "runs").all()[0]
    assert record.state == "failed"


def test_failed_run_is_status_1(ask, folder):
    data = folder(Forest=24, River=24)
    options = ["--source", "memory", "--learning-rate", "10", "--momentum", "0.99", "--epochs", "50"]
    status, result, _ = ask("train", "--model", "baseline", "--data", data, *options)
    assert (status, result["state"]) == (1, "failed")
    assert "learning rate" in result["message"]


def test_the_app_finds_the_run_in_the_store(ask, folder, places):
    data = folder(Forest=12, River=12)
    _, trained, _ = ask("train", "--model", "baseline", "--recipe", "fast", "--epochs", "1", "--data", data)
    record = RunStore(places / "runs").get(trained["run_id"])
    assert (record.state, record.owner, record.summary["epochs"]) == ("finished", "command line", 1)


def test_three_classes_of_other_pictures_train_and_are_judged(ask, tmp_path, save_picture):
    for label, name in enumerate(("Barley", "Maize", "Wheat")):
        for number in range(20):
            save_picture(tmp_path / "own" / name / f"{number}.png", label, 100 * label + number, size=(100, 80))
    data = str(tmp_path / "own")
    assert "60 resized to 64×64" in ask("doctor", "--data", data)[1]["checks"][0]["text"]
    options = ["--recipe", "fast", "--epochs", "2", "--sealed-test", "--data", data]
    _, trained, _ = ask("train", "--model", "baseline", *options)
    assert trained["state"] == "finished"
    _, judged, _ = ask("evaluate", trained["run_id"], "--data", data)
    assert set(judged["per_class"]) == {"Barley", "Maize", "Wheat"}
    assert (judged["tiles"], judged["accuracy"]) == (12, trained["val_accuracy"])


def test_a_pretrained_model_is_trained_and_judged_from_its_last_layer(ask, folder, places):
    data = folder(Forest=24, River=24)
    options = ["--recipe", "fast", "--epochs", "3", "--batch-size", "16", "--data", data]
    status, trained, _ = ask("train", "--model", "efficientnet_lite0", *options)
    assert (status, trained["state"]) == (0, "finished")
    weights = places / "runs" / trained["run_id"] / "model.pt"
    assert weights.stat().st_size < 100_000  # the frozen part is not kept
    status, judged, _ = ask("evaluate", trained["run_id"], "--data", data)
    assert (status, judged["accuracy"]) == (0, trained["val_accuracy"])
    torch.save({"_fc.weight": torch.zeros(2, 1280)}, weights)
    status, _, said = ask("evaluate", trained["run_id"], "--data", data)
    assert (status, "not this model's" in said) == (2, True)


def test_missing_weights_are_said_with_the_way_to_get_them(ask, folder):
    data = folder(Forest=12, River=12)
    status, result, said = ask("train", "--model", "vgg11_bn", "--epochs", "1", "--data", data)
    assert (status, result) == (2, None)
    assert "prepare --weights vgg11_bn" in said


def test_the_split_by_place_on_other_tiles_is_refused(ask, folder, places):
    options = ["--split", "place", "--data", folder(Forest=12, River=12)]
    status, result, said = ask("train", "--model", "baseline", *options)
    assert (status, result) == (2, None)
    assert "lists of the split by place" in said
    assert RunStore(places / "runs").all() == ([], [])


def test_a_network_of_ones_own_is_trained_and_judged(ask, folder):
    data = folder(Forest=24, River=24)
    layers = "conv 8 3 pad same, batchnorm, relu, maxpool 4, flatten, linear out"
    options = ["--recipe", "fast", "--epochs", "2", "--network", layers, "--data", data]
    status, trained, _ = ask("train", "--model", "custom", *options)
    assert (status, trained["state"]) == (0, "finished")
    status, judged, _ = ask("evaluate", trained["run_id"], "--data", data)
    assert (status, judged["accuracy"]) == (0, trained["val_accuracy"])


@pytest.mark.parametrize(
    ("model", "layers", "words"),
    [
        ("custom", "conv 8 3, linear out", "flatten"),
        ("custom", "convolute 8", "convolute"),
        ("baseline", "flatten, linear out", "only to the model 'custom'"),
    ],
)
def test_layers_that_cannot_be_are_refused(ask, folder, model, layers, words):
    status, _, said = ask("train", "--model", model, "--network", layers, "--data", folder(Forest=12, River=12))
    assert (status, words in said) == (2, True)
