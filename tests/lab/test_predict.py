"""Asking networks: the same answers as PyTorch's and as the run's own, in turns with others, bounded; sealed tiles."""

import io
import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_engine import CONFIG, OpenFake, wait_for_state
from PIL import Image

from eurosat_core.data.batches import normalize
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import DataError, RunError
from eurosat_core.lab import inspection, predict
from eurosat_core.lab.inspection import RECORDED, Inspector
from eurosat_core.lab.jobs import OWNER as COMMAND_LINE
from eurosat_core.lab.predict import Predictor, Wanted
from eurosat_core.models.recorded import recorded_network
from eurosat_core.models.saliency import where_looked
from eurosat_core.runs.record import TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.training.network import make_network, preprocessing_for
from tests.lab.test_inspection import run_with


def tiles(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def oracle(pixels: np.ndarray, network: torch.nn.Module | None = None) -> np.ndarray:
    network = network or recorded_network()
    with torch.no_grad():
        return network(normalize(torch.from_numpy(pixels), preprocessing_for("baseline"))).softmax(1).numpy()


@pytest.fixture
def predictor(store: RunStore) -> Predictor:
    return Predictor(store, Inspector(store))


def test_one_tile_is_answered_as_pytorch_does(predictor: Predictor) -> None:
    np.testing.assert_allclose(predictor.answer(RECORDED, tiles(1)[0]), oracle(tiles(1))[0], atol=1e-5)


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
    made = tiles(2000)
    first = threading.Thread(target=predictor.ask, args=(RECORDED, made))
    first.start()
    predictor.answer(RECORDED, tiles(1, seed=9)[0])
    assert not predictor.so_far(RECORDED, made).is_complete
    first.join()
    assert predictor.so_far(RECORDED, made).is_complete


def test_a_lane_that_is_taken_says_so(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_WAIT_SECONDS", 0.05)
    with predictor._inspector.borrowed(RECORDED):
        with pytest.raises(RunError, match="just now"):
            predictor.answer(RECORDED, tiles(1)[0])
        with pytest.raises(RunError, match="just now"):
            predictor.where(RECORDED, tiles(1)[0], 0)


def test_threads_are_given_back(predictor: Predictor) -> None:
    before = torch.get_num_threads()
    predictor.answer(RECORDED, tiles(1)[0])
    predictor.where(RECORDED, tiles(1)[0], 0)
    assert torch.get_num_threads() == before


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
    given = normalize(torch.from_numpy(tile)[None], preprocessing_for("baseline"))
    found = predictor.where(RECORDED, tile, 4)
    np.testing.assert_allclose(found.heat, where_looked(recorded_network(), given, 4).heat, atol=1e-5)
    assert predictor.where(RECORDED, tile, 4) is found
    assert predictor.where(RECORDED, tile, 5) is not found


def test_weights_that_were_replaced_are_asked_anew(predictor: Predictor, store: RunStore, used: TilesUsed) -> None:
    run = run_with(store, used)
    tile = tiles(1)[0]
    first = predictor.answer(run.id, tile)
    other = make_network(replace(CONFIG, seed=77), len(used.class_names))
    buffer = io.BytesIO()
    torch.save(other.state_dict(), buffer)
    store.save(run.id, {"model.pt": buffer.getvalue()})
    second = predictor.answer(run.id, tile)
    assert not np.allclose(first, second)
    np.testing.assert_allclose(second, oracle(tile[None], other.eval())[0], atol=1e-5)


def test_damaged_and_missing_networks_get_a_sentence(predictor: Predictor, store: RunStore, used: TilesUsed) -> None:
    run = run_with(store, used)
    store.save(run.id, {"model.pt": b"nothing"})
    with pytest.raises(RunError, match="damaged"):
        predictor.answer(run.id, tiles(1)[0])
    for bad in ("20200101-000000-baseline-aaaa", "../../etc"):
        with pytest.raises(RunError):
            predictor.answer(bad, tiles(1)[0])
        with pytest.raises(RunError):
            predictor.networks("ada", bad)


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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_answers_are_those_that_the_run_noted(open_fake: OpenFake, small_tiles: TileSet, precision: str) -> None:
    lab, engine = open_fake()
    run = lab.submit(replace(CONFIG, precision=precision, sealed_test=True), "ada")
    engine.work(run.id)
    wait_for_state(lab, run.id, "finished")
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
    run = lab.submit(replace(CONFIG, sealed_test=True), "ada")
    engine.work(run.id)
    wait_for_state(lab, run.id, "finished")
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


def test_other_tiles_have_no_part(predictor: Predictor, store: RunStore, used: TilesUsed, small_tiles: TileSet) -> None:
    run = run_with(store, replace(used, fingerprint="elsewhere"))
    store.save(run.id, {"split.json": b'{"train": [0], "validation": [1], "test": [2]}'})
    assert predictor.part_of(run.id, small_tiles, 0) is None
    assert not predictor.is_sealed(run.id, small_tiles, 2)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"train": "x"}'])
def test_a_damaged_split_is_none(
    predictor: Predictor, store: RunStore, used: TilesUsed, small_tiles: TileSet, content: bytes
) -> None:
    run = run_with(store, used)
    store.save(run.id, {"split.json": content})
    assert predictor.part_of(run.id, small_tiles, 0) is None


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
