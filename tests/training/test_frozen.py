"""The frozen part computed once: the same network as when all of it runs every step; what networks are made of."""

import errno
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from eurosat_core.data.batches import Batch, normalize
from eurosat_core.data.splits import Split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError
from eurosat_core.lab.train import Training
from eurosat_core.models.catalog import CATALOG
from eurosat_core.models.pretrained import frozen_part
from eurosat_core.training import frozen
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import EpochDone, FeaturesDone, Finished
from eurosat_core.training.frozen import FeatureCache, FeatureSource
from eurosat_core.training.loop import Checkpoint, train
from eurosat_core.training.network import (
    evaluation_batches,
    make_network,
    predict,
    preprocessing_for,
    scores_of,
    set_mode,
)
from eurosat_core.training.sources import split_for
from tests.training.conftest import of_kind, run

LITE = recipe_config("efficientnet_lite0", "fast", epochs=2, batch_size=16, precision="float32")


@pytest.fixture
def tiles(small_folder, tmp_path: Path) -> TileSet:
    """Forty tiles with a cache folder of their own."""
    return open_tiles(small_folder(tmp_path / "tiles", {"Forest": 20, "River": 20}), tmp_path / "cache")


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float) -> bool:
    return one.keys() == other.keys() and all(
        torch.allclose(one[name], other[name], rtol=tolerance, atol=tolerance) for name in one
    )


@pytest.mark.processor
@pytest.mark.parametrize(
    "config",
    [LITE, recipe_config("vgg11_bn", "fast", epochs=2, batch_size=16, pretrained=False, precision="float32")],
    ids=["efficientnet_lite0", "vgg11_bn"],
)
def test_it_is_the_same_training_as_with_the_whole_network(config: TrainConfig, tiles: TileSet) -> None:
    """Up to how sums are rounded in batches of another size; VGG's dropouts draw the same either way."""
    whole_events, whole = run(replace(config, source="memory"), tiles)
    events, features = run(config, tiles)
    for one, other in zip(whole, features, strict=True):
        last = {name: value for name, value in one.weights.items() if name in ("_fc.weight", "_fc.bias")} or {
            name: value for name, value in one.weights.items() if name.startswith("classifier.6")
        }
        assert close(last, {name: other.weights[name] for name in last}, 1e-4)
        assert torch.equal(one.predictions.predicted, other.predictions.predicted)
    for mine, theirs in zip(of_kind(EpochDone, events), of_kind(EpochDone, whole_events), strict=True):
        assert mine.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)


def test_only_the_trained_tensors_are_kept(tiles: TileSet) -> None:
    _, checkpoints = run(LITE, tiles)
    assert set(checkpoints[-1].weights) == {"_fc.weight", "_fc.bias"}
    _, drifting = run(replace(LITE, source="memory", frozen_norms=False, epochs=1), tiles)
    assert any(name.endswith("running_mean") for name in drifting[-1].weights)


def test_frozen_norms_do_not_drift(tiles: TileSet) -> None:
    config = replace(LITE, source="memory", pretrained=False)
    before = make_network(config, 2).state_dict()["_bn0.running_mean"].clone()
    for keep in (True, False):
        network = make_network(config, 2)
        set_mode(network, replace(config, frozen_norms=keep), training=True)
        network(torch.rand(4, 3, 64, 64))
        assert torch.equal(network.state_dict()["_bn0.running_mean"], before) == keep
    _, checkpoints = run(replace(config, frozen_norms=False, epochs=1), tiles)
    assert not torch.equal(checkpoints[-1].weights["_bn0.running_mean"], before)


def test_progress_is_told_and_counts_in_the_seconds(tiles: TileSet) -> None:
    events, _ = run(LITE, tiles)
    told = of_kind(FeaturesDone, events)
    assert (told[0].done, told[0].total) == (0, 40) and told[-1].done == 40
    assert of_kind(Finished, events)[0].seconds >= told[-1].seconds > 0
    again = of_kind(FeaturesDone, run(LITE, tiles)[0])
    assert [(each.done, each.total) for each in again] == [(0, 0)]  # they lie on the disk


def test_a_run_notes_how_many_tiles_it_computed_itself(tiles: TileSet) -> None:
    def noted(config: TrainConfig) -> dict[str, float]:
        work = Training(config)
        for event in work.events(tiles, 1):
            work.note(event)
        return work.summary()

    some = replace(LITE, epochs=1, tiles=20)
    assert [noted(each)["feature_tiles"] for each in (some, replace(some, tiles=None), some)] == [20, 20, 0]
    assert "feature_tiles" not in noted(replace(some, source="memory"))


def test_only_tiles_that_are_used_are_computed(tiles: TileSet) -> None:
    some = of_kind(FeaturesDone, run(replace(LITE, tiles=20), tiles)[0])
    assert some[-1].total == 20
    rest = of_kind(FeaturesDone, run(LITE, tiles)[0])
    assert rest[-1].total == 20


def cache_of(tiles: TileSet, config: TrainConfig = LITE) -> FeatureCache:
    network = make_network(config, 2, tiles.cache.parent).eval()
    preprocessing = preprocessing_for(config.model, True, config.input_side)
    return FeatureCache(config, tiles, network, torch.device("cpu"), preprocessing, torch.arange(len(tiles)))


@pytest.mark.processor
def test_the_values_are_what_the_network_says(tiles: TileSet) -> None:
    cache = cache_of(tiles)
    assert list(cache.fill()) == [40]
    network = make_network(LITE, 2, tiles.cache.parent).eval()
    with torch.no_grad():
        oracle = frozen_part(network, normalize(tiles.pixels, preprocessing_for("efficientnet_lite0")))
    assert torch.allclose(cache.values, oracle, rtol=1e-4, atol=1e-5)  # another memory layout, other rounding
    later = cache_of(tiles)
    assert later.missing == 0 and torch.equal(later.values, cache.values)
    later.release()


@pytest.mark.processor
def test_features_of_enlarged_tiles_are_another_cache(tiles: TileSet) -> None:
    """torch's own bicubic interpolation of the pixels, normalised afterwards, as the oracle."""
    plain = cache_of(tiles)
    list(plain.fill())
    larger = cache_of(tiles, replace(LITE, input_side=96))
    assert list(larger.fill()) == [40], "those of whole tiles are not taken for these"
    entry = CATALOG[LITE.model]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (entry.mean, entry.std))
    pixels = functional.interpolate(tiles.pixels.permute(0, 3, 1, 2).float(), size=(96, 96), mode="bicubic")
    network = make_network(LITE, 2, tiles.cache.parent).eval()
    with torch.no_grad():
        oracle = frozen_part(network, (pixels / 255 - mean) / std)
    assert torch.allclose(larger.values, oracle, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(plain.values, oracle, rtol=1e-3, atol=1e-1)


def test_features_of_a_card_name_how_they_were_multiplied(tiles: TileSet) -> None:
    """Earlier versions named no precision for a card's float32, which they multiplied in TF32."""

    def kept_by(config: TrainConfig) -> dict[str, object]:
        return frozen._depend_on(config, tiles, preprocessing_for(config.model), 1280)

    card = replace(LITE, device="cuda:0")
    kinds = [replace(card, precision=each) for each in ("float32", "tf32", "bfloat16")]
    assert [kept_by(each)["precision"] for each in kinds] == ["float32", "tf32", "bfloat16"]
    assert "precision" not in kept_by(LITE), "what a CPU kept stays known"
    assert kept_by(replace(card, device="cuda:1")) == kept_by(card)


def folder_of(tiles: TileSet) -> Path:
    (found,) = [each for each in (tiles.cache.parent / "features").iterdir() if each.is_dir()]
    return found


def test_a_stopped_computation_goes_on_where_it_stopped(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "BATCH", 16)
    pull = train(LITE, tiles)
    for event in pull:
        if isinstance(event, FeaturesDone) and event.done:
            break
    pull.close()
    known = np.fromfile(folder_of(tiles) / "known.u8", dtype=np.uint8)
    assert 16 <= known.sum() < 40
    cache = cache_of(tiles)  # the lock was let go of
    assert cache.missing == 40 - known.sum()
    cache.release()


@pytest.mark.processor
@pytest.mark.parametrize("spoil", ["features.f32", "known.u8"])
@pytest.mark.parametrize("how", ["short", "gone"])
def test_a_damaged_cache_is_computed_anew(how: str, spoil: str, tiles: TileSet) -> None:
    first = cache_of(tiles)
    list(first.fill())
    values = first.values.clone()
    path = folder_of(tiles) / spoil
    path.unlink()  # what `first` has mapped stays
    if how == "short":
        path.write_bytes(b"short")
    cache = cache_of(tiles)
    assert cache.missing == 40
    assert torch.equal(first.values, values)  # a run that still trains on them keeps them
    list(cache.fill())
    assert torch.equal(cache.values, values)


def test_random_weights_leave_nothing_on_the_disk(tiles: TileSet) -> None:
    list(cache_of(tiles, replace(LITE, pretrained=False)).fill())
    assert not (tiles.cache.parent / "features").exists()


def test_two_at_once_compute_once(tiles: TileSet) -> None:
    first = cache_of(tiles)
    done: list[int] = []

    def second() -> None:
        cache = cache_of(tiles)
        done.append(cache.missing)
        cache.release()

    thread = threading.Thread(target=second)
    thread.start()
    list(first.fill())
    thread.join(20)
    assert done == [0]


def test_the_caches_stay_bounded(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tiles.cache.parent / "features" / "old"
    old.mkdir(parents=True)
    (old / "features.f32").write_bytes(bytes(5000))
    monkeypatch.setattr(frozen, "_MAX_BYTES", 1000)
    cache_of(tiles).release()
    assert not old.exists() and folder_of(tiles).exists()


def test_a_cache_in_use_is_not_forgotten(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = cache_of(tiles)
    folder = folder_of(tiles)
    monkeypatch.setattr(frozen, "_MAX_BYTES", 1000)
    other = replace(tiles, fingerprint="other")
    cache_of(other).release()
    assert folder.exists()
    list(busy.fill())
    assert len(np.fromfile(folder / "known.u8", dtype=np.uint8).nonzero()[0]) == 40
    cache_of(other).release()
    assert not folder.exists()


def test_a_full_disk_is_said(tiles: TileSet) -> None:
    shutil.rmtree(tiles.cache.parent / "features", ignore_errors=True)
    (tiles.cache.parent / "features").write_text("in the way")
    with pytest.raises(DataError, match="from memory"):
        cache_of(tiles)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room on a disk")
def test_room_is_reserved_before_anything_is_computed(tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write to a mapped file that finds the disk full would kill the process (SIGBUS)."""

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        with pytest.raises(DataError, match=r"No space.*from memory"):
            cache_of(tiles)
        assert not list(folder_of(tiles).iterdir())  # what was reserved is given back
    cache = cache_of(tiles)  # the lock was let go of
    status = (folder_of(tiles) / "features.f32").stat()
    assert status.st_blocks * 512 >= status.st_size == cache.values.numel() * 4
    list(cache.fill())
    monkeypatch.setattr(os, "posix_fallocate", full)
    assert cache_of(tiles).missing == 0  # nothing is written, so nothing is reserved


def test_missing_weights_are_said_before_the_first_step(tiles: TileSet) -> None:
    with pytest.raises(DataError, match="vgg11_bn"):
        next(train(recipe_config("vgg11_bn", "fast"), tiles))


def test_what_stands_still_is_computed_once_for_the_validation_part() -> None:
    values, labels = torch.randn(40, 6), torch.arange(40) % 4
    split = Split(torch.arange(8), torch.arange(8, 40))
    seen: list[int] = []

    def still(tiles: torch.Tensor) -> torch.Tensor:
        seen.append(len(tiles))
        return tiles.relu()

    source = FeatureSource(values, labels, split, torch.device("cpu"), batch_size=8, seed=1, fixed_head=still)
    next(iter(source.validation()))  # left before its end: nothing is kept of it
    first, second = list(source.validation()), list(source.validation())
    assert sum(seen) == 32 + len(first[0].labels)
    assert torch.equal(torch.cat([each.tiles for each in second]), values[8:].relu())
    assert torch.equal(torch.cat([each.labels for each in second]), labels[8:])
    assert torch.equal(torch.cat([each.tiles for each in source.train(1)]).sort(0).values, values[:8].sort(0).values)


CONFIG = TrainConfig(source="memory", epochs=1)
ROUGH = replace(CONFIG, precision="bfloat16", channels_last=True)


def test_networks_differ_by_seed_only() -> None:
    before = torch.get_rng_state()
    one, again, other = (make_network(replace(CONFIG, seed=seed), 4).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.processor
def test_lower_precision_gives_float32_scores_close_by() -> None:
    network, tiles = make_network(CONFIG, 4), torch.rand(5, 3, 64, 64)
    exact, rough = scores_of(network, tiles, "float32"), scores_of(network, tiles, "bfloat16")
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0.05, atol=0.02)
    assert not torch.is_autocast_enabled("cpu")


@pytest.mark.processor
@pytest.mark.parametrize(
    "config",
    [CONFIG, ROUGH, replace(CONFIG, batch_size=7), replace(CONFIG, source="loader", workers=0)],
    ids=["memory", "bfloat16", "small batches", "loader"],
)
def test_kept_weights_predict_what_the_run_told(config: TrainConfig, small_tiles: TileSet) -> None:
    kept: list[Checkpoint] = []
    list(train(config, small_tiles, kept.append))
    told, numbers = kept[-1].predictions, split_for(config, small_tiles).validation
    network = make_network(replace(config, seed=config.seed + 1), 4)
    network.load_state_dict(kept[-1].weights)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    predicted, confidence = predict(network, evaluation_batches(config, small_tiles, numbers), config)
    assert torch.equal(told.tiles, numbers)
    assert torch.equal(told.true, small_tiles.labels[numbers])
    assert torch.equal(told.predicted, predicted)
    torch.testing.assert_close(told.confidence, confidence, rtol=0, atol=1e-5)
    assert 0.25 <= confidence.min() <= confidence.max() <= 1


def test_predicting_leaves_no_gradient_and_uses_evaluation_mode(small_tiles: TileSet) -> None:
    network = make_network(CONFIG, 4)
    batches = list(evaluation_batches(CONFIG, small_tiles, torch.arange(10)))
    predicted, confidence = predict(network, iter(batches), CONFIG)
    assert not network.training
    assert not confidence.requires_grad
    assert torch.is_grad_enabled()
    scores = network(batches[0].tiles)
    assert torch.equal(predicted, scores.argmax(1))
    torch.testing.assert_close(confidence, functional.softmax(scores, 1).max(1).values)


@pytest.mark.processor
def test_a_prediction_over_symmetries_is_the_mean_of_eight() -> None:
    config = TrainConfig(source="memory")
    network = make_network(config, 10)
    tiles = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    batches = [Batch(each, torch.zeros(len(each), dtype=torch.int64)) for each in tiles.split(4)]
    predicted, confidence = predict(network, iter(batches), config, symmetries=True)
    sides = (tiles.numpy(), tiles.flip(3).numpy())
    views = [torch.from_numpy(np.rot90(each, turns, (2, 3)).copy()) for each in sides for turns in range(4)]
    with torch.no_grad():
        mean = sum(network(each).softmax(1) for each in views) / 8
    torch.testing.assert_close(confidence, mean.max(1).values)
    assert torch.equal(predicted, mean.argmax(1))
    _, plain = predict(network, iter(batches), config)
    assert not torch.allclose(plain, confidence)
