"""Speeds of this machine, measured when an estimate asks for them, and in nobody's way.

A measurement gives way: it looks between two steps whether a run wants the device, and no step is long. It may stand
beside other work, and then says how many cores it had (`Speed.cores`), so that an estimate can be scaled.
"""

import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from PIL import Image

from eurosat_core.cores import CoreMeter, usable_cores
from eurosat_core.data.batches import Batch, Preprocessing, normalize, picture_transform
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.devices import torch_device
from eurosat_core.lab.speeds import Speed, speed_note
from eurosat_core.machine_notes import MachineNotes, Note
from eurosat_core.models.catalog import model_entry
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import wait_for
from eurosat_core.training.events import FORWARD_SHARE
from eurosat_core.training.forms import FORMS, form_key
from eurosat_core.training.frozen import BATCH
from eurosat_core.training.network import preprocessing_for, stand_in
from eurosat_core.training.precision import resolved
from eurosat_core.training.step import Trainer
from eurosat_core.training.threads import ThreadGovernor, keep_freed_memory

_SECONDS = 0.45  # of steps, warm-up included
_STEP_SECONDS = (0.02, 0.1)  # about so long is a step, so that a run that wants the device need not wait
_SIZING_STEPS, _SIZING_SECONDS = 3, 0.1  # for each size, since one step alone may be a slow one
_LEAST_STEPS = 4
_PICTURES = 40
_DISTURBED = 0.15  # of a core
_GIVE_WAY_SECONDS = 0.5
# One measurement at a time in a process, and nobody waits for one that hangs.
_one = threading.Lock()
_wanted = threading.Event()
_idle = threading.Event()
_idle.set()


def give_way(seconds: float = _GIVE_WAY_SECONDS) -> bool:
    """End what is being measured; whether it has ended within so many seconds."""
    _wanted.set()
    return _idle.wait(seconds)


def measure_speed(
    config: TrainConfig, threads: int, notes: MachineNotes, wanted: Callable[[], bool] = lambda: False
) -> list[Note] | None:
    """Measure how fast `config`'s network is trained here; runs in the device's worker, and adds to its notes.

    What the config leaves open is settled first. Returns what was noted; None when it was given up, or another
    measurement is under way. threads: of a training. wanted: whether a run has the device, asked between steps.
    """
    if not _one.acquire(blocking=False):
        return None
    try:
        _wanted.clear()
        _idle.clear()
        return _measured(config, threads, notes, lambda: _wanted.is_set() or wanted())
    finally:
        _idle.set()
        _one.release()


def _measured(config: TrainConfig, threads: int, notes: MachineNotes, wanted: Callable[[], bool]) -> list[Note] | None:
    governor = ThreadGovernor(threads)
    picture_seconds = _picture_seconds()
    settled, _ = resolved(config, notes, wanted)
    if settled.device == "cpu":
        governor.settle()
    plain = replace(settled, source="memory", pretrained=False, progressive_resizing=False)
    if settled.source == "features":  # as these are computed
        plain = replace(plain, channels_last=True, batch_size=BATCH)
    taken = _undisturbed(plain, governor.threads, wanted)
    if taken is None:
        return None
    tile_seconds, cores = taken
    speed = Speed(
        settled.device,
        settled.model,
        settled.batch_size,
        settled.precision,
        bool(settled.channels_last),
        tile_seconds / (FORWARD_SHARE if model_entry(settled.model).is_pretrained else 1),
        picture_seconds,
        settled.stem_pool,
        settled.network,
        cores,
        settled.input_side,
    )
    found = [speed_note(speed, settled.source)]
    if (trial := notes.get(FORMS, config.device, form_key(config))) is not None:
        found.append(Note(FORMS, config.device, form_key(config), trial))
    for each in found:
        notes.put(each)
    return found


def _undisturbed(config: TrainConfig, threads: int, wanted: Callable[[], bool]) -> tuple[float, float] | None:
    """Seconds per training tile, and the cores that it had; None when it was given up.

    Where something else came in between, once more with a thread less for it: threads that wait for each other are
    slowed down ten times and more then, which says nothing about a training.
    """
    usable = float(len(usable_cores()))
    is_last = config.device != "cpu" or threads == 1
    while True:
        meter = CoreMeter()
        tile_seconds = _tile_seconds(config, wanted)
        load = meter.look()
        if tile_seconds is None:
            return None
        free = usable - (load.others if load is not None else 0.0)
        if is_last or free > threads - _DISTURBED:
            return tile_seconds, min(float(threads), max(free, 0.2))
        threads, is_last = max(1, math.floor(free)), True
        torch.set_num_threads(threads)


def _tile_seconds(config: TrainConfig, wanted: Callable[[], bool]) -> float | None:
    """Seconds per training tile after warm-up; None when it was given up before there were any."""
    device = torch_device(config.device)
    preprocessing = preprocessing_for(config.model, bool(config.channels_last), config.input_side)
    keep_freed_memory()  # as trainings do, whose steps are estimated
    # A short measurement is over before a network is compiled: what that saves is not counted on.
    trainer = Trainer(replace(config, execution="eager"), None, stand_in(config, device))
    trainer.mode(training=True)

    def step(batches: Iterator[Batch]) -> float:
        began = time.perf_counter()
        trainer.step(batches)
        wait_for(device)
        return time.perf_counter() - began

    began = time.perf_counter()
    count = min(2, config.batch_size)
    for step_seconds in _STEP_SECONDS:  # larger and larger batches, so that no step takes much longer than planned
        batches = _batches(count, device, preprocessing)
        step(batches)  # chooses and compiles kernels for this size
        sized = time.perf_counter()
        fastest = math.inf
        for _ in range(_SIZING_STEPS):
            if wanted():
                return None
            fastest = min(fastest, step(batches) / count)
            if time.perf_counter() - sized > _SIZING_SECONDS:
                break
        count = max(count, min(config.batch_size, int(step_seconds / max(fastest, 1e-9))))
    batches = _batches(count, device, preprocessing)
    step(batches)
    rates: list[float] = []
    while not wanted() and (len(rates) < _LEAST_STEPS or time.perf_counter() - began < _SECONDS):
        rates.append(step(batches) / count)
    # What else the lab does for a moment, as opening a page, makes steps many times slower, never faster.
    return statistics.quantiles(rates, n=4)[0] if len(rates) >= _LEAST_STEPS else None


def _batches(count: int, device: torch.device, preprocessing: Preprocessing) -> Iterator[Batch]:
    """Batches without end, picked from many tiles as a training does; what they show does not matter."""
    pixels = _noise().to(device)
    generator = torch.Generator().manual_seed(0)
    while True:
        chosen = torch.randint(len(pixels), (count,), generator=generator).to(device)
        yield Batch(normalize(pixels[chosen], preprocessing), chosen % 10)


@lru_cache(maxsize=1)
def _noise() -> torch.Tensor:
    """[1024, 64, 64, 3]: so many that caches do not hold them."""
    shape = (1024, TILE_SIDE, TILE_SIDE, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@lru_cache(maxsize=1)
def _picture_seconds() -> float:
    """Seconds to open a picture of a tile's size, resize, convert and normalise it, the median of many."""
    prepare = picture_transform(Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    noise = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tile.jpg"  # about as hard to decode as a tile
        Image.fromarray(noise).resize((TILE_SIDE, TILE_SIDE)).save(path, quality=90)
        taken = []
        for _ in range(_PICTURES):
            began = time.perf_counter()
            with Image.open(path) as picture:
                prepare(picture.convert("RGB"))
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)
