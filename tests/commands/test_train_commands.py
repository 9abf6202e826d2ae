"""`train` on the command line: what it trains on, how it fails, and what it refuses."""

import pytest
import torch
from command_line import ask, folder, places, trained

from eurosat_core.runs.store import RunStore

__all__ = ["ask", "folder", "places", "trained"]  # fixtures of command_line; `places` is for every test here


def test_a_full_disk_ends_the_run_with_a_sentence(ask, folder, places, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunStore, "save", full)
    options = ["--recipe", "fast", "--epochs", "1", "--data", folder(Forest=12, River=12)]
    status, _, said = ask("train", "--model", "baseline", *options)
    assert (status, "No space" in said) == (2, True)
    (record,) = RunStore(places / "runs").all()[0]
    assert record.state == "failed"


def test_failed_run_is_status_1(ask, folder):
    options = ["--source", "memory", "--learning-rate", "10", "--momentum", "0.99", "--epochs", "50"]
    status, result, _ = ask("train", "--model", "baseline", "--data", folder(Forest=24, River=24), *options)
    assert (status, result["state"]) == (1, "failed")
    assert "learning rate" in result["message"]


def test_three_classes_of_other_pictures_train_and_are_judged(ask, trained, tmp_path, save_picture):
    for label, name in enumerate(("Barley", "Maize", "Wheat")):
        for number in range(20):
            save_picture(tmp_path / "own" / name / f"{number}.png", label, 100 * label + number, size=(100, 80))
    data = str(tmp_path / "own")
    assert "60 resized to 64×64" in ask("doctor", "--data", data)[1]["checks"][0]["text"]
    result = trained(data, "--sealed-test", epochs=2)
    _, judged, _ = ask("evaluate", result["run_id"], "--data", data)
    assert set(judged["per_class"]) == {"Barley", "Maize", "Wheat"}
    assert (judged["tiles"], judged["accuracy"]) == (12, result["val_accuracy"])


def test_a_pretrained_model_is_trained_and_judged_from_its_last_layer(ask, trained, folder, places):
    data = folder(Forest=24, River=24)
    result = trained(data, "--batch-size", "16", model="efficientnet_lite0", epochs=3)
    weights = places / "runs" / result["run_id"] / "model.pt"
    assert weights.stat().st_size < 100_000  # the frozen part is not kept
    status, judged, _ = ask("evaluate", result["run_id"], "--data", data)
    assert (status, judged["accuracy"]) == (0, result["val_accuracy"])
    torch.save({"_fc.weight": torch.zeros(2, 1280)}, weights)
    status, _, said = ask("evaluate", result["run_id"], "--data", data)
    assert (status, "model" in said) == (2, True)


def test_a_network_of_ones_own_is_trained_and_judged(ask, trained, folder):
    data = folder(Forest=24, River=24)
    layers = "conv 8 3 pad same, batchnorm, relu, maxpool 4, flatten, linear out"
    result = trained(data, "--network", layers, model="custom", epochs=2)
    status, judged, _ = ask("evaluate", result["run_id"], "--data", data)
    assert (status, judged["accuracy"]) == (0, result["val_accuracy"])


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("vgg11_bn", (), "--weights vgg11_bn"),
        ("baseline", ("--split", "place"), "lists"),
        ("custom", ("--network", "conv 8 3, linear out"), "flatten"),
        ("custom", ("--network", "convolute 8"), "convolute"),
        ("baseline", ("--network", "flatten, linear out"), "'custom'"),
    ],
)
def test_what_cannot_be_trained_makes_no_run(ask, folder, places, model, options, words):
    data = folder(Forest=12, River=12)
    status, result, said = ask("train", "--model", model, "--epochs", "1", "--data", data, *options)
    assert (status, result) == (2, None)
    assert words in said
    assert RunStore(places / "runs").all() == ([], [])
