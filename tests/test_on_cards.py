"""Code for GPUs, run on cards that are played (`cuda_alias`): the same figures as on the CPU."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from cuda_alias import Cards, played_cuda

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import probe_devices
from eurosat_core.errors import ConfigError, TrainingError
from eurosat_core.lab.jobs import Job, run_job
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.record import CycleRecorded, record
from eurosat_core.speed import roofline
from eurosat_core.speed.experiments import plan_experiment
from eurosat_core.speed.steps import TimedSteps
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import Finished
from eurosat_core.training.loop import train
from eurosat_core.training.network import float32_flags
from eurosat_core.training.precision import _no_bfloat16

CARD = recipe_config(
    "baseline", "fast", epochs=2, batch_size=20, device="cuda:1", precision="float32", channels_last=True
)


@pytest.fixture
def cards() -> Iterator[Cards]:
    with played_cuda() as played:
        yield played


def finished(config: TrainConfig, tiles: TileSet) -> Finished:
    last = list(train(config, tiles))[-1]
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize(
    "config",
    [
        CARD,
        replace(CARD, source="loader", workers=0, pin_memory=True),
        recipe_config("tilenet", "sprint", epochs=2, batch_size=20, device="cuda:0", precision="float32"),
        recipe_config("efficientnet_lite0", "fast", epochs=2, batch_size=20, device="cuda:1", precision="float32"),
    ],
    ids=["memory", "loader", "tilenet", "frozen"],
)
def test_a_training_on_a_card_is_that_of_the_cpu(small_tiles: TileSet, config: TrainConfig) -> None:
    there = replace(config, device="cpu", pin_memory=False, channels_last=bool(config.channels_last))
    expected = finished(there, small_tiles)
    with played_cuda():
        found = finished(replace(config, channels_last=bool(config.channels_last)), small_tiles)
    assert found.val_loss == pytest.approx(expected.val_loss, rel=1e-3)
    assert found.val_accuracy == pytest.approx(expected.val_accuracy, abs=0.03)


def test_timed_steps_add_up_and_give_memory_back(small_tiles: TileSet, cards: Cards) -> None:
    steps = TimedSteps(CARD, small_tiles)
    assert steps.prepare() > 0
    steps.plan(3, 2)
    turn, validation = steps.turn(1), steps.validation_turn()
    steps.close()
    assert turn.parts is not None and sum(turn.parts) == pytest.approx(turn.seconds, rel=1e-6)
    assert validation.parts is None and cards.calls[-1] == "empty_cache"


def test_a_profile_asks_for_the_cards_activities(small_tiles: TileSet, cards: Cards) -> None:
    kept: list[CycleRecorded] = []
    config = replace(profile_config("baseline"), device="cuda:0", workers=0, batch_size=8)
    events = list(record(config, ProfilePlan(repeat=1), small_tiles, kept.append))
    assert len(kept) == 1 and kept[0].trace and "profile" in cards.calls
    assert [each for each in events if type(each).__name__ == "TraceDone"]


def test_cards_are_found_with_their_reasons() -> None:
    with played_cuda(Cards(count=2, name="H100", capability=(9, 0))):
        assert [(each.id, each.name, each.available) for each in probe_devices()[1:]] == [
            ("cuda:0", "H100", True),
            ("cuda:1", "H100", True),
        ]


T4, A100 = (7, 5), (8, 0)


def test_bfloat16_counts_only_on_cards_that_have_it_and_the_runs_own_card_is_asked() -> None:
    with played_cuda(Cards(capabilities=(A100, T4))):
        assert torch.cuda.is_bf16_supported(), "PyTorch counts what it emulates"
        why = [_no_bfloat16(name) for name in ("cuda:0", "cuda:1")]
        measured = [roofline._precisions(torch.device(name)) for name in ("cuda:0", "cuda:1")]
    assert why == [None, "emulated"]
    assert measured == [["float32", "tf32", "bfloat16"], ["float32"]]


@pytest.mark.parametrize(("precision", "how"), [("float32", "ieee"), ("tf32", "tf32"), ("bfloat16", "ieee")])
def test_float32_is_ieees_in_every_step_unless_tf32_is_asked_for(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, precision: str, how: str
) -> None:
    seen: list[dict[str, str]] = []
    backward = torch.Tensor.backward

    def noted(*arguments: Any, **named: Any) -> None:
        seen.append(float32_flags())
        backward(*arguments, **named)

    monkeypatch.setattr(torch.Tensor, "backward", noted)
    with played_cuda():
        torch.backends.cuda.matmul.fp32_precision = "tf32" if how == "ieee" else "ieee"
        finished(replace(CARD, epochs=1, precision=precision), small_tiles)
    assert seen and all(each == {"matmul": how, "convolution": how} for each in seen)


def test_limits_are_ieees_but_for_the_products_that_are_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def best(_bench: object, _call: object, _times: int = 1) -> float:
        flags = set(float32_flags().values())
        assert len(flags) == 1
        seen.append(flags.pop())
        return 1.0

    monkeypatch.setattr(roofline._Bench, "best", best)
    monkeypatch.setitem(roofline._MATRIX, "gpu", 8)
    for name, sizes in (("_BATCH", 2), ("_LARGE_BATCH", 2)):
        monkeypatch.setitem(getattr(roofline, name), "gpu", sizes)
    monkeypatch.setitem(roofline._BANDWIDTH_MB, "gpu", (1,))
    with played_cuda(Cards(capability=A100)):
        limits = roofline.measure_limits("cuda:0")
    assert list(limits.matmul) == ["float32", "tf32", "bfloat16"]
    assert seen.count("tf32") == 3, "one in each pass"


def test_tf32_is_refused_where_there_is_none(small_tiles: TileSet) -> None:
    with played_cuda(Cards(capabilities=(A100, T4))):
        found = probe_devices()
        assert [each.has_tf32 for each in found] == [False, True, False]
        with pytest.raises(TrainingError, match="TF32"):
            finished(replace(CARD, device="cuda:1", precision="tf32"), small_tiles)
        steps = TimedSteps(replace(CARD, device="cuda:0", precision="tf32"), small_tiles)
        assert steps.prepare() > 0
        steps.close()
    with pytest.raises(ConfigError, match="NVIDIA"):
        replace(CARD, device="cpu", precision="tf32").checked()


def test_only_cards_that_have_tf32_are_measured_in_it() -> None:
    config, plan = plan_experiment("precision", ["cpu", "cuda:0", "cuda:1"], tf32=["cuda:1"])
    assert [each.device for each in plan.configs(config) if each.precision == "tf32"] == ["cuda:1"]
    config, plan = plan_experiment("precision", ["cpu"])
    assert [each.precision for each in plan.configs(config)] == ["float32", "bfloat16"]


def test_a_run_on_a_card_says_how_float32_was_multiplied(small_tiles: TileSet) -> None:
    config = replace(CARD, epochs=1, precision="tf32")
    with played_cuda():
        result = run_job(Job("run", config, small_tiles.fingerprint, str(small_tiles.cache), 1), lambda _events: None)
    assert result.state == "finished", result.message
    assert result.machine["float32"] == {"matmul": "tf32", "convolution": "tf32"}
    there = replace(config, device="cpu", precision="float32")
    result = run_job(Job("run", there, small_tiles.fingerprint, str(small_tiles.cache), 1), lambda _events: None)
    assert "float32" not in result.machine
