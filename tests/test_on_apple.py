"""Code for an Apple GPU, played (`cuda_alias`): the same figures as on the CPU, and nothing that only CUDA has."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from cuda_alias import played_mps

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import first_kernel_problem, probe_devices
from eurosat_core.lab.jobs import run_job
from eurosat_core.lab.messages import Job
from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.profiling.record import CycleRecorded, record
from eurosat_core.profiling.trace import read_trace
from eurosat_core.speed import roofline
from eurosat_core.speed.steps import TimedSteps
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import Finished
from eurosat_core.training.loop import Parking, train
from eurosat_core.training.precision import resolved

FORM: dict[str, Any] = {"device": "mps", "batch_size": 20, "epochs": 2}
PLAIN = {"precision": "float32", "channels_last": False}
BASELINE = recipe_config("baseline", "fast", **FORM, **PLAIN)
ALL = {
    "baseline": BASELINE,
    "loader": replace(BASELINE, source="loader", workers=0),
    "tilenet": recipe_config("tilenet", "sprint", **FORM, **PLAIN),
    "frozen": recipe_config("efficientnet_lite0", "fast", pretrained=False, **FORM, **PLAIN),
}


def last_of(events: list[Any]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


@pytest.mark.parametrize("config", ALL.values(), ids=ALL)
def test_a_training_is_that_of_the_cpu(small_tiles: TileSet, config: TrainConfig) -> None:
    expected = last_of(list(train(replace(config, device="cpu"), small_tiles)))
    with played_mps():
        parking, events = Parking(), []
        for number, event in enumerate(train(config, small_tiles, parking=parking)):
            events.append(event)
            if number == 3:
                parking.park()
                parking.unpark()
    found = last_of(events)
    assert found.val_loss == pytest.approx(expected.val_loss, rel=1e-3)
    assert found.val_accuracy == pytest.approx(expected.val_accuracy, abs=0.03)


def test_a_run_finds_its_form_and_gives_its_memory_back(small_tiles: TileSet) -> None:
    config = recipe_config("baseline", "fast", **{**FORM, "epochs": 1})
    with played_mps() as apple:
        assert [(each.id, each.available) for each in probe_devices()] == [("cpu", True), ("mps", True)]
        assert first_kernel_problem("mps") == "" and not probe_devices()[1].has_tf32
        choice = resolved(config)[1]
        result = run_job(
            Job("run", config, small_tiles.fingerprint, str(small_tiles.cache), threads=2), lambda _events: None
        )
    assert choice is not None and choice.why not in ("emulated", "no_instructions"), "only a trial tells"
    assert result.state == "finished", result.message
    assert apple.calls[-1] == "empty_cache" and "synchronize" in apple.calls
    assert "float32" not in result.machine and "gpu" not in result.machine


def test_only_whole_turns_are_timed(small_tiles: TileSet) -> None:
    with played_mps():
        steps = TimedSteps(BASELINE, small_tiles)
        steps.prepare()
        steps.plan(2, 1)
        turn, validation = steps.turn(1), steps.validation_turn()
        steps.close()
    assert turn.seconds > 0 and turn.parts is None and turn.launching is None and validation.seconds > 0


def test_a_profile_has_the_cpus_side(small_tiles: TileSet) -> None:
    kept: list[CycleRecorded] = []
    with played_mps():
        list(record(BASELINE, ProfilePlan(repeat=1), small_tiles, kept.append))
    assert len(kept) == 1 and not any(each.device_total_us for each in operator_table(read_trace(kept[0].trace)))


def test_limits_know_neither_tf32_nor_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline._Bench, "best", lambda *_call: 1.0)
    for sizes in (roofline._MATRIX, roofline._BATCH, roofline._LARGE_BATCH):
        monkeypatch.setitem(sizes, "gpu", 2)
    monkeypatch.setitem(roofline._BANDWIDTH_MB, "gpu", (1,))
    with played_mps():
        limits = roofline.measure_limits("mps")
    assert list(limits.matmul) == ["float32", "bfloat16"] and list(limits.host_to_device) == ["pageable"]


def test_on_a_gpu_many_calls_are_timed_together() -> None:
    """One alone would be over before the GPU had begun."""
    made: list[int] = []
    with played_mps() as apple:
        seconds = roofline._Bench(torch.device("mps")).best(lambda: made.append(1), times=0)
    assert seconds > 0 and len(made) == 1 + roofline._FEWEST * roofline._CALLS
    assert apple.calls == ["synchronize"] * 2 * roofline._FEWEST
