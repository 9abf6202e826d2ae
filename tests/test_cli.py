"""The command line's contract: one JSON object on stdout, progress on stderr, exit status 0, 1 or 2."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eurosat_core.cli import main
from eurosat_core.lab.runs import RunStore

TUTORIAL_TABLE = [
    ("Conv2d-1", [-1, 6, 60, 60], 456),
    ("MaxPool2d-2", [-1, 6, 30, 30], 0),
    ("Conv2d-3", [-1, 16, 26, 26], 2416),
    ("MaxPool2d-4", [-1, 16, 13, 13], 0),
    ("Linear-5", [-1, 120], 324600),
    ("Linear-6", [-1, 84], 10164),
    ("Linear-7", [-1, 10], 850),
]


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs and cache of this test only, and no tiles but those it names."""
    monkeypatch.setenv("EUROSAT_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("EUROSAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EUROSAT_DATA", raising=False)
    return tmp_path


@pytest.fixture
def folder(small_folder, tmp_path: Path):
    """Function: a class-per-folder tree with so many pictures of each class; its path as text."""

    def make(place: str = "tiles", **counts: int) -> str:
        return str(small_folder(tmp_path / place, counts))

    return make


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]):
    """Run a command with --json; its exit status, the object it printed, and what stood on stderr."""

    def run(*arguments: str):
        try:
            status = main([*arguments, "--json"])
        except SystemExit as stop:  # argparse's way out
            status = stop.code
        printed = capsys.readouterr()
        return status, json.loads(printed.out) if printed.out else None, printed.err

    return run


def test_summary_is_the_tutorials_table(ask):
    status, result, _ = ask("summary", "baseline")
    assert status == 0
    assert [(each["name"], each["output_shape"], each["params"]) for each in result["layers"]] == TUTORIAL_TABLE
    assert (result["total_params"], result["trainable_params"]) == (338_486, 338_486)
    sizes = [round(result[name], 2) for name in ("input_mb", "forward_backward_mb", "params_mb", "total_mb")]
    assert sizes == [0.05, 0.31, 1.29, 1.65]
    assert result["macs"] == sum(each["macs"] for each in result["layers"])


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--model", "resnet"], "no model 'resnet'"),
        (["train", "--model", "baseline", "--recipe", "quick"], "no recipe 'quick'"),
        (["train", "--model", "baseline", "--epochs", "0"], "Epochs is 0"),
        (["train", "--model", "baseline", "--epochs", "many"], "invalid int"),
        (["train", "--model", "baseline", "--device", "cuda:7"], "cannot train on 'cuda:7'"),
        (["train", "--model", "baseline", "--data", "/no/such/place"], "no folder /no/such/place"),
        (["train"], "--model"),
        (["evaluate", "20200101-000000-baseline-abcd"], "There is no run"),
        (["evaluate", "../../etc"], "not the name of a run"),
        (["summary", "nothing"], "no model 'nothing'"),
        (["bench", "nothing"], "no benchmark 'nothing'"),
        (["dance"], "invalid choice"),
        ([], "required"),
    ],
)
def test_unusable_input_is_one_line_and_status_2(ask, arguments, words):
    status, result, said = ask(*arguments)
    assert status == 2
    assert result is None
    assert words in said
    assert said.count("\n") == 1


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


def test_doctor_says_what_is_missing(ask):
    status, result, _ = ask("doctor")
    assert (status, result["ready"]) == (0, True)
    by_name = {each["name"]: each for each in result["checks"]}
    assert by_name["Tiles"]["state"] == "missing"
    assert "EUROSAT_DATA" in by_name["Tiles"]["remedy"]
    assert by_name["CPU"]["state"] == "ready"


def make_zip(tmp_path):
    """A zip of the folder that was made last."""
    return Path(shutil.make_archive(str(tmp_path / "EuroSAT"), "zip", tmp_path / "tiles"))


def test_prepare_imports_a_zip_that_is_then_no_longer_needed(ask, folder, tmp_path):
    folder(Forest=12, River=12)
    archive = make_zip(tmp_path)
    status, result, progress = ask("prepare", "--from", str(archive))
    assert status == 0
    assert "unpacking: 24 of 24" in progress
    assert "24 tiles in 2 classes" in result["checks"][0]["text"]
    archive.unlink()
    _, again, _ = ask("doctor")
    assert again["checks"][0] == result["checks"][0]
    status, trained, _ = ask("train", "--model", "baseline", "--epochs", "1", "--workers", "0")
    assert (status, trained["state"]) == (0, "finished")


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
    assert status == 0
    assert "EUROSAT_DATA is set" in said
    assert "10 tiles" in result["checks"][0]["text"]


def test_prepare_downloads_nothing_where_there_are_tiles(ask, folder, monkeypatch):
    monkeypatch.setenv("EUROSAT_DATA", folder(Forest=12, River=12))
    status, result, said = ask("prepare")
    assert (status, "nothing to download" in said, result["ready"]) == (0, True, True)


def test_prepare_without_a_network_says_so_and_the_checks_stand(ask, monkeypatch):
    from eurosat_core.data import download

    monkeypatch.setattr(download, "_TRIES", 1)
    monkeypatch.setenv("EUROSAT_ARCHIVE", "http://127.0.0.1:9/EuroSAT.zip")
    status, result, _ = ask("prepare")
    assert (status, result["ready"]) == (1, False)
    assert "cannot be reached" in result["checks"][0]["text"]
    assert "2,000 synthetic" in result["checks"][0]["text"]


def test_eurosat_data_may_be_a_zip(ask, folder, tmp_path):
    folder(Forest=24, River=24)
    archive = make_zip(tmp_path)
    _, trained, _ = ask("train", "--model", "baseline", "--epochs", "1", "--workers", "0", "--data", str(archive))
    assert trained["state"] == "finished"
    status, judged, _ = ask("evaluate", trained["run_id"], "--data", str(archive))
    assert (status, judged["accuracy"]) == (0, trained["val_accuracy"])


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


def test_prepare_imports_weights_or_says_why_not(ask, tmp_path):
    (tmp_path / "vgg.pth").write_bytes(b"not the published file")
    status, _, said = ask("prepare", "--weights", "vgg11_bn", "--from", str(tmp_path / "vgg.pth"))
    assert (status, "is not the published file" in said) == (2, True)
    status, _, said = ask("prepare", "--weights", "resnet")
    assert (status, "no weights 'resnet'" in said) == (2, True)
    status, result, said = ask("prepare", "--weights", "efficientnet_lite0")
    assert status == 0
    assert [each["state"] for each in result["checks"] if each["name"] == "Weights"] == ["missing", "ready"]


def test_vgg_has_the_tutorials_summary(ask):
    status, result, _ = ask("summary", "vgg11_bn")
    assert (status, len(result["layers"])) == (0, 37)
    assert (result["total_params"], result["trainable_params"]) == (128_812_810, 40_970)
    sizes = [round(result[name], 2) for name in ("input_mb", "forward_backward_mb", "params_mb", "total_mb")]
    assert sizes == [0.05, 15.21, 491.38, 506.64]


def test_the_split_by_place_on_other_tiles_is_refused(ask, folder, places):
    options = ["--split", "place", "--data", folder(Forest=12, River=12)]
    status, result, said = ask("train", "--model", "baseline", *options)
    assert (status, result) == (2, None)
    assert "lists of the split by place" in said
    assert RunStore(places / "runs").all() == ([], [])


def test_doctor_fails_on_a_place_without_tiles(ask, tmp_path):
    (tmp_path / "empty").mkdir()
    status, result, _ = ask("doctor", "--data", str(tmp_path / "empty"))
    assert (status, result["ready"]) == (1, False)


@pytest.mark.parametrize("arguments", [["doctor"], ["summary", "baseline"]])
def test_without_json_people_can_read_it(capsys, arguments):
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert not printed.startswith("{")
    assert printed.count("\n") >= 4


def test_train_and_evaluate_in_words(capsys, folder):
    data = folder(Forest=12, River=12)
    assert main(["train", "--model", "baseline", "--recipe", "fast", "--epochs", "1", "--data", data]) == 0
    printed = capsys.readouterr().out
    assert "finished" in printed
    assert main(["evaluate", printed.split(":")[0], "--data", data]) == 0
    assert "Forest" in capsys.readouterr().out


def test_interrupt_keeps_what_there_is(folder, places):
    """Ctrl-C in a real process: the run ends as cancelled, with its epochs so far."""
    data = folder(Forest=24, River=24)
    command = [sys.executable, "-m", "eurosat_core", "train", "--model", "baseline", "--source", "memory"]
    process = subprocess.Popen(
        [*command, "--epochs", "200", "--data", data, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    for line in process.stderr:
        if line.startswith("epoch 2 "):
            break
    process.send_signal(2)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    result = json.loads(printed)
    assert result["state"] == "cancelled"
    assert len(result["epochs"]) >= 2
    assert RunStore(places / "runs").get(result["run_id"]).state == "cancelled"


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


def test_a_profile_leaves_its_traces_beside_the_apps_runs(ask, folder, places: Path) -> None:
    data = folder(Forest=30, River=30)
    status, result, said = ask(
        *("profile", "--model", "baseline", "--data", data, "--workers", "0", "--batch-size", "8"),
        *("--wait", "0", "--warmup", "1", "--active", "2", "--repeat", "2", "--no-memory"),
    )
    assert status == 0 and "cycle 2 of 2: trace_2.json.gz" in said
    run = RunStore(places / "runs").get(result["run_id"])
    assert (run.kind, run.state, run.config.recipe, run.config.batch_size) == ("profile", "finished", "tutorial", 8)
    assert (run.plan["active"], run.plan["memory"]) == (2, False)
    assert [Path(each).name for each in result["trace_files"]] == ["trace_1.json.gz", "trace_2.json.gz"]
    assert all(Path(each).read_bytes()[:2] == b"\x1f\x8b" for each in result["trace_files"])
    overview = result["overview"]
    assert overview["mean_step_us"]["DataLoader"] > 0 and overview["devices"] == []
    assert {each["name"] for each in overview["operators"]} >= {"ProfilerStep*", "eurosat.load", "aten::conv2d"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--active", "0"), "Choose 1 to 20"),
        (("--steps", "6"), "6 steps would leave no trace"),
        (("--batch-size", "0"), "Batch size is 0"),
        (("--recipe", "slow"), "no recipe 'slow'"),
        (("--device", "cuda:9"), "cannot train on 'cuda:9'"),
    ],
)
def test_a_profile_that_cannot_be_made_is_one_line(ask, options: tuple[str, str], words: str) -> None:
    status, result, said = ask("profile", "--model", "baseline", *options)
    assert (status, result) == (2, None)
    assert words in said and said.count("\n") == 1
