"""`export`: writes a run's notebook and ONNX file, or says in one line why not."""

import json
from pathlib import Path

import pytest
from command_line import ask, folder, places

__all__ = ["ask", "folder", "places"]


@pytest.fixture
def run_id(ask, folder, places) -> str:
    assert ask("prepare", "--from", folder(Forest=8, River=8))[0] == 0
    options = ("--epochs", "1", "--source", "memory", "--batch-size", "4")
    return ask("train", "--model", "baseline", *options)[1]["run_id"]


def test_both_files_are_written(ask, run_id, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, result, _ = ask("export", run_id)
    assert status == 0 and result["run_id"] == run_id
    book = json.loads(Path(result["notebook"]["file"]).read_text(encoding="utf-8"))
    assert book["nbformat"] == 4 and any("exactly the run’s" in "".join(each["source"]) for each in book["cells"])
    assert Path(result["onnx"]["file"]).stat().st_size == result["onnx"]["bytes"] > 1_000_000
    status, result, _ = ask("export", run_id, "--notebook", "mine.ipynb")
    assert set(result) == {"run_id", "notebook"} and Path("mine.ipynb").exists()


def test_what_cannot_be_is_a_line(ask, run_id) -> None:
    for options in ((run_id, "--notebook", "/no/such/folder/x.ipynb"), ("20200101-000000-baseline-abcd",)):
        status, result, said = ask("export", *options)
        assert (status, result, said.count("\n")) == (2, None, 1)
