"""The curves of similarity: counted by hand, and each class alike."""

import numpy as np
import pytest

from eurosat_core.charts.leaks import similarity_curves, similarity_frame


def test_every_class_counts_alike() -> None:
    """One tile of a class that looks alike everywhere, nine of another: the line lies half way."""
    labels = np.array([0] + [1] * 9)
    similarity = np.array([0.99] + [0.6] * 9, dtype=np.float32)
    frame = similarity_frame({"random": (similarity, labels), "place": (similarity[1:], labels[1:])})
    random, place = (frame[frame["split"] == title] for title in frame["split"].unique())
    for at, shares in ((0.5, (1, 1)), (0.8, (0.5, 0))):
        for line, share in zip((random, place), shares, strict=True):
            assert line.loc[(line["similarity"] - at).abs().idxmin(), "share"] == pytest.approx(share)
    assert (random["share"].diff().dropna() <= 0).all()


@pytest.mark.parametrize("names", [("random",), ("random", "place")])
def test_a_line_per_split(names: tuple[str, ...]) -> None:
    spec = similarity_curves(names)
    assert len(spec["encoding"]["color"]["scale"]["range"]) == len(names)
    assert len(spec["encoding"]["strokeDash"]["scale"]["range"]) == len(names)
