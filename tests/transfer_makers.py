"""What a transfer might have found, without one."""

from collections.abc import Mapping, Sequence

from eurosat_core.training.transfer import Learner, TransferResult, Trial

Found = Mapping[int, Sequence[float]]
"""Accuracies of every draw by labels per class; 0: all."""

_LINEAR: Found = {1: [0.5, 0.6], 5: [0.7, 0.8], 0: [0.95]}
_NEIGHBOURS: Found = {1: [0.4, 0.5], 5: [0.6, 0.7], 0: [0.9]}
_SCRATCH: Found = {1: [0.2], 5: [0.3]}


def result_of(
    linear: Found = _LINEAR,
    neighbours: Found = _NEIGHBOURS,
    scratch: Found = _SCRATCH,
    classes: int = 10,
    train_tiles: int = 4500,
) -> TransferResult:
    """A result with these accuracies."""
    found: dict[Learner, Found] = {"neighbours": neighbours, "linear": linear, "scratch": scratch}
    trials = tuple(
        Trial(learner, labels, draw, labels * classes or train_tiles, accuracy, 0.1)
        for learner, by_labels in found.items()
        for labels, accuracies in by_labels.items()
        for draw, accuracy in enumerate(accuracies, 1)
    )
    return TransferResult(
        "random", train_tiles, 1500, 1500, 2096, 6000, 40.0, trials=trials, seconds=60.0, complete=True
    )
