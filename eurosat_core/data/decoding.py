"""From a picture file to a tile of 64×64 RGB pixels, or a few words on why it cannot be one."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, UnidentifiedImageError

from eurosat_core.errors import DataError
from eurosat_core.wording import bytes_text

__all__ = ["TILE_SIDE", "DecodedChunk", "Pixels", "decode_chunk", "decode_picture"]

TILE_SIDE = 64
_MAX_FILE_BYTES = 256 * 1024**2
_MAX_PIXELS = 50_000_000  # a picture beyond this is refused before it is decoded

Pixels = npt.NDArray[np.uint8]

# A picture cut short must be told apart, never padded with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False


@dataclass(frozen=True)
class DecodedChunk:
    """The good pictures' pixels [n, 64, 64, 3], which were good, and a sentence for each of the others."""

    pixels: Pixels
    good: list[bool]
    problems: list[str]
    resized: int


def decode_chunk(folder: Path, names: tuple[str, ...]) -> DecodedChunk:
    """Decode some pictures: the good ones' pixels [n, 64, 64, 3], and a sentence for each of the others."""
    pixels = np.empty((len(names), TILE_SIDE, TILE_SIDE, 3), dtype=np.uint8)
    good: list[bool] = []
    problems: list[str] = []
    resized = count = 0
    for name in names:
        try:
            pixels[count], was_resized = decode_picture(folder / name)
            count += 1
            resized += was_resized
            good.append(True)
        except DataError as error:
            problems.append(f"{name}: {error}")
            good.append(False)
    return DecodedChunk(pixels[:count], good, problems, resized)


def _opened(content: io.BytesIO, path: Path) -> Image.Image:
    """The picture in `content`; of JPEGs, the usual case, no other format is tried first."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        try:
            return Image.open(content, formats=("JPEG",))
        except UnidentifiedImageError:
            content.seek(0)  # many a .jpg is something else
    return Image.open(content)


def decode_picture(path: Path) -> tuple[Pixels, bool]:
    """One picture as RGB [64, 64, 3], and whether it was resized. Raises `DataError` with what is wrong."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (Path.open and Pillow's own opening take six times as long)
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_FILE_BYTES:
                raise DataError(f"too large ({bytes_text(size)})")
            content = io.BytesIO(file.read())
        with _opened(content, path) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise DataError(f"too large ({picture.width:,}×{picture.height:,} pixels)")
            rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
            resized = rgb.size != (TILE_SIDE, TILE_SIDE)
            if resized:  # as torchvision.transforms.Resize does with a picture
                rgb = rgb.resize((TILE_SIDE, TILE_SIDE), Image.Resampling.BILINEAR)
            return np.asarray(rgb, dtype=np.uint8), resized
    except IsADirectoryError as error:
        raise DataError("a folder with a picture's name") from error
    except UnidentifiedImageError as error:
        what = "an empty file" if path.stat().st_size == 0 else "not a picture that can be read"
        raise DataError(what) from error
    except FileNotFoundError as error:
        raise DataError("gone since the folder was listed") from error
    except PermissionError as error:
        raise DataError("no permission to read it") from error
    except Image.DecompressionBombError as error:
        raise DataError("too large to be a tile") from error
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises all of these for damaged files
        raise DataError(f"damaged or cut short ({error})") from error
