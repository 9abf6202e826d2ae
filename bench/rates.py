"""Tiles per second of trainings that are pulled in turns, and the machine that such figures belong to."""

import os
import time
from collections.abc import Generator

import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import cpu_name
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import FeaturesDone, Started, StepDone
from eurosat_core.training.loop import train
from eurosat_core.training.threads import ThreadGovernor

_BFLOAT16 = ("avx512_bf16", "amx_bf16", "avx_ne_convert", "avx10_2")  # what the plain instruction set does not tell
_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")  # environment variables that forbid some


class PulledTraining:
    """A training that takes in tiles only while it is asked for its rate, so that several can take turns.

    It begins anew when it has come to its end. Of one on frozen features it is their computing that counts. governor:
    as `train` takes it. Close it at the end.
    """

    def __init__(self, config: TrainConfig, tiles: TileSet, governor: ThreadGovernor | None = None) -> None:
        self._config = config
        self._tiles = tiles
        self._governor = governor
        self._pieces = self._pulled()

    def rate(self, seconds: float) -> float:
        """Tiles per second over the next steps: as many as take so long together, at least one.

        What lies between training steps, such as validation, is left out.
        """
        tiles, spent = 0, 0.0
        while not tiles or spent < seconds:
            more, took = next(self._pieces)
            tiles += more
            spent += took
        return tiles / spent

    def close(self) -> None:
        """Let go of the network."""
        self._pieces.close()

    def _pulled(self) -> Generator[tuple[int, float], None, None]:
        """Tiles and seconds of one piece of the work after the other."""
        frozen, batch = self._config.source == "features", self._config.batch_size
        while True:
            events = train(self._config, self._tiles, governor=self._governor)
            there = done = 0
            began = time.perf_counter()
            try:
                for event in events:
                    taken, tiles = time.perf_counter() - began, 0
                    if isinstance(event, Started):
                        there = event.train_tiles
                    elif isinstance(event, FeaturesDone):
                        tiles, done = event.done - done, event.done
                    elif isinstance(event, StepDone) and frozen:
                        break
                    elif isinstance(event, StepDone) and event.phase == "train":
                        tiles = min(batch, there - (event.step - 1) * batch)
                    if tiles:
                        yield tiles, taken
                    began = time.perf_counter()  # while nobody pulls, no time passes
            finally:
                events.close()


def computed_on(threads: int) -> str:
    """Processor, instruction set and CPU threads, in words: what is promised of speed was measured on some of these."""
    known = dict(torch.cpu.get_capabilities()) if hasattr(torch.cpu, "get_capabilities") else {}
    limits = [f"{name}={os.environ[name]}" for name in _LIMITS if os.environ.get(name)]
    short = [name for name in _BFLOAT16 if known.get(name)]
    words = f"{cpu_name()}, {torch.backends.cpu.get_cpu_capability()}"
    if limits:  # the processor's own list tells nothing then
        words += f" limited by {' and '.join(limits)}"
    elif short:
        words += f" with {' and '.join(short)}"
    return f"{words}, {threads} CPU thread{'s' if threads != 1 else ''}"
