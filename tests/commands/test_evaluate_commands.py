"""`evaluate` on the command line: it agrees with the training, takes every tile or the sealed part, or refuses."""

import os
from dataclasses import replace

import pytest
import torch
from command_line import ask, folder, places, trained
from cuda_alias import played_cuda

from eurosat_core.runs.store import RunStore
from eurosat_core.training import loop
from eurosat_core.training.evaluation import predictions_from_bytes, predictions_to_bytes

__all__ = ["ask", "folder", "places", "trained"]  # fixtures of command_line; `places` is for every test here


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
    assert (record.state, record.owner, record.summary["epochs"]) == ("finished", "command line", 2)
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
    assert (judged["tiles"], judged["part"]) == (24, "every tile")
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
    assert "opened now" in opened["part"]
    assert ask("evaluate", second, "--open-test")[1]["earlier_openings"] == 1
    again = ask("evaluate", first, "--open-test")[1]
    assert (again["accuracy"], "opened before" in again["part"]) == (opened["accuracy"], True)
    unsealed = trained(data)["run_id"]
    for options, words in ((), "--sealed-test"), (("--symmetries",), "Leave --symmetries out"):
        status, _, said = ask("evaluate", unsealed, "--open-test", *options)
        assert (status, words in said) == (2, True)
