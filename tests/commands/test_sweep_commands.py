"""`sweep` and `record-demo` on the command line: what is measured, printed, stored, and refused."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_line import Ask, ask, places
from cuda_alias import Cards, played_cuda
from sweep_makers import Clock, PlayedSteps

from eurosat_core.analysis import race
from eurosat_core.cli import main
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import probe_devices
from eurosat_core.runs.bundles import import_bundle
from eurosat_core.runs.store import RunStore
from eurosat_core.speed.plan import Learned, SweepPlan
from eurosat_core.speed.sweep import Sweep
from eurosat_core.speed.verdict import Learning
from eurosat_core.training.config import TrainConfig, recipe_config

__all__ = ["ask", "places"]  # fixtures of command_line; `places` is for every test here


@pytest.fixture
def folder(small_folder: Callable[..., Path], tmp_path: Path) -> str:
    return str(small_folder(tmp_path / "tiles", {"Forest": 30, "River": 30}))


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements take no time: the steps of every cell are played, and so is what it learns."""
    clock = Clock()

    def make(config: TrainConfig, _tiles: TileSet) -> PlayedSteps:
        return PlayedSteps(clock, 0.01, config.batch_size)

    def learn(_config: TrainConfig, _tiles: TileSet, cell: int, target: float, *more: Any) -> Iterator[Learned]:
        _seconds, keep, since = more
        keep(Learning(target, True, 2.0, 2000, 500, ((2.0, target),)))
        yield Learned(cell, since(), target, 2.0)

    monkeypatch.setattr("eurosat_core.speed.sweep.Sweep", partial(Sweep, make=make, clock=clock))
    monkeypatch.setattr("eurosat_core.speed.sweep.learn", learn)


def test_a_free_sweep(ask: Ask, folder: str, places: Path) -> None:
    options = ("--setting", "batch_size", "--values", "4,8", "--seconds", "1", "--data", folder)
    status, result, said = ask("sweep", *options)
    assert status == 0 and "2 settings" in said
    assert [each["label"] for each in result["cells"]] == ["4", "8"]
    first, second = result["cells"]
    assert first["outcome"] == "reference" and second["outcome"] in ("faster", "same", "slower")
    assert first["tiles_per_second"] > 0 and first["rounds"] >= 6 and set(first["parts"]) >= {"load", "forward"}
    record = RunStore(places / "runs").get(result["run_id"])
    assert record.kind == "sweep" and record.state == "finished" and SweepPlan.from_dict(record.plan).seconds == 1.0
    assert record.config.source == "memory"


@pytest.mark.usefixtures("played")
def test_steps_of_a_recipe_are_measured_on_whole_tiles_at_a_constant_rate(ask: Ask, folder: str, places: Path) -> None:
    recipe = recipe_config("tilenet", "sprint")
    assert recipe.progressive_resizing and recipe.schedule == "one_cycle"
    chosen = ("--model", "tilenet", "--recipe", "sprint", "--setting", "batch_size", "--values", "4,8")
    status, result, said = ask("sweep", *chosen, "--accuracy", "0.3", "--data", folder)
    assert (status, result["cells"][0]["learning"]["target"]) == (0, 0.3), said
    config = RunStore(places / "runs").get(result["run_id"]).config
    assert (config.progressive_resizing, config.schedule) == (False, "constant")
    assert (config.optimizer, config.learning_rate) == (recipe.optimizer, recipe.learning_rate)


@pytest.mark.usefixtures("played")
def test_it_is_shown_as_a_table(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--setting", "batch_size", "--values", "4,8", "--accuracy", "0.5", "--data", folder]
    assert main(["sweep", *options]) == 0
    table = capsys.readouterr().out
    assert all(each in table for each in ("tiles/s", "against 4", "50%", "2,000 tiles"))


@pytest.mark.usefixtures("played")
def test_an_experiment_and_the_race(ask: Ask, folder: str) -> None:
    status, result, _ = ask("sweep", "--experiment", "optimizer", "--seconds", "30", "--data", folder)
    assert status == 0 and result["name"] == "optimizer" and len(result["cells"]) == 4
    verdict, adam = result["verdicts"][0], result["cells"][1]
    assert (verdict["device"], verdict["focus"], verdict["reference"], verdict["figure"]) == (
        "cpu",
        "Adam",
        "SGD",
        "tiles",
    )
    assert (verdict["outcome"], verdict["factor"]) == (adam["outcome"], adam["factor"]) and "“Adam”" in verdict["text"]
    status, result, said = ask("sweep", "--race", "--data", folder)
    assert status == 0 and result["name"] == "race" and result["cells"][0]["validation_step_ms"] > 0
    assert "VGG11-BN" in said or len(result["cells"]) == 2


def test_a_race_of_resident_tiles(ask: Ask, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(race._RESIDENT, "batch_size", 4)
    status, result, _ = ask("sweep", "--race", "resident", "--seconds", "1", "--data", folder)
    assert status == 0 and result["name"] == race.RESIDENT_RACE and len(result["cells"]) == 2
    assert min(each["tiles_per_second"] for each in result["cells"]) > 0
    assert ask("sweep", "--race", "other", "--data", folder)[0] == 2


@pytest.mark.usefixtures("played")
def test_cards_that_have_tf32_are_measured_in_it_too(ask: Ask, folder: str) -> None:
    with played_cuda(Cards(capabilities=((8, 0), (7, 5)))):
        options = ("--experiment", "precision", "--devices", "cpu,cuda,cuda:1", "--data", folder)
        status, result, said = ask("sweep", *options)
    assert status == 0, said
    measured = {(each["device"], each["label"]) for each in result["cells"]}
    assert {device for device, label in measured if "TF32" in label} == {"cuda:0"}
    assert {device for device, _ in measured} == {"cpu", "cuda:0", "cuda:1"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--setting"),
        (("--setting", "batch_size"), "--values"),
        (("--setting", "epochs", "--values", "1,2"), "'epochs'"),
        (("--setting", "batch_size", "--values", "8"), "two values"),
        (("--setting", "batch_size", "--values", "8,many"), "“many”"),
        (("--setting", "batch_size", "--values", "8,8"), "twice"),
        (("--setting", "channels_last", "--values", "on,maybe"), "on or off"),
        (("--setting", "model", "--values", "baseline,resnet"), "'resnet'"),
        (("--setting", "batch_size", "--values", "8,40", "--devices", "cuda:7"), "cuda:7"),
        (("--experiment", "magic"), "'magic'"),
        (("--experiment", "pin_memory"), "CUDA GPU"),
        (("--experiment", "workers", "--batch-size", "8"), "--batch-size"),
        (("--experiment", "workers", "--values", "8"), "--setting"),
    ],
)
def test_what_cannot_be_measured_is_one_line(ask: Ask, arguments: tuple[str, ...], words: str) -> None:
    status, result, said = ask("sweep", *arguments)
    assert status == 2 and result is None and words in said and "Traceback" not in said


@pytest.mark.usefixtures("played")
def test_a_demo_is_recorded_and_imported_elsewhere(
    ask: Ask, folder: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eurosat_core.commands import record_demo

    monkeypatch.setattr(record_demo, "QUICK", record_demo.Demo(epochs=1, tiles=40))
    monkeypatch.setattr(record_demo, "racing_models", lambda _settings: ("baseline",))
    bundle = places / "demo.zip"
    status, result, said = ask("record-demo", "--to", str(bundle), "--quick", "--data", folder)
    devices = sum(each.available for each in probe_devices())
    expected = [*("train", "profile") * devices, "sweep"]
    assert status == 0 and result["problems"] == [] and f"{len(expected)} of {len(expected)}: race" in said
    assert [RunStore(places / "runs").get(each["run_id"]).kind for each in result["runs"]] == expected
    elsewhere = RunStore(places / "elsewhere")
    added = import_bundle(elsewhere, bundle).added
    assert len(added) == len(expected) and all(each.recorded_on for each in added)


def test_a_demo_that_cannot_be_written_is_told_before_it_is_made(ask: Ask, places: Path) -> None:
    status, _, said = ask("record-demo", "--to", str(places / "nowhere" / "demo.zip"))
    assert status == 2 and "nowhere" in said
