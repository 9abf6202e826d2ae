"""The waiting line: fair between participants, one run per device at a time, and nothing beside a measured run.

Pure bookkeeping, no threads and no clock: the lab owns one and asks it what to start next.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from eurosat_core.errors import RunError

__all__ = ["FairQueue", "Place", "Waiting"]


@dataclass(frozen=True)
class Waiting:
    """One run in the line. seconds: how long it will take, None if unknown. measured: it needs the machine alone."""

    run_id: str
    owner: str
    device: str
    seconds: float | None = None
    measured: bool = False


@dataclass(frozen=True)
class Place:
    """Where a run stands: 1 is next. starts_in_seconds: None when a run before it has no known length.

    behind: the run that comes first of those it waits for; None when it is free to start.
    """

    position: int
    waiting: int
    starts_in_seconds: float | None
    behind: str | None = None


class FairQueue:
    """Participants take turns; within one participant's runs the oldest comes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line: list[Waiting] = []
        self._served: dict[str, int] = {}  # by owner: the turn in which one of theirs was last started
        self._turn = 0

    def __len__(self) -> int:
        return len(self._line)

    def __contains__(self, run_id: object) -> bool:
        return any(each.run_id == run_id for each in self._line)

    def check_room(self, owner: str) -> None:
        """Raises `RunError` when `owner` has as many runs waiting as one participant may have."""
        own = sum(each.owner == owner for each in self._line)
        if own >= self._limit:
            raise RunError(
                f"You have {own} runs waiting, and {self._limit} is the most one participant may have. Wait for one "
                "to start, or stop one of them."
            )

    def add(self, run: Waiting) -> None:
        """Put a run at the end of its owner's runs."""
        self._line.append(run)

    def remove(self, run_id: str) -> None:
        """Take a run out of the line; nothing happens if it is not in it."""
        self._line = [each for each in self._line if each.run_id != run_id]

    def in_order(self) -> list[Waiting]:
        """The line as it will be served: the owner who was served longest ago comes next."""
        served, turn = dict(self._served), self._turn
        left, order = list(self._line), []
        while left:
            following = min(left, key=lambda each: served.get(each.owner, 0))  # stable: the oldest of equals
            left.remove(following)
            order.append(following)
            turn += 1
            served[following.owner] = turn
        return order

    def next_for(
        self, idle: Collection[str], running: Collection[Waiting], returning: Iterable[Waiting] = ()
    ) -> Waiting | None:
        """The run for one of the `idle` devices beside the `running` ones: one that returns, or the line's next.

        returning: those that gave their place away while they were paused; they had begun before, so they come first.
        What comes from the line is taken out of it. A measured run waits until nothing runs, and nothing overtakes it
        then, or it would never start.
        """
        if any(each.measured for each in running):
            return None
        for run in (*returning, *self.in_order()):
            if run.measured:
                if running or run.device not in idle:
                    return None
            elif run.device not in idle:
                continue
            if run.run_id in self:  # to return is no new turn
                self.remove(run.run_id)
                self._turn += 1
                self._served[run.owner] = self._turn
            return run
        return None

    def place(self, run_id: str, running: Iterable[Waiting]) -> Place | None:
        """Where a run stands; None if not in line.

        running: what runs now or returns before the line, with the seconds each still needs.
        """
        order = self.in_order()
        numbers = [each.run_id for each in order]
        if run_id not in numbers:
            return None
        position = numbers.index(run_id)
        own = order[position]
        ahead = [*running, *order[:position]]
        if not own.measured:  # other devices do not hold it up, measured runs do
            ahead = [each for each in ahead if each.device == own.device or each.measured]
        known = [each.seconds for each in ahead if each.seconds is not None]
        behind = ahead[0].run_id if ahead else None
        return Place(position + 1, len(order), sum(known) if len(known) == len(ahead) else None, behind)
