"""Figures of a network on tiles: predictions, accuracy, precision, recall and confusion; and sums of a phase."""

import gc
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from eurosat_core.errors import RunError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """What a network said about some tiles: tile numbers, true and predicted labels [n], and how sure it was.

    confidence: softmax probability of the predicted class, 0…1.
    """

    tiles: "Tensor"
    true: "Tensor"
    predicted: "Tensor"
    confidence: "Tensor"

    def __len__(self) -> int:
        return len(self.tiles)


@dataclass(frozen=True)
class ClassScore:
    """How one class did: its tiles, how many were called it (rightly or not), and how many of these are right.

    A figure whose question does not arise is None, never 0: precision of a class that no tile was called, recall of a
    class without tiles, F1 of one that is neither there nor ever called.
    """

    name: str
    tiles: int
    called: int
    right: int

    @property
    def precision(self) -> float | None:
        """Of the tiles called this class, the share that are."""
        return self.right / self.called if self.called else None

    @property
    def recall(self) -> float | None:
        """Of the tiles of this class, the share called so."""
        return self.right / self.tiles if self.tiles else None

    @property
    def f1(self) -> float | None:
        """The harmonic mean of precision and recall; 0 when no tile of the class was found."""
        return 2 * self.right / (self.tiles + self.called) if self.tiles + self.called else None


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

    def scores(self) -> tuple[ClassScore, ...]:
        """Precision, recall and F1 of every class, in the order of the classes."""
        called = [sum(column) for column in zip(*self.confusion, strict=True)]
        return tuple(
            ClassScore(name, sum(row), called[label], row[label])
            for label, (name, row) in enumerate(zip(self.class_names, self.confusion, strict=True))
        )

    def macro(self) -> dict[str, float | None]:
        """Precision, recall and F1 as means over the classes, each counted alike, of the figures that are not None."""
        scores = self.scores()
        return {name: _mean([getattr(each, name) for each in scores]) for name in _FIGURES}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as the command line prints them; `per_class` is each class's recall."""
        scores = self.scores()
        return {
            "tiles": self.tiles,
            "accuracy": self.accuracy,
            "per_class": self.per_class,
            **{name: {each.name: getattr(each, name) for each in scores} for name in _FIGURES},
            "macro": self.macro(),
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


_FIGURES = ("precision", "recall", "f1")


def _mean(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) / len(known) if known else None


def evaluate_predictions(true: "Tensor", predicted: "Tensor", class_names: Sequence[str]) -> Evaluation:
    """Count right and wrong answers; true, predicted: labels [n], n ≥ 1."""
    import torch

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


def predictions_to_bytes(predictions: Predictions) -> bytes:
    """What a run stores as `predictions.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: values.numpy() for name, values in vars(predictions).items()})
    return buffer.getvalue()


def predictions_from_bytes(content: bytes) -> Predictions:
    """What a run stored as `predictions.npz`. Raises `RunError` when it is damaged."""
    import torch

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return Predictions(**{each.name: torch.from_numpy(arrays[each.name]) for each in fields(Predictions)})
    except Exception as error:  # a damaged archive raises whatever its damage hits first
        raise RunError("The run's predictions are damaged. Train again to see them.") from error


_COUNTED_AT_ONCE = 64  # batches


@dataclass
class Tally:
    """Sums over one phase, kept on the device so that adding to them does not wait for it.

    Batches of one size are counted many at a time: a GPU takes longer to be told of an operation on so few numbers
    than to do it, and with every batch it would be six.

    settle: called before the sums are read; adds what was counted elsewhere.
    """

    loss: "Tensor"
    right: "Tensor"
    tiles: int = 0
    settle: Callable[[], None] = lambda: None
    _waiting: "list[tuple[Tensor, Tensor, Tensor]]" = field(default_factory=list)

    @classmethod
    def on(cls, device: "torch.device") -> "Tally":
        """Nothing yet."""
        import torch

        return cls(torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device))

    def add(self, loss: "Tensor", scores: "Tensor", labels: "Tensor") -> None:
        """One batch more: its mean loss, scores [B, classes] and labels [B], which stay as they are now."""
        if (self._waiting and len(self._waiting[0][2]) != len(labels)) or len(self._waiting) == _COUNTED_AT_ONCE:
            self._count()
        self._waiting.append((loss.detach(), scores.detach(), labels))
        self.tiles += len(labels)

    def _count(self) -> None:
        import torch

        losses, scores, labels = (list(each) for each in zip(*self._waiting, strict=True))
        self.loss += torch.stack(losses).sum() * len(labels[0])
        self.right += (torch.cat(scores).argmax(1) == torch.cat(labels)).sum()
        self._waiting.clear()

    def means(self) -> tuple[float, float]:
        """Loss and accuracy per tile; waits for the device."""
        self.settle()
        if self._waiting:
            self._count()
        return self.loss.item() / self.tiles, self.right.item() / self.tiles


def wait_for(device: "torch.device") -> None:
    """Until the device has done all it was told to."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type != "cpu":
        torch.accelerator.synchronize()


def release_memory(device: "torch.device") -> None:
    """Give the device's other users what this process holds there and nobody here needs any more.

    Never raises: it stands behind work that may have failed, whose own error is the one to tell. A device that has
    failed says so again to whoever asks it next.
    """
    import torch

    gc.collect()  # networks lie in circles of references
    with suppress(RuntimeError):
        if device.type == "cuda":
            torch.cuda.empty_cache()
        elif device.type == "mps":
            torch.mps.empty_cache()


def move(tensors: "Iterable[Tensor]", device: "torch.device") -> None:
    """Bring tensors to a device in place: whoever refers to one, as an optimizer does to parameters, still does."""
    for each in tensors:
        each.data = each.data.to(device)


def memory_bytes(device: "torch.device") -> int:
    """Bytes held on the device; for a CPU, of this process."""
    import torch

    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    return int(psutil.Process().memory_info().rss)
