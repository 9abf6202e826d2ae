"""What can be said about a profile."""

from eurosat_core.finding import Finding
from eurosat_core.profiling.memory_parts import MemoryParts
from eurosat_core.profiling.overview import Overview
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.profiles import SLOWER, Profile, Reading

_BUSY = 0.5  # of the time; above it the GPU works more than it waits
_UNEVEN = 1.5  # the slowest step took this many times as long as the fastest


def longest_part(overview: Overview) -> str:
    """The part of a step that took longest on the host; empty where the trace tells none."""
    means = overview.parts.mean_us
    return max(means, key=lambda part: means[part]) if any(means.values()) else ""


def outcome(reading: Reading) -> Finding:
    """How long a step took; then which `part` of it was longest, and what follows from that."""
    overview = reading.overview
    totals = [each.role_us["Total"] / 1000 for each in overview.steps]
    figures = {"steps": reading.steps, "mean": overview.mean_step_us["Total"] / 1000}
    figures |= {"least": min(totals, default=0.0), "most": max(totals, default=0.0)}
    then = []
    if part := longest_part(overview):
        means = overview.parts.mean_us
        share = means[part] / sum(means.values())
        then.append(Finding("profile.part", {"part": part, "ms": means[part] / 1000, "share": share}))
        then.append(_follows(overview, part))
        if figures["most"] > _UNEVEN * figures["least"] > 0:
            then.append(Finding("profile.uneven"))
    else:
        then.append(Finding("profile.device_only"))
    return Finding(f"profile.step.{'several' if reading.steps > 1 else 'one'}", figures, tuple(then))


def _follows(overview: Overview, part: str) -> Finding:
    """What limits the step."""
    busy = utilization(overview)
    if overview.unseen_device:
        return Finding("profile.unseen_device")
    if busy is None:
        return Finding(f"profile.{'computing' if part in ('forward', 'backward') else part}.longest")
    return Finding(f"profile.utilization.{'busy' if busy >= _BUSY else 'waiting'}", {"busy": busy})


def utilization(overview: Overview) -> float | None:
    """Of the busiest GPU: the share of the time in which any kernel ran; None without any."""
    told = [each.utilization for each in overview.devices if each.utilization is not None]
    return max(told) if told else None


def owners_finding(parts: MemoryParts) -> Finding:
    """How much memory was in use at the peak, and whose most of it was."""
    peak = parts.at_peak
    owner = max(peak, key=lambda each: peak[each])
    figures = {"peak": sum(peak.values()), "bytes": peak[owner], "share": peak[owner] / max(sum(peak.values()), 1)}
    return Finding(f"owners.{owner}", {**figures, "device": parts.device})


def covered(profile: Profile, cycle: int) -> Finding:
    """What a table of this cycle covers."""
    if profile.plan is None:
        return Finding("profile.phrase.all")
    first, last = profile.plan.recorded_in(cycle)
    figures = {"cycle": cycle, "cycles": profile.plan.repeat, "first": first, "last": last}
    steps = "step" if first == last else "steps"
    return Finding(f"profile.phrase.{steps}", {**figures, "steps": profile.plan.total_steps})


def plan_finding(plan: ProfilePlan) -> Finding:
    """What a plan does with its steps, and how many traces it leaves."""
    numbers = {"wait": plan.wait, "warmup": plan.warmup, "active": plan.active}
    each = [Finding(f"plan.phrase.{name}", {"steps": steps}) for name, steps in numbers.items() if steps]
    figures = {"steps": plan.total_steps, "cycles": plan.repeat, "each": each, "traces": plan.traces}
    return Finding(f"plan.cycles.{'several' if plan.repeat > 1 else 'one'}", figures)


def after_finding(profile: Profile) -> Finding | None:
    """Whether steps took longer in the profile's process right after it; None where they were not timed."""
    if profile.after is None:
        return None
    return Finding(f"profile.after.{'slower' if profile.after > SLOWER else 'same'}", {"ratio": profile.after})


def seen_and_unseen(reading: Reading, reason: str = "") -> list[Finding]:
    """What a trace without GPU work shows, and what it cannot. reason: why not, if that is known."""
    found = [Finding("profile.seen"), Finding("profile.unseen")]
    if reading.overview.unseen_device:
        why = (Finding("profile.unseen_why", {"reason": reason}),) if reason else ()
        found.insert(0, Finding("profile.unseen_work", then=why))
    if reading.loads_elsewhere:
        found.append(Finding("profile.unseen_workers"))
    return found
