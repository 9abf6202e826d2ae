"""DataFrame in, Altair chart out. These modules draw; they compute nothing that a test would want to check."""

from eurosat_core.charts.tiles import channel_histograms, class_counts

__all__ = ["channel_histograms", "class_counts"]
