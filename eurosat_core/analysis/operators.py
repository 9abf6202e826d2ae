"""The operator table of a profile, and what its first rows mean."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from eurosat_core.profiling.operators import OperatorRow
from eurosat_core.wording import sentences

NAME = "Name"


def time_text(microseconds: float) -> str:
    """`1.234ms`, as torch's table writes a time."""
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    if microseconds >= 1e3:
        return f"{microseconds / 1e3:.3f}ms"
    return f"{microseconds:.3f}us"


def memory_text(size: float) -> str:
    """`-5.63 MB`, as torch's table writes bytes taken (less those given back)."""
    for unit, power in (("GB", 3), ("MB", 2), ("KB", 1)):
        if abs(size) >= 1024**power:
            return f"{size / 1024**power:.2f} {unit}"
    return f"{size:.0f} B"


def share_text(percent: float) -> str:
    """`12.34%`, as torch's table writes a share."""
    return f"{percent:.2f}%" if math.isfinite(percent) else "NaN"


@dataclass(frozen=True)
class OperatorColumn:
    """A column of figures. text: how torch writes one. about: what it means. is_total: with what an operator calls."""

    name: str
    text: Callable[[float], str]
    about: str
    is_total: bool = False


def columns_of(device: str, memory: bool, device_memory: bool) -> tuple[OperatorColumn, ...]:
    """The columns behind the name. device: `CUDA`, `XPU`, or empty for a table without one."""
    own, whole = "without what it calls", "with everything that it calls"
    columns = [
        OperatorColumn("Self CPU %", share_text, f"Of all time on the CPU: {own}."),
        OperatorColumn("Self CPU", time_text, f"Time on the CPU, {own}."),
        OperatorColumn("CPU total %", share_text, f"Of all time on the CPU: {whole}.", is_total=True),
        OperatorColumn("CPU total", time_text, f"Time on the CPU, {whole}.", is_total=True),
        OperatorColumn("CPU time avg", time_text, f"Mean of a call, {whole}.", is_total=True),
    ]
    if device:
        columns += [
            OperatorColumn(f"Self {device}", time_text, "Time of the GPU's work that it launched itself."),
            OperatorColumn(f"Self {device} %", share_text, "Of all the GPU's work."),
            OperatorColumn(f"{device} total", time_text, f"Time of the GPU's work, {whole}.", is_total=True),
            OperatorColumn(f"{device} time avg", time_text, "Mean of a call on the GPU.", is_total=True),
        ]
    if memory:
        taken = "Memory taken less memory given back"
        columns += [
            OperatorColumn("CPU Mem", memory_text, f"{taken}, {whole}.", is_total=True),
            OperatorColumn("Self CPU Mem", memory_text, f"{taken}, {own}."),
        ]
        if device and device_memory:
            columns += [
                OperatorColumn(f"{device} Mem", memory_text, f"{taken} on the GPU, {whole}.", is_total=True),
                OperatorColumn(f"Self {device} Mem", memory_text, f"{taken} on the GPU, {own}."),
            ]
    return (*columns, OperatorColumn("# of Calls", lambda number: f"{number:,.0f}", "How often it was called."))


def operator_frame(
    rows: Sequence[OperatorRow], device: str, device_us: float
) -> tuple[pd.DataFrame, tuple[OperatorColumn, ...]]:
    """Raw figures (µs, bytes, %) in torch's order by `CPU total`, and what the columns are.

    device: what torch calls the device, empty for none. device_us: time of all work on it.
    """
    has_device = bool(device) and any(each.device_self_us > 0 for each in rows)
    memory = any(each.cpu_memory_bytes is not None for each in rows)
    device_memory = any((each.device_self_memory_bytes or 0) > 0 for each in rows)
    columns = columns_of(device if has_device else "", memory, device_memory)
    all_us = sum(each.cpu_self_us for each in rows)
    table = []
    for each in rows:
        calls = max(each.calls, 1)
        values = {
            "Self CPU %": _percent(each.cpu_self_us, all_us),
            "Self CPU": each.cpu_self_us,
            "CPU total %": _percent(each.cpu_total_us, all_us),
            "CPU total": each.cpu_total_us,
            "CPU time avg": each.cpu_total_us / calls,
            f"Self {device}": each.device_self_us,
            f"Self {device} %": _percent(each.device_self_us, device_us),
            f"{device} total": each.device_total_us,
            f"{device} time avg": each.device_total_us / calls,
            "CPU Mem": each.cpu_memory_bytes or 0,
            "Self CPU Mem": each.cpu_self_memory_bytes or 0,
            f"{device} Mem": each.device_memory_bytes or 0,
            f"Self {device} Mem": each.device_self_memory_bytes or 0,
            "# of Calls": each.calls,
        }
        table.append((each.name, *(float(values[column.name]) for column in columns)))
    frame = pd.DataFrame(table, columns=[NAME, *(each.name for each in columns)])
    return frame.sort_values("CPU total", ascending=False, kind="stable", ignore_index=True), columns


def _percent(value: float, whole: float) -> float:
    return 100 * value / whole if whole else float("nan")


@lru_cache(maxsize=1)
def _meanings() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), text) for pattern, text in sentences("operators").items()]


def meaning(name: str) -> str:
    """What an operator of this name does, in a line; empty for one that is not known."""
    return next((text for pattern, text in _meanings() if pattern.match(name)), "")


def explained(names: Iterable[str]) -> dict[str, str]:
    """Those of the names that are known, with their lines, in the same order."""
    return {name: text for name in names if (text := meaning(name))}
