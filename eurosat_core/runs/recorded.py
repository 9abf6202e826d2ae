"""The profile that came with the lab, recorded elsewhere.

It is the baseline on synthetic tiles, so that the page has something to show at once. `assets/recorded/profile.json.gz`
is the trace of one cycle, which every trace viewer opens; what is known of its recording stands in it under
`eurosat_lab`. Made from a run of this lab, best on a machine with nothing else to do (else a note says so):

    python -m eurosat_core profile --model baseline
    python -c "from eurosat_core.runs.recorded import keep_as_recorded; keep_as_recorded('RUN')"
"""

import gzip
import json
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from eurosat_core.errors import ConfigError, RunError, TraceError
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import load_settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.wording import count

_FILE = Path(__file__).parents[2] / "assets" / "recorded" / "profile.json.gz"
_ABOUT = "eurosat_lab"


@dataclass(frozen=True)
class RecordedProfile:
    """What is known of the bundled profile. recorded_on: the machine and the month, in words."""

    config: TrainConfig
    plan: ProfilePlan
    cycle: int
    machine: dict[str, Any]
    tiles: str
    recorded_on: str


def recorded_trace() -> bytes:
    """The trace (gzip). Raises `TraceError` when the file is gone."""
    try:
        return _FILE.read_bytes()
    except OSError as error:
        raise TraceError(_problem("its file is missing")) from error


@lru_cache(maxsize=1)
def recorded_profile() -> RecordedProfile:
    """What is known of it. Raises `TraceError` when its file is missing or damaged."""
    try:
        values = json.loads(gzip.decompress(recorded_trace()))[_ABOUT]
        return RecordedProfile(
            TrainConfig.from_dict(values.pop("config")), ProfilePlan.from_dict(values.pop("plan")), **values
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise TraceError(_problem("its file is damaged")) from error


def keep_as_recorded(run_id: str, note: str = "", target: Path = _FILE) -> None:
    """Bundle the last cycle of a finished profile run of the store in the settings. Raises `RunError`.

    Only of synthetic tiles: what is bundled must be what everybody can record. note: what else must be said of it.
    """
    store = RunStore(load_settings().runs)
    record = store.get(run_id)
    if record.kind != "profile" or record.state != "finished" or record.tiles.source != "synthetic":
        raise RunError(f"The run {run_id} is not a finished profile on synthetic tiles. Record one.")
    plan = ProfilePlan.from_dict(record.plan)
    trace = json.loads(gzip.decompress(store.load(run_id, f"trace_{plan.traces}.json.gz")))
    for name in ("traceName", "host_name", "trace_id"):  # a temporary file's path, and whose machine it was
        trace.pop(name, None)
    when = time.strftime("%B %Y", time.gmtime(record.created))
    about = RecordedProfile(
        record.config,
        plan,
        plan.traces,
        record.machine,
        f"{count(record.tiles.count, 'synthetic tile')}",
        f"{record.machine['device_name']}, {when}{note and f' ({note})'}",
    )
    trace[_ABOUT] = asdict(about)
    target.write_bytes(gzip.compress(json.dumps(trace, separators=(",", ":")).encode(), 9, mtime=0))


def _problem(what: str) -> str:
    return f"The recorded example cannot be shown: {what}. Install the lab anew, or record a profile of your own."
