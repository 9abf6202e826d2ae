"""Where a network looked, drawn over the tile."""

import base64
import io

import numpy as np
from PIL import Image

from eurosat_core.data.pictures import Pixels, Values, enlarged

__all__ = ["heat_overlay", "jpeg_uri"]

# From nothing to much: rises in brightness all the way, so it reads without colour, too.
_STOPS = np.array([(20, 10, 40), (110, 30, 110), (205, 70, 75), (250, 160, 40), (252, 250, 190)], dtype=np.float32)
_STRONGEST = 0.75  # how much of the tile the strongest heat covers


def heat_overlay(tile: Pixels, heat: Values, times: int) -> Pixels:
    """A tile [H, W, 3], enlarged, under its heat [H, W] (0…1); where there is none it is darkened a little."""
    place = np.clip(heat, 0, 1) * (len(_STOPS) - 1)
    lower = np.minimum(place.astype(np.int64), len(_STOPS) - 2)
    share = (place - lower)[..., None]
    colours = _STOPS[lower] * (1 - share) + _STOPS[lower + 1] * share
    cover = 0.35 + (_STRONGEST - 0.35) * np.clip(heat, 0, 1)[..., None]
    mixed = tile.astype(np.float32) * (1 - cover) + colours * cover
    return enlarged(np.round(mixed).astype(np.uint8), times)


def jpeg_uri(pixels: Pixels, most_side: int) -> str:
    """A large picture as a `data:` address, reduced to `most_side` pixels: small enough to be sent at every click."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((most_side, most_side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
