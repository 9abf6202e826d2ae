"""A profile without a server: the command line records in its own process, in the same run store."""

from collections.abc import Callable
from typing import Any

from eurosat_core.data.loader_workers import warm_loader_workers
from eurosat_core.data.tiles import TileSet
from eurosat_core.errors import DataError
from eurosat_core.lab.events import RunEvent
from eurosat_core.lab.standalone import work_here
from eurosat_core.profiling.events import ProfileStarted, TraceDone
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.profiling.record import trace_file
from eurosat_core.profiling.report import report_of
from eurosat_core.profiling.trace import read_trace
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.network import missing_weights
from eurosat_core.training.sources import split_for
from eurosat_core.wording import count

__all__ = ["profile_here"]


def profile_here(
    config: TrainConfig, plan: ProfilePlan, tiles: TileSet, settings: Settings, say: Callable[[str], None]
) -> dict[str, Any]:
    """Record a profile in this process and keep the run in the store; the app shows it and leaves it alone.

    Returns `run_id`, `state`, `message`, `device`, `seconds`, `overview` of the last cycle's trace (None without one),
    and `trace_files`, in the order of their cycles. Ctrl-C stops after the current step and keeps the cycles that are
    complete. Raises `DataError` when the tiles cannot be split as asked, or pretrained weights are missing.
    """
    split_for(config, tiles)  # what cannot be split makes no run
    if problem := missing_weights(config, settings.cache):
        raise DataError(problem)
    if config.source == "loader" and config.workers:
        warm_loader_workers(wait=True)  # as in the app; else its start would be measured beside the first steps

    def tell(event: RunEvent) -> None:
        if isinstance(event, ProfileStarted):
            say(f"{count(event.steps, 'step')}, {count(event.cycles, 'cycle')} recorded")
        elif isinstance(event, TraceDone):
            say(f"cycle {event.cycle} of {plan.traces}: {event.file}, {event.size_bytes / 1024:,.0f} KB")

    record, result = work_here(config, tiles, settings, say, tell, "profile", plan.to_dict())
    folder = settings.runs / record.id
    traces = [(folder / name).absolute() for name in _traces(result.files)]
    return {
        "run_id": record.id,
        "state": result.state,
        "message": result.message,
        "device": config.device,
        "seconds": result.summary.get("seconds", 0.0),
        "overview": report_of(read_trace(traces[-1]), config.to_dict()) if traces else None,
        "trace_files": [str(each) for each in traces],
    }


def _traces(files: dict[str, bytes]) -> list[str]:
    cycles = range(1, len(files) + 1)
    return [trace_file(cycle) for cycle in cycles if trace_file(cycle) in files]
