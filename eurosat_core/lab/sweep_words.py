"""What a measurement shows, in words computed from its figures: a sentence for every way it can turn out."""

from collections.abc import Sequence

from eurosat_core import wording
from eurosat_core.lab.findings import Finding
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.speed.experiment_terms import Experiment, Figure, guess_ratio
from eurosat_core.speed.experiments import EXPERIMENTS
from eurosat_core.speed.result import CellResult, SweepResult
from eurosat_core.speed.turns import Spread
from eurosat_core.speed.verdict import SMALLEST, Verdict

__all__ = [
    "device_finding",
    "experiment_finding",
    "figure_of",
    "guess_finding",
    "learning_finding",
    "measured_how",
    "misconception_of",
    "rate_text",
    "verdict_text",
]

_UNKNOWN = "Too few rounds were measured to tell. Let it run to its end."


def figure_of(result: SweepResult) -> Figure:
    """What the verdicts of a result compare: tiles per second, or arithmetic per second."""
    known = EXPERIMENTS.get(result.name)
    return known.figure if known else "tiles"


def rate_text(spread: Spread, figure: Figure = "tiles") -> str:
    """`1,234 tiles/s` or `45.6 billion operations/s`."""
    if figure == "tiles":
        return wording.rate(spread.median)
    return f"{wording.rounded(spread.median / 1e9, 3)} billion operations/s"


def verdict_text(verdict: Verdict) -> str:
    """`1.8 times as fast (1.7 to 1.9 times)`, `no difference we can measure (…)`."""
    if verdict.factor is None or verdict.low is None or verdict.high is None:
        return _UNKNOWN
    if verdict.outcome == "same":
        return (
            f"no difference we can measure (between {_factor(verdict.low)} and {_factor(verdict.high)} times as fast; "
            f"less than {100 * (SMALLEST - 1):.0f}\N{NO-BREAK SPACE}% is not called a difference)"
        )
    if verdict.outcome == "faster":
        return f"{_factor(verdict.factor)} times as fast ({_factor(verdict.low)} to {_factor(verdict.high)} times)"
    slower, least, most = (1 / each for each in (verdict.factor, verdict.high, verdict.low))
    return f"slower: the other is {_factor(slower)} times as fast ({_factor(least)} to {_factor(most)} times)"


def _factor(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2f}" if value < 1.995 else f"{value:.1f}"


def experiment_finding(result: SweepResult, device: str) -> Finding:
    """What the focus of a measurement shows against its reference on a device, and what that means.

    kind: `faster`, `same`, `slower` or `unknown`.
    """
    figure = figure_of(result)
    focus, reference = result.cell(result.focus, device), result.cell(result.reference, device)
    for each in (focus, reference):
        if each is not None and each.problem:
            return Finding("unknown", f"“{each.label}” could not be measured. {each.problem}")
    verdict = result.verdict(result.focus, device, figure=figure)
    if verdict.outcome == "unknown" or focus is None or reference is None:
        return Finding("unknown", _UNKNOWN)
    rates = " against ".join(_rate_of(each, figure) for each in (focus, reference))
    text = f"{_named(result, focus)} against {_named(result, reference)}: {verdict_text(verdict)}. {rates}."
    known = EXPERIMENTS.get(result.name)
    meaning = known.outcomes.get(verdict.outcome, "") if known else ""
    return Finding(verdict.outcome, f"{text} {meaning}".strip())


def _rate_of(cell: CellResult, figure: Figure) -> str:
    spread = cell.tiles_per_second if figure == "tiles" else cell.operations_per_second
    return rate_text(spread, figure) if spread else "not measured"


_BEFORE = {"batch_size": "batches of {}", "workers": "{} loader workers"}


def _named(result: SweepResult, cell: CellResult) -> str:
    if result.setting in _BEFORE and cell.label.isdigit():
        return _BEFORE[result.setting].format(cell.label)
    return f"“{cell.label}”"


def guess_finding(guess: str | None, result: SweepResult, device: str) -> Finding | None:
    """A guess (one of `GUESSES`) against the measurement: `right`, `higher` or `lower`; None without one."""
    verdict = result.verdict(result.focus, device, figure=figure_of(result))
    if not guess or verdict.factor is None:
        return None
    low, below = guess_ratio(guess)
    factor = 1.0 if verdict.outcome == "same" else verdict.factor
    said = f"You guessed “{guess}”. Measured: {verdict_text(verdict)}."
    if low <= factor < below:
        return Finding("right", f"{said} Well judged.")
    if factor < low:
        return Finding("lower", f"{said} That is less than you guessed.")
    return Finding("higher", f"{said} That is more than you guessed.")


def learning_finding(result: SweepResult, device: str) -> Finding | None:
    """Which setting reached the accuracy first: `reached`, `none` or, where that is the same one, `fastest_too`.

    None where no time to an accuracy was measured.
    """
    cells = [each for each in result.cells if each.device == device and each.learning is not None]
    learned = [(each, each.learning) for each in cells if each.learning is not None]
    if not learned:
        return None
    target = wording.percent(learned[0][1].target)
    reached = sorted(((its.seconds, each, its) for each, its in learned if its.reached), key=lambda each: each[0])
    late = [_named(result, each) for each, its in learned if not its.reached]
    if not reached:
        return Finding(
            "none",
            f"None of them named {target} of the validation tiles correctly within the time it was given. One training "
            "each, with the same seed.",
        )
    seconds, first, its = reached[0]
    text = (
        f"{_named(result, first)} came to {target} first: after {wording.duration(seconds)} and "
        f"{its.tiles:,} tiles of training."
    )
    text += "".join(
        f" {_named(result, each)}: {wording.duration(spent)}, {more.tiles:,} tiles."
        for spent, each, more in reached[1:]
    )
    if late:
        text += f" Not reached in the time given: {wording.listed(late)}."
    fastest = max(cells, key=lambda each: each.tiles_per_second.median if each.tiles_per_second else 0.0)
    if fastest is first:
        return Finding(
            "fastest_too", f"{text} It also had the most tiles per second. One training each, so luck counts."
        )
    return Finding(
        "reached",
        f"{text} The most tiles per second had {_named(result, fastest)}: faster steps are not faster learning. One "
        "training each, so luck counts.",
    )


def device_finding(result: SweepResult, label: str, device: str, against: str = "cpu") -> Finding | None:
    """A setting on one device against another; None where one of them was not measured."""
    verdict = result.verdict(label, device, against=label, on=against)
    if verdict.outcome == "unknown":
        return None
    names = wording.device_name(device), wording.device_name(against)
    return Finding(verdict.outcome, f"“{label}” on the {names[0]} against the {names[1]}: {verdict_text(verdict)}.")


def measured_how(record: RunRecord, result: SweepResult, cells: Sequence[CellResult] = ()) -> str:
    """On what the figures rest: device, threads, steps, rounds, what else ran, where it was recorded."""
    used = [each for each in cells or result.cells if each.turns]
    if not used:
        return "Nothing was measured."
    name = record.machine.get("device_name") or wording.device_name(record.config.device)
    if any(each.device == "cpu" for each in used) and record.machine.get("cpu_name"):
        name = f"{name} and {record.machine['cpu_name']}"
    threads = record.machine.get("threads")
    steps = sum(turn.steps for each in used for turn in each.turns)
    text = f"{name}{f', {threads} CPU threads' if threads else ''}; {wording.count(steps, 'timed step')} in "
    text += f"{wording.count(result.rounds, 'round')} in which the settings took turns; medians of the rounds, and "
    text += "the quartiles as their range. Warm-up steps do not count."
    if not result.complete:
        text += " It was stopped before its end."
    if record.company:
        text += f" Beside it ran {wording.listed(list(record.company))}: measure again on a free machine."
    if record.recorded_on:
        text += f" Recorded on {record.recorded_on}."
    return text


def misconception_of(result: SweepResult) -> str:
    """What an experiment puts right; empty for a measurement that is none of them."""
    known: Experiment | None = EXPERIMENTS.get(result.name)
    return known.misconception if known else ""
