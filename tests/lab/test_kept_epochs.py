"""The weights of every epoch: kept when asked for, also of a run that was stopped, and not without bounds."""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from fake_engine import CONFIG, OpenFake, wait_for_state

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError
from eurosat_core.lab.jobs import Control, Job, JobResult, run_job
from eurosat_core.lab.train import MAX_BYTES, epoch_file, kept_bytes, kept_problem
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import EpochDone

KEEPING = replace(CONFIG, keep_epochs=True)
LARGE = "conv 8 3; relu; flatten; linear 500; relu; linear out"  # 15.4 million parameters


def job_for(tiles: TileSet, config: TrainConfig) -> Job:
    return Job("a-run", config, tiles.fingerprint, str(tiles.cache), threads=1)


def loaded(result: JobResult, name: str) -> dict[str, Any]:
    weights: dict[str, Any] = torch.load(io.BytesIO(result.files[name]), weights_only=True)
    return weights


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_epoch_is_kept_and_the_last_is_the_network(small_tiles: TileSet) -> None:
    result = run_job(job_for(small_tiles, KEEPING), lambda _events: None)
    first, last, end = (loaded(result, name) for name in (epoch_file(1), epoch_file(2), "model.pt"))
    assert epoch_file(3) not in result.files
    assert all(torch.equal(last[name], end[name]) for name in end)
    assert not torch.equal(first["conv1.weight"], last["conv1.weight"])


def test_nothing_is_kept_unasked(small_tiles: TileSet) -> None:
    result = run_job(job_for(small_tiles, CONFIG), lambda _events: None)
    assert not [name for name in result.files if name.startswith("model_epoch")]


def test_a_stopped_run_keeps_the_epochs_it_did(small_tiles: TileSet) -> None:
    control, epochs = Control(), 0

    def report(events: list[Any]) -> None:
        nonlocal epochs
        epochs += sum(isinstance(each, EpochDone) for each in events)
        if epochs == 2:
            control.command("stop")

    result = run_job(job_for(small_tiles, replace(KEEPING, epochs=50)), report, control)
    assert result.state == "cancelled"
    assert [name for name in result.files if name.startswith("model_epoch")] == [epoch_file(1), epoch_file(2)]


def test_the_lab_reads_them(open_fake: OpenFake) -> None:
    lab, engine = open_fake()
    run = lab.submit(KEEPING, "ada")
    engine.work(run.id)
    wait_for_state(lab, run.id, "finished")
    assert lab.inspector.epochs(run.id) == [1, 2]
    before, after = (lab.inspector.first_layer(run.id, epoch).weights for epoch in (1, 2))
    assert not (before == after).all()


def test_the_size_is_that_of_the_trained_parameters() -> None:
    assert kept_bytes(TrainConfig(epochs=10)) == 10 * 4 * 338_486
    assert kept_bytes(recipe_config("vgg11_bn", epochs=3)) == 3 * 4 * 40_970
    assert not kept_problem(TrainConfig(epochs=200, keep_epochs=True)), "the baseline fits at any length"


def test_a_huge_network_over_many_epochs_is_refused(open_fake: OpenFake) -> None:
    config = TrainConfig(model="custom", network=LARGE, epochs=20, keep_epochs=True, source="memory")
    most = MAX_BYTES // kept_bytes(replace(config, epochs=1))
    assert f"at most {most} epochs" in kept_problem(config)
    assert not kept_problem(replace(config, epochs=most))
    assert not kept_problem(replace(config, keep_epochs=False))
    lab, _ = open_fake()
    with pytest.raises(ConfigError, match=f"at most {most} epochs"):
        lab.submit(config, "ada")


def test_only_on_or_off() -> None:
    with pytest.raises(ConfigError, match="Keep epochs must be on or off"):
        TrainConfig.from_dict({"keep_epochs": 1})
