"""Which arithmetic and memory layout suit a network on this device: found by trying, within a second, and kept on disk.

`precision="auto"` and `channels_last=None` in a config mean: as this device does it faster. What a processor's name or
its instruction flags promise is not enough. On two cores with AVX2 only, bfloat16 is emulated, and tilenet learns from
39 instead of 464 tiles a second; with AMX from 1,128 instead of 633 (batch 128, channels-last).
"""

import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn import functional

from eurosat_core.devices import AMPERE, torch_device
from eurosat_core.machine_notes import MachineNotes, Note
from eurosat_core.training.config import AUTO, TrainConfig
from eurosat_core.training.evaluation import wait_for
from eurosat_core.training.forms import FORMS, Choice, Form, Why, choose, filled, form_key, known_choice, open_forms
from eurosat_core.training.network import autocast, multiply_float32, stand_in

_SECONDS = 0.5  # all forms together
_FIRST_STEP_SECONDS, _STEP_SECONDS = 0.01, 0.06
_MOST_TILES = 128
_STEPS = 3
_SURELY_HOPELESS = 5.0  # the same of its first step, in which kernels are compiled (up to 4.5 times as long: AMX)
_HOPELESS = 2.0  # a form that takes so many times as long as the best one in a small batch needs no large one


def resolved(
    config: TrainConfig, notes: MachineNotes | None = None, give_up: Callable[[], bool] = lambda: False
) -> tuple[TrainConfig, Choice | None]:
    """`config` with what it leaves to the device filled in, and the choice; None when it leaves nothing open.

    notes: where earlier trials are kept; this one is added. give_up: whether somebody waits for the device; the trial
    ends then. Runs where the device may be used: in a worker, or on the command line.
    """
    if not config.is_open:
        return config, None
    choice = known_choice(config, notes) if notes is not None else None
    if choice is None:
        seconds, why_not, complete = _tried(config, give_up)
        if notes is not None and complete:
            values = {"seconds": [[*form, value] for form, value in seconds.items()], "why_not": why_not}
            notes.put(Note(FORMS, config.device, form_key(config), values))
        choice = choose(config, seconds, why_not)
    return filled(config, choice), choice


def _tried(config: TrainConfig, give_up: Callable[[], bool]) -> tuple[dict[Form, float], Why | None, bool]:
    """Seconds of a tile in each form, why bfloat16 was not among them, and whether all forms had their turn.

    Forms are only compared in batches of one size.
    """
    # All forms, whatever this config leaves open: the next one may leave other things open.
    forms = open_forms(replace(config, precision=AUTO, channels_last=None))
    why_not = _no_bfloat16(config.device)
    if why_not is not None:
        forms = [each for each in forms if each.precision != "bfloat16"]
    threads = torch.get_num_threads()
    try:
        # One thread: several would wait for each other wherever one of them has to share its core.
        torch.set_num_threads(1)
        trial = _Trial(config, give_up)
        found = trial.seconds(forms, _FIRST_STEP_SECONDS, 1)
        if len(found) < len(forms):
            return found, why_not, False
        # Once more: in a process that has just started everything is slow for a moment (seen: ten times).
        slow = [form for form in forms if found[form] > _HOPELESS * min(found.values())]
        again = trial.seconds(slow, _FIRST_STEP_SECONDS, 1)
        found |= {form: min(found[form], seconds) for form, seconds in again.items()}
        # In a small batch weighs too much what a step costs whatever its size, such as making short copies of weights.
        close = sorted(forms, key=lambda form: found[form])
        close = [each for each in close if found[each] < _HOPELESS * found[close[0]]]
        large = trial.seconds(close, _STEP_SECONDS, 2)
        return (found | large if len(large) == len(close) else found), why_not, True
    except RuntimeError:  # an operation that this device does not know in this form, or no memory
        return {}, why_not, False
    finally:
        torch.set_num_threads(threads)


class _Trial:
    """A network with made-up weights on the device, and a deadline."""

    def __init__(self, config: TrainConfig, give_up: Callable[[], bool]) -> None:
        self._device = torch_device(config.device)
        self._trained = not config.is_pretrained
        if self._device.type == "cuda":
            multiply_float32("float32")
        # Of VGG the convolutions: its linear layers are half a gigabyte, and a small part of the work.
        self._network = stand_in(config, self._device, convolutions_only=not self._trained).train(self._trained)
        self._side = config.input_side
        self._give_up = give_up
        self._deadline = time.perf_counter() + _SECONDS
        self._clock = _clock_of(self._device)
        plain = Form("float32", False)  # never slow, so that two tiles tell how many make a step of some length
        self._tile_seconds = min(self._step(2, plain) for _ in range(2)) / 2

    def seconds(self, forms: list[Form], step_seconds: float, rounds: int) -> dict[Form, float]:
        """Seconds of a tile, the least of several steps of about so long; only of forms that were reached in time."""
        count = max(2, min(int(step_seconds / max(self._tile_seconds, 1e-9)), _MOST_TILES))
        if self._device.type != "cpu":
            count = _MOST_TILES  # fewer are a matter of launches, which are the same in every form
        found: dict[Form, float] = {}
        for at in range(rounds):
            for form in forms if at % 2 == 0 else reversed(forms):
                for step in range(_STEPS):
                    if self._give_up() or time.perf_counter() > self._deadline:
                        return found
                    taken = self._step(count, form) / count
                    if step == 0 and found and taken > _SURELY_HOPELESS * min(found.values()):
                        found.setdefault(form, taken)
                        break
                    if step:  # the first one chooses and compiles kernels
                        found[form] = min(taken, found.get(form, taken))
        return found

    def _step(self, count: int, form: Form) -> float:
        """Seconds of a step forward and, where the network is trained, backward."""
        layout = torch.channels_last if form.channels_last else torch.contiguous_format
        network = self._network.to(memory_format=layout)
        tiles = torch.zeros(count, 3, self._side, self._side, device=self._device).contiguous(memory_format=layout)
        labels = torch.zeros(count, dtype=torch.int64, device=self._device)
        wait_for(self._device)
        began = self._clock()
        with torch.set_grad_enabled(self._trained), autocast(form.precision, self._device):
            scores = network(tiles)
        if self._trained:
            functional.cross_entropy(scores.float(), labels).backward()
            network.zero_grad(set_to_none=True)
        wait_for(self._device)
        return self._clock() - began


def _clock_of(device: torch.device) -> Callable[[], float]:
    """On a CPU the seconds that this thread, which computes alone, has had a core: a wait for others is no work.

    Beside 2 and 4 busy processes on two cores, 11 of 48 trials with AMX chose float32 by the time of day, and 1 so.
    """
    fine = time.get_clock_info("thread_time").resolution < 1e-4  # Windows counts in steps of 16 ms
    return time.thread_time if device.type == "cpu" and fine else time.perf_counter


def multiplies_tf32(device: torch.device) -> bool:
    """Whether this card has TF32, which came to NVIDIA's with bfloat16."""
    if device.type != "cuda" or torch.version.hip:
        return False
    return torch.cuda.get_device_capability(device) >= AMPERE


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether this card has bfloat16 of its own: PyTorch's usual answer counts what it emulates as support."""
    with torch.cuda.device(device):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _no_bfloat16(device: str) -> Why | None:
    """Why bfloat16 need not be tried on a device; None when only a trial tells."""
    if device.startswith("cuda"):
        return None if multiplies_bfloat16(torch_device(device)) else "emulated"
    if device != "cpu":
        return None
    return "no_instructions" if _surely_without_instructions() else None


def _surely_without_instructions() -> bool:
    """Whether this is an x86 processor without any instructions for bfloat16. Other processors' flags tell less."""
    known = dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}
    if known:
        names = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "avx10_2")
        return known.get("architecture") == "x86_64" and not any(known.get(name) for name in names)
    if torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2", "AVX512"):
        return False
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return all(hasattr(torch.cpu, name) and not getattr(torch.cpu, name)() for name in probes)
