"""What can be said about a profile."""

from eurosat_core import wording
from eurosat_core.analysis.finding import Told
from eurosat_core.profiling.overview import Overview
from eurosat_core.profiling.plan import ProfilePlan
from eurosat_core.runs.profiles import Profile, Reading

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


def outcome(reading: Reading) -> Told:
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
        return Told("device_only", f"{text} The trace holds no work of the CPU, so there are no parts to compare.")
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
    return Told(part, text)


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
