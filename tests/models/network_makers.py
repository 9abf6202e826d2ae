"""The tutorial's network, and random ones, good and bad, for property tests."""

from hypothesis import strategies as st
from torch import nn

from eurosat_core.models.layers import KINDS, Field, Layer, Value, parse_network

__all__ = ["networks", "tutorial_net"]

_NONSENSE = ("con 6 5", "conv six", "linear 10 10", "lstm 4", "maxpool", "?", "dense 30", "linear 1e9")


def _values(field: Field) -> st.SearchStrategy[Value]:
    usual = st.integers(int(field.low), min(int(field.high), 24)) if field.whole else st.floats(0, 0.95).map(_short)
    wild = st.integers(-3, 20_000) if field.whole else st.sampled_from([-1, 1, 1.5])
    broken = st.sampled_from([0.5, 2.25]) if field.whole else usual
    words = [st.just(field.word)] * 2 if field.word else []
    return st.one_of(usual, usual, usual, usual, usual, wild, broken, *words)


def _short(number: float) -> float:
    return round(number, 4) or 0


def _layers(kind: str) -> st.SearchStrategy[Layer]:
    return st.tuples(*(_values(field) for field in KINDS[kind].fields)).map(lambda values: Layer(kind, values))


def networks(most: int = 45) -> st.SearchStrategy[tuple[Layer, ...]]:
    """Any layers in any order, with numbers in and out of range, and a few that cannot be read."""
    nonsense = st.sampled_from(_NONSENSE).map(lambda text: parse_network(text)[0])
    one = st.one_of(*(_layers(kind) for kind in KINDS), *(_layers("conv"), _layers("residual")) * 2, nonsense)
    return st.lists(one, max_size=most).map(tuple)


def tutorial_net(classes: int = 10) -> nn.Sequential:
    """The tutorial's network, written once more."""
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(2704, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, classes),
    )
