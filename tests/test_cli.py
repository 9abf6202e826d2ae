"""The command line's contract: one JSON object on stdout, progress on stderr, exit status 0, 1 or 2."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ask, folder, places

from eurosat_core.cli import main
from eurosat_core.devices import needless_gpu_build
from eurosat_core.errors import DataError
from eurosat_core.runs.store import RunStore

__all__ = ["ask", "folder", "places"]  # fixtures of command_line; `places` is for every test here


def test_a_summary_has_its_layers_and_sums(ask):
    status, result, _ = ask("summary", "baseline")
    assert (status, len(result["layers"]), result["total_params"]) == (0, 7, 338_486)
    assert result["layers"][0]["output_shape"] == [-1, 6, 60, 60]
    assert result["macs"] == sum(each["macs"] for each in result["layers"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--model", "resnet"], "'resnet'"),
        (["train", "--model", "baseline", "--recipe", "quick"], "'quick'"),
        (["train", "--model", "baseline", "--epochs", "0"], "Epochs is 0"),
        (["train", "--model", "baseline", "--epochs", "many"], "invalid int"),
        (["train", "--model", "baseline", "--device", "cuda:7"], "'cuda:7'"),
        (["train", "--model", "baseline", "--data", "/no/such/place"], "/no/such/place"),
        (["train"], "--model"),
        (["evaluate", "20200101-000000-baseline-abcd"], "20200101"),
        (["evaluate", "../../etc"], "../../etc"),
        (["summary", "nothing"], "'nothing'"),
        (["bench", "nothing"], "'nothing'"),
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


def test_doctor_says_what_is_missing(ask):
    status, result, _ = ask("doctor")
    assert (status, result["ready"]) == (0, True)
    by_name = {each["name"]: each for each in result["checks"]}
    assert by_name["Tiles"]["state"] == "missing"
    assert "EUROSAT_DATA" in by_name["Tiles"]["remedy"]
    assert by_name["CPU"]["state"] == "ready"
    assert ("PyTorch" in by_name) == bool(needless_gpu_build())


def test_doctor_fails_on_a_place_without_tiles(ask, tmp_path):
    (tmp_path / "empty").mkdir()
    status, result, _ = ask("doctor", "--data", str(tmp_path / "empty"))
    assert (status, result["ready"]) == (1, False)


def test_doctor_goes_on_after_a_set_that_cannot_be_used(ask, folder, places, monkeypatch):
    """What was imported was damaged since, and EUROSAT_DATA leads nowhere."""
    assert ask("prepare", "--from", folder(Forest=3, River=3))[0] == 0
    for path in (places / "cache" / "pictures").rglob("*.jpg"):
        path.write_bytes(b"<html>")
    for data, words in (("", "prepare"), (str(places / "typo"), "EUROSAT_DATA")):
        if data:
            monkeypatch.setenv("EUROSAT_DATA", data)
        status, result, said = ask("doctor")
        assert (status, result["ready"]) == (1, False)
        by_name = {each["name"]: each for each in result["checks"]}
        assert by_name["Tiles"]["state"] == "problem"
        assert words in by_name["Tiles"]["remedy"]
        assert by_name["CPU"]["state"] == "ready"
        assert "Software" in by_name
        assert said.count("html") == 0


def test_a_failed_download_is_not_blamed_on_the_settings(ask, monkeypatch):
    def fail(*_):
        raise DataError("The server cannot be reached. Try again later.")

    monkeypatch.setattr("eurosat_core.lab.library.download_pictures", fail)
    status, result, _ = ask("prepare")
    assert status == 1
    (tiles,) = (each for each in result["checks"] if each["name"] == "Tiles")
    assert tiles["state"] == "problem"
    assert "server" in tiles["text"]
    assert "EUROSAT_DATA" not in tiles["text"] + tiles["remedy"]


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


def train_until(said: str, data: str, *options: str) -> subprocess.Popen[str]:
    """A training in a process group of its own, as a terminal starts it, that has just said so."""
    command = [sys.executable, "-m", "eurosat_core", "train", "--model", "baseline", "--epochs", "200", "--json"]
    process = subprocess.Popen(
        [*command, "--data", data, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        start_new_session=True,
    )
    for line in process.stderr:
        if line.startswith(said):
            break
    return process


def test_interrupt_keeps_what_there_is(folder, places):
    """Ctrl-C in a real process: the run ends as cancelled, with its epochs so far."""
    process = train_until("epoch 2 ", folder(Forest=24, River=24), "--source", "memory")
    process.send_signal(2)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    result = json.loads(printed)
    assert result["state"] == "cancelled"
    assert len(result["epochs"]) >= 2
    assert RunStore(places / "runs").get(result["run_id"]).state == "cancelled"


def test_an_interrupt_of_its_loader_workers_too_stops_a_run(folder):
    """A terminal's Ctrl-C goes to all processes of the group; small batches, so that the training waits for them."""
    options = ("--source", "loader", "--workers", "1", "--batch-size", "4")
    process = train_until("epoch 1 ", folder(Forest=24, River=24), *options)
    os.killpg(process.pid, signal.SIGINT)
    printed, said = process.communicate(timeout=60)
    result = json.loads(printed)
    assert (result["state"], "Traceback" in said) == ("cancelled", False)
    assert len(result["epochs"]) >= 1
