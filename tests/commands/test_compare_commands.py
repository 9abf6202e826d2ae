"""`compare` and `bundle` keep the command line's contract."""

from dataclasses import replace
from pathlib import Path

import pytest
from bundle_makers import stored_run
from command_line import ask, places

from eurosat_core.classroom.participants import Participants
from eurosat_core.cli import main
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig

__all__ = ["ask", "places"]  # fixtures of command_line; `places` is for every test here

CPU = TrainConfig(epochs=2, source="memory")


@pytest.fixture
def store(places: Path) -> RunStore:
    return RunStore(places / "runs")


def test_compare_gives_the_figures_of_each_run(ask, store: RunStore) -> None:
    first = stored_run(store, config=CPU)
    other = stored_run(store, config=replace(CPU, device="cuda:0"), machine={"device_name": "Test GPU", "threads": 2})
    status, result, said = ask("compare", first.id, other.id)
    assert (status, said) == (0, "")
    assert [each["run_id"] for each in result["runs"]] == [first.id, other.id]
    for each in result["runs"]:
        assert (each["accuracy"], each["seconds"], each["tiles_per_second"]) == (0.5, 21.0, 1000.0)
        assert (each["speed_up"], each["speed_up_reason"]) == (1.0, "")
    assert result["same_tiles"]["kind"] == "same"
    assert [each["name"] for each in result["differences"]] == ["device"]
    assert {"kind", "text"} == set(result["findings"][0])
    assert [each["kind"] for each in result["findings"]] == ["same", "same", "same"]


def test_compare_says_why_there_is_no_speed_up(ask, store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [stored_run(store, config=CPU).id, stored_run(store, config=replace(CPU, batch_size=256)).id]
    _, result, _ = ask("compare", *runs)
    assert result["runs"][1]["speed_up"] is None
    assert "batch size" in result["runs"][1]["speed_up_reason"]
    assert main(["compare", *runs]) == 0
    text = capsys.readouterr().out
    assert all(each in text for each in ("Batch size", "50.00%", result["runs"][1]["speed_up_reason"]))


def test_compare_says_that_something_ran_beside(ask, store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    busy = {"device_name": "Test GPU", "busy_elsewhere": 1.9, "gpu": {"other_processes": 1}}
    runs = [stored_run(store).id, stored_run(store, machine=busy).id]
    assert len(ask("compare", *runs)[1]["runs"][1]["company"]) == 2
    assert main(["compare", *runs]) == 0
    assert "Test GPU; 2 beside it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare"], "RUN"),
        (["compare", "{run}"], "two"),
        (["compare", "{run}", "{run}"], "two"),
        (["compare", "{run}", "20200101-000000-baseline-abcd"], "20200101"),
        (["compare", "{run}", "../../etc"], "../../etc"),
        (["bundle", "export", "{run}"], "file"),
        (["bundle", "export", "20200101-000000-baseline-abcd", "--to", "x.zip"], "20200101"),
        (["bundle", "import", "a.zip", "b.zip"], "one file"),
        (["bundle", "import", "no.zip"], "no.zip"),
        (["bundle", "send", "a.zip"], "invalid choice"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(ask, store: RunStore, arguments: list[str], words: str) -> None:
    run = stored_run(store)
    status, result, said = ask(*(each.format(run=run.id) for each in arguments))
    assert (status, result) == (2, None)
    assert words in said
    assert len(said.strip().splitlines()) == 1


def test_a_bundle_goes_from_one_lab_to_another(ask, store, tmp_path: Path, monkeypatch, capsys) -> None:
    runs = [stored_run(store, config=CPU).id, stored_run(store, config=replace(CPU, seed=7)).id]
    target = tmp_path / "demo.zip"
    status, exported, _ = ask("bundle", "export", *runs, "--to", str(target), "--weights")
    assert (status, exported) == (0, {"file": str(target), "bytes": target.stat().st_size, "exported": runs})
    before = ask("compare", *runs)[1]["runs"]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    people = Participants(elsewhere / "participants.jsonl")
    grace = people.rename(people.enter("g" * 43).id, "Grace")
    monkeypatch.setenv("EUROSAT_RUNS", str(elsewhere))
    status, imported, _ = ask("bundle", "import", str(target), "--owner", "grace")
    assert status == 0
    assert imported["added"] == [
        {"run_id": run, "owner": "Grace", "recorded_on": "Test GPU, 1 January 1970"} for run in runs
    ]
    assert {RunStore(elsewhere).get(run).owner for run in runs} == {grace.id}
    after = ask("compare", *runs)[1]["runs"]
    for name in ("accuracy", "macro_f1", "seconds", "tiles_per_second", "speed_up", "validation_tiles"):
        assert [each[name] for each in before] == [each[name] for each in after]
    capsys.readouterr()
    assert main(["bundle", "import", str(target)]) == main(["compare", *runs]) == 0
    text = capsys.readouterr().out
    assert "2 runs" in text and "Test GPU" in text
