"""Reading figures that somebody else's lab may have written: what is no figure is refused, never drawn."""

import math
from collections.abc import Iterable
from typing import Any

__all__ = ["number", "numbers", "text", "whole"]

_LARGEST = 1e18  # operations per second and bytes stay far below


def number(value: Any, *, above: float | None = None, most: float = _LARGEST) -> float:
    """A finite number from 0 on, or above `above`. Raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is no figure")
    if not 0 <= value <= most or (above is not None and value <= above):
        raise ValueError(f"{value!r:.40} cannot have been measured")
    return float(value)


def numbers(values: Any) -> tuple[float, ...]:
    """Several of them. Raises `ValueError` likewise."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise ValueError("no list of figures")
    return tuple(number(each) for each in values)


def whole(value: Any, least: int = 0) -> int:
    """A whole number from `least` on. Raises `ValueError` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**53:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def text(value: Any, longest: int = 400) -> str:
    """A short printable text. Raises `ValueError` for anything else."""
    if not isinstance(value, str) or len(value) > longest or not (value.isprintable() or not value):
        raise ValueError("a text that no lab has written")
    return value
