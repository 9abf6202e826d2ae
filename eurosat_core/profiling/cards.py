"""What a graphics card can do at most: the two roofs of the roofline model, as published (`assets/cards.toml`)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from eurosat_core.profiling.trace import DeviceProperties
from eurosat_core.wording import sentences

_GIGABYTE = 1024**3
_NEAR = 0.15  # of a card's memory: what drivers keep to themselves, and GB of either kind


@dataclass(frozen=True)
class Roofs:
    """The limits of one device. flops: FLOPs per second by precision (`float32`, `tf32`, `bfloat16`, `float16`).

    source: which datasheet says so; empty for figures that were measured here.
    """

    flops: Mapping[str, float]
    bytes_per_second: float
    source: str = ""


def published_roofs(device: DeviceProperties) -> Roofs | None:
    """Of a card by the name and the memory that a trace gives; None for one that is not listed."""
    for card in _cards() if device.name else ():
        wanted = card.get("memory_gb")
        found = (device.memory_bytes or 0) / _GIGABYTE
        if re.fullmatch(card["names"], device.name or "") and (wanted is None or abs(found - wanted) <= _NEAR * wanted):
            peaks = {name: value * 1e12 for name, value in card["peaks"].items()}
            return Roofs(peaks, card["memory"] * 1e9, card["source"])
    return None


@lru_cache(maxsize=1)
def _cards() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sentences("cards")["cards"]
    return found
