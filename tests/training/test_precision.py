"""Precision and layout are chosen by trying them on the device, once, and within a bound."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.machine_notes import MachineNotes, Note, machine_notes
from eurosat_core.training import precision
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import Finished
from eurosat_core.training.forms import FORMS, Choice, Form, Why, choose, filled, form_key, known_choice
from eurosat_core.training.loop import train
from eurosat_core.training.network import autocast, stand_in
from eurosat_core.training.precision import resolved

FAST = recipe_config("baseline", "fast")
SECONDS = {
    Form("float32", True): 4.0,
    Form("float32", False): 5.0,
    Form("bfloat16", True): 3.0,
    Form("bfloat16", False): 2.0,
}


@pytest.fixture
def notes(tmp_path: Path) -> MachineNotes:
    return machine_notes(tmp_path, 1)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[Form, float]]:
    """Seconds of a tile in each form, in place of computing; the clock goes on by as much."""
    told = dict(SECONDS)
    now = [0.0]

    def step(_trial: Any, count: int, form: Form) -> float:
        now[0] += count * told[form]
        return count * told[form]

    monkeypatch.setattr(precision._Trial, "_step", step)
    monkeypatch.setattr(precision, "_no_bfloat16", lambda _device: None)
    monkeypatch.setattr(precision.time, "perf_counter", lambda: now[0])
    yield told


def milliseconds(told: dict[Form, float], **of: float) -> None:
    told.update({Form(name.rstrip("_"), name.endswith("_")): value / 1000 for name, value in of.items()})


def test_recipes_of_ours_leave_it_to_the_device_and_the_tutorials_do_not() -> None:
    for model, recipe in (("baseline", "fast"), ("tilenet", "sprint"), ("tilenet", "fast"), ("tilenet", "record")):
        assert recipe_config(model, recipe).is_open
        assert (recipe_config(model, recipe).precision, recipe_config(model, recipe).channels_last) == ("auto", None)
    assert recipe_config("efficientnet_lite0", "fast").precision == "auto"
    for model in ("baseline", "tilenet", "vgg11_bn", "efficientnet_lite0"):
        assert not recipe_config(model, "tutorial").is_open


EVEN = {Form("float32", True): 1.0, Form("bfloat16", True): 0.99}
WORSE = {Form("float32", True): 1.0, Form("bfloat16", True): 10.0}
WITHOUT = {form: value for form, value in SECONDS.items() if form.precision == "float32"}


@pytest.mark.parametrize(
    ("changes", "seconds", "why_not", "choice"),
    [
        ({}, SECONDS, None, Choice(Form("bfloat16", False), "faster", 2.0)),
        ({"channels_last": True}, SECONDS, None, Choice(Form("bfloat16", True), "faster", 4 / 3)),
        ({"precision": "float32"}, SECONDS, None, Choice(Form("float32", True), "not_tried")),
        ({}, EVEN, None, Choice(Form("float32", True), "slower", 1 / 0.99)),  # it has to gain something
        ({}, WORSE, None, Choice(Form("float32", True), "slower", 0.1)),
        ({}, WITHOUT, "no_instructions", Choice(Form("float32", True), "no_instructions")),
        ({}, WITHOUT, "emulated", Choice(Form("float32", True), "emulated")),
        ({}, {}, None, Choice(Form("float32", False), "not_tried")),
        ({"channels_last": True}, {}, None, Choice(Form("float32", True), "not_tried")),
    ],
)
def test_the_fastest_form_that_is_left_open_is_chosen(
    changes: dict[str, Any], seconds: dict[Form, float], why_not: Why | None, choice: Choice
) -> None:
    assert choose(replace(FAST, **changes), seconds, why_not) == choice


def test_features_are_chosen_as_they_are_computed() -> None:
    lite = recipe_config("efficientnet_lite0", "fast")
    choice = choose(lite, SECONDS)
    assert choice.form == Form("bfloat16", True), "channels last, whatever the head is"
    assert not filled(lite, choice).channels_last and filled(lite, choice).precision == "bfloat16"


def test_a_form_that_crashes_is_not_chosen() -> None:
    network = "conv 8 3, conv 4 1 stride 2, flatten, linear out"
    config = recipe_config("custom", "fast", network=network)
    assert choose(config, {Form("float32", True): 1.0, Form("float32", False): 9.0}).form == Form("float32", False)
    assert choose(config, SECONDS).form == Form("bfloat16", False)


def test_a_trial_is_noted_and_made_once(notes: MachineNotes, steps: dict[Form, float]) -> None:
    milliseconds(steps, float32=2, float32_=1.5, bfloat16=3, bfloat16_=4)
    assert known_choice(FAST, notes) is None
    config, choice = resolved(FAST, notes)
    assert (config.precision, config.channels_last, config.is_open) == ("float32", True, False)
    assert choice is not None and choice.why == "slower" and choice.ratio == pytest.approx(1.5 / 3, rel=0.01)
    milliseconds(steps, float32=2, float32_=2, bfloat16=1, bfloat16_=1)  # nobody looks again
    assert resolved(FAST, notes) == (config, choice) and known_choice(FAST, notes) == choice
    assert resolved(replace(FAST, precision="bfloat16"), notes)[0].channels_last is False
    assert resolved(recipe_config("tilenet", "fast"), notes)[0].precision == "bfloat16", "another network is tried"


def test_what_is_settled_needs_no_trial(notes: MachineNotes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_tried", lambda *_: pytest.fail("was tried"))
    config = TrainConfig(precision="bfloat16", channels_last=True)
    assert resolved(config, notes) == (config, None)


def test_a_hopeless_form_gets_one_step_and_no_large_batch(steps: dict[Form, float]) -> None:
    milliseconds(steps, float32=2, float32_=1, bfloat16=20, bfloat16_=30)
    trial = precision._Trial(FAST, lambda: False)
    found = trial.seconds(list(SECONDS), 0.01, 1)
    assert found == pytest.approx(steps)
    # Two steps of two tiles to know how long one is; then batches of 5: three steps, and one in a hopeless form.
    assert precision.time.perf_counter() == pytest.approx(0.008 + 5 * (3 * 0.002 + 3 * 0.001 + 0.02 + 0.03))


def test_a_process_that_has_just_started_is_slow_for_a_moment(
    steps: dict[Form, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen on the command line: the first two forms took ten times as long, and were out before the large batch."""
    milliseconds(steps, float32=1.2, float32_=1, bfloat16=0.8, bfloat16_=0.6)
    calm, taken = precision._Trial._step, [0]

    def step(trial: Any, count: int, form: Form) -> float:
        taken[0] += 1
        return calm(trial, count, form) * (10 if 2 < taken[0] <= 6 else 1)

    monkeypatch.setattr(precision._Trial, "_step", step)
    config, choice = resolved(FAST)
    assert (config.precision, config.channels_last) == ("bfloat16", True)
    assert choice is not None and choice.ratio == pytest.approx(1 / 0.6)


def test_the_trial_is_over_in_time_even_if_a_form_takes_seconds(steps: dict[Form, float], notes: MachineNotes) -> None:
    milliseconds(steps, float32=20, float32_=20, bfloat16=400, bfloat16_=400)
    config, choice = resolved(FAST, notes)
    assert config.precision == "float32" and choice is not None
    assert precision.time.perf_counter() < 3.0, "a step of two tiles of each hopeless form, and nothing else of these"


SMALL = {**dict.fromkeys(SECONDS, 9.0), Form("float32", True): 2.0, Form("bfloat16", True): 1.8}


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([SMALL, {}, {Form("float32", True): 1.0}], id="one size"),
        pytest.param([{Form("float32", True): 2.0, Form("bfloat16", True): 1.0}], id="cut short"),
    ],
)
def test_forms_are_compared_in_batches_of_one_size(
    answers: list[dict[Form, float]], monkeypatch: pytest.MonkeyPatch, notes: MachineNotes
) -> None:
    """bfloat16 is ahead in the small batch; when time runs out only float32 had its turn in the large one, or nobody.

    What was cut short in the first batches is not noted.
    """
    is_noted = len(answers) > 1
    monkeypatch.setattr(precision, "_no_bfloat16", lambda _device: None)
    monkeypatch.setattr(precision._Trial, "__init__", lambda *_: None)
    monkeypatch.setattr(precision._Trial, "seconds", lambda *_: answers.pop(0))
    config, choice = resolved(FAST, notes)
    assert (config.precision, config.channels_last) == ("bfloat16", True)
    assert choice is not None and choice.why == "faster" and (known_choice(FAST, notes) is not None) == is_noted


def test_a_trial_that_is_given_up_is_not_noted(notes: MachineNotes, steps: dict[Form, float]) -> None:
    milliseconds(steps, float32=2, float32_=1, bfloat16=1, bfloat16_=1)
    config, choice = resolved(FAST, notes, lambda: True)
    assert not config.is_open and choice is not None and choice.why == "not_tried"
    assert known_choice(FAST, notes) is None
    assert resolved(FAST, notes)[1] != choice


@pytest.mark.parametrize("damaged", [3, {}, {"seconds": 3}, {"seconds": [[1]], "why_not": None}])
def test_a_damaged_note_is_as_none(notes: MachineNotes, damaged: Any) -> None:
    notes.put(Note(FORMS, "cpu", form_key(FAST), damaged))
    assert known_choice(FAST, notes) is None


def test_a_device_that_fails_in_a_trial_leaves_it_at_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> float:
        raise RuntimeError("not implemented for bfloat16")

    monkeypatch.setattr(precision._Trial, "_step", fail)
    config, choice = resolved(FAST)
    assert (config.precision, config.channels_last) == ("float32", False)
    assert choice is not None and choice.why in ("not_tried", "no_instructions")


@pytest.mark.processor
@pytest.mark.parametrize("model", ["baseline", "tilenet", "efficientnet_lite0", "vgg11_bn"])
def test_a_real_trial_on_this_machine(model: str, notes: MachineNotes) -> None:
    torch.manual_seed(5)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    recipe = recipe_config(model, "fast", pretrained=False)
    began = time.perf_counter()
    config, choice = resolved(recipe, notes)
    taken = time.perf_counter() - began
    assert config.precision in ("float32", "bfloat16") and isinstance(config.channels_last, bool)
    assert choice is not None and choice.form.precision == config.precision
    assert torch.equal(before, torch.random.get_rng_state()) and torch.get_num_threads() == threads
    assert taken < 60, "bounded, however busy this machine is"
    # A busy processor without bfloat16 may not get to its second layout in time; such a trial is not kept.
    assert known_choice(recipe, notes) in (choice, None)


@pytest.mark.parametrize(
    ("flags", "capability", "sure"),
    [
        ({"architecture": "x86_64", "avx2": True}, "AVX2", True),
        ({"architecture": "x86_64", "avx512_f": True}, "AVX512", True),
        ({"architecture": "x86_64", "avx512_bf16": True}, "AVX512", False),
        ({"architecture": "x86_64", "amx_bf16": True}, "AVX512", False),
        ({"architecture": "x86_64", "avx_ne_convert": True}, "AVX2", False),
        ({"architecture": "aarch64"}, "DEFAULT", False),
    ],
)
def test_flags_are_asked_only_for_what_is_surely_not_there(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any], capability: str, sure: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert precision._surely_without_instructions() == sure


@pytest.mark.parametrize(("short", "sure"), [(False, True), (True, False)])
def test_an_older_pytorch_is_asked_otherwise(monkeypatch: pytest.MonkeyPatch, short: bool, sure: bool) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: short, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert precision._surely_without_instructions() == sure


@pytest.mark.processor
def test_a_training_settles_what_was_left_open(small_tiles: TileSet) -> None:
    events = list(train(replace(FAST, epochs=1, batch_size=20), small_tiles))
    assert isinstance(events[-1], Finished)


def test_an_open_precision_is_never_computed_in() -> None:
    with pytest.raises(ValueError, match="auto"):
        autocast("auto", torch.device("cpu"))


@pytest.mark.processor
def test_a_stand_in_has_the_layers_of_the_network_and_gives_numbers() -> None:
    from eurosat_core.training.network import make_network

    for model in ("baseline", "tilenet", "efficientnet_lite0"):
        config = TrainConfig(model=model, pretrained=False)
        made, drawn = stand_in(config, torch.device("cpu")).eval(), make_network(config, 10)
        shapes = [{name: value.shape for name, value in each.state_dict().items()} for each in (made, drawn)]
        assert shapes[0] == shapes[1]
        frozen = [[each.requires_grad for each in network.parameters()] for network in (made, drawn)]
        assert frozen[0] == frozen[1]
        assert torch.isfinite(made(torch.rand(2, 3, 64, 64))).all()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only such processors can be limited so")
def test_a_processor_with_avx2_only_computes_in_float32() -> None:
    """There bfloat16 is emulated: tilenet is ten times slower in it."""
    code = (
        "from eurosat_core.training.config import recipe_config\n"
        "from eurosat_core.training.precision import resolved\n"
        "print(resolved(recipe_config('tilenet', 'fast'))[0].precision)\n"
    )
    environ = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    told = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "float32"


def test_waiting_for_a_core_is_no_work() -> None:
    """A network that sleeps, as one does that has to wait for its time slice, has taken next to nothing."""
    fine = time.get_clock_info("thread_time").resolution < 1e-4
    clock = precision._clock_of(torch.device("cpu"))
    assert clock is (time.thread_time if fine else time.perf_counter)
    assert precision._clock_of(torch.device("cuda:0")) is time.perf_counter, "a GPU works while its host waits"
    began = clock()
    time.sleep(0.3)
    assert not fine or clock() - began < 0.2
