"""A profile as tables and sentences: the parts of a step, its kernels, memory and timeline."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from eurosat_core import wording
from eurosat_core.analysis.finding import Told as Finding
from eurosat_core.profiling.kernels import short_name
from eurosat_core.profiling.memory import MemoryCurve
from eurosat_core.profiling.overview import PARTS, ROLES, Overview
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.profiling.timeline import Timeline
from eurosat_core.runs.profiles import Profile, Reading

MOST_STEPS = 20
"""Steps that are drawn one by one; of a longer trace the first ones."""
MEAN = "mean"
_PHASES = {"wait": "pass by", "warmup": "warm-up", "active": "recorded"}


def plan_frame(plan: ProfilePlan, done: int | None = None) -> pd.DataFrame:
    """Every step of a plan. Columns: step, cycle, place (in its cycle), phase (in words), done, trace.

    done: how many steps have been made; None while nothing is recorded, then all count as done. trace: the words
    behind a cycle's last step.
    """
    rows = [
        (
            each.number,
            f"cycle {each.cycle}",
            (each.number - 1) % plan.cycle_steps + 1,
            _PHASES[each.phase],
            done is None or each.number <= done,
            f"→ trace {each.cycle}" if each.writes else "",
        )
        for each in plan.strip()
    ]
    return pd.DataFrame(rows, columns=["step", "cycle", "place", "phase", "done", "trace"])


def stacked_frame(rows: Sequence[tuple[str, Mapping[str, float]]], parts: Sequence[str]) -> pd.DataFrame:
    """Bars made of parts, for rows of (label, µs by part).

    Columns: row, place (of the row among all), part, start, end, ms, share, long (a label).

    Parts that took no time have no line.
    """
    table = []
    for place, (label, values) in enumerate(rows):
        at, whole = 0.0, sum(values.get(part, 0.0) for part in parts)
        for part in parts:
            length = values.get(part, 0.0) / 1000
            if length <= 0:
                continue
            share = 1000 * length / whole
            table.append((label, place, part, at, at + length, length, share, f"{part} {wording.milliseconds(length)}"))
            at += length
    return pd.DataFrame(table, columns=["row", "place", "part", "start", "end", "ms", "share", "long"])


def parts_in(frame: pd.DataFrame) -> tuple[str, ...]:
    """The parts that a `stacked_frame` has, in their order."""
    there = set(frame["part"])
    return tuple(part for part in (*PARTS, *map(role_title, ROLES)) if part in there)


def role_title(role: str) -> str:
    """What a role is called on screen, where a kernel is never just that."""
    return "GPU kernel" if role == "Kernel" else role


def roles_titled(role_us: Mapping[str, float]) -> dict[str, float]:
    """Times by role, under the names that are shown."""
    return {role_title(role): role_us[role] for role in ROLES}


def parts_frame(reading: Reading) -> pd.DataFrame:
    """Load, copy, forward, backward, update of every step on the host, then of the mean; as in `stacked_frame`."""
    overview = reading.overview
    named = zip(overview.steps, overview.parts.per_step_us, strict=False)
    rows = [(f"step {each.step}", dict(parts)) for each, parts in named][:MOST_STEPS]
    return stacked_frame([*rows, *_mean(rows, overview.parts.mean_us)], PARTS)


def device_parts_frame(reading: Reading) -> pd.DataFrame:
    """The mean step on the host, and what the GPU worked for each part; as in `stacked_frame`."""
    parts = reading.overview.parts
    return stacked_frame([("host", parts.mean_us), ("GPU", parts.device_us or {})], PARTS)


def breakdown_frame(reading: Reading) -> pd.DataFrame:
    """What every step's time was spent on, then the mean; as in `stacked_frame`."""
    overview = reading.overview
    rows = [(f"step {each.step}", roles_titled(each.role_us)) for each in overview.steps[:MOST_STEPS]]
    return stacked_frame([*rows, *_mean(rows, roles_titled(overview.mean_step_us))], tuple(map(role_title, ROLES)))


def _mean(
    rows: Sequence[tuple[str, Mapping[str, float]]], mean: Mapping[str, float]
) -> list[tuple[str, Mapping[str, float]]]:
    """A line for the mean, where there is more than one step."""
    return [(MEAN, mean)] if len(rows) > 1 else []


def kernel_frame(reading: Reading, full_names: bool) -> pd.DataFrame:
    """GPU kernels, longest first: raw figures (µs, %); a column that nothing is known for is left out."""
    total = sum(each.total_us for each in reading.kernels)
    frame = pd.DataFrame(
        [
            (
                each.name if full_names else each.short_name,
                each.total_us,
                100 * each.total_us / total if total else math.nan,
                each.calls,
                each.mean_us,
                each.min_us,
                each.max_us,
                each.blocks_per_sm,
                None if each.occupancy is None else 100 * each.occupancy,
                "yes" if each.tensor_cores else "",
            )
            for each in reading.kernels
        ],
        columns=[
            "GPU kernel",
            "Total",
            "Share",
            "Launches",
            "Mean",
            "Shortest",
            "Longest",
            "Blocks per SM",
            "Occupancy",
            "Tensor cores",
        ],
    )
    unknown = [name for name in ("Blocks per SM", "Occupancy") if frame[name].isna().all()]
    return frame.drop(columns=unknown)


_UNITS = ("bytes", "KB", "MB", "GB")


def memory_unit(curve: MemoryCurve) -> str:
    """In what a device's memory is drawn: a GPU may hold gigabytes, and the CPU beside it a few bytes."""
    most = float(curve.allocated_bytes.max(initial=0.0))
    return next((unit for power, unit in enumerate(_UNITS[:-1]) if most < 4 * 1024 ** (power + 1)), _UNITS[-1])


def memory_frame(curve: MemoryCurve) -> pd.DataFrame:
    """One device's memory. Columns: ms (since recording began), taken (in `memory_unit`s), series.

    The CPU's reserve is left out: PyTorch holds none ready there, and what a trace says of it means something else.
    """
    series = [("in use by tensors", curve.allocated_bytes)]
    if curve.reserved_bytes is not None and curve.device != "cpu":
        series.append(("held ready by PyTorch", curve.reserved_bytes))
    unit = 1024 ** _UNITS.index(memory_unit(curve))
    frames = [pd.DataFrame({"ms": curve.time_us / 1000, "taken": each / unit, "series": name}) for name, each in series]
    return pd.concat(frames, ignore_index=True)


@dataclass(frozen=True)
class TimelineRows:
    """Where the lines of a timeline stand: (title, its first row) for each thread and stream, and all rows together.

    The row above each line's first one is free, for its title.
    """

    lanes: tuple[tuple[str, int], ...]
    rows: int


def timeline_rows(timeline: Timeline) -> TimelineRows:
    """One row for each level of each line, and one for its title."""
    lanes, at = [], 1
    for lane in timeline.lanes:
        lanes.append((lane.title, at))
        at += lane.levels + 1
    return TimelineRows(tuple(lanes), max(at - 1, 1))


def timeline_frame(timeline: Timeline) -> pd.DataFrame:
    """The bars of a step. Columns: row, below (its lower edge), start, end, ms, busy, name, short, kind, events."""
    first = [at for _, at in timeline_rows(timeline).lanes]
    rows = [
        (
            first[each.lane] + each.level,
            first[each.lane] + each.level + 0.88,
            each.start_us / 1000,
            (each.start_us + each.duration_us) / 1000,
            each.duration_us / 1000,
            each.busy_us / 1000,
            each.name if len(each.name) < 200 else f"{each.name[:199]}…",
            _label(each.name, each.kind) if each.events == 1 else "",
            "GPU kernel" if each.kind == "kernel" else each.kind,
            each.events,
        )
        for each in timeline.bars
    ]
    return pd.DataFrame(rows, columns=["row", "below", "start", "end", "ms", "busy", "name", "short", "kind", "events"])


def _label(name: str, kind: str) -> str:
    """What is written into a bar that is long enough."""
    if kind == "kernel":
        return short_name(name)
    if name.startswith("enumerate(Data"):
        return name[len("enumerate(") :].partition(")")[0]  # `DataLoader`
    return name.removeprefix("autograd::engine::evaluate_function: ")


GUESSES = {
    "Load (fetch a batch)": "load",
    "Copy (to the device)": "copy",
    "Forward": "forward",
    "Backward": "backward",
    "Update": "update",
}
_BUSY = 0.5  # of the time; above it the GPU works more than it waits
_UNEVEN = 1.5  # the slowest step took this many times as long as the fastest

_CLOSING = {
    "load": "The network waited for its tiles more than for anything else, so how they are read decides the speed.",
    "copy": "Moving tiles to the device took more than computing with them.",
    "forward": "Computing is what takes the time, so faster arithmetic shortens the step, and faster loading hardly.",
    "backward": "Computing is what takes the time, so faster arithmetic shortens the step, and faster loading hardly.",
    "update": "Changing the parameters took longest: many small operations, whatever the size of the batch.",
    "other": "Most of the time went by between the operators, in Python.",
}


def longest_part(overview: Overview) -> str:
    """The part of a step that took longest on the host; empty where the trace tells none."""
    means = overview.parts.mean_us
    return max(means, key=lambda part: means[part]) if any(means.values()) else ""


def outcome(reading: Reading) -> Finding:
    """How long a step took, which part of it was longest, and what follows from that."""
    overview = reading.overview
    totals = [each.role_us["Total"] / 1000 for each in overview.steps]
    mean = overview.mean_step_us["Total"] / 1000
    part = longest_part(overview)
    if reading.steps > 1:
        text = f"A step took {wording.milliseconds(mean)} on average of {reading.steps}"
        text += f" ({wording.milliseconds(min(totals))} to {wording.milliseconds(max(totals))})."
    else:
        text = f"The one recorded step took {wording.milliseconds(mean)}."
    if not part:
        return Finding("device_only", f"{text} The trace holds no work of the CPU, so there are no parts to compare.")
    means = overview.parts.mean_us
    share = wording.percent(means[part] / sum(means.values()))
    text += f" The longest part was *{part}*: {wording.milliseconds(means[part] / 1000)} on the host, {share}."
    busy = utilization(overview)
    if overview.unseen_device:
        text += " What a GPU or another accelerator did is missing, so these figures do not tell what limits the step."
    elif busy is None:
        text += f" {_CLOSING[part]}"
    elif busy >= _BUSY:
        text += f" A GPU kernel ran in {wording.percent(busy)} of the time: the GPU works more than it waits."
    else:
        text += f" A GPU kernel ran in {wording.percent(busy)} of the time: mostly the GPU waited for the host."
    if min(totals) > 0 and max(totals) > _UNEVEN * min(totals):
        text += (
            " The steps differ much from each other: look at another cycle, or record again with nothing else to do."
        )
    return Finding(part, text)


def guess_against(guess: str | None, reading: Reading) -> Finding | None:
    """What was guessed to be longest against what was; None without a guess, or where the trace tells no parts."""
    part, means = longest_part(reading.overview), reading.overview.parts.mean_us
    guessed = GUESSES.get(guess or "")
    if guessed is None or not part:
        return None
    if guessed == part:
        return Finding("right", f"You guessed *{guessed}*: well judged.")
    share = wording.percent(means[guessed] / sum(means.values()))
    return Finding("wrong", f"You guessed *{guessed}*, which took {share}.")


def utilization(overview: Overview) -> float | None:
    """Of the busiest GPU: the share of the time in which any kernel ran; None without any."""
    told = [each.utilization for each in overview.devices if each.utilization is not None]
    return max(told) if told else None


def covered(profile: Profile, cycle: int) -> str:
    """What a table of this cycle covers: `cycle 4 of 4: steps 26 to 28 of 28`."""
    if profile.plan is None:
        return "all of the trace"
    first, last = profile.plan.recorded_in(cycle)
    steps = f"step {last}" if first == last else f"steps {first} to {last}"
    return f"cycle {cycle} of {profile.plan.repeat}: {steps} of {profile.plan.total_steps}"


def plan_words(plan: ProfilePlan) -> str:
    """A plan in a sentence or two."""
    each = []
    if plan.wait:
        each.append(f"{plan.wait} pass by")
    if plan.warmup:
        each.append(f"{plan.warmup} warm the profiler up")
    each.append(f"{plan.active} {'is' if plan.active == 1 else 'are'} recorded")
    cycles = f"{plan.repeat} times: " if plan.repeat > 1 else ""
    left = wording.count(plan.traces, "trace")
    return f"{wording.count(plan.total_steps, 'step')}. {cycles}{wording.listed(each)}. That leaves {left}."


def seen_and_unseen(reading: Reading) -> list[str]:
    """What a trace without GPU work shows, and what it cannot."""
    lines = ["Not seen: what a GPU or another accelerator did, though it was given work."] * (
        reading.overview.unseen_device
    ) + [
        "Seen: every operator on the processor, when it began, how long it took, on which thread, and (if asked for) "
        "the memory it took.",
        "Not seen: how many cores an operator used at a time, and what other programs did meanwhile.",
    ]
    if reading.loads_elsewhere:
        lines.append("Nor the loader workers: they are processes of their own. The trace shows only the wait for them.")
    return lines
