"""Batches of tiles: in memory or from a `DataLoader`, and how its worker processes start and end.

`LoaderSource` is the tutorial's way: a `DataLoader` whose workers open every picture again in every epoch.
`MemorySource` takes decoded tiles from memory: index, move, normalise on the device. For the same seed both give the
same tiles in the same order, equal up to floating point.

Loader workers start without forking this process, with torch loaded, deaf to Ctrl-C, and do not outlive the process
that reads from them.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakValueDictionary

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, default_collate

from eurosat_core.data.decoding import TILE_SIDE, open_rgb
from eurosat_core.data.splits import Split
from eurosat_core.data.tile_cache import TileSet, open_cached

_HAS_FORKSERVER = "forkserver" in multiprocessing.get_all_start_methods()


def worker_context() -> BaseContext:
    """Never fork: the process may have threads, or a CUDA context. The fork server has torch loaded."""
    return multiprocessing.get_context("forkserver" if _HAS_FORKSERVER else "spawn")


def warm_loader_workers(*, wait: bool = False) -> None:
    """Start the fork server that loader workers come from, with torch loaded: the first batch comes sooner.

    The server loads torch in the background (about 4 s); later workers are then forked in 0.15 s. wait: return when
    it has, so that nothing is measured beside it.
    """
    if _HAS_FORKSERVER:
        from multiprocessing import forkserver, resource_tracker

        multiprocessing.set_forkserver_preload(["torch", "torchvision.transforms", "eurosat_core.data.batches"])
        resource_tracker.ensure_running()  # the server would start it, and let interrupts through again
        # What starts now inherits this: a server that loads torch, and a worker that begins, would end by Ctrl-C.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if wait:
            first = multiprocessing.get_context("forkserver").Process(target=_do_nothing)
            first.start()
            first.join()


def begin_worker(_worker: int) -> None:
    """A loader worker's first work: when it ends is for the process that reads from it.

    So it ignores Ctrl-C in a terminal, which reaches it, too, and ends when that process is killed. PyTorch looks for
    that at its own parent, which is the fork server; and this one lives as long as its children.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_reader, name="eurosat-reader", daemon=True).start()


def _end_with_reader() -> None:
    reader = multiprocessing.parent_process()
    if reader is not None:
        reader.join()
        os._exit(1)


def _do_nothing() -> None:
    """The first process of a fork server, which it can only start when it has loaded what it was told to."""


VALIDATION_BATCH = 256  # for the in-memory source: no gradient is kept, so larger batches change no result


@dataclass(frozen=True)
class Batch:
    """Normalised tiles [B, 3, S, S] (float32; S is 64 unless told) and their labels [B], on the device."""

    tiles: Tensor
    labels: Tensor

    @property
    def shape(self) -> torch.Size:
        """Of its tiles."""
        return self.tiles.shape


class ResidentBatch(Batch):
    """A batch whose tiles still lie among all others on the device: it gathers them each time they are asked for.

    So whoever copies `rows` [B], which of them it has, and `labels` to one place can launch the same gathering again.
    """

    def __init__(self, rows: Tensor, labels: Tensor, gather: Callable[[Tensor], Tensor], side: int) -> None:
        for name, value in {"rows": rows, "labels": labels, "gather": gather, "side": side}.items():
            object.__setattr__(self, name, value)

    rows: Tensor
    gather: Callable[[Tensor], Tensor]
    side: int

    @property
    def tiles(self) -> Tensor:
        """The normalised tiles [B, 3, S, S]."""
        return self.gather(self.rows)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), 3, self.side, self.side))


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its tiles: (pixel / 255 - mean) / std per channel, in which memory order, and how large.

    side: pixels a side; those of 64 are enlarged to it.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels_last: bool = False
    side: int = TILE_SIDE


class DeviceCopy:
    """Brings batches to a device; from pinned memory in a stream of their own, beside what the GPU computes.

    In the stream that computes, even a copy out of pinned memory would wait for all that was launched before it. In
    its own it begins at once, for the processor is ahead of the GPU; the computing waits for it where it needs it.
    """

    def __init__(self, device: torch.device, *, pinned: bool, channels_last: bool) -> None:
        self._device = device
        self._pinned = pinned
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._stream = torch.cuda.Stream(device) if pinned and device.type == "cuda" else None

    def __call__(self, batch: Batch) -> Batch:
        """The batch on the device; what lies there already stays where it is."""
        if self._stream is None or batch.tiles.device == self._device:
            return self._copied(batch)
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(self._stream):
            copied = self._copied(batch)
        computing.wait_stream(self._stream)
        for each in (copied.tiles, copied.labels):  # else its memory could be given to the next copy too early
            each.record_stream(computing)
        return copied

    def _copied(self, batch: Batch) -> Batch:
        return Batch(
            batch.tiles.to(self._device, non_blocking=self._pinned, memory_format=self._layout),
            batch.labels.to(self._device, non_blocking=self._pinned),
        )


class BatchSource(Protocol):
    """What the training loop asks of a source of batches."""

    def train(self, epoch: int) -> Iterator[Batch]:
        """One pass over the training part, shuffled anew for every epoch (counted from 1)."""
        ...

    def validation(self) -> Iterator[Batch]:
        """One pass over the validation part, in the split's order."""
        ...

    def test(self) -> Iterator[Batch]:
        """One pass over the sealed test part, in the split's order; in batches of the validation's size."""
        ...

    @property
    def validation_steps(self) -> int:
        """How many batches that pass has: a source may take larger ones than the training's."""
        ...

    def park(self) -> None:
        """Leave the device's memory to others; no batch is asked for before `unpark`, which may find it full."""
        ...

    def unpark(self) -> None:
        """Bring back to the device what `park` took from it."""
        ...

    def close(self) -> None:
        """Let go of what the source holds: loader workers, device memory."""
        ...


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order [count] in which an epoch visits the training part; leaves the global generator alone."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1009 + epoch))


def normalize(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """uint8 pixels [B, 64, 64, 3] → normalised float32 [B, 3, S, S], on the pixels' device. S: what the model wants."""
    tiles = pixels.permute(0, 3, 1, 2)  # a view; in memory the channels are last
    if not preprocessing.channels_last:
        tiles = tiles.contiguous()
    # The operations of torchvision's ToTensor and Normalize in their order, so that results agree to the bit.
    tiles = tiles.to(torch.float32).div_(255)
    mean, std = preprocessing.mean, preprocessing.std
    if len(set(mean)) == len(set(std)) == 1:  # the same for all channels: plain numbers are faster
        return enlarged(tiles.sub_(mean[0]).div_(std[0]), preprocessing.side)
    tiles = tiles.sub_(_per_channel(mean, tiles.device)).div_(_per_channel(std, tiles.device))
    return enlarged(tiles, preprocessing.side)


def enlarged(tiles: Tensor, side: int) -> Tensor:
    """Tiles [B, 3, H, W] with `side` pixels a side, bicubic; as they are where they have so many.

    Without a filter against aliasing, which only making smaller needs. The weights of a pixel sum to 1, so it does not
    matter that they were normalised before.
    """
    if tiles.shape[2:] == (side, side):
        return tiles
    return functional.interpolate(tiles, size=(side, side), mode="bicubic", align_corners=False)


def normalize_in_one(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """As `normalize`, equal up to rounding, in one operation: a GPU takes longer to be told of five than to do them."""
    mean, std = preprocessing.mean, preprocessing.std
    factor = tuple(1 / (255 * each) for each in std)
    offset = tuple(-middle / each for middle, each in zip(mean, std, strict=True))
    tiles = pixels.permute(0, 3, 1, 2)
    layout = torch.channels_last if preprocessing.channels_last else torch.contiguous_format
    result = torch.empty(tiles.shape, device=pixels.device, memory_format=layout)
    here = pixels.device
    torch.addcmul(_per_channel(offset, here), tiles, _per_channel(factor, here), out=result)
    return enlarged(result, preprocessing.side)


@lru_cache(maxsize=32)
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """The values [1, 3, 1, 1] on a device, brought there once: with every batch, the copy would wait for its queue."""
    return torch.tensor(values).view(1, 3, 1, 1).to(device)


_SHARED_BYTES = 2**30  # all of EuroSAT's pixels are a third of this; of a larger set only what is needed is brought
_resident: WeakValueDictionary[tuple[str, torch.device], Tensor] = WeakValueDictionary()
_bringing = threading.Lock()


def resident_pixels(tiles: TileSet, device: torch.device) -> Tensor:
    """The pixels of all tiles on a GPU: one copy for all of this process, there as long as somebody holds it."""
    with _bringing:
        pixels = _resident.get((tiles.fingerprint, device))
        if pixels is None:
            pixels = tiles.pixels.to(device, copy=True)
            _resident[tiles.fingerprint, device] = pixels
        return pixels


class MemorySource:
    """Decoded tiles, indexed in memory; for a GPU, in its memory, where all that use the same set share it.

    gather_later: training batches are `ResidentBatch`es.
    """

    def __init__(
        self,
        tiles: TileSet,
        split: Split,
        device: torch.device,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        seed: int,
        gather_later: bool = False,
    ) -> None:
        self._device = device
        self._gather_later = gather_later
        self._preprocessing = preprocessing
        self._batch_size = batch_size
        self._validation_batch = max(batch_size, VALIDATION_BATCH)
        self._seed = seed
        self._tiles = tiles
        # By part, in which rows of labels and pixels its tiles are.
        self._rows = {"train": split.train, "validation": split.validation, "test": split.test}
        self._taken: Tensor | None = None  # of which tiles these rows are; None: all
        if device.type != "cpu" and tiles.pixels.nbytes > _SHARED_BYTES:
            self._taken, rows = torch.cat([*self._rows.values()]).unique(return_inverse=True)
            parts = rows.split([len(part) for part in self._rows.values()])
            self._rows = dict(zip(self._rows, parts, strict=True))
        self._labels = (tiles.labels if self._taken is None else tiles.labels[self._taken]).to(device)
        self._pixels = self._brought()

    def _brought(self) -> Tensor:
        """The pixels on the device."""
        if self._device.type == "cpu":
            return self._tiles.pixels
        if self._taken is None:
            return resident_pixels(self._tiles, self._device)
        return self._tiles.pixels[self._taken].to(self._device)

    def train(self, epoch: int) -> Iterator[Batch]:
        rows = self._rows["train"]
        rows = rows[epoch_order(len(rows), self._seed, epoch)]
        return self._batches(rows, self._batch_size, gather_later=self._gather_later)

    def validation(self) -> Iterator[Batch]:
        return self._batches(self._rows["validation"], self._validation_batch)

    def test(self) -> Iterator[Batch]:
        return self._batches(self._rows["test"], self._validation_batch)

    @property
    def validation_steps(self) -> int:
        return -(-len(self._rows["validation"]) // self._validation_batch)

    def _batches(self, rows: Tensor, size: int, *, gather_later: bool = False) -> Iterator[Batch]:
        rows = rows.to(self._device)
        labels = self._labels[rows]
        for chosen, named in zip(rows.split(size), labels.split(size), strict=True):
            if gather_later:
                yield ResidentBatch(chosen, named, self._gathered, self._preprocessing.side)
            else:
                yield Batch(self._gathered(chosen), named)

    def _gathered(self, rows: Tensor) -> Tensor:
        normalized = normalize_in_one if self._device.type == "cuda" else normalize
        return normalized(self._pixels[rows], self._preprocessing)

    def park(self) -> None:
        self._pixels = torch.empty(0)

    def unpark(self) -> None:
        self._pixels = self._brought()

    def close(self) -> None:
        self.park()


def _enlarged_one(tile: Tensor, side: int) -> Tensor:
    return enlarged(tile[None], side)[0]


def picture_transform(preprocessing: Preprocessing) -> Callable[[Image.Image], Tensor]:
    """The tutorial's pipeline for one picture: Resize, ToTensor, Normalize; float32 [3, S, S].

    A model that wants more than 64 pixels gets these enlarged, so that all sources give the same.
    """
    from torchvision import transforms  # here, for it takes a second to load and the server never needs it

    resize = transforms.Resize((TILE_SIDE, TILE_SIDE))
    scale = transforms.Normalize(preprocessing.mean, preprocessing.std)
    steps: list[Callable[..., Any]] = [resize, transforms.ToTensor(), scale]
    if preprocessing.side != TILE_SIDE:
        steps.append(partial(_enlarged_one, side=preprocessing.side))  # which, unlike a lambda, reaches loader workers
    transform: Callable[[Image.Image], Tensor] = transforms.Compose(steps)
    return transform


class _Pictures(Dataset[tuple[Tensor, int]]):
    """One part of the split as the tutorial's dataset: open a picture, Resize, ToTensor, Normalize.

    Synthetic tiles have no files; theirs start from memory. Pickles without the pixels, for loader workers.
    """

    def __init__(self, tiles: TileSet, part: Tensor, preprocessing: Preprocessing) -> None:
        self._place = Path(tiles.place) if tiles.place else None
        self._names = [tiles.names[at] for at in part.tolist()]
        self._numbers = part.tolist()
        self._labels = tiles.labels[part].tolist()
        self._scale = tiles.scale
        self._cache = tiles.cache
        self._pixels: Tensor | None = None
        self._transform = picture_transform(preprocessing)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, at: int) -> tuple[Tensor, int]:
        if self._place is not None:
            tile: Tensor = self._transform(open_rgb(self._place / self._names[at], self._scale))
        else:
            if self._pixels is None:
                self._pixels = open_cached(self._cache).pixels
            tile = self._transform(Image.fromarray(self._pixels[self._numbers[at]].numpy()))
        return tile, self._labels[at]


def _handed_over(samples: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    """A batch as PyTorch makes it, in a worker all of it in shared memory already.

    The labels would come there later, in a thread whose failure nobody hears of: with that memory full, the training
    would wait for this batch for ever.
    """
    tiles, labels = default_collate(samples)
    return tiles, labels.share_memory_() if torch.utils.data.get_worker_info() else labels


class LoaderSource:
    """The tutorial's `DataLoader`: `workers` processes prepare the next batches while one is computed."""

    def __init__(
        self,
        tiles: TileSet,
        split: Split,
        device: torch.device,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        seed: int,
        workers: int = 2,
        prefetch: int = 2,
        pin_memory: bool = False,
    ) -> None:
        self._to_device = DeviceCopy(device, pinned=pin_memory, channels_last=preprocessing.channels_last)
        self._seed = seed
        self._order = list(range(len(split.train)))  # of the epoch; a DataLoader with persistent workers keeps the list
        if workers:
            warm_loader_workers()

        def loader(part: Tensor, order: list[int] | None = None) -> DataLoader[tuple[Tensor, int]]:
            return DataLoader(
                _Pictures(tiles, part, preprocessing),
                batch_size=batch_size,
                sampler=order,
                collate_fn=_handed_over,
                num_workers=workers,
                multiprocessing_context=worker_context() if workers else None,
                persistent_workers=workers > 0,
                prefetch_factor=prefetch if workers else None,
                pin_memory=pin_memory,
                worker_init_fn=begin_worker,
                generator=torch.Generator().manual_seed(seed),  # else it draws from the global one
            )

        self._loaders = {"train": loader(split.train, self._order), "validation": loader(split.validation)}
        if len(split.test):  # its loader workers start with its first batch, after the training
            self._loaders["test"] = loader(split.test)

    def train(self, epoch: int) -> Iterator[Batch]:
        self._order[:] = epoch_order(len(self._order), self._seed, epoch).tolist()
        return self._batches(self._loaders["train"])

    def validation(self) -> Iterator[Batch]:
        return self._batches(self._loaders["validation"])

    def test(self) -> Iterator[Batch]:
        return self._batches(self._loaders["test"]) if "test" in self._loaders else iter(())

    @property
    def validation_steps(self) -> int:
        return len(self._loaders["validation"])

    def _batches(self, loader: DataLoader[tuple[Tensor, int]]) -> Iterator[Batch]:
        for tiles, labels in loader:
            yield self._to_device(Batch(tiles, labels))

    def park(self) -> None: ...  # what is prepared ahead lies in the processor's memory

    def unpark(self) -> None: ...

    def close(self) -> None:
        self._loaders.clear()  # dropping the loaders ends their persistent workers
