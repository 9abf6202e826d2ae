"""How long a measurement will take: as long as it was given, or as its fewest steps need on a slow machine."""

from collections.abc import Callable

from eurosat_core.lab.estimate import Estimate
from eurosat_core.speed.plan import LEAST_ROUNDS, SweepPlan
from eurosat_core.training.config import TrainConfig

__all__ = ["estimate_sweep", "least_seconds"]

_UNTIMED = 2  # steps at the beginning of a turn
_WARM_STEPS = 3
_START_SECONDS = {"loader": 1.5, "memory": 0.3}  # loader workers deliver their first batch after about a second


def least_seconds(config: TrainConfig, plan: SweepPlan, tile_seconds: Callable[[TrainConfig], float | None]) -> float:
    """Seconds of the fewest steps that all cells need; a cell of which nothing is known counts as nothing.

    tile_seconds: of a training tile with some settings.
    """
    total = 0.0
    for each in plan.configs(config):
        step = each.batch_size * (tile_seconds(each) or 0.0)
        ahead = 2 * each.workers * each.prefetch if each.source == "loader" else 0
        turn = plan.steps + _UNTIMED + ahead
        turns = LEAST_ROUNDS * turn * (2 if plan.validation else 1)
        total += _START_SECONDS.get(each.source, 0.0) + step * (_WARM_STEPS + ahead + turns)
    return total


def estimate_sweep(
    config: TrainConfig, plan: SweepPlan, tile_seconds: Callable[[TrainConfig], float | None]
) -> Estimate:
    """How long `plan` takes with `config`, with what that rests on."""
    bounded = plan.total_seconds(config)
    needed = least_seconds(config, plan, tile_seconds)
    if needed <= plan.seconds:
        return Estimate(bounded, "As many steps are measured as fit into this time.")
    basis = "Projected from how fast this machine trains: the fewest steps of every setting that tell something."
    return Estimate(bounded + needed - plan.seconds, basis)
