"""How fast a device trains: measured in about a second when the lab opens, so that estimates rest on something.

A measurement is a training of the baseline on random tiles, pulled for some steps; warm-up steps do not count.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from eurosat_core.data.batches import Preprocessing, picture_transform
from eurosat_core.data.tiles import TILE_SIDE, TileSet
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import StepDone
from eurosat_core.training.loop import train

__all__ = ["Speed", "measure_speeds"]

_WARM_UP_STEPS = 5
_SECONDS = 0.4  # per measurement


@dataclass(frozen=True)
class Speed:
    """Measured on one device for the baseline: seconds per training tile, decoded tiles in memory.

    picture_seconds: to open one picture file and prepare it on one core, what a loader worker does per tile.
    """

    device: str
    batch_size: int
    precision: str
    channels_last: bool
    tile_seconds: float
    picture_seconds: float


def measure_speeds(device: str, threads: int) -> list[Speed]:
    """Measure the tutorial's arithmetic and the *Fast* recipe's on `device`; runs in the device's worker."""
    torch.set_num_threads(threads)
    tiles = _random_tiles(2048)
    picture_seconds = _picture_seconds()
    configs = [
        recipe_config("baseline", "tutorial", device=device, source="memory", epochs=200),
        recipe_config("baseline", "fast", device=device, epochs=200),
    ]
    return [
        Speed(
            device,
            config.batch_size,
            config.precision,
            config.channels_last,
            _tile_seconds(config, tiles),
            picture_seconds,
        )
        for config in configs
    ]


def _tile_seconds(config: TrainConfig, tiles: TileSet) -> float:
    """Seconds per training tile after warm-up, from reported steps: these have waited for the device."""
    events = train(config, tiles)
    rates: list[float] = []
    began: float | None = None
    try:
        for event in events:
            if not isinstance(event, StepDone) or event.phase != "train":
                continue
            if began is None and event.step >= _WARM_UP_STEPS:
                began = event.seconds
            if began is not None and event.tiles_per_second and event.seconds > began:
                rates.append(event.tiles_per_second)
            if began is not None and event.seconds - began > _SECONDS and len(rates) >= 3:
                break
    finally:
        events.close()
    return 1 / statistics.median(rates)


def _picture_seconds(pictures: int = 60) -> float:
    """Seconds to open a picture of a tile's size, resize, convert and normalise it, the median of many."""
    prepare = picture_transform(Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tile.jpg"
        noise = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8).numpy()
        Image.fromarray(noise).resize((TILE_SIDE, TILE_SIDE)).save(path, quality=90)
        taken = []
        for _ in range(pictures):
            began = time.perf_counter()
            with Image.open(path) as picture:
                prepare(picture.convert("RGB"))
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _random_tiles(count: int) -> TileSet:
    """Tiles of noise: what they show does not change how long they take."""
    generator = torch.Generator().manual_seed(0)
    return TileSet(
        pixels=torch.randint(0, 256, (count, TILE_SIDE, TILE_SIDE, 3), dtype=torch.uint8, generator=generator),
        labels=torch.arange(count) % 10,
        class_names=tuple(str(each) for each in range(10)),
        names=tuple(str(each) for each in range(count)),
        source="synthetic",
        place="",
        fingerprint="noise",
        problems=(),
        resized=0,
        cache=Path(),
    )
