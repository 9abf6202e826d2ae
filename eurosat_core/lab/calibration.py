"""How fast a device trains: measured in a few seconds when the lab opens, so that estimates rest on something.

A measurement is a training on random tiles, pulled for some steps; warm-up steps do not count. How the models relate
to each other cannot be had from their arithmetic alone: a training tile of tilenet is twelve times the baseline's and
takes four times as long, one of EfficientNet-Lite0, whose filters see one channel each, nearly ten times.
"""

import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path

import torch
from PIL import Image

from eurosat_core.data.batches import Preprocessing, picture_transform
from eurosat_core.data.tiles import TILE_SIDE, TileSet
from eurosat_core.models.catalog import model_entry
from eurosat_core.training.config import Architecture, TrainConfig, recipe_config
from eurosat_core.training.events import StepDone
from eurosat_core.training.loop import train

__all__ = ["FORWARD_SHARE", "LOADER_WORKERS", "MEASURED_NETWORKS", "Speed", "measure_speeds"]

FORWARD_SHARE = 1 / 3
"""Going forward only, as in validation, next to a training step: forward, and twice that backward."""

LOADER_WORKERS = TrainConfig().workers
"""With so many loader workers `Speed.loading_seconds` is measured: the tutorial's two."""

_WARM_UP_STEPS = 5
_WARM_UP_SECONDS = 0.25  # a network of slow steps is warm after fewer
_SECONDS = 0.4  # per measurement
_LOADER_SECONDS = 1.0  # batches from loader workers come in bursts
_MEASURED = (
    ("baseline", "tutorial"),
    ("baseline", "fast"),
    ("tilenet", "tutorial"),
    ("tilenet", "fast"),
    ("tilenet", "record"),
    ("efficientnet_lite0", "tutorial"),
)
MEASURED_NETWORKS = tuple(dict.fromkeys(recipe_config(model, recipe).architecture for model, recipe in _MEASURED))
"""Networks whose speed is measured."""


@dataclass(frozen=True)
class Speed:
    """Measured on one device for one network: seconds per training tile, decoded tiles in memory.

    Of a model whose frozen part only goes forward: as if all of it were trained, which is three times as much.
    picture_seconds: to open one picture file and prepare it on one core, what a loader worker does per tile.
    loading_seconds: what a training tile of the baseline takes longer when loader workers open its picture. On a CPU
    that is several times their share of `picture_seconds`: batches go from process to process, and every layer waits
    for the thread whose core a loader worker has (0.5 ms against 0.16 ms; two cores).
    calm: whether nothing else kept the machine busy; beside other work a device seems slower than it is.
    """

    device: str
    model: str
    batch_size: int
    precision: str
    channels_last: bool
    tile_seconds: float
    picture_seconds: float
    loading_seconds: float
    stem_pool: bool = True
    calm: bool = True

    @property
    def architecture(self) -> Architecture:
        """The network that was measured."""
        return Architecture(self.model, stem_pool=self.stem_pool)


def measure_speeds(device: str, threads: int) -> list[Speed]:
    """Measure what the tutorial and our own recipes compute on `device`; runs in the device's worker."""
    torch.set_num_threads(threads)
    tiles = _random_tiles(2048)
    picture_seconds = _picture_seconds()
    measured = []
    for model, recipe in _MEASURED:
        as_it_is = {"device": device, "source": "memory", "epochs": 200, "pretrained": False, "growing_sizes": False}
        config = recipe_config(model, recipe, **as_it_is)
        measured.append((config, _tile_seconds(config, tiles)))
    loading_seconds = _loading_seconds(*measured[0], tiles)
    return [
        Speed(
            device,
            config.model,
            config.batch_size,
            config.precision,
            config.channels_last,
            seconds / (FORWARD_SHARE if model_entry(config.model).is_pretrained else 1),
            picture_seconds,
            loading_seconds,
            config.stem_pool,
        )
        for config, seconds in measured
    ]


def _loading_seconds(config: TrainConfig, from_memory: float, tiles: TileSet) -> float:
    """Seconds by which a training tile takes longer when loader workers open its picture."""
    with tempfile.TemporaryDirectory() as folder:
        picture = _save_picture(Path(folder))
        on_disk = replace(tiles, place=folder, names=(picture.name,) * len(tiles))
        loaded = replace(config, source="loader", workers=LOADER_WORKERS)
        return max(_tile_seconds(loaded, on_disk, _LOADER_SECONDS) - from_memory, 0.0)


def _tile_seconds(config: TrainConfig, tiles: TileSet, measured_for: float = _SECONDS) -> float:
    """Seconds per training tile after warm-up, from reported steps: these have waited for the device."""
    events = train(config, tiles)
    rates: list[float] = []
    first = began = float("nan")
    try:
        for event in events:
            if not isinstance(event, StepDone) or event.phase != "train":
                continue
            if event.step == 1:
                first = event.seconds
            if isnan(began) and (event.step >= _WARM_UP_STEPS or event.seconds - first > _WARM_UP_SECONDS):
                began = event.seconds
            elif event.tiles_per_second and event.seconds > began:
                rates.append(event.tiles_per_second)
            if event.seconds - began > measured_for and len(rates) >= 3:
                break
    finally:
        events.close()
    return 1 / statistics.median(rates)


def _picture_seconds(pictures: int = 60) -> float:
    """Seconds to open a picture of a tile's size, resize, convert and normalise it, the median of many."""
    prepare = picture_transform(Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    with tempfile.TemporaryDirectory() as folder:
        path = _save_picture(Path(folder))
        taken = []
        for _ in range(pictures):
            began = time.perf_counter()
            with Image.open(path) as picture:
                prepare(picture.convert("RGB"))
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def _save_picture(folder: Path) -> Path:
    """A JPEG file of a tile's size and about as hard to decode; its path."""
    noise = torch.randint(0, 256, (8, 8, 3), dtype=torch.uint8).numpy()
    path = folder / "tile.jpg"
    Image.fromarray(noise).resize((TILE_SIDE, TILE_SIDE)).save(path, quality=90)
    return path


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
