"""Tiles: finding, decoding and batching them."""
