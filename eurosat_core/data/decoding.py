"""Decoding picture files to tiles, and counting by kind what is left out."""

import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from eurosat_core.data.deep_tiff import DeepPicture, Pixels, Scale, in_eight_bits, open_picture, range_of
from eurosat_core.errors import DataError
from eurosat_core.wording import bytes_text

_KINDS_SHOWN = 3


@dataclass(frozen=True)
class LeftOut:
    """Pictures that were left out for one reason.

    reason: in a few words, the same for all of them. example: the first one; detail: what else is known of that one.
    unreadable: they should have been tiles; else they were left out on purpose, as pictures beside the tree are.
    """

    reason: str
    count: int = 1
    example: str = ""
    detail: str = ""
    unreadable: bool = True

    def __str__(self) -> str:
        if not self.example:
            return f"{self.count:,} {self.reason}"
        if self.count == 1:
            return f"{self.example}: {self.reason}{self.detail}"
        return f"{self.count:,} × {self.reason}, such as {self.example}{self.detail}"


class Tally:
    """Counts pictures that are left out, kind by kind."""

    def __init__(self, found: Iterable[LeftOut] = ()) -> None:
        self._kinds: dict[tuple[str, bool], LeftOut] = {}
        for each in found:
            self.add(each)

    def add(self, more: LeftOut) -> None:
        """Count it, or them, with the others of the kind, of which the first stays the example."""
        key = (more.reason, more.unreadable)
        first = self._kinds.get(key)
        if first is None:
            self._kinds[key] = more
        else:
            total = first.count + more.count
            self._kinds[key] = LeftOut(first.reason, total, first.example, first.detail, first.unreadable)

    def __iter__(self) -> Iterator[LeftOut]:
        return iter(sorted(self._kinds.values(), key=lambda each: -each.count))

    @property
    def count(self) -> int:
        """How many there are of all kinds."""
        return sum(each.count for each in self._kinds.values())


def left_out_text(found: Iterable[LeftOut], separator: str = "; ") -> str:
    """The most frequent kinds, and how many more there are."""
    every = list(found)
    text = separator.join(str(each) for each in every[:_KINDS_SHOWN])
    more = sum(each.count for each in every[_KINDS_SHOWN:])
    return f"{text}{separator}{more:,} for other reasons" if more else text


TILE_SIDE = 64
_MAX_FILE_BYTES = 256 * 1024**2
_MAX_PIXELS = 50_000_000  # a picture beyond this is refused before it is decoded
# Pillow knows many more, some of which start other programs.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP", "GIF")
_DEEP_SUFFIXES = (".tif", ".tiff", ".png")
_JPEG = b"\xff\xd8\xff"
_BEGINNINGS = (_JPEG, b"\x89PNG", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of JPEG, PNG and TIFF
_SAMPLED = 64  # pictures of a set, at most, that its scale is taken from,
_SAMPLED_VALUES = 12_000  # and so many values of each

_DAMAGED = "damaged or cut short"
_REASONS: dict[type[Exception], str] = {
    IsADirectoryError: "a folder with a picture's name",
    FileNotFoundError: "gone since the folder was listed",
    PermissionError: "no permission to read it",
    Image.DecompressionBombError: "too large to be a tile",
}

# A picture cut short must be told apart, never padded with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False


class UnreadableError(DataError):
    """A picture that cannot be a tile. reason: the same for all of its kind; detail: what else is known of this one."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}{detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class DecodedChunk:
    """The good pictures' names and pixels [n, 64, 64, 3].

    problems: one for each of the others. notes: what was done to how many, in a few words.
    """

    names: list[str]
    pixels: Pixels
    problems: list[LeftOut]
    resized: int
    notes: Counter[str]


def decode_chunk(folder: Path, names: tuple[str, ...], scale: Scale) -> DecodedChunk:
    """Decode some pictures; `scale` says what is black and white in those of more than 8 bits."""
    pixels = np.empty((len(names), TILE_SIDE, TILE_SIDE, 3), dtype=np.uint8)
    good: list[str] = []
    problems: list[LeftOut] = []
    notes: Counter[str] = Counter()
    resized = 0
    for name in names:
        try:
            pixels[len(good)], was_resized = decode_picture(folder / name, scale, notes)
            resized += was_resized
            good.append(name)
        except UnreadableError as error:
            problems.append(LeftOut(error.reason, 1, name, error.detail))
    return DecodedChunk(good, pixels[: len(good)], problems, resized, notes)


def scale_for(folder: Path, names: tuple[str, ...]) -> Scale:
    """One scale for a whole set, from a sample of its pictures: of those that can have more than 8 bits, if any."""
    found: dict[str, list[npt.NDArray[np.generic]]] = {}
    deep = [name for name in names if os.path.splitext(name)[1].lower() in _DEEP_SUFFIXES]  # noqa: PTH122 (speed)
    for name in deep[:: max(len(deep) // _SAMPLED, 1)][:_SAMPLED]:
        try:
            picture = _opened(folder / name)
        except Exception:  # it is said when it is decoded
            continue
        if isinstance(picture, DeepPicture):
            values = picture.with_data()
            found.setdefault(values.dtype.name, []).append(values[:: max(values.size // _SAMPLED_VALUES, 1)].ravel())
    ranges = {kind: range_of(np.concatenate(values)) for kind, values in found.items()}
    usual = Scale()
    return Scale(ranges.get("uint16", usual.whole), ranges.get("float32", usual.decimal))


def open_rgb(path: Path, scale: Scale, notes: Counter[str] | None = None) -> Image.Image:
    """A picture file as red, green and blue, whatever its size.

    Raises `DataError`; the errors of Pillow and of the system pass.
    """
    picture = _opened(path)
    if isinstance(picture, DeepPicture):
        if notes is not None:
            notes.update(_notes(picture, scale))
        return Image.fromarray(in_eight_bits(picture.values, scale.of(picture.values), picture.valid))
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _opened(path: Path) -> DeepPicture | Image.Image:
    with open(path, "rb") as file:  # noqa: PTH123 (Path.open and Pillow's own opening take six times as long)
        size = os.fstat(file.fileno()).st_size
        if size > _MAX_FILE_BYTES:
            raise UnreadableError("too large", f" ({bytes_text(size)})")
        content = file.read()
    if content.startswith(_JPEG):  # the usual case; no other format is tried
        picture = Image.open(io.BytesIO(content), formats=("JPEG",))
        _check_size(picture.width, picture.height)
        return picture
    found = open_picture(content, _FORMATS, _check_size)
    if isinstance(found, DeepPicture) and found.valid is not None and not found.valid.any():
        raise UnreadableError("no pixel of it has data")
    return found


def _check_size(width: int, height: int) -> None:
    if width * height > _MAX_PIXELS:
        raise UnreadableError("too large", f" ({width:,}×{height:,} pixels)")


def _notes(picture: DeepPicture, scale: Scale) -> list[str]:
    """What was done to make red, green and blue of it, in words that are the same for all of its kind."""
    notes = []
    shown = scale.of(picture.values)
    if not shown.is_one_to_one:
        notes.append(f"{picture.numbers} values {shown.text} shown as 0 to 255")
    if picture.bands in (1, 2):
        notes.append("one band shown as grey")
    elif picture.bands > 3:
        notes.append(f"of {picture.bands} bands {picture.order} shown as red, green and blue")
    if picture.valid is not None:
        notes.append("pixels without data shown black")
    return notes


def decode_picture(path: Path, scale: Scale | None = None, notes: Counter[str] | None = None) -> tuple[Pixels, bool]:
    """One picture as RGB [64, 64, 3], and whether it was resized. Raises `UnreadableError` with what is wrong.

    notes: counts what was done to it.
    """
    try:
        rgb = open_rgb(path, scale or Scale(), notes)
        resized = rgb.size != (TILE_SIDE, TILE_SIDE)
        if resized:  # as torchvision.transforms.Resize does with a picture
            rgb = rgb.resize((TILE_SIDE, TILE_SIDE), Image.Resampling.BILINEAR)
        return np.asarray(rgb, dtype=np.uint8), resized
    except UnreadableError:
        raise
    except DataError as error:
        raise UnreadableError(str(error).rstrip(".")) from error
    except UnidentifiedImageError as error:
        raise UnreadableError(_what_it_is(path)) from error
    except Exception as error:  # Pillow raises whatever damage hits first
        reason = next((reason for kind, reason in _REASONS.items() if isinstance(error, kind)), "")
        raise UnreadableError(reason or _DAMAGED, "" if reason else f" ({error})") from error


def _what_it_is(path: Path) -> str:
    """In a few words, for a file that Pillow does not know."""
    start = b""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(4)
    if not start:
        return "an empty file"
    return _DAMAGED if start.startswith(_BEGINNINGS) else "not a picture that can be read"
