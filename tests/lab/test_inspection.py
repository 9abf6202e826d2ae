"""The interactive lane: what networks make of a tile and answer to many; bounded, in turns, damaged, sealed."""

import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_engine import CONFIG, OpenFake, trained
from PIL import Image
from torch import nn

from eurosat_core.data.batches import normalize
from eurosat_core.data.pictures import Pixels
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import DataError, RunError
from eurosat_core.lab import inspection, predict
from eurosat_core.lab.inspection import AFTER, BEFORE, MAPS, Inspector
from eurosat_core.lab.messages import OWNER as COMMAND_LINE
from eurosat_core.lab.predict import Predictor, Wanted
from eurosat_core.lab.train import epoch_file
from eurosat_core.models.recorded import RECORDED, recorded_network
from eurosat_core.models.saliency import where_looked
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.network import make_network, preprocessing_for


@pytest.fixture
def tile() -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def inspector(store: RunStore) -> Inspector:
    return Inspector(store)


@pytest.fixture
def predictor(store: RunStore) -> Predictor:
    return Predictor(store, Inspector(store))


def given(tile: Pixels) -> torch.Tensor:
    """The tile as the baseline gets it."""
    return normalize(torch.from_numpy(tile)[None], preprocessing_for("baseline"))


def run_with(store: RunStore, used: TilesUsed, network: nn.Module | None = None) -> RunRecord:
    """A finished run that kept these weights (else those it was initialised with)."""
    record = store.create(CONFIG, "ada", used)
    put_weights(store, record.id, network or make_network(CONFIG, len(used.class_names)))
    return store.update(record.id, state="finished")


def put_weights(store: RunStore, run_id: str, network: nn.Module, name: str = "model.pt") -> None:
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    store.save(run_id, {name: buffer.getvalue()})


@pytest.mark.processor
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
        put_weights(store, run.id, make_network(replace(CONFIG, seed=epoch), 4), epoch_file(epoch))
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


def test_one_at_a_time_and_the_threads_are_given_back(
    inspector: Inspector, predictor: Predictor, tile: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    inspector.look(RECORDED, tile)
    assert torch.get_num_threads() == before
    monkeypatch.setattr(inspection, "_WAIT_SECONDS", 0.05)
    asking = (inspector.look, lambda *asked: predictor.where(*asked, 0), predictor.answer)
    with inspector.borrowed(RECORDED), predictor._inspector.borrowed(RECORDED):
        assert inspector.look(RECORDED, tile).layers  # known already: nobody is waited for
        for ask in asking:
            with pytest.raises(RunError):
                ask(RECORDED, tile // 2)


def test_many_participants_at_once(inspector: Inspector, tile: Pixels) -> None:
    with ThreadPoolExecutor(8) as participants:
        seen = list(participants.map(lambda shade: inspector.look(RECORDED, tile // (shade + 1)), range(8)))
    assert [each.probabilities.sum() for each in seen] == pytest.approx([1] * 8, abs=1e-5)


def test_damaged_weights_and_missing_runs_get_a_sentence(
    inspector: Inspector, predictor: Predictor, store: RunStore, used: TilesUsed, tile: Pixels
) -> None:
    run = run_with(store, used)
    store.save(run.id, {"model.pt": b"no weights"})
    for ask in (inspector.look, predictor.answer):
        with pytest.raises(RunError, match="damaged"):
            ask(run.id, tile)
    for bad in ("20200101-000000-baseline-abcd", "../evil"):
        for look in (inspector.first_layer, lambda run_id: inspector.look(run_id, tile)):
            with pytest.raises(RunError):
                look(bad)
        with pytest.raises(RunError):
            predictor.networks("ada", bad)


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
    with pytest.raises(RunError, match="338,486"):
        inspector.look(RECORDED, tile)


def test_own_runs_with_a_network(inspector: Inspector, store: RunStore, used: TilesUsed) -> None:
    kept = run_with(store, used)
    without = store.create(CONFIG, "ada", used)
    store.update(without.id, state="failed")
    assert [each.id for each in inspector.trained("ada")] == [kept.id]
    assert inspector.trained("bob") == []


def tiles(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def oracle(pixels: np.ndarray, network: torch.nn.Module | None = None) -> np.ndarray:
    network = network or recorded_network()
    with torch.no_grad():
        return network(normalize(torch.from_numpy(pixels), preprocessing_for("baseline"))).softmax(1).numpy()


@pytest.fixture
def sizes(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How large the batches were, which from now on each take ten seconds of a clock that only they move."""
    asked: list[int] = []
    now = 0.0
    real = predictor._probabilities

    def slow(run_id: str, made: np.ndarray) -> np.ndarray:
        nonlocal now
        now += 10.0
        asked.append(len(made))
        return real(run_id, made)

    monkeypatch.setattr(predictor, "_probabilities", slow)
    monkeypatch.setattr(predict.time, "monotonic", lambda: now)
    return asked


def test_many_tiles_are_known_afterwards(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tiles(50)
    assert predictor.so_far(RECORDED, made).done == 0
    np.testing.assert_allclose(predictor.answer(RECORDED, made[0]), oracle(made[:1])[0], atol=1e-5)
    answers = predictor.ask(RECORDED, made)
    assert answers.is_complete
    np.testing.assert_allclose(answers.probabilities, oracle(made), atol=1e-5)
    monkeypatch.setattr(predictor, "_probabilities", lambda *_: pytest.fail("was computed again"))
    assert predictor.ask(RECORDED, made) is answers
    assert predictor.so_far(RECORDED, made) is answers


def test_batches_are_bounded_by_time(predictor: Predictor, sizes: list[int]) -> None:
    predictor.ask(RECORDED, tiles(12))
    assert sizes == [8, 1, 1, 1, 1]


def test_when_the_time_is_up_it_stops_and_later_goes_on(predictor: Predictor, sizes: list[int]) -> None:
    made = tiles(12)
    assert predictor.ask(RECORDED, made, 15.0).done == 9
    assert predictor.so_far(RECORDED, made).done == 9
    assert predictor.ask(RECORDED, made, 0.0).is_complete
    assert sizes == [8, 1, 3]
    np.testing.assert_allclose(predictor.so_far(RECORDED, made).probabilities, oracle(made), atol=1e-5)


def test_others_have_their_turn_between_batches(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "_LARGEST_BATCH", 1)
    made = tiles(500)
    first = threading.Thread(target=predictor.ask, args=(RECORDED, made))
    first.start()
    predictor.answer(RECORDED, tiles(1, seed=9)[0])
    assert not predictor.so_far(RECORDED, made).is_complete
    first.join()
    assert predictor.so_far(RECORDED, made).is_complete


def test_little_is_kept_but_what_is_in_use(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "_KEPT", 3)
    predictor = Predictor(store, Inspector(store))
    tile, made = tiles(1)[0], tiles(2)
    looked, answers = predictor.where(RECORDED, tile, 0), predictor.ask(RECORDED, made)
    for seed in range(1, 6):
        predictor.answer(RECORDED, tiles(1, seed)[0])
        predictor.where(RECORDED, tiles(1, seed)[0], 0)
        assert predictor.so_far(RECORDED, made) is answers, "single tiles do not push a map out"
        predictor.ask(RECORDED, tiles(2, seed))
        assert predictor.where(RECORDED, tile, 0) is looked
        assert predictor.so_far(RECORDED, made) is answers
    assert (len(predictor._answers), len(predictor._looked), len(predictor._maps)) == (3, 3, 3)


def test_where_it_looked_is_that_of_its_network(predictor: Predictor) -> None:
    tile = tiles(1)[0]
    found = predictor.where(RECORDED, tile, 4)
    np.testing.assert_allclose(found.heat, where_looked(recorded_network(), given(tile), 4).heat, atol=1e-5)
    assert predictor.where(RECORDED, tile, 4) is found
    assert predictor.where(RECORDED, tile, 5) is not found


def test_weights_that_were_replaced_are_asked_anew(predictor: Predictor, store: RunStore, used: TilesUsed) -> None:
    run = run_with(store, used)
    tile = tiles(1)[0]
    first = predictor.answer(run.id, tile)
    assert predictor._inspector.look(run.id, tile) is predictor._inspector.look(run.id, tile), "until then once"
    other = make_network(replace(CONFIG, seed=77), 4)
    put_weights(store, run.id, other)
    second = predictor.answer(run.id, tile)
    assert not np.allclose(first, second)
    np.testing.assert_allclose(second, oracle(tile[None], other.eval())[0], atol=1e-5)


def test_which_networks_can_be_asked(predictor: Predictor, store: RunStore, used: TilesUsed) -> None:
    mine, other = run_with(store, used), run_with(store, used)
    store.update(other.id, owner="bob")
    prepared = run_with(store, used)
    store.update(prepared.id, owner=COMMAND_LINE)
    without = store.create(CONFIG, "ada", used)
    assert [each.id for each in predictor.networks("ada")] == [mine.id, prepared.id]
    assert [each.id for each in predictor.networks("ada", other.id)] == [mine.id, prepared.id, other.id]
    assert [each.id for each in predictor.networks("ada", RECORDED)] == [mine.id, prepared.id]
    assert without.id not in [each.id for each in predictor.networks("ada", without.id)]


@pytest.mark.processor
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_answers_are_those_that_the_run_noted(open_fake: OpenFake, small_tiles: TileSet, precision: str) -> None:
    lab, engine = open_fake()
    run = trained(lab, engine, replace(CONFIG, precision=precision, sealed_test=True))
    noted = lab.results.predictions(run.id)
    assert noted is not None
    answers = lab.predictor.ask(run.id, small_tiles.array[noted.tiles.numpy()])
    np.testing.assert_array_equal(answers.probabilities.argmax(1), noted.predicted.numpy())
    # Other batches add up in another order; bfloat16 keeps eight bits of it.
    atol = 1e-4 if precision == "float32" else 0.03
    np.testing.assert_allclose(answers.probabilities.max(1), noted.confidence.numpy(), atol=atol)
    assert [lab.predictor.part_of(run.id, small_tiles, int(each)) for each in noted.tiles[:3]] == ["validation"] * 3
    wrong = lab.predictor.wrong(run.id, small_tiles)
    missed = noted.tiles[noted.predicted != noted.true]
    assert sorted(wrong) == sorted(missed.tolist())
    confidence = dict(zip(noted.tiles.tolist(), noted.confidence.tolist(), strict=True))
    assert [confidence[each] for each in wrong] == sorted((confidence[each] for each in wrong), reverse=True)


def test_sealed_tiles_stay_sealed_until_they_are_opened(open_fake: OpenFake, small_tiles: TileSet) -> None:
    lab, engine = open_fake()
    run = trained(lab, engine, replace(CONFIG, sealed_test=True))
    split = json.loads(lab.store.load(run.id, "split.json"))
    test, train = split["test"][0], split["train"][0]
    predictor = lab.predictor
    assert predictor.is_sealed(run.id, small_tiles, test)
    assert not predictor.is_sealed(run.id, small_tiles, train)
    assert not predictor.is_sealed(RECORDED, small_tiles, test)
    assert predictor.part_of(run.id, small_tiles, train) == "train"
    (lab.store.folder_of(run.id) / "predictions.npz").unlink()
    assert not set(predictor.wrong(run.id, small_tiles)) & set(split["test"])
    lab.open_test(run.id, "ada")
    assert not predictor.is_sealed(run.id, small_tiles, test)
    assert predictor.part_of(run.id, small_tiles, test) == "test"


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"train": "x"}'])
def test_a_damaged_split_and_that_of_other_tiles_is_none(
    predictor: Predictor, store: RunStore, used: TilesUsed, small_tiles: TileSet, content: bytes
) -> None:
    run, other = run_with(store, used), run_with(store, replace(used, fingerprint="elsewhere"))
    store.save(run.id, {"split.json": content})
    store.save(other.id, {"split.json": b'{"train": [0], "validation": [1], "test": [2]}'})
    assert predictor.part_of(run.id, small_tiles, 0) is predictor.part_of(other.id, small_tiles, 0) is None
    assert not predictor.is_sealed(other.id, small_tiles, 2), "of other tiles"


def test_wrong_answers_of_a_sample_where_none_are_noted(
    predictor: Predictor, store: RunStore, used: TilesUsed, small_tiles: TileSet
) -> None:
    run = run_with(store, used)
    said = oracle(small_tiles.array, make_network(CONFIG, len(used.class_names)).eval())
    wrong = predictor.wrong(run.id, small_tiles)
    labels = small_tiles.labels.numpy()
    assert set(wrong) == set(np.flatnonzero(said.argmax(1) != labels).tolist())  # 200 tiles: all are tried
    sure = said.max(1)[wrong]
    assert (np.diff(sure) <= 1e-5).all()


def test_a_network_for_other_classes_has_no_wrong_answers(predictor: Predictor, small_tiles: TileSet) -> None:
    assert predictor.wrong(RECORDED, small_tiles) == []


def test_an_upload_becomes_tiles(predictor: Predictor) -> None:
    buffer = io.BytesIO()
    made = np.random.default_rng(1).integers(0, 256, (100, 200, 3), dtype=np.uint8)
    Image.fromarray(made).save(buffer, "PNG")
    prepared = predictor.prepare(buffer.getvalue(), Wanted())
    assert (prepared.width, prepared.height, prepared.bands, prepared.count) == (200, 100, 3, 8)
    np.testing.assert_array_equal(prepared.cut.tile(0), made[:64, :64])
    assert predictor.prepare(buffer.getvalue(), Wanted(metres=20.0)).count == 28
    with pytest.raises(DataError):
        predictor.prepare(b"no picture", Wanted())
    assert predictor._reading.acquire(blocking=False)  # was given back
