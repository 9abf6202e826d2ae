"""`profile` and `overview`: record a profile in this process, and read any trace."""

import argparse
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from eurosat_core.commands.request import Result, add_settings, done_here, given, how_it_ended
from eurosat_core.profiling.advice import report_of
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from eurosat_core.profiling.trace import read_trace
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig, settings_of
from eurosat_core.wording import bytes_text, percent

# Lines of each table in the text; --json has all of them.
_TOP = 10


def register_overview(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    read = add(
        "overview", "What a trace of PyTorch's profiler says, recorded here or elsewhere.", _overview, show_overview
    )
    read.add_argument("trace", metavar="TRACE", help="a trace file: .pt.trace.json, plain or packed (gzip, zip, tar)")


def _overview(options: argparse.Namespace, _settings: Settings) -> Result:
    return in_words(report_of(read_trace(options.trace))), 0


def in_words(report: dict[str, Any]) -> dict[str, Any]:
    """What `report_of` gives, with the advice as sentences."""
    from eurosat_core.words.say import say

    advice = [
        {
            "key": each.key,
            "title": say(each.title),
            "evidence": say(each.evidence),
            "remedy": say(each.remedy),
            "change": each.change,
            "share": each.share,
        }
        for each in report["advice"]
    ]
    return {**report, "advice": advice}


def show_overview(result: dict[str, Any]) -> str:
    """What `report_of` gives, as text."""
    lines = [*_steps(result), *_parts(result), *_devices(result), *_operators(result), *_kernels(result)]
    for each in result["advice"]:
        lines += [f"→ {each['title']}. {each['evidence']} {each['remedy']}"]
    return "\n".join([*lines, *(f"Note: {each}" for each in result["notes"])])


def _steps(result: dict[str, Any]) -> list[str]:
    numbers = [each["step"] for each in result["steps"]]
    span = f"step {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} steps ({numbers[0]} to {numbers[-1]})"
    mean = result["mean_step_us"]
    lines = [f"{span}, mean {_milliseconds(mean['Total'])}:"]
    for role, time in mean.items():
        if role != "Total" and time:
            lines.append(f"  {role:<16}{_milliseconds(time):>14}{percent(time / mean['Total']):>10}")
    return lines


def _parts(result: dict[str, Any]) -> list[str]:
    parts = result["parts"]
    if not parts["mean_us"]:
        return []
    told = ", told from operators' names" if parts["derived"] else ""
    times = "  ".join(f"{part} {_milliseconds(time)}" for part, time in parts["mean_us"].items())
    return [f"parts on the host{told}: {times}"]


def _devices(result: dict[str, Any]) -> list[str]:
    lines = []
    for each in result["devices"]:
        figures = {
            "utilization": each["utilization"],
            "SM efficiency": each["sm_efficiency"],
            "achieved occupancy": each["achieved_occupancy"],
        }
        told = [f"{name} {percent(value)}" for name, value in figures.items() if value is not None]
        name = f" ({each['name']})" if each["name"] else ""
        lines.append(f"GPU {each['index']}{name}: {', '.join(told) or 'no figures'}")
    lines += [f"peak memory {device}: {bytes_text(peak)}" for device, peak in result["peak_memory_bytes"].items()]
    return lines


def _operators(result: dict[str, Any]) -> list[str]:
    lines = [f"{'operator':<52}{'calls':>8}{'CPU self':>14}{'CPU total':>14}{'device self':>14}"]
    for each in result["operators"][:_TOP]:
        times = (each["cpu_self_us"], each["cpu_total_us"], each["device_self_us"])
        lines.append(f"{each['name'][:51]:<52}{each['calls']:>8,}" + "".join(f"{_milliseconds(t):>14}" for t in times))
    return lines


def _kernels(result: dict[str, Any]) -> list[str]:
    if not result["kernels"]:
        return []
    lines = [f"{'GPU kernel':<52}{'calls':>8}{'total':>14}{'mean':>14}"]
    for each in result["kernels"][:_TOP]:
        total, mean = _milliseconds(each["total_us"]), f"{each['mean_us']:.1f} µs"
        lines.append(f"{each['short_name']:<52}{each['calls']:>8,}{total:>14}{mean:>14}")
    return lines


def _milliseconds(microseconds: float) -> str:
    return f"{microseconds / 1000:,.3f} ms"


def register_profile(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    about = "Record some training steps with PyTorch's profiler, and read them."
    profile = add("profile", about, _profile, _show)
    add_settings(profile, leave_out=settings_of("course"), recipe="tutorial")
    for each in fields(ProfilePlan):
        default = "" if each.default is None else f"the tutorial's: {each.default}"
        if isinstance(each.default, bool):
            profile.add_argument(f"--{each.name}", action=argparse.BooleanOptionalAction, default=None, help=default)
        else:
            about = default or "end after so many; by default all cycles'"
            profile.add_argument(f"--{each.name}", type=int, default=None, metavar="STEPS", help=about)


def _profile(options: argparse.Namespace, settings: Settings) -> Result:
    plan = ProfilePlan.from_dict(given(options, ProfilePlan))
    config = profile_config(options.model, options.recipe, **given(options, TrainConfig))
    from eurosat_core.lab.profile import Profile

    told, status = done_here(Profile(config, plan), options, settings)
    return {**told, "overview": told["overview"] and in_words(told["overview"])}, status


def _show(result: dict[str, Any]) -> str:
    lines = [how_it_ended(result)]
    if result["overview"] is not None:
        lines += ["", "The last cycle:", show_overview(result["overview"]), ""]
    return "\n".join([*lines, *result["trace_files"]])
