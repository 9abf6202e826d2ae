"""`prepare`, `train` and `evaluate` on the command line: what they do, how they fail, and what they refuse."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import ask, folder, places, trained
from cuda_alias import played_cuda

from eurosat_core.lab.messages import OWNER
from eurosat_core.runs.store import RunStore
from eurosat_core.training import loop
from eurosat_core.training.evaluation import predictions_from_bytes, predictions_to_bytes

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


@pytest.mark.processor
@pytest.mark.parametrize("options", [["--source", "memory"], ["--recipe", "fast"], ["--workers", "0"]])
def test_train_and_evaluate_agree_to_the_last_tile(ask, folder, places, options):
    data = folder(Forest=24, River=24, SeaLake=24)
    status, result, progress = ask("train", "--model", "baseline", "--epochs", "2", "--data", data, *options)
    assert (status, result["state"]) == (0, "finished")
    figures = {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds", "tiles_per_second"}
    assert [set(each) for each in result["epochs"]] == [figures] * 2
    assert result["val_accuracy"] == result["epochs"][-1]["val_accuracy"]
    assert result["seconds"] >= sum(each["seconds"] for each in result["epochs"])
    assert "epoch 2 of 2" in progress
    record = RunStore(places / "runs").get(result["run_id"])  # where the app finds it
    assert (record.state, record.owner, record.summary["epochs"]) == ("finished", OWNER, 2)
    status, judged, _ = ask("evaluate", result["run_id"], "--data", data)
    assert (status, judged["tiles"], judged["accuracy"]) == (0, 18, result["val_accuracy"])
    assert sum(judged["confusion"][each][each] for each in range(3)) / 18 == judged["accuracy"]
    assert sum(map(sum, judged["confusion"])) == 18
    status, in_all, _ = ask("evaluate", result["run_id"], "--data", data, "--symmetries")
    assert (status, in_all["tiles"], judged["symmetries"], in_all["symmetries"]) == (0, 18, False, True)


def test_what_a_gpu_validated_is_judged_on_the_cpu_and_how_far_both_agree_is_counted(ask, folder, places):
    data = folder(Forest=24, River=24)
    form = ("--precision", "float32", "--no-channels-last", "--recipe", "fast")
    with played_cuda():
        status, result, _ = ask(
            "train", "--model", "baseline", "--epochs", "1", "--data", data, "--device", "cuda", *form
        )
        assert (status, result["state"]) == (0, "finished")
    run = result["run_id"]
    _, judged, _ = ask("evaluate", run, "--data", data)
    assert (judged["other_answers"], judged["accuracy"]) == (0, result["val_accuracy"])
    path = places / "runs" / run / "predictions.npz"
    there = predictions_from_bytes(path.read_bytes())
    there.predicted[:2] = 1 - there.predicted[:2]  # as if two tiles had lain between two classes
    path.write_bytes(predictions_to_bytes(there))
    _, judged, _ = ask("evaluate", run, "--data", data)
    assert judged["other_answers"] == 2 and "2" in judged["note"] and "GPU 0" in judged["note"]
    path.write_bytes(predictions_to_bytes(replace(there, tiles=there.tiles.flip(0))))
    assert "other_answers" not in ask("evaluate", run, "--data", data)[1], "they are of other tiles"
    path.unlink()
    assert "other_answers" not in ask("evaluate", run, "--data", data)[1]


def test_every_tile_of_another_set_counts_and_what_does_not_fit_is_refused(ask, trained, folder, places):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(places / "evil"),)

    here, elsewhere = folder(Forest=12, River=12), folder("elsewhere", Forest=14, River=10)
    run = trained(here)["run_id"]
    _, judged, _ = ask("evaluate", run, "--data", elsewhere)
    assert judged["tiles"] == 24
    status, _, said = ask("evaluate", run, "--data", folder("other", Forest=12, Lake=12))
    assert (status, "Forest, River" in said) == (2, True)
    weights = places / "runs" / run / "model.pt"
    for spoil in (lambda: weights.write_bytes(weights.read_bytes()[:1000]), lambda: torch.save({"a": Evil()}, weights)):
        spoil()
        status, _, said = ask("evaluate", run, "--data", here)
        assert (status, "damaged" in said) == (2, True)
    assert not (places / "evil").exists()


def test_a_failed_run_with_an_epoch_can_be_judged(ask, folder, monkeypatch):
    """Its network of the last complete epoch is kept, and so is the split to judge it on."""
    data = folder(Forest=24, River=24)
    real = loop.finite
    monkeypatch.setattr(
        loop, "finite", lambda loss, epoch, step: real(float("nan") if epoch == 2 else loss, epoch, step)
    )
    status, result, _ = ask("train", "--model", "baseline", "--recipe", "fast", "--epochs", "3", "--data", data)
    assert (status, result["state"], len(result["epochs"])) == (1, "failed", 1)
    status, judged, _ = ask("evaluate", result["run_id"], "--data", data)
    assert (status, judged["accuracy"]) == (0, result["epochs"][0]["val_accuracy"])


def test_the_sealed_part_is_opened_and_counted(ask, trained, folder):
    data = folder(Forest=30, River=30)
    first, second = (trained(data, "--sealed-test")["run_id"] for _ in range(2))
    status, opened, _ = ask("evaluate", first, "--open-test")
    assert (status, opened["tiles"], opened["earlier_openings"]) == (0, 12, 0)
    assert ask("evaluate", second, "--open-test")[1]["earlier_openings"] == 1
    again = ask("evaluate", first, "--open-test")[1]
    assert again["accuracy"] == opened["accuracy"] and again["part"] != opened["part"], "it was opened before"
    unsealed = trained(data)["run_id"]
    for options, words in ((), "--sealed-test"), (("--symmetries",), "Leave --symmetries out"):
        status, _, said = ask("evaluate", unsealed, "--open-test", *options)
        assert (status, words in said) == (2, True)


def test_prepare_imports_a_zip_that_is_then_no_longer_needed(ask, trained, folder, tmp_path):
    folder(Forest=24, River=24)
    archive = Path(shutil.make_archive(str(tmp_path / "EuroSAT"), "zip", tmp_path / "tiles"))
    status, result, progress = ask("prepare", "--from", str(archive))
    assert status == 0
    assert "unpacking: 48 of 48" in progress
    assert "48 tiles" in result["checks"][0]["text"]
    named = trained(str(archive))  # EUROSAT_DATA may be a zip, too
    status, judged, _ = ask("evaluate", named["run_id"], "--data", str(archive))
    assert (status, judged["accuracy"]) == (0, named["val_accuracy"])
    archive.unlink()
    _, again, _ = ask("doctor")
    assert again["checks"][0] == result["checks"][0]
    assert ask("train", "--model", "baseline", "--epochs", "1", "--workers", "0")[0] == 0


def test_prepare_leaves_an_earlier_import_alone_when_it_fails(ask, folder, tmp_path):
    assert ask("prepare", "--from", folder(Forest=12, River=12))[0] == 0
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 cut short")
    status, result, said = ask("prepare", "--from", str(tmp_path / "bad.zip"))
    assert (status, result) == (2, None)
    assert "cut short" in said.splitlines()[-1]
    assert "24 tiles" in ask("doctor")[1]["checks"][0]["text"]


def test_prepare_says_that_eurosat_data_goes_first(ask, folder, monkeypatch):
    monkeypatch.setenv("EUROSAT_DATA", folder("named", Forest=5, Lake=5))
    status, result, said = ask("prepare", "--from", folder(Forest=12, River=12))
    assert (status, "EUROSAT_DATA" in said) == (0, True)
    assert "10 tiles" in result["checks"][0]["text"]
    status, result, said = ask("prepare")
    assert (status, "download" in said, result["ready"]) == (0, True, True)


def test_prepare_without_a_network_says_so_and_the_checks_stand(ask, monkeypatch):
    from eurosat_core.data import download

    monkeypatch.setattr(download, "_TRIES", 1)
    monkeypatch.setenv("EUROSAT_ARCHIVE", "http://127.0.0.1:9/EuroSAT.zip")
    status, result, _ = ask("prepare")
    assert (status, result["ready"]) == (1, False)
    assert "2,000 synthetic" in result["checks"][0]["text"]


def test_prepare_imports_weights_or_says_why_not(ask, tmp_path):
    (tmp_path / "vgg.pth").write_bytes(b"not the published file")
    status, _, said = ask("prepare", "--weights", "vgg11_bn", "--from", str(tmp_path / "vgg.pth"))
    assert (status, "vgg.pth" in said) == (2, True)
    status, _, said = ask("prepare", "--weights", "resnet")
    assert (status, "'resnet'" in said) == (2, True)
    status, result, said = ask("prepare", "--weights", "efficientnet_lite0")
    assert status == 0
    assert [each["state"] for each in result["checks"] if each["name"] == "Weights"] == ["missing", "ready"]
