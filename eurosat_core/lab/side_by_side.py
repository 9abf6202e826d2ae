"""A comparison as a whole: the chosen runs, what may be compared, and the sentences about who wins and by how much.

Everything is computed when it is first asked for and then kept, for a page asks again at every click.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from eurosat_core import wording
from eurosat_core.lab.comparison import Difference, RunFigures, SameTiles, differences, run_figures, same_tiles
from eurosat_core.lab.confusion import Disagreement, disagreement
from eurosat_core.lab.contenders import Contender
from eurosat_core.lab.findings import Finding
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.lab.verdicts import accuracy_verdict, speed_verdict
from eurosat_core.models.catalog import CATALOG

__all__ = ["GUESSES", "SideBySide", "guess_verdict", "role", "time_verdict"]

GUESSES = {
    "the small one": (-1.0, -0.02),
    "about the same": (-0.02, 0.02),
    "the other, by up to 10 points": (0.02, 0.10),
    "the other, by 10 to 30 points": (0.10, 0.30),
    "the other, by more": (0.30, 1.0),
}
"""How much better the strong network is than the small one: guesses, and the differences (from, below) they cover."""

_AS_LONG = 1.1  # times of different work closer than this are called alike


def role(record: RunRecord) -> Literal["small", "strong", ""]:
    """What a run is in the lesson's comparison: the tutorial's small network, or one that should beat it."""
    entry = CATALOG.get(record.config.model)
    if record.config.model == "baseline":
        return "small"
    return "strong" if entry is not None and (entry.is_pretrained or entry.name == "tilenet") else ""


class SideBySide:
    """Runs in the order in which they were chosen; the first is what the others are held against."""

    def __init__(self, runs: tuple[Contender, ...]) -> None:
        self.runs = runs
        self._disagreements: dict[tuple[int, int], Disagreement] = {}

    @cached_property
    def same(self) -> SameTiles:
        """Whether all of them were judged on the same tiles."""
        return same_tiles(self.runs)

    @cached_property
    def figures(self) -> tuple[RunFigures, ...]:
        """Accuracy, time and speed of each."""
        return run_figures(self.runs)

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """In what they differ."""
        return differences(self.runs)

    @cached_property
    def verdicts(self) -> tuple[Finding, ...]:
        """Each run against the first: accuracy, then time; a sentence that comes twice is said once."""
        first, others = self.runs[0], self.runs[1:]
        found = [accuracy_verdict(each, first) for each in others] + [time_verdict(first, each) for each in others]
        return tuple({each.text: each for each in found}.values())

    def disagreement(self, first: int, second: int) -> Disagreement | None:
        """Which tiles only one of two runs (by their places) got right; None where one kept no predictions."""
        one, other = self.runs[first].predictions, self.runs[second].predictions
        if one is None or other is None:
            return None
        key = (first, second)
        if key not in self._disagreements:
            self._disagreements[key] = disagreement(one, other)
        return self._disagreements[key]


def time_verdict(first: Contender, other: Contender) -> Finding:
    """How long two trainings took: a speed-up for the same work (`speed_verdict`), else what each of them cost.

    `longer`, `shorter` or `alike` for other work, with what makes it other work; `not_comparable` where one of them
    did not get through, or left work to an earlier run.
    """
    found = speed_verdict(first, other)
    whole = all(
        each.record.state == "finished" and each.history.finished is not None and not each.record.features_taken
        for each in (first, other)
    )
    if found.kind != "not_comparable" or not whole or not first.seconds or not other.seconds:
        return found
    ratio = other.seconds / first.seconds
    took = f"{other.label} took {wording.duration(other.seconds)}, {first.label} {wording.duration(first.seconds)}"
    if 1 / _AS_LONG < ratio < _AS_LONG:
        kind, how = "alike", "about as long"
    elif ratio > 1:
        kind, how = "longer", f"{wording.times(ratio)} as long"
    else:
        kind, how = "shorter", f"{first.label} took {wording.times(1 / ratio)} as long"
    return Finding(kind, f"{took}: {how}. {found.text}{_machines(first, other)}")


def _machines(first: Contender, other: Contender) -> str:
    """A word of caution where the two were not measured on the same thing, or not alone."""
    places = [str(each.record.machine.get("device_name", "")) for each in (first, other)]
    text = f" They were not measured on the same: {places[0]} and {places[1]}." if len(set(places)) > 1 else ""
    if first.record.company or other.record.company:
        text += " Other runs or programs were computing beside it, so these times say little."
    return text


def guess_verdict(guess: str | None, runs: Sequence[Contender]) -> Finding | None:
    """The guess about the small and the strong network beside what these runs came to.

    None without a guess, or where these runs do not answer it.
    """
    small = next((each for each in runs if role(each.record) == "small" and each.accuracy is not None), None)
    strong = [each for each in runs if role(each.record) == "strong" and each.accuracy is not None]
    if guess not in GUESSES or small is None or not strong:
        return None
    best = max(strong, key=lambda each: each.accuracy or 0.0)
    if small.accuracy is None or best.accuracy is None or not same_tiles([small, best]).accuracy:
        return None
    gap = best.accuracy - small.accuracy
    measured = "exactly as good as" if gap == 0 else f"{wording.points(gap)} {'better' if gap > 0 else 'worse'} than"
    said = f"You guessed “{guess}”. In these runs {best.label} is {measured} {small.label}."
    low, below = GUESSES[str(guess)]
    if low <= gap < below:
        return Finding("right", f"{said} Well judged.")
    return Finding("lower" if gap < low else "higher", f"{said} That is {'less' if gap < low else 'more'} than that.")
