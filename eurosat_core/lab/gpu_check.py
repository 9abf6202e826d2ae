"""Whether a GPU does all that the lab asks of one: what `doctor --gpu` checks, in a minute at most.

Each check runs in a process of its own, so that one that hangs or dies takes nothing along. The first one is made on
every card, all others on the last card on which a kernel ran: what takes the wrong index goes to the first one.

A limit that is not explained is the tolerance that was agreed on for that check; none was tried out on a card yet.
"""

import copy
import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from eurosat_core.data.batches import Batch
from eurosat_core.data.tile_cache import TileSet, open_cached
from eurosat_core.devices import AMPERE, Device, cublas_environment, probe_devices
from eurosat_core.errors import RunError, TrainingError
from eurosat_core.finding import Finding
from eurosat_core.lab.jobs import run_job
from eurosat_core.lab.messages import Job
from eurosat_core.lab.own_process import NoAnswerError, ask, first_line
from eurosat_core.models.catalog import changed_baseline
from eurosat_core.models.layers import format_network
from eurosat_core.profiling.columns import Kind
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.profiling.record import CycleRecorded, explained_kernels_problem, record
from eurosat_core.profiling.trace import Trace, read_trace
from eurosat_core.speed.steps import Clock, TimedSteps
from eurosat_core.training.choices import form_text
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.evaluation import Tally, wait_for
from eurosat_core.training.events import Finished, StepDone
from eurosat_core.training.loop import train
from eurosat_core.training.network import deterministic_kernels
from eurosat_core.training.precision import multiplies_tf32, resolved
from eurosat_core.training.problems import DeviceError, explained
from eurosat_core.training.sources import full_batches, split_for, tile_source
from eurosat_core.training.step import Trainer, loss_of

ALL_SECONDS = 60.0
_LISTING_SECONDS = 30.0  # torch is loaded for it: 12 s beside other work on two slow cores
_CHECK_SECONDS = 25.0  # the slowest check starts a process that loads torch

LOSS_ERROR, GRADIENT_ERROR = 1e-4, 1e-3
"""How far a step on a GPU may be from one on the CPU, relative to it; gradients by the norm of all together."""
TF32_ERROR = 1e-2
CLOCK_ERROR = 0.05
SPREAD = 0.10
"""How far the slowest of five turns may be from the fastest, relative to their median."""
MATCHED = 0.95
AFTER_PROFILE = 1.03
WORKER_SECONDS = 15.0
PARKED_ERROR = 1e-3
"""Of the last validation loss. Other draws of dropout change it by 5e-2 (on the CPU, 200 tiles)."""

_TILES, _BATCH = 2000, 32
_UNTIMED_STEPS, _STEPS_WITHOUT_WAITING, _STEPS_BEFORE_PAUSE = 3, 20, 10
_TURNS, _TURN_SECONDS = 5, 0.3
_KERNEL_ERROR = 1e-2  # convolutions may be computed in TF32
_COPIED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Card:
    """The card that is checked, the others that its process sees, and the cache entry of the tiles.

    visible: of a slice of a card, whose process sees nothing else, as `Device` has it; empty of a whole one.
    """

    device: str
    others: tuple[str, ...]
    tiles: Path
    visible: str = ""

    @property
    def index(self) -> int:
        """Its number among the cards."""
        return torch.device(self.device).index


@dataclass(frozen=True)
class Outcome:
    """What a check found on a card, and how long it took."""

    check: str
    device: str
    finding: Finding
    seconds: float

    @property
    def passed(self) -> bool:
        return self.finding.variant == "passed"


Check = Callable[[Card], Finding]
Run = Callable[[Check, Card, float], Finding]
"""Does a check within so many seconds; never raises."""


def cuda_devices() -> tuple[Device, ...]:
    """The cards that can be checked. Raises `RunError` with the reason where there is none."""
    multiprocessing.set_forkserver_preload([__name__])  # then each check begins at once
    try:
        found = ask(probe_devices, seconds=_LISTING_SECONDS)
    except NoAnswerError as error:
        raise RunError(
            "The GPUs of this machine could not be listed: their driver failed or gave no answer. Restart the machine."
        ) from error
    cards = tuple(each for each in found if each.id.startswith("cuda") and each.available)
    if not cards:
        reasons = [each.reason for each in found if each.reason] or [
            "There is no NVIDIA or AMD GPU here to be checked."
        ]
        raise RunError(" ".join(reasons))
    return cards


def check_gpus(
    devices: Sequence[Device], tiles: Path, run: Run | None = None, *, spent: float = 0.0
) -> Iterator[Outcome]:
    """Check these cards (one at least), each outcome as it comes. tiles: the cache entry of the tiles.

    run: does a check; by default in a process of its own. spent: seconds of `ALL_SECONDS` that are over already.
    """
    run = run or in_process
    began = time.perf_counter() - spent
    cards = [
        Card(one.id, tuple(each.id for each in devices if each is not one and not one.visible), tiles, one.visible)
        for one in devices
    ]

    def outcome(name: str, card: Card) -> Outcome:
        start = time.perf_counter()
        left = ALL_SECONDS - (start - began)
        if left <= 0:
            finding = Finding("gpu.unanswered.not_reached", {"seconds": ALL_SECONDS})
        else:
            finding = run(CHECKS[name], card, min(left, _CHECK_SECONDS))
        return Outcome(name, card.device, finding, time.perf_counter() - start)

    with ThreadPoolExecutor(len(cards)) as pool:
        first = list(pool.map(lambda card: outcome("kernel", card), cards))
    yield from first
    working = [card for card, each in zip(cards, first, strict=True) if each.passed]
    if not working:
        return
    for name in CHECKS:
        if name != "kernel" and not (name == "context" and not working[-1].others):
            yield outcome(name, working[-1])


def in_process(check: Check, card: Card, seconds: float, *, anew: bool = False) -> Finding:
    """Do a check in a process of its own; see `own_process.ask`."""
    return finding_of(lambda: ask(seen_alone, check, card, seconds=seconds, anew=anew))


def seen_alone(check: Check, card: Card) -> Finding:
    """Do a check in this process, which uses no GPU yet; of a sliced card it is to see this slice only."""
    if card.visible:
        os.environ["CUDA_VISIBLE_DEVICES"] = card.visible
        card = replace(card, device="cuda:0")
    return check(card)


def finding_of(work: Callable[[], Finding]) -> Finding:
    """What a check found, or why it gave no answer."""
    try:
        return work()
    except NoAnswerError as error:
        if error.why == "raised":
            return Finding("gpu.raised.failed", error.figures)
        return Finding(f"gpu.unanswered.{error.why}", error.figures)


# -- what the checks share

_wall = time.perf_counter


def _config(card: Card, **changes: Any) -> TrainConfig:
    """A training on resident tiles, of the baseline with dropout before its last layer: chance has to agree, too."""
    network = format_network(changed_baseline(dropout=0.5))
    settings = {"precision": "float32", "channels_last": False, "tiles": _TILES, "batch_size": _BATCH, "epochs": 2}
    return recipe_config("custom", "fast", network=network, device=card.device, **settings | changes)


def _tiles(card: Card) -> TileSet:
    return open_cached(card.tiles)


def _warm(card: Card, steps: int) -> tuple[Trainer, Iterator[Batch], Tally]:
    """A training that has made so many steps, and waits."""
    config, tiles = _config(card), _tiles(card)
    trainer = Trainer(config, tiles)
    trainer.mode(training=True)
    source = tile_source(config, tiles, split_for(config, tiles), trainer.device)
    batches, tally = full_batches(source, config.batch_size), Tally.on(trainer.device)
    for _ in range(steps):
        trainer.step(batches, tally=tally)
    wait_for(trainer.device)
    return trainer, batches, tally


def _last_loss(config: TrainConfig, tiles: TileSet) -> float:
    *_, last = train(config, tiles)
    assert isinstance(last, Finished)
    return last.val_loss


def _turns(steps: TimedSteps, count: int) -> list[float]:
    """Seconds of a step in each of so many turns."""
    return [steps.turn(number).step_seconds for number in range(1, count + 1)]


@contextmanager
def _timed_steps(card: Card) -> Iterator[TimedSteps]:
    """Steps whose turns take `_TURN_SECONDS`."""
    steps = TimedSteps(_config(card), _tiles(card))
    try:
        steps.plan(max(_TURNS, round(_TURN_SECONDS / max(steps.prepare(), 1e-5))), 0)
        yield steps
    finally:
        steps.close()


def _recorded(card: Card) -> Trace:
    """The trace of two steps."""
    kept: list[CycleRecorded] = []
    for _ in record(_config(card), ProfilePlan(wait=1, warmup=1, active=2, repeat=1), _tiles(card), kept.append):
        pass
    return read_trace(kept[0].trace)


# -- the checks


def kernel(card: Card) -> Finding:
    """A convolution, compared with the CPU's."""
    layer, tiles = nn.Conv2d(3, 8, 3), torch.linspace(-1, 1, 4 * 3 * 64 * 64).view(4, 3, 64, 64)
    with torch.no_grad():
        expected = layer(tiles)
        found = copy.deepcopy(layer).to(card.device)(tiles.to(card.device)).cpu()
    error = _relative(found, expected)
    properties = torch.cuda.get_device_properties(card.device)
    figures = {
        "error": error,
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda or torch.version.hip,
        "cudnn": torch.backends.cudnn.version(),
        "torch": torch.__version__,
    }
    return Finding("gpu.kernel.passed" if error <= _KERNEL_ERROR else "gpu.kernel.failed", figures)


def step(card: Card) -> Finding:
    """The loss and the gradients of one step, compared with the CPU's: in float32, and in TF32 where there is any."""
    loss, gradients = _one_step(replace(_config(card), device="cpu"), card)
    has_tf32 = multiplies_tf32(torch.device(card.device))
    figures = {}
    for name, kind in (("", "float32"), *([("tf32_", "tf32")] if has_tf32 else [])):
        found_loss, found_gradients = _one_step(_config(card, precision=kind), card)
        figures[f"{name}loss"] = abs(found_loss - loss) / abs(loss)
        figures[f"{name}gradients"] = _relative(found_gradients, gradients)
    exact = figures["loss"] <= LOSS_ERROR and figures["gradients"] <= GRADIENT_ERROR
    rounded = not has_tf32 or max(figures["tf32_loss"], figures["tf32_gradients"]) <= TF32_ERROR
    then = (Finding("gpu.step.tf32", figures),) if has_tf32 else ()
    return Finding("gpu.step.passed" if exact and rounded else "gpu.step.failed", figures, then)


def _one_step(config: TrainConfig, card: Card) -> tuple[float, Tensor]:
    """Loss and all gradients, end to end, of a step without dropout, whose draws are each device's own."""
    tiles = _tiles(card)
    trainer = Trainer(config, tiles)
    trainer.mode(training=False)
    batch = next(tile_source(config, tiles, split_for(config, tiles), trainer.device).train(1))
    *_, loss = loss_of(trainer.train_network, batch, config)
    loss.backward()
    gradients = [each.grad.flatten().cpu() for each in trainer.network.parameters() if each.grad is not None]
    return loss.item(), torch.cat(gradients)


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def precision(card: Card) -> Finding:
    """The precision is found by trying, and is none that the card emulates."""
    choice = resolved(recipe_config("baseline", "fast", device=card.device))[1]
    assert choice is not None, "the recipe leaves it open"
    figures = {"form": form_text(choice), "precision": choice.form.precision, "ratio": choice.ratio}
    if choice.why == "not_tried":
        return Finding("gpu.precision.not_tried", figures)
    emulated = choice.form.precision == "bfloat16" and torch.cuda.get_device_capability(card.device) < AMPERE
    return Finding("gpu.precision.emulated" if emulated else "gpu.precision.passed", figures)


def waits(card: Card) -> Finding:
    """No step waits for the card."""
    trainer, batches, tally = _warm(card, _UNTIMED_STEPS)
    done = 0
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(_STEPS_WITHOUT_WAITING):
            trainer.step(batches, tally=tally)
            done += 1
    except RuntimeError as error:
        return Finding("gpu.waits.failed", {"step": done + 1, "error": first_line(error)})
    finally:
        torch.cuda.set_sync_debug_mode("default")
    wait_for(trainer.device)
    return Finding("gpu.waits.passed", {"steps": done})


def clock(card: Card) -> Finding:
    """The card's events tell the time that a clock on the wall does."""
    trainer, batches, tally = _warm(card, _STEPS_WITHOUT_WAITING)
    events = Clock(trainer.device)
    events.start()
    began = _wall()
    while _wall() - began < _TURN_SECONDS:
        trainer.step(batches, tally=tally)
    events.mark()
    by_events = events.stop()[0]
    by_wall = _wall() - began
    figures = {"events": by_events * 1000, "wall": by_wall * 1000}
    near = abs(by_events - by_wall) <= CLOCK_ERROR * by_wall
    return Finding("gpu.clock.passed" if near else "gpu.clock.failed", figures)


def spread(card: Card) -> Finding:
    """Five turns of the same steps take about the same time."""
    with _timed_steps(card) as steps:
        seconds = _turns(steps, _TURNS)
    apart = (max(seconds) - min(seconds)) / median(seconds)
    figures = {"step": median(seconds) * 1000, "spread": apart, "turns": _TURNS}
    return Finding("gpu.spread.passed" if apart <= SPREAD else "gpu.spread.failed", figures)


def kernels(card: Card) -> Finding:
    """A profile holds the step's kernels, each with the call that launched it, on this card."""
    trace = _recorded(card)
    rows = trace.device_rows
    are_kernels = trace.kind[rows] == Kind.KERNEL
    if not are_kernels.any():
        return Finding("gpu.kernels.none", {"reason": explained_kernels_problem(card.device)})
    matched = float((trace.launch[are_kernels] >= 0).mean())
    there = sorted(set(trace.device[rows[are_kernels]].tolist()))
    where = [str(each) for each in there]
    figures = {"kernels": int(are_kernels.sum()), "matched": matched, "index": card.index, "there": where}
    right = matched >= MATCHED and there == [card.index]
    return Finding("gpu.kernels.passed" if right else "gpu.kernels.failed", figures)


def after_profile(card: Card) -> Finding:
    """A profile leaves later steps as fast as they were."""
    with _timed_steps(card) as steps:
        before = median(_turns(steps, _TURNS))
        _recorded(card)
        after = median(_turns(steps, _TURNS))
    figures = {"before": before * 1000, "after": after * 1000, "ratio": after / before}
    return Finding(
        "gpu.after_profile.passed" if after <= AFTER_PROFILE * before else "gpu.after_profile.failed", figures
    )


def memory(card: Card) -> Finding:
    """A training that finds no memory ends with a sentence; the next one works, and gives all it took back.

    One request asks for more than the card has: filling it up would end the runs of others on it.
    """
    config, tiles = _config(card), _tiles(card)
    _last_loss(config, tiles)  # libraries take memory for good
    held = _held(card)
    size = 2 * torch.cuda.get_device_properties(card.device).total_memory
    try:
        with explained(config):
            torch.empty(size, dtype=torch.uint8, device=card.device)
    except DeviceError:
        raise
    except TrainingError:
        pass
    else:
        return Finding("gpu.memory.unlimited", {"bytes": size})
    _last_loss(config, tiles)
    kept = _held(card) - held
    return Finding("gpu.memory.failed" if kept > 0 else "gpu.memory.passed", {"bytes": max(kept, 0)})


def _held(card: Card) -> int:
    """Bytes that this process holds on the card when nothing is left to let go of."""
    gc.collect()
    torch.cuda.empty_cache()
    return torch.cuda.memory_reserved(card.device)


def parked(card: Card) -> Finding:
    """A training that stands still while another one is made ends like one that never did."""
    os.environ.update(cublas_environment())
    config, tiles = _config(card, deterministic=True), _tiles(card)  # else gradients vary by themselves
    try:
        whole = _last_loss(config, tiles)
        run = train(config, tiles)
        for _ in islice((each for each in run if isinstance(each, StepDone)), _STEPS_BEFORE_PAUSE):
            pass
        _last_loss(replace(config, seed=config.seed + 1), tiles)
        *_, last = run
    finally:
        deterministic_kernels(False)
    assert isinstance(last, Finished)
    error = abs(last.val_loss - whole) / whole
    return Finding("gpu.parked.passed" if error <= PARKED_ERROR else "gpu.parked.failed", {"error": error})


def pinned(card: Card) -> Finding:
    """A copy from pinned memory is faster than one from pageable memory."""
    pageable = torch.ones(_COPIED_BYTES, dtype=torch.uint8)
    with torch.cuda.device(card.device):
        fixed = pageable.pin_memory()
    times: dict[str, list[float]] = {"pinned": [], "pageable": []}
    events = Clock(torch.device(card.device))
    for _ in range(_TURNS + 1):
        for name, source in (("pinned", fixed), ("pageable", pageable)):
            events.start()
            source.to(card.device, non_blocking=name == "pinned")
            events.mark()
            times[name].append(events.stop()[0])
    rates = {name: _COPIED_BYTES / min(each[1:]) / 1e9 for name, each in times.items()}  # the first ones take memory
    return Finding("gpu.pinned.passed" if rates["pinned"] > rates["pageable"] else "gpu.pinned.failed", rates)


def context(card: Card) -> Finding:
    """A run, as a worker does it, takes nothing on other cards: a context alone holds some hundred MB there."""
    tiles = _tiles(card)
    config = _config(card, epochs=1, source="loader", workers=0, pin_memory=True, tiles=min(_TILES, 256))
    result = run_job(Job("gpu-check", config, tiles.fingerprint, str(card.tiles), 1), lambda _events: None)
    if result.state != "finished":
        return Finding("gpu.context.ended", {"message": result.message})
    touched = [each for each in card.others if _has_context(each)]
    return Finding("gpu.context.failed" if touched else "gpu.context.passed", {"cards": touched or card.others})


def _has_context(device: str) -> bool:
    """Whether this process holds a context on a card; to ask makes none."""
    return bool(torch._C._cuda_hasPrimaryContext(torch.device(device).index))  # type: ignore[attr-defined]


def failed_kernel(card: Card) -> Finding:
    """A kernel that fails ends a run with a sentence, and a new process soon has the card again."""
    began = _wall()
    try:
        with explained(_config(card)):
            scores = torch.zeros(1, 10, device=card.device)
            functional.cross_entropy(scores, torch.full((1,), 10, device=card.device))
            wait_for(torch.device(card.device))
    except DeviceError as error:
        sentence = str(error)
    else:
        return Finding("gpu.failed_kernel.unnoticed")
    answer = in_process(kernel, card, WORKER_SECONDS, anew=True)
    seconds = _wall() - began
    good = answer.variant == "passed" and seconds <= WORKER_SECONDS
    figures = {"sentence": sentence, "seconds": seconds}
    if good:
        return Finding("gpu.failed_kernel.passed", figures)
    return Finding("gpu.failed_kernel.failed", figures, (answer,))


CHECKS: dict[str, Check] = {
    "kernel": kernel,
    "step": step,
    "precision": precision,
    "waits": waits,
    "clock": clock,
    "spread": spread,
    "kernels": kernels,
    "after_profile": after_profile,
    "memory": memory,
    "parked": parked,
    "pinned": pinned,
    "context": context,
    "failed_kernel": failed_kernel,
}
