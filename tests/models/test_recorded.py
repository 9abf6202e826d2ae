"""The bundled network: loads safely, is the one that was recorded, and is as good as its record says."""

import shutil
from pathlib import Path

import pytest
import torch

from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import RunError
from eurosat_core.models import recorded
from eurosat_core.models.recorded import recorded_baseline, recorded_network
from eurosat_core.training.config import recipe_config
from eurosat_core.training.network import evaluation_batches, predict
from eurosat_core.training.sources import split_for


def test_the_record_is_consistent() -> None:
    record = recorded_baseline()
    assert record.class_names == CLASS_NAMES
    rows = record.confusion
    assert sum(map(sum, rows)) == record.tiles
    assert sum(rows[at][at] for at in range(10)) / record.tiles == pytest.approx(record.accuracy, abs=1e-6)
    for at, name in enumerate(record.class_names):
        assert rows[at][at] / sum(rows[at]) == pytest.approx(record.per_class[name], abs=1e-4)
    assert record.made["how"]


def test_the_network_is_a_trained_baseline_and_leaves_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    network = recorded_network()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not network.training
    assert sum(each.numel() for each in network.parameters()) == 338_486
    assert all(each.dtype == torch.float32 for each in network.parameters())
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 10)


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the record that a test may damage."""
    for name in ("baseline.json", "baseline.pt"):
        shutil.copy(recorded._FOLDER / name, tmp_path / name)
    monkeypatch.setattr(recorded, "_FOLDER", tmp_path)
    recorded_baseline.cache_clear()
    yield tmp_path
    recorded_baseline.cache_clear()


def test_other_weights_are_refused(own_folder: Path) -> None:
    torch.save({"conv1.bias": torch.zeros(6)}, own_folder / "baseline.pt")
    with pytest.raises(RunError, match="recorded"):
        recorded_network()


def test_missing_or_damaged_files_are_said(own_folder: Path) -> None:
    (own_folder / "baseline.pt").unlink()
    with pytest.raises(RunError, match="missing"):
        recorded_network()
    recorded_baseline.cache_clear()
    (own_folder / "baseline.json").write_text("[1")
    with pytest.raises(RunError, match="record"):
        recorded_baseline()


def test_it_is_as_good_on_real_tiles_as_its_record_says(eurosat_root: Path, tmp_path_factory: pytest.TempPathFactory):
    tiles = open_tiles(eurosat_root, tmp_path_factory.mktemp("real"))
    record = recorded_baseline()
    if len(tiles) != record.tiles + record.train_tiles:
        pytest.skip("other tiles than the recorded ones")
    config = recipe_config(record.model, "fast", seed=record.seed, precision="float32")
    numbers = split_for(config, tiles).validation
    predicted, _ = predict(recorded_network(), evaluation_batches(config, tiles, numbers), config)
    right = (predicted == tiles.labels[numbers]).float().mean().item()
    assert right == pytest.approx(record.accuracy, abs=0.002)
