"""Counting a convolution's work by hand, as the lesson does before any network is built."""

from dataclasses import dataclass

__all__ = ["ConvolutionWork", "convolution_work"]


@dataclass(frozen=True)
class ConvolutionWork:
    """Multiplications of one convolution layer: per place of the filter, per filter, and of the whole layer."""

    places: int
    products_per_place: int
    per_filter: int
    layer: int


def convolution_work(side: int, channels: int, filter_side: int, filters: int) -> ConvolutionWork:
    """For a square picture of `side` pixels, no padding, stride 1."""
    places = max(side - filter_side + 1, 0) ** 2
    products = filter_side * filter_side * channels
    return ConvolutionWork(places, products, places * products, places * products * filters)
