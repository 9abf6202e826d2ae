"""DataFrame in, Altair chart out. These modules draw; they compute nothing that a test would want to check."""

from eurosat_core.charts.tiles import all_tiles, channel_histograms, class_counts, class_histogram

__all__ = ["all_tiles", "channel_histograms", "class_counts", "class_histogram"]
