"""That no tensor is left on the wrong device: what a run computes, with tensors that only know where they lie."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from fake_cuda import fake_cuda
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorDeviceMismatchError

from eurosat_core.data.batches import Batch, normalize
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.models.pretrained import folded_frozen_part
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.profiling.record import CycleRecorded, record
from eurosat_core.speed import roofline
from eurosat_core.speed.steps import TimedSteps
from eurosat_core.training import augmentation, loop, precision
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.evaluation import Tally
from eurosat_core.training.forms import Form
from eurosat_core.training.frozen import BATCH
from eurosat_core.training.loop import _Loop
from eurosat_core.training.network import predict, preprocessing_for
from eurosat_core.training.precision import _Trial
from eurosat_core.training.step import Trainer

CARD = torch.device("cuda:1")
FORM: dict[str, Any] = {"device": "cuda:1", "precision": "float32", "channels_last": True, "batch_size": 20}
BASELINE = recipe_config("baseline", source="memory", **FORM)
TILENET = recipe_config("tilenet", "fast", colour_jitter=0.2, **FORM)
FROZEN = {name: recipe_config(name, "fast", pretrained=False, **FORM) for name in ("vgg11_bn", "efficientnet_lite0")}
ALL = {
    "baseline": BASELINE,
    "adam": replace(BASELINE, optimizer="adam"),
    "adagrad": replace(BASELINE, optimizer="adagrad"),
    "tilenet": TILENET,
    "sprint": recipe_config("tilenet", "sprint", **FORM),
    "graph": replace(TILENET, execution="graph", schedule="cosine"),
    "vgg": replace(FROZEN["vgg11_bn"], source="memory"),
}


@pytest.fixture
def small_tiles(small_tiles: TileSet) -> TileSet:
    """Opened already: a set keeps its tensors, and those that are made among fake ones are fake."""
    assert len(small_tiles.pixels) == len(small_tiles.labels)
    return small_tiles


def lies_on_its_card(going: _Loop) -> None:
    """An epoch of training and validation, and what is kept of it."""
    for name in ("train", "validation"):
        tally = Tally.on(going.device)
        assert list(going.phase(name, 1, tally)) and tally.right.device == CARD
    network = going.trainer.network
    there = [*network.parameters(), *network.buffers(), *going.scores]
    for state in going.trainer._optimizer.state.values():  # some count their steps in the processor's memory
        there += [each for name, each in state.items() if isinstance(each, Tensor) and name != "step"]
    assert {each.device for each in there} == {CARD}
    found = going.predictions()
    assert {each.device.type for each in (found.predicted, found.confidence, *going.weights().values())} == {"cpu"}


@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
def test_a_training_lies_on_its_card(small_tiles: TileSet, config: TrainConfig) -> None:
    with fake_cuda():
        going = _Loop(config, small_tiles, None)
        lies_on_its_card(going)
        going.source.close()


def test_what_is_left_behind_is_found(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "brought", lambda drawn, _device: drawn)
    with fake_cuda(), pytest.raises(FakeTensorDeviceMismatchError):
        lies_on_its_card(_Loop(TILENET, small_tiles, None))


@pytest.mark.parametrize("config", FROZEN.values(), ids=FROZEN)
def test_a_training_on_frozen_features_lies_on_its_card(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, config: TrainConfig
) -> None:
    preprocessing = preprocessing_for(config.model, channels_last=True)
    going = _Loop(replace(config, device="cpu"), small_tiles, None)  # which are missing, no fake tensor can tell
    known, network = going.features, going.trainer.network
    assert known is not None and known.missing
    batches = [each.clone() for each in known._missing.split(BATCH)]
    with fake_cuda():
        known._device, network, known.values = CARD, network.to(CARD), torch.zeros(known.values.shape)
        known._missing, known._known = SimpleNamespace(split=lambda _size: batches), MagicMock()  # type: ignore
        known._compute = folded_frozen_part(network, normalize(small_tiles.pixels[:1].to(CARD), preprocessing))
        assert sum(1 for _ in known.fill()) and known._compute(torch.zeros(2, 3, 64, 64, device=CARD)).device == CARD
        ready = SimpleNamespace(values=known.values, missing=0)
        monkeypatch.setattr(loop, "FeatureCache", lambda *_of: ready)
        going = _Loop(config, small_tiles, None)
        lies_on_its_card(going)
        lies_on_its_card(going)  # validation as it was kept
        going.source.close()


def test_a_batch_from_a_loader_is_brought(small_tiles: TileSet) -> None:
    config = replace(BASELINE, source="loader", workers=0, pin_memory=True)
    batch = Batch(torch.zeros(20, 3, 64, 64), torch.zeros(20, dtype=torch.int64))
    with fake_cuda() as cards:
        trainer, tally = Trainer(config, small_tiles), Tally.on(CARD)
        assert trainer.step(iter([batch]), tally=tally) == 20
        assert trainer.validate(trainer.on_device(batch), tally)[0].device == CARD
    assert "computing waits for side" in cards.calls


def test_a_sealed_part_is_scored_on_the_card(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(TILENET, sealed_test=True)
    split = loop.split_for(config, small_tiles)
    monkeypatch.setattr(loop, "split_for", lambda *_of: split)
    with fake_cuda():
        going = _Loop(config, small_tiles, None)
        found = going.test_predictions()
    assert found is not None and found.confidence.device.type == "cpu" and len(found.predicted) == len(found.tiles)


def test_tiles_are_judged_where_the_network_lies(small_tiles: TileSet) -> None:
    with fake_cuda():
        trainer = Trainer(TILENET, small_tiles)
        batch = Batch(torch.zeros(4, 3, 64, 64, device=CARD), torch.zeros(4, dtype=torch.int64, device=CARD))
        predicted, confidence = predict(trainer.network, iter([batch]), TILENET, symmetries=True)
    assert predicted.device == confidence.device == CARD


def test_steps_are_timed_and_profiled_on_the_card(small_tiles: TileSet) -> None:
    kept: list[CycleRecorded] = []
    with fake_cuda():
        steps = TimedSteps(TILENET, small_tiles)
        steps.prepare()
        steps.plan(2, 1)
        assert steps.turn(1).seconds > 0 and steps.validation_turn().seconds > 0
        steps.close()
        list(record(TILENET, ProfilePlan(repeat=1), small_tiles, kept.append))
    assert len(kept) == 1 and kept[0].trace


def test_limits_are_measured_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def best(_bench: object, call: Any, _times: int = 1) -> float:
        made.append(call())
        return 1.0

    monkeypatch.setattr(roofline._Bench, "best", best)
    with fake_cuda():
        assert roofline.measure_limits("cuda:1").device == "cuda:1"
    results = [each for each in made if isinstance(each, Tensor)]
    assert {each.device for each in results} == {CARD} and all(isinstance(each, FakeTensor) for each in results)


@pytest.mark.parametrize("model", ["baseline", "tilenet", "vgg11_bn"])
def test_forms_are_tried_on_the_card(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_SECONDS", 60.0)
    config = recipe_config(model, "fast", device="cuda:1")
    with fake_cuda():
        forms = [Form(kind, last) for kind in ("float32", "bfloat16") for last in (False, True)]
        assert set(_Trial(config, lambda: False).seconds(forms, 0.01, 1)) == set(forms)
