"""Rows of a benchmark's table: what was measured, how often, and the ratio to what it is compared with."""

import statistics
from collections.abc import Sequence
from typing import Any


def row(
    name: str, values: Sequence[float], unit: str, *, ratio: float | None = None, promise: str = ""
) -> dict[str, Any]:
    """One line: all measured values, their median, the ratio, and what was promised."""
    return {
        "name": name,
        "values": list(values),
        "median": statistics.median(values),
        "unit": unit,
        "ratio": ratio,
        "promise": promise,
    }
