"""The frozen part of a pretrained network, computed once per tile: every epoch then trains only what can change.

Outputs are kept on disk per (model, weights, tile set, preprocessing), so the next run on the same tiles finds them.
The cache is bounded; only tiles that are asked for are computed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn

from eurosat_core.data.batches import VALIDATION_BATCH, Batch, Preprocessing, epoch_order, normalize
from eurosat_core.data.decoding import TILE_SIDE
from eurosat_core.data.splits import Split
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.weights import find_weights
from eurosat_core.errors import DataError
from eurosat_core.models.catalog import model_entry
from eurosat_core.models.last_layer import own_features
from eurosat_core.models.pretrained import feature_count, folded_frozen_part, staged_part
from eurosat_core.training.augmentation import SYMMETRIES, in_every_symmetry
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import move
from eurosat_core.training.network import autocast, preprocessing_for

# Tiles computed at a time, channels-last. Milliseconds per tile on two cores, against batches of 256 in the usual
# layout: EfficientNet-Lite0 0.97 against 4.4, VGG11-BN 8.0 against 11.8 (and 5.6 folded).
BATCH = 64
_FOLDER = "features"
_MAX_BYTES = 3 * 1024**3  # of all caches together; the ones not used for longest go first
_WAIT_SECONDS = 3600.0  # for another process that computes the same


@dataclass(frozen=True)
class FeatureForm:
    """What is kept of a tile: the frozen part's output, as it goes into what learns, unless told.

    stages: the means of earlier stages before it (`models.pretrained.staged_part`). views: the mean over so many of the
    eight symmetries of the tile: 1, 2, 4 or 8. own: names a run and its weights; what its network's last layer gets is
    kept then, and `stages` means nothing.
    """

    stages: bool = False
    views: int = 1
    own: str = ""

    def seen(self, tiles: Tensor) -> Iterator[Tensor]:
        """Tiles [B, 3, S, S] in each of the views."""
        if self.views == 1:
            return iter((tiles,))
        return islice(in_every_symmetry(tiles), 0, None, SYMMETRIES // self.views)

    def function(self, network: nn.Module, tiles: Tensor) -> Callable[[Tensor], Tensor]:
        """What computes it of normalised tiles like these."""
        if self.own:
            one: Callable[[Tensor], Tensor] = partial(own_features, network)
        else:
            one = partial(staged_part, network) if self.stages else folded_frozen_part(network, tiles)
        if self.views == 1:
            return one
        return lambda batch: torch.stack([one(view) for view in self.seen(batch)]).mean(0)


LAST = FeatureForm()


@dataclass(frozen=True)
class _Files:
    """One cache: values float32 [N, features], known bool [N], what it is of."""

    folder: Path

    @property
    def values(self) -> Path:
        return self.folder / "features.f32"

    @property
    def known(self) -> Path:
        return self.folder / "known.u8"

    @property
    def lock(self) -> Path:
        return self.folder.with_suffix(".lock")

    def make(self, tiles: int, width: int) -> None:
        """See to it that both files are there; where one is wrong, both begin anew, for neither means anything alone.

        Whoever has the old ones mapped keeps them.
        """
        sizes = {self.known: tiles, self.values: tiles * width * 4}
        if all(path.exists() and path.stat().st_size == size for path, size in sizes.items()):
            return
        for path in sizes:  # `known` goes first: what is not there is not believed
            path.unlink(missing_ok=True)
        with self.values.open("wb") as file:
            file.truncate(sizes[self.values])  # reads as zeros
        self.known.write_bytes(bytes(tiles))

    def reserve(self) -> None:
        """Have the disk keep room for all values, else give back what it has. Raises `OSError` when it is full.

        Writing to a hole in a mapped file on a full disk kills the process.
        """
        if not hasattr(os, "posix_fallocate"):
            return
        try:
            with self.values.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self.values.stat().st_size)
        except OSError:
            self.known.unlink(missing_ok=True)
            self.values.unlink(missing_ok=True)
            raise


class FeatureCache:
    """What the frozen part of `network` makes of the tiles with numbers `numbers`: fill it, then read `values`.

    Networks with random weights are of one run only: their values stay in memory, unless it is the run's own features
    that are asked for.

    Args:
        network: in evaluation mode, on `device`.
        numbers: of the tiles that are asked for.
        form: what is kept of each.

    Attributes:
        values: [N, features] on the CPU, memory-mapped; rows of tiles that nobody asked for may be zero.
        missing: how many of the tiles asked for have to be computed.

    Raises:
        DataError: when the disk is full.
    """

    def __init__(
        self,
        config: TrainConfig,
        tiles: TileSet,
        network: nn.Module,
        device: torch.device,
        preprocessing: Preprocessing,
        numbers: Tensor,
        form: FeatureForm = LAST,
    ) -> None:
        self._tiles = tiles
        self._network = network.to(memory_format=torch.channels_last) if preprocessing.channels_last else network
        self._device = device
        self._precision = config.precision
        self._preprocessing = preprocessing
        self._lock: FileLock | None = None
        with torch.no_grad():
            probe = normalize(tiles.pixels[:1].to(device), preprocessing)
            self._compute = form.function(self._network, probe)
            width = int(self._compute(probe).shape[1])
        is_kept = config.pretrained or form.own
        self._files = _files_for(config, tiles, preprocessing, width, form) if is_kept else None
        try:
            self.values, self._known = self._open(len(tiles), width)
            missing = torch.from_numpy(~self._known[numbers.numpy()].astype(bool))
            self._missing = numbers[missing].unique()
            self.missing = len(self._missing)
            if self._files is not None and self.missing:
                self._files.reserve()
        except OSError as error:
            self.release()
            raise DataError(
                f"The features could not be kept in {tiles.cache.parent / _FOLDER}: {error.strerror or error}. Free "
                "some disk space, or let the tiles come from memory."
            ) from error

    def _open(self, tiles: int, width: int) -> tuple[Tensor, npt.NDArray[np.uint8]]:
        if self._files is None:
            return torch.zeros(tiles, width), np.zeros(tiles, dtype=np.uint8)
        files = self._files
        files.folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(files.lock, thread_local=False)
        try:
            self._lock.acquire(timeout=_WAIT_SECONDS)
        except Timeout:
            raise DataError("Another run has been computing the same features for an hour. Stop it first.") from None
        files.folder.mkdir(exist_ok=True)  # under the lock, else another process may forget it at this moment
        files.make(tiles, width)
        os.utime(files.folder)
        _prune(files.folder)
        values = torch.from_file(str(files.values), shared=True, size=tiles * width, dtype=torch.float32)
        known = np.memmap(files.known, dtype=np.uint8, mode="r+", shape=(tiles,))
        return values.view(tiles, width), known

    def fill(self) -> Iterator[int]:
        """Compute what is missing, yielding after each batch how many tiles are done."""
        done = 0
        try:
            for numbers in self._missing.split(BATCH) if self.missing else ():
                with torch.no_grad(), autocast(self._precision, self._device):
                    tiles = normalize(self._tiles.pixels[numbers].to(self._device), self._preprocessing)
                    self.values[numbers] = self._compute(tiles).float().cpu()
                self._known[numbers.numpy()] = 1
                done += len(numbers)
                yield done
        finally:
            self.release()

    def release(self) -> None:
        """Let others compute into the same cache."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def known_features(
    config: TrainConfig, tiles: TileSet, form: FeatureForm = LAST
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]] | None:
    """Features [N, F] of the tiles (read-only, memory-mapped) and which of them are known [N], as the cache has them.

    Nothing is computed and nobody is waited for: another process may be computing more of them. None without a cache.

    Args:
        config: a checked one with its precision filled in, as it was when they were computed.
    """
    width = 0 if form.own else feature_count(config.model, stages=form.stages)
    preprocessing = preprocessing_for(config.model, True, config.input_side)
    files = _files_for(config, tiles, preprocessing, width, form)
    try:
        width = width or files.values.stat().st_size // (4 * len(tiles))
        known = np.memmap(files.known, dtype=np.uint8, mode="r", shape=(len(tiles),)).astype(bool)
        return np.memmap(files.values, dtype=np.float32, mode="r", shape=(len(tiles), width)), known
    except (OSError, ValueError):  # not there, of another size, or forgotten at this moment
        return None


def _files_for(
    config: TrainConfig, tiles: TileSet, preprocessing: Preprocessing, width: int, form: FeatureForm = LAST
) -> _Files:
    of = _depend_on(config, tiles, preprocessing, width)
    if form != LAST:  # caches of before name none
        of["form"] = [form.own or form.stages, form.views]
    if form.own:  # its network says how many they are
        of["width"] = 0
    key = hashlib.blake2b(json.dumps(of, sort_keys=True).encode(), digest_size=12).hexdigest()
    return _Files(tiles.cache.parent / _FOLDER / f"{config.model}-{key}")


def _depend_on(config: TrainConfig, tiles: TileSet, preprocessing: Preprocessing, width: int) -> dict[str, Any]:
    """What features depend on, to the last bit."""
    weights = find_weights(model_entry(config.model).weights, tiles.cache.parent) if config.is_pretrained else None
    status = weights.stat() if weights is not None else None
    of = {
        "model": config.model,
        "weights": [status.st_size, status.st_mtime_ns] if status else None,
        "tiles": tiles.fingerprint,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "width": width,
        "device": config.device.partition(":")[0],  # rounding differs
    }
    # As does that of short numbers. On a card also float32 is named: what was kept without a name there was multiplied
    # in TF32, for that is how PyTorch by itself takes convolutions.
    if config.precision != "float32" or config.on_cuda:
        of["precision"] = config.precision
    if preprocessing.side != TILE_SIDE:  # caches of before name no size
        of["side"] = preprocessing.side
    if config.deterministic and config.on_cuda:
        of["deterministic"] = True
    return of


def _prune(keep: Path) -> None:
    """Forget the caches not used for longest until all together are small enough; those being filled stay."""
    others: list[tuple[float, int, Path]] = []
    for each in keep.parent.iterdir():
        if each.is_dir() and each != keep:
            with suppress(OSError):  # another process forgets it at this moment
                others.append((each.stat().st_mtime, _bytes_in(each), each))
    room = _MAX_BYTES - _bytes_in(keep)
    for _, size, folder in sorted(others, reverse=True):
        room -= size
        if room < 0:
            with suppress(Timeout, OSError), FileLock(_Files(folder).lock, timeout=0):  # or in use on Windows
                shutil.rmtree(folder)


def _bytes_in(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.iterdir())


class FeatureSource:
    """Batches of features in place of tiles, in the order in which `MemorySource` would give the tiles.

    Args:
        fixed_head: layers between the features and what learns, which change nothing but by dropout. What they make of
            the validation part is then the same in every epoch, so it is computed once, and validation batches hold
            that (VGG11-BN: a fifth of each epoch's time).
    """

    def __init__(
        self,
        values: Tensor,
        labels: Tensor,
        split: Split,
        device: torch.device,
        *,
        batch_size: int,
        seed: int,
        fixed_head: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._device = device
        self._batch_size = batch_size
        self._validation_batch = max(batch_size, VALIDATION_BATCH)
        self._seed = seed
        self._parts = {"train": split.train, "validation": split.validation, "test": split.test}
        self._labels = {name: labels[part].to(device) for name, part in self._parts.items()}
        self._all = values
        self._on_device: dict[str, Tensor] = {}
        self._fixed_head = fixed_head
        self._validation: list[Batch] = []

    def train(self, epoch: int) -> Iterator[Batch]:
        return self._batches("train", epoch_order(len(self._parts["train"]), self._seed, epoch), self._batch_size)

    def validation(self) -> Iterator[Batch]:
        batches = self._batches("validation", torch.arange(len(self._parts["validation"])), self._validation_batch)
        return batches if self._fixed_head is None else self._with_fixed_head(batches, self._fixed_head)

    def _with_fixed_head(self, batches: Iterator[Batch], fixed_head: Callable[[Tensor], Tensor]) -> Iterator[Batch]:
        """What `fixed_head` makes of the validation batches: computed on the first way through."""
        if self._validation:
            yield from self._validation
            return
        done = []
        for batch in batches:
            with torch.no_grad():
                done.append(Batch(fixed_head(batch.tiles), batch.labels))
            yield done[-1]
        self._validation = done

    def test(self) -> Iterator[Batch]:
        return self._batches("test", torch.arange(len(self._parts["test"])), self._validation_batch)

    @property
    def validation_steps(self) -> int:
        return -(-len(self._parts["validation"]) // self._validation_batch)

    def _batches(self, name: str, order: Tensor, size: int) -> Iterator[Batch]:
        part, labels = self._parts[name], self._labels[name]
        resident = self._device.type != "cpu"  # on a GPU; on a CPU they are indexed where they are
        if resident:
            order = order.to(self._device)
        for chosen in order.split(size):
            if resident and name not in self._on_device:
                self._on_device[name] = self._all[part].to(self._device)
            features = self._on_device[name][chosen] if resident else self._all[part[chosen]]
            yield Batch(features, labels[chosen])

    def park(self) -> None:
        self._on_device.clear()
        move([each.tiles for each in self._validation], torch.device("cpu"))

    def unpark(self) -> None:
        move([each.tiles for each in self._validation], self._device)

    def close(self) -> None:
        self._on_device.clear()
        self._validation.clear()
