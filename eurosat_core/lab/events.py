"""The events of all kinds of runs, as they go over the wire and into `events.jsonl`."""

from typing import Any

from eurosat_core.profiling.events import KINDS as PROFILE_KINDS
from eurosat_core.profiling.events import ProfileEvent
from eurosat_core.speed.events import KINDS as SWEEP_KINDS
from eurosat_core.speed.events import SweepEvent
from eurosat_core.training.events import KINDS as TRAINING_KINDS
from eurosat_core.training.events import Event, event_to_dict, parse_event

__all__ = ["RunEvent", "event_from_dict", "event_to_dict"]

RunEvent = Event | ProfileEvent | SweepEvent
_KINDS: dict[str, type[RunEvent]] = {**TRAINING_KINDS, **PROFILE_KINDS, **SWEEP_KINDS}


def event_from_dict(values: dict[str, Any]) -> RunEvent:
    """The event that `event_to_dict` wrote. Raises `RunError` when it is none of ours."""
    return parse_event(values, _KINDS)
