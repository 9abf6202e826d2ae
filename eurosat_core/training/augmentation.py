"""What chance does to a batch, the same for the same seed: new views of its tiles, and what dropout draws.

Views are made on the tiles' own device, between the source and the network. A satellite tile has no up and no left:
turned or mirrored it is as likely to be seen, and its class is the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from eurosat_core.data.batches import Batch
from eurosat_core.models.catalog import CATALOG, model_entry
from eurosat_core.training.config import TrainConfig

SYMMETRIES = 8
"""Ways to lay a square onto itself: four turns, each also mirrored."""

# Growing sizes: until this share of the training, tiles of this many pixels a side; whole ones after that.
SMALLER_SIDES = ((0.5, 32), (0.75, 48))


def in_symmetries(tiles: Tensor, lines: Tensor) -> Tensor:
    """Tiles [B, C, S, S], each turned or mirrored, and shifted, the border reflected.

    Every eighth of the batch is seen in one of the eight symmetries of the square and with one shift: batches are
    shuffled, so a tile's view still changes from epoch to epoch, and a whole eighth is copied at once. The result keeps
    the tiles' memory order.

    Args:
        lines: what `seen_lines` drew, on any device.
    """
    lines = brought(lines, tiles.device)
    views = torch.empty_like(tiles)
    for symmetry, (part, view) in enumerate(zip(tiles.chunk(SYMMETRIES), views.chunk(SYMMETRIES), strict=True)):
        rows, columns = lines[symmetry]
        seen = part.index_select(2, rows.flip(0) if symmetry & 1 else rows)
        seen = seen.index_select(3, columns.flip(0) if symmetry & 2 else columns)
        view.copy_(seen.transpose(2, 3) if symmetry & 4 else seen)
    return views


def in_symmetries_at_once(tiles: Tensor, lines: Tensor) -> Tensor:
    """As `in_symmetries`, to the bit, in four operations instead of 33 where eight divides the batch: for a GPU.

    A CPU is quicker with eighths, of which it copies whole lines.
    """
    count, channels, side = tiles.shape[:3]
    if count % SYMMETRIES:  # an epoch's last batch
        return in_symmetries(tiles, lines)
    lines = torch.stack([lines[:, 0] * side, lines[:, 1]], 1)
    # [8, S * S]: at which place of a tile lies what is seen at each place of its view.
    places = brought(lines, tiles.device).flatten()[_lines_of_places(side, tiles.device)].sum(0)
    # `gather` takes one index for all tiles and channels as it is; indexing would first write it out for each.
    if tiles.is_contiguous(memory_format=torch.channels_last):
        pixels = tiles.permute(0, 2, 3, 1).view(SYMMETRIES, -1, side * side, channels)
        seen = pixels.gather(2, places[:, None, :, None].expand_as(pixels))
        return seen.view(count, side, side, channels).permute(0, 3, 1, 2)
    pixels = tiles.view(SYMMETRIES, -1, channels, side * side)
    return pixels.gather(3, places[:, None, None].expand_as(pixels)).view(tiles.shape)


@lru_cache(maxsize=32)
def _lines_of_places(side: int, device: torch.device) -> Tensor:
    """[2, 8, S * S]: which entries of the lines [8, 2, S] make up the place that is seen at each place of a view.

    The first one is of its rows, the second one of its columns.
    """
    down, right = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    entries = []
    for symmetry in range(SYMMETRIES):
        row, column = (right, down) if symmetry & 4 else (down, right)
        row = side - 1 - row if symmetry & 1 else row
        column = side - 1 - column if symmetry & 2 else column
        entries.append(torch.stack([row, side + column]) + 2 * side * symmetry)
    return torch.stack(entries, 1).flatten(2).to(device)


def seen_lines(side: int, shift: int, generator: torch.Generator) -> Tensor:
    """[8, 2, S]: which rows and columns of a tile are seen in each symmetry, in their order.

    Shifted by up to `shift` pixels, as the generator draws. Like that it is on the CPU, whatever the tiles' device.
    """
    offsets = torch.randint(-shift, shift + 1, (SYMMETRIES, 2, 1), generator=generator)
    lines = torch.arange(side) + offsets
    return (side - 1) - ((side - 1) - lines.abs()).abs()


def in_every_symmetry(tiles: Tensor) -> Iterator[Tensor]:
    """Tiles [B, C, S, S] in each of the eight symmetries of the square, as they are first; in their memory order."""
    for turns in range(SYMMETRIES // 2):
        turned = tiles.rot90(turns, (2, 3))
        for view in (turned, turned.flip(3)):
            yield torch.empty_like(tiles).copy_(view)


def other_colours(count: int, channels: int, jitter: float, deviation: Tensor, generator: torch.Generator) -> Tensor:
    """[B, 2 + C, 1, 1]: what `in_other_colours` changes in each of so many tiles.

    Drawn evenly: the contrast about a channel's mean from 1 - jitter to 1 + jitter, the brightness by up to 1.5 jitter
    up or down, that of a channel by half as much besides, in standard deviations of all tiles (`deviation` [C, 1, 1]).
    The proportions: `bench/tilenet.md`. On the CPU, as `seen_lines`.
    """
    drawn = jitter * (2 * torch.rand(count, 2 + channels, 1, 1, generator=generator) - 1)
    drawn[:, 2:] = (1.5 * drawn[:, 1:2] + 0.75 * drawn[:, 2:]) * deviation
    return drawn


def in_other_colours(tiles: Tensor, colours: Tensor) -> Tensor:
    """Tiles [B, C, S, S], each with a contrast and a brightness of its own, and each channel's a bit further.

    The result keeps the tiles' memory order.

    Args:
        colours: what `other_colours` drew, on any device.
    """
    colours = brought(colours, tiles.device)
    contrast, lighter = colours[:, :1], colours[:, 2:]
    # (tile - mean) * (1 + contrast) + mean + lighter, with one pass over the pixels
    return torch.addcmul(lighter - contrast * tiles.mean((2, 3), keepdim=True), tiles, 1 + contrast)


def brought(drawn: Tensor, device: torch.device) -> Tensor:
    """What was drawn on the CPU, on the tiles' device; what is there already stays where it is.

    Only CUDA is not waited for: it takes its own copy of ordinary memory before the call returns. An Apple GPU may read
    that memory later, when it holds something else.
    """
    return drawn.to(device, non_blocking=device.type == "cuda")


def side_at(share: float) -> int | None:
    """How many pixels a side tiles have after this share (0…1) of a training with growing sizes; None: all of them."""
    return next((side for until, side in SMALLER_SIDES if share < until), None)


class Drawn(NamedTuple):
    """What chance decided for one batch, on the CPU until it is brought elsewhere; None where there is nothing to draw.

    side: how many pixels a side its tiles are to have; None: all of them.
    """

    side: int | None = None
    lines: Tensor | None = None
    colours: Tensor | None = None

    def to(self, device: torch.device) -> "Drawn":
        """The same on a device."""
        lines, colours = (brought(each, device) if each is not None else None for each in self[1:])
        return Drawn(self.side, lines, colours)


class Augmentation:
    """What a training does to every batch before its network sees it; the same for the same seed and step."""

    def __init__(self, config: TrainConfig, steps: int | None) -> None:
        """steps: of the whole training, over which sizes grow; None where no end is known, so that they are whole."""
        self._config = config
        self._steps = steps if config.progressive_resizing else None
        self._in_symmetries = in_symmetries_at_once if config.on_cuda else in_symmetries
        # Of all tiles' channels, in the units that this model's tiles come in.
        self._deviation = (torch.tensor(CATALOG["tilenet"].std) / torch.tensor(model_entry(config.model).std)).view(
            -1, 1, 1
        )

    def draw(self, shape: torch.Size, step: int) -> Drawn:
        """For tiles of this shape [B, C, S, S], at a step (counted from 0) of all the training's steps."""
        jitter, shift, full = self._config.colour_jitter, self._config.shift, shape[-1]
        side = side_at(step / self._steps) if self._steps else None
        if side is not None and side >= full:
            side = None
        if not (self._config.symmetries or jitter):
            return Drawn(side)
        generator = torch.Generator().manual_seed(self._config.seed * 1_000_003 + step)
        seen = side or full
        lines = seen_lines(seen, shift * seen // full, generator) if self._config.symmetries else None
        colours = other_colours(shape[0], shape[1], jitter, self._deviation, generator) if jitter else None
        return Drawn(side, lines, colours)

    def seen(self, tiles: Tensor, drawn: Drawn) -> Tensor:
        """Tiles [B, C, S, S] as the network shall see them."""
        if drawn.side is not None:
            # Half a side is the mean of 2×2 pixels; 48 of 64 is near enough without a filter, in a quarter of its time.
            tiles = functional.interpolate(tiles, size=(drawn.side,) * 2, mode="bilinear", align_corners=False)
        if drawn.lines is not None:
            tiles = self._in_symmetries(tiles, drawn.lines)
        if drawn.colours is not None:
            tiles = in_other_colours(tiles, drawn.colours)
        return tiles

    def view(self, batch: Batch, step: int) -> Batch:
        """The batch as the network shall see it at a step."""
        return Batch(self.seen(batch.tiles, self.draw(batch.shape, step)), batch.labels)


class DropoutState:
    """The generator that dropout draws from, kept apart from everybody else's: the same for the same seed.

    Dropout can only draw from its device's global generator, so that one's state is exchanged around each step: a run
    that stands still in the meantime may share it with another one. On a GPU, too, the state lies in the processor's
    memory, so nothing waits for the GPU.

    Attributes:
        generator: the global one.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.generator = _global_generator(device)
        self._state = self.generator.get_state()
        with self.drawing():
            self.generator.manual_seed(seed)

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """While open, what draws from the global generator draws from this one."""
        outside = self.generator.get_state()
        self.generator.set_state(self._state)
        try:
            yield
        finally:
            self._state = self.generator.get_state()
            self.generator.set_state(outside)


def _global_generator(device: torch.device) -> torch.Generator:
    """Each device has one of its own; of a GPU, there must be something on it already."""
    match device.type:
        case "cuda":
            return torch.cuda.default_generators[device.index]
        case "mps":
            return torch.mps._get_default_mps_generator()
        case _:
            return torch.default_generator
