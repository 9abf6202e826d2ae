"""What a participant reached, as facts: each rests on own runs, measurements or guesses, and on nothing else."""

from collections.abc import Callable, Sequence

from eurosat_core.analysis.contenders import same_tiles
from eurosat_core.analysis.guesses import GuessOutcome
from eurosat_core.analysis.wrapup import Evidence, Measurement
from eurosat_core.finding import Finding
from eurosat_core.speed.experiments import EXPERIMENTS, home_device

_FEWEST_TILES = 10  # named by hand


def _trained(evidence: Evidence, _guesses: Sequence[GuessOutcome]) -> Finding | None:
    best = evidence.best
    if best is None or best.accuracy is None:
        return None
    kind = "synthetic" if best.record.tiles.source == "synthetic" else "real"
    figures = {"run": best.label, "accuracy": best.accuracy, "tiles": best.validation_tiles}
    return Finding(f"certificate.trained.{kind}", figures)


def _beat_the_baseline(evidence: Evidence, _guesses: Sequence[GuessOutcome]) -> Finding | None:
    """Another network named more of the very same tiles correctly than the best own baseline."""
    best: Finding | None = None
    baselines = [each for each in evidence.runs if each.record.config.model == "baseline" and each.accuracy is not None]
    for run in evidence.runs:
        accuracy = run.accuracy
        same = [each.accuracy or 0.0 for each in baselines if same_tiles([each, run]).kind == "same"]
        if run.record.config.model == "baseline" or accuracy is None or not same or accuracy <= max(same):
            continue
        if best is None or accuracy > best.figures["accuracy"]:
            figures = {"run": run.label, "accuracy": accuracy, "baseline": max(same), "tiles": run.validation_tiles}
            best = Finding("certificate.beat_the_baseline", figures)
    return best


def _by_place(evidence: Evidence, _guesses: Sequence[GuessOutcome]) -> Finding | None:
    runs = [each for each in evidence.runs if each.record.config.split == "place" and each.accuracy is not None]
    best = max(runs, key=lambda each: each.accuracy or 0.0, default=None)
    if best is None:
        return None
    figures = {"run": best.label, "accuracy": best.accuracy, "tiles": best.validation_tiles}
    return Finding("certificate.by_place", figures)


def _both_devices(evidence: Evidence, _guesses: Sequence[GuessOutcome]) -> Finding | None:
    pair = next(iter(evidence.pairs()), None)
    if pair is None:
        return None
    figures = {"run": pair[1].label, "device": pair[1].record.config.device}
    return Finding("certificate.both_devices", figures)


def _profiled(evidence: Evidence, _guesses: Sequence[GuessOutcome]) -> Finding | None:
    if not evidence.profiles:
        return None
    return Finding("certificate.profiled", {"device": evidence.profiles[0].record.config.device})


def _measured(evidence: Evidence, _guesses: Sequence[GuessOutcome]) -> Finding | None:
    """One thing was changed, and the measurement came to a verdict, whichever."""
    return next((found for each in evidence.measurements if (found := _verdict(each)) is not None), None)


def _verdict(measurement: Measurement) -> Finding | None:
    result = measurement.result
    if result.name not in EXPERIMENTS:
        return None
    device = home_device(result.devices)
    verdict = result.verdict(result.focus, device, figure=EXPERIMENTS[result.name].figure)
    if verdict.outcome == "unknown":
        return None
    figures = {"title": EXPERIMENTS[result.name].title, "device": device, "verdict": verdict}
    return Finding("certificate.measured", figures)


def _corrected(_evidence: Evidence, guesses: Sequence[GuessOutcome]) -> Finding | None:
    """A measurement said otherwise than the guess, and that was looked at."""
    off, right = (sum(each.kind == kind for each in guesses) for kind in ("off", "right"))
    return Finding("certificate.corrected", {"off": off, "answered": off + right}) if off else None


def _guessed(_evidence: Evidence, guesses: Sequence[GuessOutcome]) -> Finding | None:
    right = sum(each.kind == "right" for each in guesses)
    return Finding("certificate.guessed", {"right": right}) if right else None


def _named_tiles(evidence: Evidence, _guesses: Sequence[GuessOutcome]) -> Finding | None:
    own = evidence.tile_guesses
    if own is None or own.tiles < _FEWEST_TILES:
        return None
    return Finding("certificate.named_tiles", {"tiles": own.tiles, "accuracy": own.accuracy})


ACHIEVEMENTS: tuple[Callable[[Evidence, Sequence[GuessOutcome]], Finding | None], ...] = (
    _trained,
    _beat_the_baseline,
    _by_place,
    _both_devices,
    _measured,
    _profiled,
    _corrected,
    _guessed,
    _named_tiles,
)
"""In the order in which they stand on a certificate; each gives its fact, or None where it was not reached."""


def achievements(evidence: Evidence, guesses: Sequence[GuessOutcome]) -> list[Finding]:
    """What was reached. Runs that came from another lab count for nothing."""
    return [found for each in ACHIEVEMENTS if (found := each(evidence, guesses)) is not None]
