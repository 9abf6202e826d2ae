"""`profile` on the command line: the traces it leaves beside the app's runs, and what it refuses."""

from pathlib import Path

import pytest
from command_line import ask, folder, places

from eurosat_core.runs.store import RunStore

__all__ = ["ask", "folder", "places"]  # fixtures of command_line; `places` is for every test here


def test_a_profile_leaves_its_traces_beside_the_apps_runs(ask, folder, places: Path) -> None:
    data = folder(Forest=30, River=30)
    status, result, said = ask(
        *("profile", "--model", "baseline", "--data", data, "--workers", "0", "--batch-size", "8"),
        *("--wait", "0", "--warmup", "1", "--active", "2", "--repeat", "2", "--no-memory"),
    )
    assert status == 0 and "trace_2.json.gz" in said
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
        (("--steps", "6"), "6 steps"),
        (("--batch-size", "0"), "is 0"),
        (("--recipe", "slow"), "'slow'"),
        (("--device", "cuda:9"), "'cuda:9'"),
    ],
)
def test_a_profile_that_cannot_be_made_is_one_line(ask, options: tuple[str, str], words: str) -> None:
    status, result, said = ask("profile", "--model", "baseline", *options)
    assert (status, result) == (2, None)
    assert words in said and said.count("\n") == 1
