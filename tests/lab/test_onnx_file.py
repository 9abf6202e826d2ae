"""A run's ONNX file answers as its network does, asked by onnxruntime: every model of the catalog, and one's own."""

import json
import os
import time

import numpy as np
import onnxruntime
import pytest
import torch
from run_makers import TEN, make_record
from torch import nn

from eurosat_core.data.batches import normalize
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab import onnx_file
from eurosat_core.lab.inspection import Inspector
from eurosat_core.models.catalog import CATALOG, build_model
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.network import kept_tensors, make_network, preprocessing_for

EVERY_KIND = (
    "conv 8 5 pad same, batchnorm, gelu, residual 8, residual 12 stride 2, maxpool 3 stride 2, avgpool 2, "
    "sigmoid, adaptiveavgpool 3, flatten, dropout 0.5, linear 20, batchnorm, relu, linear out"
)
NETWORKS = [(name, "", True) for name in CATALOG] + [("custom", EVERY_KIND, True), ("tilenet", "", False)]
SIDES = {"efficientnet_lite0": 96}  # enlarged, as its runs may have them


def network_of(model: str, layers: str, stem_pool: bool) -> nn.Module:
    """With statistics and weights that no layer starts with, so that each has its say."""
    torch.manual_seed(1)
    if model == "vgg11_bn":  # its linear layers alone have half a gigabyte: smaller ones of the same kinds do here
        with torch.device("meta"):
            network = build_model(model)
        network.classifier[0], network.classifier[3] = nn.Linear(25_088, 8), nn.Linear(8, 8)
        network.classifier[6] = nn.Linear(8, 10)
        network = network.to_empty(device="cpu")
        for each in network.parameters():
            nn.init.normal_(each, std=0.03)
    else:
        network = build_model(model, 10, layers, stem_pool=stem_pool)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = 1.0  # its statistics become those of the next batch
        elif isinstance(layer, nn.Dropout):
            layer.p = 0.0
    network.train()(normalize(pictures(16), preprocessing_for(model)))
    return network.eval()


def pictures(count: int) -> torch.Tensor:
    """Each of another colour, and more or less busy."""
    chance = torch.Generator().manual_seed(2)
    colours = torch.randint(60, 190, (count, 1, 1, 3), generator=chance)
    busy = torch.linspace(0, 60, count).view(-1, 1, 1, 1)
    return (colours + busy * torch.randn(count, 64, 64, 3, generator=chance)).clamp(0, 255).to(torch.uint8)


def answers(content: bytes, pixels: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run([onnx_file.OUTPUT], {onnx_file.INPUT: pixels.numpy()})[0]
    return found


@pytest.mark.parametrize(("model", "layers", "stem_pool"), NETWORKS, ids=lambda each: str(each)[:20])
@torch.no_grad()
def test_it_answers_as_pytorch_does(model: str, layers: str, stem_pool: bool) -> None:
    network = network_of(model, layers, stem_pool)
    side = SIDES.get(model, 64)
    record = make_record(config=TrainConfig(model=model, source="memory", input_side=side))
    pixels = pictures(5)
    expected = network(normalize(pixels, preprocessing_for(model, side=side))).softmax(1).numpy()
    assert expected.std(0).max() > 5e-5, "pictures are told apart"
    content = onnx_file.onnx_bytes(network, record)
    for some in (pixels, pixels[:1]):
        found = answers(content, some)
        assert found.dtype == np.float32 and found.shape == (len(some), 10)
        assert np.abs(found - expected[: len(some)]).max() < (2e-4 if side != 64 else 1e-5)
    about = onnxruntime.InferenceSession(content).get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == list(TEN) and about["run"] == record.id


@pytest.fixture
def run(store: RunStore, used: TilesUsed) -> RunRecord:
    """A run that ended with the network it began with."""
    record = store.create(TrainConfig(channels_last=True, source="memory"), "ada", used)
    path = store.folder_of(record.id) / "model.pt"
    torch.save(kept_tensors(make_network(record.config, 4), record.config), path)
    return record


def test_it_is_made_once_from_the_same_weights(
    run: RunRecord, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = onnx_file.served_onnx(store, Inspector(store), run.id)
    pixels = torch.full((2, 64, 64, 3), 9, dtype=torch.uint8)
    with torch.no_grad():
        expected = make_network(run.config, 4)(normalize(pixels, preprocessing_for("baseline"))).softmax(1)
    assert np.allclose(answers(content, pixels), expected.numpy(), atol=1e-5)
    made: list[str] = []
    monkeypatch.setattr(onnx_file, "onnx_bytes", lambda _network, record: made.append(record.id) or b"again")
    assert onnx_file.exported(store, run.id) == content and made == []
    weights = store.folder_of(run.id) / "model.pt"
    weights.write_bytes(weights.read_bytes())
    later = time.time_ns() + 10**9
    os.utime(weights, ns=(later, later))
    assert onnx_file.exported(store, run.id) == b"again", "other weights"


def test_what_takes_long_is_left_to_the_command_line(
    run: RunRecord, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "eurosat_core export" in onnx_file.too_large(make_record(config=TrainConfig(model="vgg11_bn")))
    assert not onnx_file.too_large(run)
    monkeypatch.setattr(onnx_file, "_MOST_BYTES", 1000)
    with pytest.raises(RunError, match="--onnx"):
        onnx_file.served_onnx(store, Inspector(store), run.id)


def test_without_the_package_it_says_what_to_install(
    run: RunRecord, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match="pip install"):
        onnx_file.exported(store, run.id)
    with pytest.raises(RunError):
        onnx_file.served_onnx(store, Inspector(store), "20200101-000000-baseline-abcd")


def test_a_store_that_may_only_be_read_still_gives_one(
    run: RunRecord, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save", refuse)
    assert onnx_file.exported(store, run.id)
    assert not (store.folder_of(run.id) / onnx_file.FILE).exists()
