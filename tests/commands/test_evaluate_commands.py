"""`evaluate` on the command line: it agrees with the training, takes every tile or the sealed part, or refuses."""

import os

import pytest
import torch
from command_line import ask, folder, places

__all__ = ["ask", "folder", "places"]  # fixtures of command_line; `places` is for every test here


@pytest.mark.parametrize("options", [["--source", "memory"], ["--recipe", "fast"], ["--workers", "0"]])
def test_train_and_evaluate_agree_to_the_last_tile(ask, folder, options):
    data = folder(Forest=24, River=24, SeaLake=24)
    status, trained, progress = ask("train", "--model", "baseline", "--epochs", "2", "--data", data, *options)
    assert status == 0
    assert trained["state"] == "finished"
    assert [set(each) for each in trained["epochs"]] == [
        {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds", "tiles_per_second"}
    ] * 2
    assert trained["val_accuracy"] == trained["epochs"][-1]["val_accuracy"]
    assert trained["seconds"] >= sum(each["seconds"] for each in trained["epochs"])
    assert "epoch 2 of 2" in progress
    status, judged, _ = ask("evaluate", trained["run_id"], "--data", data)
    assert status == 0
    assert judged["accuracy"] == trained["val_accuracy"]
    assert judged["tiles"] == 18
    right = sum(judged["confusion"][each][each] for each in range(3))
    assert right / judged["tiles"] == judged["accuracy"]
    assert sum(map(sum, judged["confusion"])) == judged["tiles"]
    status, in_all, _ = ask("evaluate", trained["run_id"], "--data", data, "--symmetries")
    assert (status, in_all["tiles"], judged["symmetries"], in_all["symmetries"]) == (0, 18, False, True)


def test_evaluate_takes_every_tile_of_another_set(ask, folder):
    here, elsewhere = folder(Forest=12, River=12), folder("elsewhere", Forest=14, River=10)
    _, trained, _ = ask("train", "--model", "baseline", "--recipe", "fast", "--epochs", "1", "--data", here)
    _, judged, _ = ask("evaluate", trained["run_id"], "--data", elsewhere)
    assert (judged["tiles"], judged["part"]) == (24, "every tile")


def test_evaluate_refuses_other_classes_and_damaged_weights(ask, folder, places):
    here = folder(Forest=12, River=12)
    other = folder("other", Forest=12, Lake=12)
    _, trained, _ = ask("train", "--model", "baseline", "--recipe", "fast", "--epochs", "1", "--data", here)
    status, _, said = ask("evaluate", trained["run_id"], "--data", other)
    assert status == 2
    assert "Forest, River" in said
    weights = places / "runs" / trained["run_id"] / "model.pt"
    weights.write_bytes(weights.read_bytes()[:1000])
    status, _, said = ask("evaluate", trained["run_id"], "--data", here)
    assert (status, "damaged" in said) == (2, True)


def test_evaluate_refuses_pickled_code(ask, folder, places):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(places / "evil"),)

    here = folder(Forest=12, River=12)
    _, trained, _ = ask("train", "--model", "baseline", "--recipe", "fast", "--epochs", "1", "--data", here)
    torch.save({"conv1.weight": Evil()}, places / "runs" / trained["run_id"] / "model.pt")
    status, _, said = ask("evaluate", trained["run_id"], "--data", here)
    assert (status, "damaged" in said) == (2, True)
    assert not (places / "evil").exists()


def test_a_failed_run_with_an_epoch_can_be_judged(ask, folder, monkeypatch):
    """Its network of the last complete epoch is kept, and so is the split to judge it on."""
    data = folder(Forest=24, River=24)
    from eurosat_core.training import loop

    real = loop.finite
    monkeypatch.setattr(
        loop, "finite", lambda loss, epoch, step: real(float("nan") if epoch == 2 else loss, epoch, step)
    )
    status, trained, _ = ask("train", "--model", "baseline", "--recipe", "fast", "--epochs", "3", "--data", data)
    assert (status, trained["state"], len(trained["epochs"])) == (1, "failed", 1)
    status, judged, _ = ask("evaluate", trained["run_id"], "--data", data)
    assert (status, judged["accuracy"]) == (0, trained["epochs"][0]["val_accuracy"])


def test_the_sealed_part_is_opened_and_counted(ask, folder):
    options = ["--recipe", "fast", "--epochs", "1", "--sealed-test", "--data", folder(Forest=30, River=30)]
    runs = [ask("train", "--model", "baseline", *options)[1]["run_id"] for _ in range(2)]
    status, opened, _ = ask("evaluate", runs[0], "--open-test")
    assert (status, opened["tiles"], opened["earlier_openings"]) == (0, 12, 0)
    assert "opened now" in opened["part"]
    assert ask("evaluate", runs[1], "--open-test")[1]["earlier_openings"] == 1
    again = ask("evaluate", runs[0], "--open-test")[1]
    assert (again["accuracy"], "opened before" in again["part"]) == (opened["accuracy"], True)


def test_without_a_sealed_part_there_is_nothing_to_open(ask, folder):
    data = folder(Forest=12, River=12)
    _, trained, _ = ask("train", "--model", "baseline", "--recipe", "fast", "--epochs", "1", "--data", data)
    status, _, said = ask("evaluate", trained["run_id"], "--open-test")
    assert (status, "--sealed-test" in said) == (2, True)
    status, _, said = ask("evaluate", trained["run_id"], "--open-test", "--symmetries")
    assert (status, "Leave --symmetries out" in said) == (2, True)
