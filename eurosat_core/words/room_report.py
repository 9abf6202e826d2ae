"""The instructor's report of a workshop: what the room was asked and answered, what was measured, what was run.

One HTML file that opens anywhere. Whoever was there is only counted. The page is `assets/room_report.html.j2`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eurosat_core import wording
from eurosat_core.analysis.leaders import Board, ranks
from eurosat_core.analysis.rounds import Bar
from eurosat_core.runs.record import RunRecord
from eurosat_core.words.report import filled_report

_MOST_LEADERS = 40
_KINDS = {"train": "Trainings", "profile": "Profiles", "sweep": "Measurements", "transfer": "Transfers"}


@dataclass(frozen=True)
class AskedRound:
    """One question that was put to the room.

    Attributes:
        question: In words. bars: The votes for each choice.
        measured: What was measured, in words; empty when the round ended without.
        outcome: What came out of it, in words.
        gain: The part of what could still be learned that was; None where that cannot be said.
    """

    number: int
    question: str
    bars: tuple[Bar, ...]
    measured: str
    outcome: str
    gain: float | None

    @property
    def shares(self) -> tuple[str, str]:
        """How many were right in the first and in the second vote, of how many."""
        right = next((each for each in self.bars if each.is_right), None)

        def said(votes: int, of_right: int | None) -> str:
            if not votes:
                return "–"
            return wording.count(votes, "vote") if of_right is None else f"{of_right} of {votes} right"

        first, second = sum(each.first for each in self.bars), sum(each.second for each in self.bars)
        return said(first, right.first if right else None), said(second, right.second if right else None)


def room_report_html(
    people: int,
    rounds: Sequence[AskedRound],
    runs: Iterable[RunRecord],
    board: Board,
    experiments: Iterable[tuple[str, str]] = (),
    *,
    now: float | None = None,
) -> str:
    """The whole page.

    Args:
        people: How many participants there were.
        rounds: In the order in which they were asked.
        runs: Of all participants.
        board: Their trainings that can be compared.
        experiments: Titles, and what the room found.
        now: Since 1970, in seconds.
    """
    records = list(runs)
    best = board.best_of_each()[:_MOST_LEADERS]
    others = wording.count(board.others, "more was", "more were")
    return filled_report(
        "room_report.html.j2",
        now,
        people=wording.count(people, "participant"),
        runs=wording.count(len(records), "run"),
        rounds=list(rounds),
        gains=[
            (each.question, *each.shares, "–" if each.gain is None else wording.percent(each.gain)) for each in rounds
        ],
        experiments=list(experiments),
        done=_done(records),
        leaders=[
            (rank, wording.percent(each.accuracy), wording.duration(each.seconds), f"{each.parameters:,}", each.model)
            for rank, each in zip(ranks(best), best, strict=True)
        ],
        others=f"{others} judged on other tiles." if board.others else "",
    )


def _done(records: Iterable[RunRecord]) -> list[tuple[str, int, int, int]]:
    counted: Counter[tuple[str, str]] = Counter()
    for each in records:
        ended = "finished" if each.state == "finished" else "active" if each.is_active else "else"
        counted[_KINDS.get(each.kind, "Others"), ended] += 1
    kinds = [kind for kind in (*_KINDS.values(), "Others") if any(key[0] == kind for key in counted)]
    return [(kind, counted[kind, "finished"], counted[kind, "else"], counted[kind, "active"]) for kind in kinds]
