"""Judging a network on tiles: predictions, accuracy, and what is mistaken for what."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Evaluation", "Predictions", "evaluate_predictions"]


@dataclass(frozen=True)
class Predictions:
    """What a network said about some tiles: tile numbers, true and predicted labels [n], and how sure it was.

    confidence: softmax probability of the predicted class, 0…1.
    """

    tiles: Tensor
    true: Tensor
    predicted: Tensor
    confidence: Tensor

    def __len__(self) -> int:
        return len(self.tiles)


@dataclass(frozen=True)
class Evaluation:
    """Accuracy and confusion over some tiles; `confusion[i][j]`: tiles of class i that were called class j.

    per_class: each class's share of right answers (recall); None for a class without tiles.
    """

    class_names: tuple[str, ...]
    tiles: int
    accuracy: float
    per_class: dict[str, float | None]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the command line prints them."""
        return {
            "tiles": self.tiles,
            "accuracy": self.accuracy,
            "per_class": self.per_class,
            "class_names": list(self.class_names),
            "confusion": [list(row) for row in self.confusion],
        }

    def most_confused(self) -> tuple[str, str, int] | None:
        """The most frequent mistake: true class, what it was called, how often; None when there is none."""
        mistakes = [
            (count, row, column)
            for row, counts in enumerate(self.confusion)
            for column, count in enumerate(counts)
            if row != column and count
        ]
        if not mistakes:
            return None
        count, row, column = max(mistakes, key=lambda each: each[0])
        return self.class_names[row], self.class_names[column], count


def evaluate_predictions(true: Tensor, predicted: Tensor, class_names: Sequence[str]) -> Evaluation:
    """Count right and wrong answers; true, predicted: labels [n], n ≥ 1."""
    classes = len(class_names)
    confusion = torch.bincount(true * classes + predicted, minlength=classes * classes).view(classes, classes)
    totals = confusion.sum(1).tolist()
    right = confusion.diagonal().tolist()
    return Evaluation(
        class_names=tuple(class_names),
        tiles=len(true),
        accuracy=sum(right) / len(true),
        per_class={
            name: (hits / total if total else None)
            for name, hits, total in zip(class_names, right, totals, strict=True)
        },
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )
