"""From numbers of any range to brightness: which values are black and which are white, the same for a whole set.

Sentinel-2's reflectances come as EuroSAT's authors made their JPEGs of them: 0 to 2,750 (of 10,000) as 0 to 255
(https://github.com/jensleitloff/CNN-Sentinel/issues/1), so what a network learned from the JPEGs holds for them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eurosat_core.wording import rounded

__all__ = ["FULL_BYTE", "Mask", "Pixels", "Range", "Raw", "Scale", "in_eight_bits", "range_of"]

Pixels = npt.NDArray[np.uint8]
Raw = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
"""Values of a picture as its file has them; other kinds of numbers as float32."""
Mask = npt.NDArray[np.bool_]

_REFLECTANCE = 2750.0  # of 10,000: white in EuroSAT's JPEGs
_UNIT = 10_000.0
_USUAL_LAND = 1.2 * _REFLECTANCE  # half of a scene is darker than this, even under some clouds
_BRIGHTEST_CLOUD = 16_000.0
_DIM = 1 / 16  # of full brightness: a picture whose bright parts are darker than this would look black
_AT_ONCE = 1_000_000  # pixels that are scaled at a time
_NEGATIVE = 0.05  # of the bright values: values further below zero are no noise


@dataclass(frozen=True)
class Range:
    """low became 0, high became 255. reflectance: because the values look like Sentinel-2's."""

    low: float
    high: float
    reflectance: bool = False

    @property
    def is_one_to_one(self) -> bool:
        return (self.low, self.high) == (0, 255)

    @property
    def text(self) -> str:
        """`0 to 2,750`."""
        return f"{_figure(self.low)} to {_figure(self.high)}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else rounded(value, 3)


FULL_BYTE = Range(0, 255)


@dataclass(frozen=True)
class Scale:
    """The ranges of a set: of its whole numbers of more than 8 bits, and of its decimal ones. 8 bits need none."""

    whole: Range = Range(0, _REFLECTANCE, reflectance=True)
    decimal: Range = Range(0, 1)

    def of(self, values: Raw) -> Range:
        if values.dtype == np.uint8:
            return FULL_BYTE
        return self.decimal if values.dtype == np.float32 else self.whole


def range_of(sample: npt.NDArray[Any]) -> Range:
    """What is black and white in values like these [n], none of them without data.

    Judged by percentiles, so that a few glints or dead pixels decide nothing.
    """
    if sample.dtype == np.uint8:
        return FULL_BYTE
    if not sample.size:
        return Scale().of(sample)
    dark, middle, bright = (float(each) for each in np.percentile(sample.astype(np.float64), (2, 50, 98)))
    if dark < -_NEGATIVE * abs(bright):  # such as decibels: nothing but the values themselves can tell
        return Range(_short(dark), _short(max(bright, dark + 1e-6 * abs(dark))))
    if bright <= 0:
        return Range(0, 1)
    if sample.dtype == np.float32 and bright <= 1.5:
        reflectance = bright <= 0.5 and middle <= _USUAL_LAND / _UNIT
        found = Range(0, _REFLECTANCE / _UNIT, reflectance=True) if reflectance else Range(0, 1)
    elif bright <= 255:
        found = FULL_BYTE
    elif middle <= _USUAL_LAND and bright <= _BRIGHTEST_CLOUD:
        found = Range(0, _REFLECTANCE, reflectance=True)
    elif bright > 2**32:
        found = Range(0, _short(bright))
    else:  # as many bits as the values fill: 4,095 for 12, 65,535 for 16
        found = Range(0, float(2 ** int(np.ceil(np.log2(bright + 1))) - 1))
    return found if bright >= found.high * _DIM else Range(0, _short(bright))


def _short(value: float) -> float:
    """Three digits are enough, and can be read."""
    return float(f"{value:.3g}")


def in_eight_bits(values: Raw, shown: Range, valid: Mask | None = None) -> Pixels:
    """Values [H, W, 3] as 0…255; what is not `valid` [H, W] becomes black."""
    if shown.is_one_to_one and values.dtype == np.uint8:
        pixels = values.astype(np.uint8)
    else:
        pixels = np.empty(values.shape, dtype=np.uint8)
        factor = np.float32(255) / np.float32(max(shown.high - shown.low, 1e-30))
        rows = max(_AT_ONCE // max(values.shape[1], 1), 1)
        for top in range(0, len(values), rows):  # the numbers in between take many times the room
            part = (values[top : top + rows] - np.float32(shown.low)) * factor
            pixels[top : top + rows] = np.clip(np.round(np.nan_to_num(part, nan=0.0)), 0, 255)
    if valid is not None:
        pixels[~valid] = 0
    return pixels
