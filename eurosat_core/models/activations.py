"""Activation functions and the weighted sum of a linear layer, worked out by hand for the lesson."""

import math

import numpy as np
import pandas as pd

__all__ = ["ACTIVATION_TITLES", "activation", "activation_frame", "slope", "weighted_sum_text"]

ACTIVATION_TITLES = {"relu": "ReLU", "sigmoid": "Sigmoid", "gelu": "GELU"}
_REACH = 5.0
_POINTS = 101


def activation(name: str, x: float) -> float:
    """The value of ReLU, sigmoid or GELU (the exact one, as PyTorch's default)."""
    match name:
        case "relu":
            return max(x, 0.0)
        case "sigmoid":
            return 1 / (1 + math.exp(-x))
        case _:
            return x * _normal(x)


def slope(name: str, x: float) -> float:
    """Its derivative; that of ReLU at 0 counts as 0, as in PyTorch."""
    match name:
        case "relu":
            return 1.0 if x > 0 else 0.0
        case "sigmoid":
            value = activation("sigmoid", x)
            return value * (1 - value)
        case _:
            return _normal(x) + x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _normal(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


def activation_frame(at: float) -> pd.DataFrame:
    """Curves of all functions and their slopes: function, x, value, slope; the rows with `marked` stand at x = `at`."""
    rows = [
        (title, float(x), activation(name, float(x)), slope(name, float(x)), False)
        for name, title in ACTIVATION_TITLES.items()
        for x in np.linspace(-_REACH, _REACH, _POINTS)
    ]
    rows += [(title, at, activation(name, at), slope(name, at), True) for name, title in ACTIVATION_TITLES.items()]
    return pd.DataFrame(rows, columns=["function", "x", "value", "slope", "marked"])


def weighted_sum_text(inputs: list[float], weights: list[float], bias: float) -> tuple[str, float]:
    """`0.9 × 1.0 + 0.1 × (-2.0) + 0.5 = 1.20`, and the sum to those two decimals, which are exact for tenths."""
    added = sum(x * w for x, w in zip(inputs, weights, strict=True)) + bias
    total = round(added, 2) + 0.0  # what floating point leaves would tell equal sums apart; + 0.0 makes -0.0 a 0.0
    products = " + ".join(f"{x:.1f} × {_signed(w)}" for x, w in zip(inputs, weights, strict=True))
    return f"{products} + {_signed(bias)} = {total:.2f}", total


def _signed(number: float) -> str:
    return f"({number:.1f})" if number < 0 else f"{number:.1f}"
