"""`prepare` on the command line, and tiles in a zip: imported, downloaded or not, and what is said."""

import shutil
from pathlib import Path

from command_line import ask, folder, places, trained

__all__ = ["ask", "folder", "places", "trained"]  # fixtures of command_line; `places` is for every test here


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
