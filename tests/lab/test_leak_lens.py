"""The leak lens over plain features: once for everybody, in turns, by the split of a run, never by its test part."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_engine import tiles_used

from eurosat_core.data.splits import Split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab import jobs, leak_lens
from eurosat_core.lab.inspection import Inspector
from eurosat_core.lab.jobs import run_job
from eurosat_core.lab.leak_lens import LeakLens, kept_features
from eurosat_core.lab.messages import JobResult
from eurosat_core.lab.queue import claim, waiting_run
from eurosat_core.lab.trained_weights import load_network
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training import few_labels, near_duplicates, neighbours
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.frozen import LAST, FeatureForm
from eurosat_core.training.network import make_network
from eurosat_core.training.transfer import transfer_config

NONE = torch.empty(0, dtype=torch.int64)


def features_of(tiles: TileSet) -> torch.Tensor:
    """Every fourth pixel's colours, in place of a network's answers."""
    return tiles.pixels[:, ::8, ::8].flatten(1).float() / 255


@pytest.fixture
def lens(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LeakLens:
    monkeypatch.setattr(leak_lens, "kept_features", lambda _config, tiles, *_: features_of(tiles))
    monkeypatch.setattr(
        leak_lens, "staged_part", lambda _network, batch: batch[:, :, ::8, ::8].movedim(1, 3).flatten(1)
    )
    monkeypatch.setattr(leak_lens, "normalize", lambda pixels, _how: pixels.movedim(3, 1).float() / 255)
    monkeypatch.setattr(leak_lens, "make_network", lambda *_: torch.nn.Identity())
    return LeakLens(store, Inspector(store), tmp_path)


@pytest.fixture
def run(store: RunStore, small_tiles: TileSet) -> RunRecord:
    """Trained on the even tiles, and right about every odd one but the first."""
    record = store.create(recipe_config("baseline"), "ada", tiles_used(small_tiles))
    odd = np.arange(1, len(small_tiles), 2)
    true = small_tiles.label_array[odd]
    said = true.copy()
    said[0] += 1
    archive = io.BytesIO()
    np.savez(archive, tiles=odd, true=true, predicted=said, confidence=np.ones(len(odd), dtype=np.float32))
    even = list(range(0, len(small_tiles), 2))
    split = json.dumps({"train": even, "validation": odd.tolist()}).encode()
    store.save(record.id, {"split.json": split, "predictions.npz": archive.getvalue()})
    return record


@pytest.mark.parametrize("how", ["cpu float32", "mps float32", "cuda float32"])
def test_features_are_found_however_they_were_computed(
    how: str, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = np.memmap(tmp_path / "features.f32", dtype=np.float32, mode="w+", shape=(200, 3))
    values[:] = np.arange(200)[:, None]
    known = np.zeros(200, dtype=bool)

    def kept(config: TrainConfig, _tiles: TileSet, form: FeatureForm) -> tuple[np.ndarray, np.ndarray] | None:
        assert form == LAST
        return (values, known) if f"{config.device} {config.precision}" == how else None

    monkeypatch.setattr(leak_lens, "known_features", kept)
    known[1:] = True
    assert kept_features(transfer_config(), small_tiles, LAST) is None
    assert kept_features(transfer_config(), small_tiles, LAST, torch.arange(1, 9)) is not None, "enough for these"
    known[0] = True
    found = kept_features(transfer_config(), small_tiles, LAST)
    assert found is not None and torch.equal(found, torch.arange(200.0)[:, None].expand(200, 3))
    found[0] = 7  # of its own: what is kept stays
    assert values[0, 0] == 0


def by_place(tiles: TileSet) -> np.ndarray:
    """Tiles in turns in the lists for training, validation and test."""
    return (np.arange(len(tiles)) % 3).astype(np.int8)


def test_the_splits_are_judged_by_brute_force_alike(lens: LeakLens, small_tiles: TileSet) -> None:
    parts = by_place(small_tiles)
    place = lens.split(small_tiles, parts, "place", 0)
    assert place.tiles.tolist() == np.flatnonzero(parts == 1).tolist()
    assert place.train_tiles == int((parts == 0).sum())
    assert set(place.nearest.tolist()) <= set(np.flatnonzero(parts == 0).tolist())
    deviation, mean = torch.std_mean(features_of(small_tiles), dim=0)
    units = torch.nn.functional.normalize((features_of(small_tiles) - mean) / deviation)
    cosine = units[place.tiles] @ units[torch.from_numpy(np.flatnonzero(parts == 0))].T
    assert torch.allclose(place.similarity, cosine.max(1).values, atol=0.02)  # 128 components of 192
    random = lens.split(small_tiles, parts, "random", 0)
    assert random.near is not None and len(random.tiles) + random.train_tiles == round(0.8 * len(small_tiles))


def test_without_lists_there_is_no_near_duplicate(lens: LeakLens, small_tiles: TileSet) -> None:
    found = lens.split(small_tiles, None, "random", 0)
    assert found.near is None and found.share is None and len(found.similarity) == len(found.tiles)


def test_a_twin_in_training_is_a_near_duplicate(
    lens: LeakLens, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies of training tiles among the validation tiles are found, and little else."""
    features = torch.randn(len(small_tiles), 60, generator=torch.Generator().manual_seed(0))
    parts = by_place(small_tiles)
    training, validation = np.flatnonzero(parts == 0), np.flatnonzero(parts == 1)
    features[validation[:10]] = features[training[20:30]] + 0.01
    monkeypatch.setattr(leak_lens, "kept_features", lambda *_: features)
    found = lens.split(small_tiles, parts, "place", 0)
    assert found.near is not None and found.near[:10].all()
    assert found.nearest[:10].tolist() == training[20:30].tolist()
    assert int(found.near[10:].sum()) <= 3


def test_a_run_is_judged_on_its_own_split(lens: LeakLens, run: RunRecord, small_tiles: TileSet) -> None:
    found = lens.run(small_tiles, by_place(small_tiles), run.id)
    assert found.right is not None and not found.right[0] and found.right[1:].all()
    assert (found.nearest % 2 == 0).all() and (found.tiles % 2 == 1).all()


@pytest.mark.parametrize("number", [0, 1])
def test_one_tile_is_not_its_own_neighbour(lens: LeakLens, run: RunRecord, small_tiles: TileSet, number: int) -> None:
    seen = lens.one(small_tiles, by_place(small_tiles), run.id, small_tiles.array[number])
    assert len(seen.numbers) == leak_lens.COUNT and number not in seen.numbers
    assert all(each % 2 == 0 for each in seen.numbers) and seen.near is not None
    assert list(seen.similarity) == sorted(seen.similarity, reverse=True)
    assert lens.one(small_tiles, None, run.id, small_tiles.array[number]).near is None


def test_what_is_missing_is_said(
    lens: LeakLens, run: RunRecord, store: RunStore, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError):
        lens.run(replace(small_tiles, fingerprint="others"), None, run.id)
    store.save(run.id, {"split.json": b"{}"})
    with pytest.raises(RunError):
        lens.one(small_tiles, None, run.id, small_tiles.array[0])
    monkeypatch.setattr(leak_lens, "kept_features", lambda *_: None)
    others = replace(small_tiles, fingerprint="others")
    assert not lens.is_ready(others)
    with pytest.raises(RunError):
        lens.split(others, None, "random", 0)
    assert lens.is_ready(small_tiles)  # in memory


def test_a_room_has_it_worked_out_once_and_in_turns(
    lens: LeakLens, small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK", 8)
    turns, spaces = [0], [0]
    alone = lens._inspector.alone

    @contextmanager
    def counted() -> Iterator[None]:
        turns[0] += 1
        with alone():
            yield

    find = leak_lens.find_space

    def found(features: torch.Tensor, used: torch.Tensor) -> Iterator[near_duplicates.Space | None]:
        spaces[0] += 1
        return find(features, used)

    monkeypatch.setattr(lens._inspector, "alone", counted)
    monkeypatch.setattr(leak_lens, "find_space", found)
    parts = by_place(small_tiles)
    threads = [threading.Thread(target=lens.split, args=(small_tiles, parts, "place", 0)) for _ in range(30)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=30)
    assert spaces == [1] and 8 < turns[0] < 60
    before = turns[0]
    lens.split(small_tiles, parts, "place", 0)
    assert turns[0] == before


# -- a run's own features


@pytest.fixture
def trained(store: RunStore, small_tiles: TileSet, run: RunRecord) -> RunRecord:
    """The same run with a network and its split's parts in it."""
    network = make_network(run.config, len(small_tiles.class_names))
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    store.save(run.id, {"model.pt": buffer.getvalue()})
    return run


def hidden(network: torch.nn.Module, tiles: TileSet) -> torch.Tensor:
    """What the baseline's last layer gets, layer by layer."""
    pixels = (tiles.pixels.movedim(3, 1).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        found = network.pool2(torch.relu(network.conv2(network.pool1(torch.relu(network.conv1(pixels)))))).flatten(1)
        return torch.relu(network.fc2(torch.relu(network.fc1(found))))


def computed(lens: LeakLens, store: RunStore, tiles: TileSet, run: RunRecord) -> JobResult:
    """As the queue and a worker do it."""
    config, plan = lens.request(run.id)
    asked = store.create(config, "ada", tiles_used(tiles), "transfer", plan.to_dict())
    waiting = waiting_run(asked, None, 1)
    job, lock = claim(store, waiting, tiles, 1) or pytest.fail("it can begin")
    lock.release()
    return run_job(job, lambda _events: None)


def test_a_runs_own_features_are_what_its_last_layer_gets(
    store: RunStore, trained: RunRecord, small_tiles: TileSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_labels, "split_for", lambda *_: Split(*(torch.arange(at, 200, 2) for at in (0, 1)), NONE))
    tiles = replace(small_tiles, cache=tmp_path / "cache" / small_tiles.cache.name)
    monkeypatch.setattr(jobs, "tiles_for", lambda *_: tiles)
    lens = LeakLens(store, Inspector(store), tmp_path)
    assert not lens.is_ready(tiles, trained.id)
    assert computed(lens, store, tiles, trained).state == "finished"
    assert lens.is_ready(tiles, trained.id)
    values = hidden(load_network(store, trained.id), small_tiles)
    deviation, mean = torch.std_mean(values, dim=0)
    units = torch.nn.functional.normalize((values - mean) / deviation.clamp_min(1e-6))
    found = lens.run(tiles, None, trained.id, own=True)
    cosine = units[1::2] @ units[0::2].T
    torch.testing.assert_close(found.similarity, cosine.max(1).values, atol=1e-3, rtol=0)
    assert found.near is None and found.right is not None
    seen = lens.one(tiles, by_place(tiles), trained.id, tiles.array[3], own=True)
    torch.testing.assert_close(torch.tensor(seen.similarity), cosine[1].topk(5).values, atol=1e-3, rtol=0)
    assert seen.near is None
    store.save(trained.id, {"model.pt": store.load(trained.id, "model.pt") + b"others"})
    assert not LeakLens(store, Inspector(store), tmp_path).is_ready(tiles, trained.id), "of other weights"


def test_without_a_network_there_are_no_features_of_its_own(
    lens: LeakLens, run: RunRecord, small_tiles: TileSet
) -> None:
    with pytest.raises(RunError):
        lens.is_ready(small_tiles, run.id)
    with pytest.raises(RunError):
        lens.one(small_tiles, None, run.id, small_tiles.array[0], own=True)
