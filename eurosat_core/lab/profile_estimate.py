"""How long a profile will take: from profiles of the same kind on this machine, else from how fast it trains."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from eurosat_core.lab.calibration import Speed
from eurosat_core.lab.estimate import SAME_KIND, Estimate, estimate_seconds
from eurosat_core.lab.run_record import RunRecord, TilesUsed
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.training.config import Architecture, TrainConfig
from eurosat_core.wording import count

__all__ = ["estimate_profile"]

# Until the first step is done, from a warm worker: loader workers deliver their first batch after about a second.
_START_SECONDS = {"loader": 1.5, "memory": 0.5}
_TRACE_SECONDS = 0.15  # to write one and to sum up its operators (baseline, two cores: 0.04 to 0.3)
_ALMOST_ALL = 0.95  # of the tiles, so that an epoch is training and hardly anything else


def estimate_profile(
    config: TrainConfig,
    plan: ProfilePlan,
    tiles: TilesUsed,
    runs: Iterable[RunRecord],
    speeds: Sequence[Speed],
    macs: dict[Architecture, int],
    machine: dict[str, Any],
) -> Estimate | None:
    """How long `plan` takes with `config`; None when nothing was measured on its device yet.

    runs: finished ones, newest first. The rest as for `estimate_seconds`.
    """
    runs = list(runs)
    steps = plan.total_steps
    for run in runs:
        done = run.summary.get("steps", 0)
        if run.kind == "profile" and done and _is_alike(run, config, machine):
            basis = f"Projected from this lab’s profile {run.id} with the same settings ({count(done, 'step')})."
            return Estimate(run.summary["seconds"] * steps / done, basis)
    epoch = replace(config, epochs=1, train_fraction=_ALMOST_ALL, split="random", sealed_test=False)
    found = estimate_seconds(epoch, tiles, (each for each in runs if each.kind == "train"), speeds, macs, machine)
    if found is None:
        return None
    tile_seconds = found.seconds / max(1, int(min(config.tiles or tiles.count, tiles.count) * _ALMOST_ALL))
    seconds = steps * min(config.batch_size, tiles.count) * tile_seconds
    start = _START_SECONDS["loader" if config.source == "loader" and config.workers else "memory"]
    return replace(found, seconds=start + seconds + plan.traces * _TRACE_SECONDS)


def _is_alike(run: RunRecord, config: TrainConfig, machine: dict[str, Any]) -> bool:
    same = all(getattr(run.config, name) == getattr(config, name) for name in SAME_KIND)
    here = all(run.machine.get(name) == value for name, value in machine.items())
    return same and here and not run.beside and not run.recorded_on
