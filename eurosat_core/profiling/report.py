"""Everything that is told of a trace as one JSON object: what `overview --json` prints."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from eurosat_core.profiling.advice import advice_for
from eurosat_core.profiling.kernels import kernel_table
from eurosat_core.profiling.operators import operator_table
from eurosat_core.profiling.overview import overview_of
from eurosat_core.profiling.trace import Trace

__all__ = ["report_of"]


def report_of(trace: Trace, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Steps, mean step, devices, peak memory, parts, operators, kernels, advice, notes; plain JSON values.

    settings: those of the training that was recorded, if known; advice then names only what is not set yet.
    """
    overview = overview_of(trace)
    return {
        "steps": [{"step": each.step, "start_us": each.start_us, **each.role_us} for each in overview.steps],
        "mean_step_us": overview.mean_step_us,
        "devices": [asdict(each) for each in overview.devices],
        "peak_memory_bytes": overview.peak_memory_bytes,
        "parts": asdict(overview.parts),
        "operators": [asdict(each) for each in operator_table(trace)],
        "kernels": [asdict(each) for each in kernel_table(trace)],
        "advice": [asdict(each) for each in advice_for(overview, settings)],
        "notes": list(overview.notes),
    }
