"""From timed steps to the time of a whole training: so many steps of either phase, as often as there are epochs.

A projection, not a measurement: it says what it rests on, and pages label it so.
"""

from dataclasses import dataclass

from eurosat_core.speed.result import CellResult
from eurosat_core.speed.turns import Spread
from eurosat_core.wording import count

__all__ = ["Projection", "project"]


@dataclass(frozen=True)
class Projection:
    """Seconds of a whole training. low, high: from the quartiles of its steps. basis: what it rests on."""

    seconds: float
    low: float
    high: float
    epochs: int
    train_steps: int
    validation_steps: int
    timed_steps: int
    basis: str


def project(cell: CellResult, train_tiles: int, validation_tiles: int, epochs: int) -> Projection | None:
    """The training of a cell on so many tiles, from its timed steps; None where either phase was not measured.

    Before the first step its network is made and the loader workers of both phases start: measured for the first of
    them, and counted once.
    """
    train, validation = cell.step_seconds, cell.validation_step_seconds
    if train is None or validation is None:
        return None
    steps = -(-train_tiles // cell.config.batch_size), -(-validation_tiles // cell.config.batch_size)

    def total(figure: str) -> float:
        # The last batch of a phase is a smaller one: tiles count, not steps.
        spent: float = getattr(train, figure) * train_tiles + getattr(validation, figure) * validation_tiles
        return cell.start_seconds + epochs * spent / cell.config.batch_size

    basis = (
        f"Projected from {_timed(train, 'training')} and {_timed(validation, 'validation')}: "
        f"{count(epochs, 'epoch')} of {steps[0]:,} and {steps[1]:,} steps."
    )
    timed = train.steps + validation.steps
    return Projection(total("median"), total("low"), total("high"), epochs, *steps, timed, basis)


def _timed(steps: Spread, phase: str) -> str:
    return f"{steps.steps:,} timed {phase} steps in {count(steps.rounds, 'round')}"
