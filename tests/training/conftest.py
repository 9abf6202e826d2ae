"""What the tests of the training loop share: a short training, and a clock that a test moves by hand."""

import time
from dataclasses import replace
from typing import Any

import pytest

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.training import loop
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import Event
from eurosat_core.training.loop import Checkpoint, train

CONFIG = TrainConfig(source="memory", epochs=2)
LOADER = replace(CONFIG, source="loader", workers=0)


def run(config: TrainConfig, tiles: TileSet) -> tuple[list[Event], list[Checkpoint]]:
    kept: list[Checkpoint] = []
    return list(train(config, tiles, kept.append)), kept


def of_kind(kind: type[Any], events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


class HandClock:
    """Stands in for the module `time`: moves by `tick` with every look, and when told."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now = time.perf_counter()  # where the training's own clock starts
        self.tick = tick

    def perf_counter(self) -> float:
        self.now += self.tick
        return self.now


@pytest.fixture
def hand_clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    clock = HandClock()
    monkeypatch.setattr(loop, "time", clock)
    made = loop._Clock
    monkeypatch.setattr(loop, "_Clock", lambda: made(started=clock.now))
    return clock
