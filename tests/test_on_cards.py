"""Code for GPUs, run on cards that are played (`cuda_alias`): the same figures as on the CPU."""

import time
from dataclasses import replace
from typing import Any

import cuda_alias
import pytest
import torch
from cuda_alias import Cards, in_backward, played_cuda

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import probe_devices
from eurosat_core.errors import ConfigError, TrainingError
from eurosat_core.lab.jobs import run_job
from eurosat_core.lab.messages import Job
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.record import CycleRecorded, record
from eurosat_core.speed import roofline
from eurosat_core.speed import steps as steps_module
from eurosat_core.speed.experiments import plan_experiment
from eurosat_core.speed.steps import Feed, TimedSteps
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import Finished
from eurosat_core.training.loop import train
from eurosat_core.training.network import float32_flags
from eurosat_core.training.precision import _no_bfloat16
from eurosat_core.training.sources import split_for, tile_source
from eurosat_core.training.step import Trainer

CARD = recipe_config(
    "baseline", "fast", epochs=2, batch_size=20, device="cuda:1", precision="float32", channels_last=True
)


def finished(config: TrainConfig, tiles: TileSet) -> Finished:
    last = list(train(config, tiles))[-1]
    assert isinstance(last, Finished)
    return last


@pytest.mark.processor
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


def test_timed_steps_add_up_and_give_memory_back(
    small_tiles: TileSet, cards: Cards, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps_module, "_DISTURBED", 1e6)  # on a busy machine any step may be a slow one
    steps = TimedSteps(CARD, small_tiles)
    pace = steps.prepare()
    steps.plan(3, 2)
    turn, validation = steps.turn(1), steps.validation_turn()
    steps.close()
    assert turn.parts is not None and sum(turn.parts) == pytest.approx(turn.seconds, rel=1e-6)
    assert turn.launching is not None and turn.launching > 0
    assert steps._in_turn * pace >= 0.1, "its clock has time to come up again"
    assert validation.parts is None and cards.calls[-1] == "empty_cache"


@pytest.mark.parametrize("source", ["memory", "loader"])
def test_events_that_cost_time_neither_count_nor_tell_the_parts(
    small_tiles: TileSet, cards: Cards, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """A step whose parts end with events is another than the one that is timed, and must not be slower."""
    record, at_work = cuda_alias._Event.record, [0.0]

    def slow(self: Any, stream: Any = None) -> None:
        record(self, stream)
        time.sleep(0.1)
        at_work[0] += 0.1

    steps = TimedSteps(replace(CARD, source=source, workers=0), small_tiles)
    steps.prepare()
    steps.plan(2, 0)
    undisturbed = steps.turn(1)
    monkeypatch.setattr(cuda_alias._Event, "record", slow)
    turn = steps.turn(2)
    steps.close()
    assert undisturbed.parts is None or sum(undisturbed.parts) == pytest.approx(undisturbed.seconds)
    assert at_work[0] >= 3 * 5 * 0.1, "some steps have events between their parts"
    assert turn.parts is None and turn.steps == 2 and turn.seconds < 2 * 5 * 0.1 + 10 * undisturbed.seconds
    assert turn.launching is not None and turn.launching > 0.2


def test_a_profile_asks_for_the_cards_activities(small_tiles: TileSet, cards: Cards) -> None:
    kept: list[CycleRecorded] = []
    config = replace(profile_config("baseline"), device="cuda:0", workers=0, batch_size=8)
    events = list(record(config, ProfilePlan(repeat=1), small_tiles, kept.append))
    assert len(kept) == 1 and kept[0].trace and "profile" in cards.calls
    assert [each for each in events if type(each).__name__ == "TraceDone"]


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
    seen = in_backward(monkeypatch, float32_flags)
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


PINNED = replace(CARD, source="loader", workers=0, pin_memory=True, epochs=1)
BESIDE = ["copy in side", "copy in side", "computing waits for side", "record computing", "record computing"]


def about_copies(cards: Cards) -> list[str]:
    return [each for each in cards.calls if each.startswith(("copy", "computing", "record "))]


@pytest.mark.parametrize("pinned", [False, True])
def test_pinned_batches_are_copied_beside_the_computing(small_tiles: TileSet, pinned: bool) -> None:
    """In training, and where steps are timed: in a stream of their own, for which the computing waits."""
    config = replace(PINNED, pin_memory=pinned)
    expected = BESIDE if pinned else ["copy in computing"] * 2
    split = split_for(config, small_tiles)
    with played_cuda() as cards:
        source = tile_source(config, small_tiles, split, torch.device(config.device))
        cards.calls.clear()
        batch = next(source.train(1))
        assert about_copies(cards) == expected
        assert batch.tiles.is_contiguous(memory_format=torch.channels_last)
        trainer = Trainer(config, small_tiles)
        feed = Feed(config, small_tiles)
        feed.open(1, 0)
        batches = feed.train(0)
        cards.calls.clear()
        trainer.step(batches)
        assert about_copies(cards)[: len(expected)] == expected
        feed.close()
        source.close()
