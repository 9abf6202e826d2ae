"""A race as tables for charts and as sentences: projected times, ratios of devices, and what the tutorial reports.

What the tutorial reports was measured elsewhere on other networks' devices: it has a row of its own that says so, and
is never mixed with what was measured here.
"""

import math
from collections.abc import Sequence

import pandas as pd

from eurosat_core.lab.findings import Finding
from eurosat_core.lab.race import TUTORIAL_RATIO, Bar, Race
from eurosat_core.lab.sweep_words import verdict_text
from eurosat_core.wording import device_name, duration, times

__all__ = ["GUESSES", "bar_note", "race_findings", "race_frame", "race_guess", "ratio_frame"]

GUESSES = {
    "about as long": (0.0, 1.5),
    "2 to 5 times as long": (1.5, 5.0),
    "5 to 20 times as long": (5.0, 20.0),
    "longer still": (20.0, math.inf),
}
"""How many times as long the large network trains on the CPU: guesses, and the ratios (from, below) they cover."""

_COLUMNS = ["run", "model", "device", "seconds", "tiles_per_second", "speed_up", "origin", "note"]


def race_frame(race: Race) -> pd.DataFrame:
    """The projected trainings for bars, in the columns of `comparison_frames.seconds_frame`.

    Cells without a projection are left out: nothing is invented for them.
    """
    origin = "recorded elsewhere" if race.recorded_on else "projected"
    rows = [
        (
            f"{each.title} · {device_name(each.device)}",
            each.title,
            device_name(each.device),
            each.projection.seconds,
            each.tiles_per_second.median if each.tiles_per_second else math.nan,
            _factor(race, each),
            origin,
            bar_note(each),
        )
        for each in race.bars
        if each.projection is not None
    ]
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"seconds": float, "speed_up": float})


def ratio_frame(race: Race | None) -> pd.DataFrame:
    """How many times as fast as the CPU each model trained on every other device, and what the tutorial reports.

    The figure stands in the column `speed_up`; the others are those of `race_frame`.
    """
    rows = []
    for each in race.bars if race is not None else ():
        factor = _factor(race, each) if race is not None else math.nan
        if each.device != "cpu" and not math.isnan(factor):
            origin = "recorded elsewhere" if race is not None and race.recorded_on else "measured here"
            name = device_name(each.device)
            label = f"{each.title}: {name} against CPU"
            rows.append((label, each.title, name, math.nan, math.nan, factor, origin, bar_note(each)))
    reported = "on the tutorial’s own GPU and CPU, with VGG11-BN"
    rows.append(
        ("VGG11-BN", "VGG11-BN", "GPU", math.nan, math.nan, TUTORIAL_RATIO, "reported by the tutorial", reported)
    )
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"seconds": float, "speed_up": float})


def bar_note(bar: Bar) -> str:
    """On what a bar rests: device, threads, steps and spread, then the projection with its range."""
    if bar.projection is None:
        return bar.problem or bar.text
    low, high = duration(bar.projection.low), duration(bar.projection.high)
    return f"{bar.text}. {bar.projection.basis} By the quartiles {low} to {high}."


def _factor(race: Race, bar: Bar) -> float:
    if bar.device == "cpu":
        return math.nan
    factor = race.device_verdict(bar.model, bar.device).factor
    return math.nan if factor is None else factor


def race_findings(race: Race) -> tuple[Finding, ...]:
    """What the race showed: every model on every other device against the CPU, then the models against each other."""
    found = [
        Finding("problem", f"{each.title} on the {device_name(each.device)}: {each.problem}")
        for each in race.bars
        if each.problem
    ]
    measured = [each for each in race.bars if not each.problem]
    for bar in measured:
        verdict = race.device_verdict(bar.model, bar.device)
        if bar.device != "cpu" and verdict.outcome != "unknown":
            device = device_name(bar.device)
            text = f"{bar.title} on the {device} against the CPU: {verdict_text(verdict)}."
            found.append(Finding(verdict.outcome, text))
    for device in dict.fromkeys(each.device for each in measured):
        on_it = [each for each in measured if each.device == device]
        found += [_models(race, on_it[0], each) for each in on_it[1:]]
    return tuple(found)


def _models(race: Race, first: Bar, other: Bar) -> Finding:
    verdict = race.model_verdict(other.model, first.model, other.device)
    where = f"On the {device_name(other.device)}, {other.title} against {first.title}, tile by tile"
    text = f"{where}: {verdict_text(verdict)}."
    if first.projection is not None and other.projection is not None:
        epochs = first.projection.epochs
        text += (
            f" Projected for {epochs} epochs: {duration(other.projection.seconds)} against "
            f"{duration(first.projection.seconds)}."
        )
    return Finding(verdict.outcome, text)


def race_guess(guess: str | None, race: Race) -> Finding | None:
    """The guess about the two networks' times beside the projected ones; None without a guess or both of them.

    On the CPU, or on whatever device was raced on where that is not among them.
    """
    if guess not in GUESSES:
        return None
    devices = [each.device for each in race.bars]
    device = "cpu" if "cpu" in devices else next(iter(devices), "")
    seconds = _projected([each for each in race.bars if each.device == device])
    if len(seconds) < 2:
        return None
    ratio = seconds[1] / seconds[0]
    said = f"You guessed “{guess}”. Projected on the {device_name(device)}: {times(ratio)} as long."
    low, below = GUESSES[guess]
    if low <= ratio < below:
        return Finding("right", f"{said} Well judged.")
    return Finding(
        "lower" if ratio < low else "higher", f"{said} {'Less' if ratio < low else 'More'} than you guessed."
    )


def _projected(bars: Sequence[Bar]) -> list[float]:
    return [each.projection.seconds for each in bars if each.projection is not None]
