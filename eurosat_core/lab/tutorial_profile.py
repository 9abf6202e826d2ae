"""The tutorial's own profile: its two operator tables as it printed them, next to a participant's figures."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from eurosat_core import wording
from eurosat_core.lab.operator_frame import NAME, OperatorColumn, columns_of
from eurosat_core.lab.profile_frames import milliseconds
from eurosat_core.lab.profile_words import utilization
from eurosat_core.lab.profiles import Reading

__all__ = ["Recorded", "compared_figures", "tutorial_profile", "tutorial_table"]

_FILE = Path(__file__).parents[2] / "assets" / "recorded" / "tutorial_profile.json"
UNKNOWN = "–"


@dataclass(frozen=True)
class Recorded:
    """One of its two runs. steps: how many its totals cover. rows: raw figures (µs, bytes, %) in the columns' order.

    loading, copying: shares of `CPU total %`; None where the table has no such row. exec_share: what its TensorBoard
    called CPU utilization. launches: kernel launches in all steps.
    """

    device: str
    steps: int
    self_cpu_us: float
    self_cuda_us: float | None
    step_us: float
    loading: float
    copying: float | None
    launches: int | None
    utilization: float | None
    exec_share: float | None
    rows: tuple[tuple[Any, ...], ...]


@lru_cache(maxsize=1)
def tutorial_profile() -> dict[str, Recorded]:
    """Both runs, by `cpu` and `gpu`."""
    values = json.loads(_FILE.read_text(encoding="utf-8"))["runs"]
    return {name: Recorded(**{**run, "rows": tuple(tuple(row) for row in run["rows"])}) for name, run in values.items()}


def tutorial_table(name: str) -> tuple[pd.DataFrame, tuple[OperatorColumn, ...]]:
    """The operator table of `cpu` or `gpu`, as `operator_frame` gives one."""
    columns = columns_of("CUDA" if name == "gpu" else "", memory=True, device_memory=True)
    return pd.DataFrame(tutorial_profile()[name].rows, columns=[NAME, *(each.name for each in columns)]), columns


def compared_figures(name: str, reading: Reading | None) -> pd.DataFrame:
    """The tutorial's figures of `cpu` or `gpu`, and a participant's of the same kind of device (None: there is none).

    Columns: Figure, Tutorial, Yours; all in words.
    """
    told = tutorial_profile()[name]
    own = _own(reading) if reading is not None else {}
    rows = [
        ("Step on the host (ProfilerStep*)", _ms(told.step_us)),
        ("Self CPU time, a step", _ms(told.self_cpu_us / told.steps)),
        ("DataLoader, share of the CPU’s time", wording.percent(told.loading)),
    ]
    if told.copying is not None:
        rows.append(("aten::to (copying), share of the CPU’s time", wording.percent(told.copying)))
    if told.self_cuda_us is not None:
        rows.append(("Self CUDA time, a step", _ms(told.self_cuda_us / told.steps)))
    if told.launches is not None:
        rows.append(("GPU kernel launches, a step", f"{told.launches / told.steps:.0f}"))
    if told.utilization is not None:
        rows.append(("GPU utilization", f"about {100 * told.utilization:.0f}\N{NO-BREAK SPACE}%"))
    if told.exec_share is not None:
        rows.append(("“CPU utilization” (share of CPU exec)", f"about {100 * told.exec_share:.0f}\N{NO-BREAK SPACE}%"))
    return pd.DataFrame(
        [(figure, value, own.get(figure, UNKNOWN)) for figure, value in rows], columns=["Figure", "Tutorial", "Yours"]
    )


def _ms(microseconds: float) -> str:
    return milliseconds(microseconds / 1000)


def _own(reading: Reading) -> dict[str, str]:
    rows = {each.name: each for each in reading.operators}
    all_us = sum(each.cpu_self_us for each in reading.operators)
    found: dict[str, str] = {}
    if "ProfilerStep*" in rows:
        step = rows["ProfilerStep*"]
        found["Step on the host (ProfilerStep*)"] = _ms(step.cpu_total_us / step.calls)
    if not all_us:
        return found
    found["Self CPU time, a step"] = _ms(all_us / reading.steps)
    loading = sum(each.cpu_total_us for name, each in rows.items() if name.startswith("enumerate(DataLoader)#"))
    found["DataLoader, share of the CPU’s time"] = wording.percent(loading / all_us)
    if "aten::to" in rows:
        found["aten::to (copying), share of the CPU’s time"] = wording.percent(rows["aten::to"].cpu_total_us / all_us)
    busy = utilization(reading.overview)
    if busy is not None:
        found["Self CUDA time, a step"] = _ms(reading.device_us / reading.steps)
        found["GPU kernel launches, a step"] = f"{reading.overview.facts.kernels:,.0f}"
        found["GPU utilization"] = wording.percent(busy)
        mean = reading.overview.mean_step_us
        found["“CPU utilization” (share of CPU exec)"] = wording.percent(mean["CPU exec"] / mean["Total"])
    return found
