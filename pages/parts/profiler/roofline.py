"""Operators under the roofs of their device: a chart, what it says, and the figures."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from eurosat_core.analysis.operators import time_text
from eurosat_core.analysis.profile_roofline import measured_roofs, roofline_findings
from eurosat_core.charts.profile_roofline import roofline_frame, roofline_points
from eurosat_core.errors import LabError
from eurosat_core.profiling.cards import Roofs
from eurosat_core.profiling.roofline import CPU, Roofline
from eurosat_core.runs.profiles import Profile, Reading
from eurosat_core.wording import count, listed, percent
from eurosat_core.words.say import say_each
from pages.parts import lesson, session
from pages.parts.profiler.operators import FIRST, draw_rows

_HARDLY = 0.0005  # of all time: not worth a word


def draw_roofline(profile: Profile, reading: Reading) -> None:
    """For each device; what is missing is said, with how to get it."""
    words = lesson.text("profiler")
    if not reading.rooflines:
        st.info(words["no operators"], icon=":material/roofing:")
        return
    if not any(each.recorded for each in reading.rooflines):
        st.info(words["no shapes"], icon=":material/roofing:")
        return
    st.caption(words["roofline"])
    for line in reading.rooflines:
        if line.roofs is None:
            line = replace(line, roofs=_measured(profile, line))
        if len(reading.rooflines) > 1:
            st.markdown(f"**GPU {line.index}**")
        _draw(line, reading)
    st.caption(words["roofline counted"])


def _measured(profile: Profile, line: Roofline) -> Roofs | None:
    """What was measured in this lab of the very device that a profile was recorded on, the newest first."""
    on_cpu = line.index == CPU
    if on_cpu and (profile.origin != "run" or profile.recorded_on):
        return None
    name = profile.machine.get("device_name") if on_cpu else line.name
    sweeps = session.lab().sweeps
    for record in sweeps.runs(name="limits"):
        if record.recorded_on or not name or record.machine.get("device_name") != name:
            continue
        with suppress(LabError):
            for each in sweeps.result(record.id).limits.values():
                if (each.device == "cpu") == on_cpu:
                    return measured_roofs(each)
    return None


def _draw(line: Roofline, reading: Reading) -> None:
    words = lesson.text("profiler")
    if line.index == CPU:
        st.caption(words["roofline cpu"])
    if not line.rows:
        st.info(words["nothing counted"], icon=":material/roofing:")
        return
    if line.roofs is None:
        st.info(words["no roof"], icon=":material/roofing:")
    else:
        _chart(line)
        _roofs(line, line.roofs)
        busy = {each.index: each.utilization for each in reading.overview.devices}
        lesson.saw_each(say_each(roofline_findings(line, busy.get(line.index))))
    _table(line)


def _chart(line: Roofline) -> None:
    frame = roofline_frame(line)
    if frame.empty:
        return
    y, x = frame["tflops"], frame["intensity"]
    st.vega_lite_chart(
        frame,
        roofline_points(float(y.min() / 2), float(y.max() * 2), float(x.min()), float(x.max())),
        key=f"profiler_roofline_{line.index}",
        alt="Operators by FLOPs per byte and by what they reached per second, under the roofs of the device",
    )


def _roofs(line: Roofline, roofs: Roofs) -> None:
    peaks = [f"{peak / 1e12:,.4g} TFLOP/s in {name}" for name, peak in roofs.flops.items()]
    where = roofs.source or "measured in this lab"
    of = f"{lesson.plain(line.name)}: " if line.name else ""
    st.caption(f"{of}{listed(peaks)}; {roofs.bytes_per_second / 1e9:,.4g} GB/s from memory. Source: {where}.")


def _table(line: Roofline) -> None:
    whole = st.toggle("Show all", key=f"profiler_all_roofline_{line.index}", help="Else the first ten rows.")
    bounds = [line.bound(each) for each in line.rows]
    frame = pd.DataFrame(
        {
            "Operator": each.operator,
            "On": each.shapes,
            "Time": each.time_us,
            "% of time": 100 * each.time_us / line.time_us,
            "% of roof": 100 * bound.share if bound else None,
            "Nearer roof": ("arithmetic" if bound.limit == "compute" else "memory") if bound else "",
            "TFLOP/s": each.flops_per_second / 1e12,
            "GB/s": each.bytes_per_second / 1e9,
            "FLOPs per byte": each.intensity,
            "Calls": each.calls,
            "Computed in": each.precision,
        }
        for each, bound in zip(line.rows, bounds, strict=True)
    )
    if line.roofs is None:
        frame = frame.drop(columns=["% of roof", "Nearer roof"])
    shown = frame if whole else frame.head(FIRST)
    texts: dict[str, Any] = {
        "Time": time_text,
        **{each: "{:,.1f}".format for each in ("% of time", "% of roof") if each in frame},
        **dict.fromkeys(("TFLOP/s", "GB/s", "FLOPs per byte"), "{:,.3g}".format),
        "Calls": "{:,.0f}".format,
    }
    if "% of roof" in frame:
        texts["% of roof"] = _or_nothing
    heads = {
        "Operator": st.column_config.TextColumn(pinned=True, width="medium"),
        "On": st.column_config.TextColumn(help="The shapes of its first tensors.", width="medium"),
        "% of roof": st.column_config.Column(help="How long it had to take at least, by how long it took."),
        "GB/s": st.column_config.Column(help="At least: each number moved once."),
        "FLOPs per byte": st.column_config.Column(help="At most: each number moved once."),
    }
    draw_rows(shown, texts, heads, f"profiler_roofline_table_{line.index}", "Operators with what they reach")
    st.caption(f"{len(shown)} of {count(len(frame), 'row')}. {_left_out(line)}".strip())


def _or_nothing(value: float) -> str:
    return "" if pd.isna(value) else f"{value:,.1f}"


def _left_out(line: Roofline) -> str:
    """Of what the work is not known."""
    names = [lesson.plain(name) if name else "GPU kernels of no known operator" for name in line.unplaced_us]
    share = sum(line.unplaced_us.values()) / line.time_us
    if share < _HARDLY:
        return ""
    most = [*names[:3], *(["others"] if len(names) > 3 else [])]
    return f"Not counted: {percent(share)} of the time ({listed(most)})."
