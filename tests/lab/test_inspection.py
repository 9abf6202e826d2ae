"""The interactive lane: layers and filters of the bundled network and of runs, bounded, damaged, missing."""

import io
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_engine import CONFIG, OpenFake, wait_for_state
from torch import nn

from eurosat_core.data.batches import normalize
from eurosat_core.data.pictures import Pixels
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import RunError
from eurosat_core.lab import inspection
from eurosat_core.lab.inspection import AFTER, BEFORE, MAPS, RECORDED, Inspector
from eurosat_core.lab.train import epoch_file
from eurosat_core.models.recorded import recorded_network
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.network import make_network, preprocessing_for


@pytest.fixture
def tile() -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def inspector(store: RunStore) -> Inspector:
    return Inspector(store)


def given(tile: Pixels) -> torch.Tensor:
    """The tile as the baseline gets it."""
    return normalize(torch.from_numpy(tile)[None], preprocessing_for("baseline"))


def run_with(store: RunStore, used: TilesUsed, network: nn.Module | None = None, name: str = "model.pt") -> RunRecord:
    """A finished run that kept these weights (else those it was initialised with)."""
    record = store.create(CONFIG, "ada", used)
    network = network or make_network(CONFIG, len(used.class_names))
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    store.save(record.id, {name: buffer.getvalue()})
    return store.update(record.id, state="finished")


def test_every_layer_of_the_bundled_network_is_torchs(inspector: Inspector, tile: Pixels) -> None:
    seen = inspector.look(RECORDED, tile)
    assert [each.name for each in seen.layers] == [
        "Conv2d-1",
        "MaxPool2d-2",
        "Conv2d-3",
        "MaxPool2d-4",
        "Linear-5",
        "Linear-6",
        "Linear-7",
    ]
    network = recorded_network()
    with torch.no_grad():
        first = network.conv1(given(tile))
        pooled = network.pool1(first.relu())
        second = network.conv2(pooled)
        scores = network(given(tile))
    conv1, pool1, conv2 = seen.layers[:3]
    assert (conv1.path, conv1.shape, conv1.kind) == ("conv1", (6, 60, 60), "Conv2d")
    for layer, oracle in ((conv1, first), (pool1, pooled), (conv2, second)):
        assert layer.maps is not None
        np.testing.assert_allclose(layer.maps, oracle[0, :MAPS].numpy(), atol=1e-5)
        assert layer.silent == int((oracle[0].flatten(1).amax(1) <= 0).sum())
        assert (layer.lowest, layer.highest) == pytest.approx((oracle.min().item(), oracle.max().item()), abs=1e-5)
    last = seen.layers[-1].neurons
    assert last is not None
    np.testing.assert_allclose(last, scores[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(seen.probabilities, scores.softmax(1)[0].numpy(), atol=1e-6)


def test_before_training_is_the_network_of_the_runs_seed(
    inspector: Inspector, store: RunStore, used: TilesUsed, tile: Pixels
) -> None:
    trained = make_network(replace(CONFIG, seed=7), len(used.class_names))
    run = run_with(store, used, trained)
    before, after = inspector.look(run.id, tile, BEFORE), inspector.look(run.id, tile, AFTER)
    for seen, network in ((before, make_network(CONFIG, 4)), (after, trained)):
        with torch.no_grad():
            oracle = network.eval()(given(tile)).softmax(1)[0].numpy()
        np.testing.assert_allclose(seen.probabilities, oracle, atol=1e-5)
    assert before.class_names == used.class_names
    assert not np.array_equal(before.probabilities, after.probabilities)


def test_epoch_by_epoch_where_a_run_kept_them(
    inspector: Inspector, store: RunStore, used: TilesUsed, tile: Pixels
) -> None:
    run = run_with(store, used)
    assert inspector.epochs(run.id) == []
    for epoch in (2, 1):
        buffer = io.BytesIO()
        torch.save(make_network(replace(CONFIG, seed=epoch), len(used.class_names)).state_dict(), buffer)
        store.save(run.id, {epoch_file(epoch): buffer.getvalue()})
    assert inspector.epochs(run.id) == [1, 2]
    answers = {stage: inspector.look(run.id, tile, stage).probabilities[0] for stage in (BEFORE, 1, 2)}
    assert len(set(answers.values())) == 3
    with pytest.raises(RunError):
        inspector.look(run.id, tile, 3)


def test_the_filters_of_the_first_layer(inspector: Inspector, store: RunStore, used: TilesUsed) -> None:
    layer = inspector.first_layer(RECORDED)
    assert (layer.weights.shape, layer.biases.shape) == ((6, 3, 5, 5), (6,))
    assert (layer.stride, layer.padding) == (1, 0)
    np.testing.assert_array_equal(layer.weights, recorded_network().conv1.weight.detach().numpy())
    run = run_with(store, used)
    fresh = make_network(CONFIG, 4).conv1
    np.testing.assert_array_equal(inspector.first_layer(run.id, BEFORE).biases, fresh.bias.detach().numpy())


@pytest.mark.parametrize(("padding", "found"), [("same", 1), ("valid", 0), (2, 2)])
def test_a_layer_without_bias_and_with_padding_in_words(padding: str | int, found: int) -> None:
    layer = inspection._first_layer(nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding, bias=False)))
    assert (layer.padding, layer.biases.tolist()) == (found, [0.0] * 4)


def test_a_network_without_a_convolution_is_said() -> None:
    with pytest.raises(RunError, match="no convolution"):
        inspection._first_layer(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)))


def test_layers_that_work_in_place_do_not_change_what_was_seen() -> None:
    network = nn.Sequential(nn.Conv2d(3, 20, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(20 * 62 * 62, 200))
    layers, scores = inspection._record(network.eval(), torch.randn(1, 3, 64, 64))
    assert layers[0].lowest < 0 <= layers[1].lowest
    assert layers[0].maps is not None
    assert layers[0].maps.shape == (MAPS, 62, 62)
    assert layers[0].shape == (20, 62, 62)
    assert layers[3].neurons is not None
    assert len(layers[3].neurons) == inspection.NEURONS
    assert scores.shape == (1, 200)


def test_damaged_weights_and_missing_runs_get_a_sentence(
    inspector: Inspector, store: RunStore, used: TilesUsed, tile: Pixels
) -> None:
    run = run_with(store, used)
    store.save(run.id, {"model.pt": b"no weights"})
    with pytest.raises(RunError, match="damaged"):
        inspector.look(run.id, tile)
    for bad in ("20200101-000000-baseline-abcd", "../evil"):
        with pytest.raises(RunError):
            inspector.look(bad, tile)
        with pytest.raises(RunError):
            inspector.first_layer(bad)


def test_weights_that_were_replaced_are_read_again(
    inspector: Inspector, store: RunStore, used: TilesUsed, tile: Pixels
) -> None:
    run = run_with(store, used)
    first = inspector.look(run.id, tile)
    assert inspector.look(run.id, tile) is first
    buffer = io.BytesIO()
    torch.save(make_network(replace(CONFIG, seed=9), len(used.class_names)).state_dict(), buffer)
    store.save(run.id, {"model.pt": buffer.getvalue()})
    assert inspector.look(run.id, tile) is not first


def test_networks_and_results_kept_are_few(
    store: RunStore, used: TilesUsed, tile: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "_RESULTS_KEPT", 2)
    monkeypatch.setattr(inspection, "_PARAMETERS_KEPT", 400_000)
    inspector = Inspector(store)
    run = run_with(store, used)
    for stage in (BEFORE, AFTER):
        for shade in range(3):
            inspector.look(run.id, tile // (shade + 1), stage)
    assert len(inspector._networks) == 1
    assert len(inspector._seen) == 2


def test_too_large_a_network_is_refused(inspector: Inspector, tile: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_LARGEST_NETWORK", 1000)
    with pytest.raises(RunError, match="338,486 parameters"):
        inspector.look(RECORDED, tile)


def test_one_at_a_time_and_the_threads_are_given_back(
    inspector: Inspector, tile: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    inspector.look(RECORDED, tile)
    assert torch.get_num_threads() == before
    monkeypatch.setattr(inspection, "_WAIT_SECONDS", 0.05)
    inspector._one.acquire()
    try:
        assert inspector.look(RECORDED, tile).layers  # known already: nobody is waited for
        with pytest.raises(RunError, match="other networks just now"):
            inspector.look(RECORDED, tile // 2)
    finally:
        inspector._one.release()


def test_many_participants_at_once(inspector: Inspector, tile: Pixels) -> None:
    problems: list[BaseException] = []

    def ask(shade: int) -> None:
        try:
            assert inspector.look(RECORDED, tile // (shade + 1)).probabilities.sum() == pytest.approx(1, abs=1e-5)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=ask, args=(shade,)) for shade in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert problems == []


def test_own_runs_with_a_network(inspector: Inspector, store: RunStore, used: TilesUsed) -> None:
    kept = run_with(store, used)
    without = store.create(CONFIG, "ada", used)
    store.update(without.id, state="failed")
    assert [each.id for each in inspector.trained("ada")] == [kept.id]
    assert inspector.trained("bob") == []


def test_a_run_that_was_really_trained(open_fake: OpenFake, small_tiles: TileSet, tmp_path: Path) -> None:
    lab, engine = open_fake()
    run = lab.submit(CONFIG, "ada")
    engine.work(run.id)
    wait_for_state(lab, run.id, "finished")
    inspector = Inspector(lab.store)
    seen = inspector.look(run.id, small_tiles.array[0])
    assert seen.class_names == small_tiles.class_names
    assert seen.probabilities.sum() == pytest.approx(1, abs=1e-5)
