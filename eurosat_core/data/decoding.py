"""From a picture file to a tile of 64×64 RGB pixels, or a few words on why it cannot be one."""

import io
import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from eurosat_core.data.deep_pictures import DeepPicture, open_picture
from eurosat_core.data.left_out import LeftOut
from eurosat_core.data.scale import Pixels, Scale, in_eight_bits, range_of
from eurosat_core.errors import DataError
from eurosat_core.wording import bytes_text

__all__ = [
    "TILE_SIDE",
    "DecodedChunk",
    "Pixels",
    "UnreadableError",
    "decode_chunk",
    "decode_picture",
    "open_rgb",
    "scale_for",
]

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

# A picture cut short must be told apart, never padded with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False


class UnreadableError(DataError):
    """A picture that cannot be a tile. reason: the same for all of its kind; detail: what else is known of this one."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}{detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class DecodedChunk:
    """The good pictures' pixels [n, 64, 64, 3], and which were good.

    problems: one for each of the others. notes: what was done to how many, in a few words.
    """

    pixels: Pixels
    good: list[bool]
    problems: list[LeftOut]
    resized: int
    notes: Counter[str]


def decode_chunk(folder: Path, names: tuple[str, ...], scale: Scale) -> DecodedChunk:
    """Decode some pictures; `scale` says what is black and white in those of more than 8 bits."""
    pixels = np.empty((len(names), TILE_SIDE, TILE_SIDE, 3), dtype=np.uint8)
    good: list[bool] = []
    problems: list[LeftOut] = []
    notes: Counter[str] = Counter()
    resized = count = 0
    for name in names:
        try:
            pixels[count], was_resized = decode_picture(folder / name, scale, notes)
            count += 1
            resized += was_resized
            good.append(True)
        except UnreadableError as error:
            problems.append(LeftOut(error.reason, 1, name, error.detail))
            good.append(False)
    return DecodedChunk(pixels[:count], good, problems, resized, notes)


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
    except IsADirectoryError as error:
        raise UnreadableError("a folder with a picture's name") from error
    except UnidentifiedImageError as error:
        raise _unknown(path) from error
    except FileNotFoundError as error:
        raise UnreadableError("gone since the folder was listed") from error
    except PermissionError as error:
        raise UnreadableError("no permission to read it") from error
    except Image.DecompressionBombError as error:
        raise UnreadableError("too large to be a tile") from error
    except Exception as error:  # Pillow raises whatever damage hits first
        raise UnreadableError("damaged or cut short", f" ({error})") from error


def _unknown(path: Path) -> UnreadableError:
    """What a file is that Pillow does not know."""
    start = b""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(4)
    if not start:
        return UnreadableError("an empty file")
    if start.startswith(_BEGINNINGS):
        return UnreadableError("damaged or cut short")
    return UnreadableError("not a picture that can be read")
