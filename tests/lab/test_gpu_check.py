"""`doctor --gpu`: every check on cards that are played, each with a fault that it has to find."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from command_line import ask, folder, places
from cuda_alias import Cards, played_cuda
from torch import nn

from eurosat_core import cli, devices, training
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import Device
from eurosat_core.errors import RunError
from eurosat_core.finding import Finding
from eurosat_core.lab import gpu_check
from eurosat_core.lab.gpu_check import CHECKS, Card, Outcome, check_gpus, finding_of
from eurosat_core.lab.own_process import NoAnswerError, tried
from eurosat_core.profiling import record
from eurosat_core.words.say import say

__all__ = ["ask", "folder", "places"]  # fixtures of command_line

TWO = [Device(f"cuda:{index}", "Played GPU", 80 * 2**30) for index in range(2)]
_one_at_a_time = threading.Lock()


def cards(**changes: Any) -> Cards:
    """Two cards with a clock that counts calls, whose profiles show kernels on the second."""
    return Cards(**{"counted": True, "kernels_on": 1, **changes})


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "_TURN_SECONDS", 0.05)
    monkeypatch.setattr(gpu_check, "_COPIED_BYTES", 2**16)
    monkeypatch.setattr(training.precision, "_SECONDS", 60.0)
    monkeypatch.setattr(training.precision, "_MOST_TILES", 4)


@pytest.fixture
def play(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Finding]:
    """Function: do a check on cards that are played, as a process of its own would."""

    def played(check: Callable[[Card], Finding], card: Card | None = None, **changes: Any) -> Finding:
        card = card or Card("cuda:1", ("cuda:0",), small_tiles.cache)
        with played_cuda(cards(**changes)) as there, pytest.MonkeyPatch.context() as patch:
            patch.setattr(gpu_check, "_wall", there.now)
            return finding_of(lambda: answered(check, card))

    def elsewhere(check: Callable[[Card], Finding], card: Card, _seconds: float, **_how: Any) -> Finding:
        with ThreadPoolExecutor(1) as another:  # where the card that broke here is whole
            return another.submit(played, check, card).result()

    monkeypatch.setattr(gpu_check, "in_process", elsewhere)
    monkeypatch.setattr(gpu_check, "_TILES", len(small_tiles))
    monkeypatch.setattr(gpu_check, "_BATCH", 8)
    return played


def answered(check: Callable[[Card], Finding], card: Card) -> Finding:
    answer = tried(check, card)
    if isinstance(answer, NoAnswerError):
        raise answer
    return answer


def test_every_check_passes_on_played_cards(play: Callable[..., Finding], small_tiles: TileSet) -> None:
    def run(check: Callable[[Card], Finding], card: Card, _seconds: float) -> Finding:
        with _one_at_a_time:  # played cards are the process's
            return play(check, card)

    found = list(check_gpus(TWO, small_tiles.cache, run))
    assert {each.check: say(each.finding) for each in found if not each.passed} == {}
    assert [(each.check, each.device) for each in found[:2]] == [("kernel", "cuda:0"), ("kernel", "cuda:1")]
    assert [each.check for each in found[1:]] == list(CHECKS) and {each.device for each in found[1:]} == {"cuda:1"}
    assert all(say(each.finding) and json.dumps(dict(each.finding.figures)) for each in found)


def test_one_card_has_no_others_to_be_left_alone(small_tiles: TileSet) -> None:
    found = check_gpus(TWO[:1], small_tiles.cache, lambda *_asked: Finding("gpu.kernel.passed"))
    assert [each.check for each in found] == [each for each in CHECKS if each != "context"]


@pytest.mark.parametrize(
    ("check", "changes", "name"),
    [
        ("kernel", {"broken": "CUDA error: no kernel image is available for execution"}, "gpu.raised.failed"),
        ("clock", {"events_drift": 1.2}, "gpu.clock.failed"),
        ("kernels", {"kernels_on": None}, "gpu.kernels.none"),
        ("kernels", {"kernels_on": 0}, "gpu.kernels.failed"),
        ("kernels", {"unmatched": 0.1}, "gpu.kernels.failed"),
        ("memory", {"leak": 2**20}, "gpu.memory.failed"),
        ("memory", {"total_memory": 2**10, "leak": 0, "broken": "CUDA error: unknown"}, "gpu.raised.failed"),
        ("pinned", {"pinned_gain": 1.0}, "gpu.pinned.failed"),
        ("context", {"contexts": {0, 1}}, "gpu.context.failed"),
    ],
)
def test_a_card_with_a_fault_is_found(
    play: Callable[..., Finding], check: str, changes: dict[str, Any], name: str
) -> None:
    found = play(CHECKS[check], **changes)
    assert found.name == name and say(found)


def test_a_wrong_step_is_found(play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch) -> None:
    right = gpu_check.loss_of

    def wrong(network: nn.Module, batch: Any, config: Any) -> Any:
        scores, loss, lowered = right(network, batch, config)
        return scores, loss, lowered * (1.002 if config.device != "cpu" else 1.0)

    monkeypatch.setattr(gpu_check, "loss_of", wrong)
    found = play(gpu_check.step)
    assert found.variant == "failed" and found.figures["gradients"] == pytest.approx(0.002, rel=0.01)


@pytest.mark.parametrize("card", [{"capability": (7, 5)}, {"capability": (8, 0)}], ids=["T4", "A100"])
def test_a_card_is_not_asked_for_tf32_that_it_has_not(play: Callable[..., Finding], card: dict[str, Any]) -> None:
    found = play(gpu_check.step, **card)
    has_it = card["capability"] >= (8, 0)
    assert found.variant == "passed" and say(found)
    assert ("tf32_loss" in found.figures) == has_it == bool(found.then)


def test_a_step_that_waits_is_found(play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch) -> None:
    add = gpu_check.Tally.add

    def looking(self: Any, loss: Any, scores: Any, labels: Any) -> None:
        add(self, loss, scores, labels)
        loss.item()

    monkeypatch.setattr(gpu_check.Tally, "add", looking)
    found = play(gpu_check.waits)
    assert (found.variant, found.figures["step"]) == ("failed", 1) and "synchronizing" in found.figures["error"]


def test_bfloat16_that_is_emulated_or_not_tried_is_found(
    play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = gpu_check.resolved

    def chosen(precision: str, why: Any) -> Callable[..., Any]:
        def choose(config: Any, *_more: Any) -> Any:
            config, choice = right(config, *_more)
            return config, replace(choice, form=choice.form._replace(precision=precision), why=why)

        return choose

    monkeypatch.setattr(gpu_check, "resolved", chosen("bfloat16", "faster"))
    assert play(gpu_check.precision, capability=(8, 0)).variant == "passed"
    assert play(gpu_check.precision, capability=(7, 5)).variant == "emulated"
    monkeypatch.setattr(gpu_check, "resolved", chosen("float32", "not_tried"))
    assert play(gpu_check.precision).variant == "not_tried"


@pytest.mark.parametrize("check", ["spread", "after_profile"])
def test_steps_that_become_slower_are_found(
    check: str, play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, made = gpu_check.TimedSteps.turn, []

    def slower(self: Any, number: int) -> Any:
        made.append(number)
        turn = right(self, number)
        return msgspec.structs.replace(turn, seconds=turn.seconds * (1 + 0.05 * len(made)))

    monkeypatch.setattr(gpu_check.TimedSteps, "turn", slower)
    assert play(CHECKS[check]).name == f"gpu.{check}.failed"


def test_a_request_that_is_not_refused_is_found(play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda *size, **how: right(*(1 if each == 160 * 2**30 else each for each in size), **how)
    )
    assert play(gpu_check.memory).variant == "unlimited"


def test_a_card_that_fails_where_its_memory_should_run_out_is_found(
    play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = torch.empty

    def fails(*size: Any, **how: Any) -> Any:
        if size[0] == 160 * 2**30:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return right(*size, **how)

    monkeypatch.setattr(torch, "empty", fails)
    found = play(gpu_check.memory)
    assert found.name == "gpu.raised.failed" and found.figures["kind"] == "DeviceError"


def test_a_paused_training_that_is_disturbed_is_found(
    play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, made = gpu_check.train, []

    def train(config: Any, tiles: Any) -> Iterator[Any]:
        made.append(config)
        disturbed = len(made) == 2
        for event in right(config, tiles):
            yield replace_loss(event) if disturbed and isinstance(event, gpu_check.Finished) else event

    def replace_loss(event: Any) -> Any:
        return gpu_check.Finished(event.epochs, event.seconds, event.val_loss * 1.01, event.val_accuracy)

    monkeypatch.setattr(gpu_check, "train", train)
    assert play(gpu_check.parked).variant == "failed"


def test_a_run_that_fails_tells_nothing_of_other_cards(
    play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = gpu_check.run_job
    monkeypatch.setattr(gpu_check, "run_job", lambda job, report: right(replace(job, fingerprint="another"), report))
    found = play(gpu_check.context)
    assert found.variant == "ended" and found.figures["message"] in say(found)


def test_a_failed_kernel_without_a_new_worker_is_found(
    play: Callable[..., Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Finding("gpu.unanswered.late", {"seconds": 15.0})
    monkeypatch.setattr(gpu_check, "in_process", lambda *_what, **_how: late)
    found = play(gpu_check.failed_kernel)
    assert found.variant == "failed" and "cuda:1" in found.figures["sentence"]
    monkeypatch.setattr(gpu_check.functional, "cross_entropy", lambda *_tensors: None)
    assert play(gpu_check.failed_kernel).variant == "unnoticed"


def test_a_minute_is_not_outrun(play: Callable[..., Finding], small_tiles: TileSet) -> None:
    now = [0.0]
    given: list[float] = []

    def run(_check: Any, _card: Card, seconds: float) -> Finding:
        given.append(seconds)
        now[0] += 20.0
        return Finding("gpu.kernel.passed")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_check.time, "perf_counter", lambda: now[0])
        found = list(check_gpus(TWO[:1], small_tiles.cache, run, spent=5.0))
    assert given == [25.0, 25.0, 15.0]
    assert {each.finding.variant for each in found[3:]} == {"not_reached"} and not found[-1].passed


def test_cards_without_a_kernel_are_not_checked_further(small_tiles: TileSet) -> None:
    def run(_check: Any, card: Card, _seconds: float) -> Finding:
        return Finding("gpu.unanswered.late" if card.device == "cuda:1" else "gpu.kernel.passed", {"seconds": 25.0})

    found = list(check_gpus(TWO, small_tiles.cache, run))
    assert {each.device for each in found[2:]} == {"cuda:0"} and not found[1].passed
    assert len(list(check_gpus(TWO[1:], small_tiles.cache, run))) == 1


def test_of_a_sliced_card_each_slice_is_checked_alone(small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = [Device(f"cuda:{at}", "A100 MIG 1g.5gb", None, visible=f"MIG-{at}") for at in range(2)]
    seen: list[tuple[str, Card]] = []

    def noted(card: Card) -> Finding:
        seen.append((os.environ["CUDA_VISIBLE_DEVICES"], card))
        return Finding("gpu.kernel.passed")

    def run(check: Callable[[Card], Finding], card: Card, _seconds: float) -> Finding:
        with _one_at_a_time, pytest.MonkeyPatch.context() as patch:
            patch.setenv("CUDA_VISIBLE_DEVICES", "")
            return gpu_check.seen_alone(noted, card)

    found = list(check_gpus(slices, small_tiles.cache, run))
    assert {each.device for each in found[2:]} == {"cuda:1"} and "context" not in [each.check for each in found]
    assert {(visible, card.device, card.others) for visible, card in seen} == {
        ("MIG-0", "cuda:0", ()),
        ("MIG-1", "cuda:0", ()),
    }


def test_cards_are_listed_or_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lists(answer: Any) -> None:
        def asked(*_what: Any, **_how: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(gpu_check, "ask", asked)

    lists((Device("cpu", "CPU", None), *TWO, Device("cuda:2", "GPU", None, available=False, reason="It failed.")))
    assert gpu_check.cuda_devices() == tuple(TWO)
    lists((Device("cpu", "CPU", None), Device("gpu", "GPU", None, available=False, reason="No GPU was found.")))
    with pytest.raises(RunError, match="No GPU was found"):
        gpu_check.cuda_devices()
    lists((Device("cpu", "CPU", None), Device("mps", "Apple GPU", None)))
    with pytest.raises(RunError, match="NVIDIA or AMD"):
        gpu_check.cuda_devices()
    lists(NoAnswerError("late", seconds=30.0))
    with pytest.raises(RunError, match="driver"):
        gpu_check.cuda_devices()


# -- processes


def answer(card: Card) -> Finding:
    print("not among the answers")
    return Finding("gpu.context.passed", {"cards": card.others})


def fail(_card: Card) -> Finding:
    raise RuntimeError("CUDA error: an illegal memory access\nand more")


def die(_card: Card) -> Finding:
    import os

    os._exit(3)


def hang(_card: Card) -> Finding:
    time.sleep(60)
    raise AssertionError


def test_each_check_has_a_process_of_its_own() -> None:
    card = Card("cuda:0", ("cuda:1",), Path("nowhere"))
    assert gpu_check.in_process(answer, card, 60.0) == Finding("gpu.context.passed", {"cards": ("cuda:1",)})
    assert gpu_check.in_process(answer, card, 60.0, anew=True).variant == "passed"
    failed = gpu_check.in_process(fail, card, 60.0)
    assert failed.figures == {"kind": "RuntimeError", "error": "CUDA error: an illegal memory access"}
    assert gpu_check.in_process(die, card, 60.0) == Finding("gpu.unanswered.died", {"status": 3})
    assert gpu_check.in_process(hang, card, 0.5) == Finding("gpu.unanswered.late", {"seconds": 0.5})


# -- the command


def test_without_a_gpu_one_line_says_so(ask: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    status, result, errors = ask("doctor", "--gpu")
    assert (status, result) == (2, None) and len(errors.strip().splitlines()) == 1


def test_the_command_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    right = Outcome("kernel", "cuda:0", Finding("gpu.unanswered.late", {"seconds": 25.0}), 25.1)
    monkeypatch.setattr(gpu_check, "cuda_devices", lambda: tuple(TWO))
    monkeypatch.setattr(gpu_check, "check_gpus", lambda *_what, **_how: iter([right]))
    status, result, _ = ask("doctor", "--gpu")
    assert status == 1 and not result["ready"]
    assert result["gpu_checks"][0]["text"] == say(right.finding)


def test_of_a_sliced_card_doctor_tries_what_its_process_sees(monkeypatch: pytest.MonkeyPatch, ask: Any) -> None:
    parts = [Device(f"cuda:{at}", "A100 MIG 1g.5gb", None, visible=f"MIG-{at}") for at in range(2)]
    tried: list[str] = []
    monkeypatch.setattr(devices, "probe_devices", lambda: (devices.cpu_device(), *parts))
    monkeypatch.setattr(cli, "_chosen_precision", lambda device, _settings: tried.append(device) or device)
    monkeypatch.setattr(record, "kernels_problem", lambda device: tried.append(device) or "")
    status, result, _ = ask("doctor")
    assert status == 0 and sum(each["name"] == "GPU" for each in result["checks"]) == 2
    assert tried == ["cpu", "cuda:0", "cuda:0"]
