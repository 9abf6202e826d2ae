"""A chart as a Vega-Lite spec without data, to be drawn over a table: made once, drawn often."""

from typing import Any

__all__ = ["Spec", "bare_spec"]

Spec = dict[str, Any]


def bare_spec(chart: Any) -> Spec:
    """The chart as plain values, without Altair's stand-in for data and its default sizes (the theme has its own)."""
    spec: Spec = chart.to_dict()
    for name in ("config", "data", "datasets"):
        spec.pop(name, None)
    for layer in spec.get("layer", ()):
        layer.pop("data", None)
    return spec
