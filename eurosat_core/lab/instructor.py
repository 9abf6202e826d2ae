"""What may be done by whoever leads the room."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from eurosat_core.classroom.experiment import Dealt
from eurosat_core.classroom.looking import View
from eurosat_core.classroom.rounds import Phase
from eurosat_core.lab.queue import Move
from eurosat_core.training.config import TrainConfig

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab


class Instructor:
    """Whoever leads the room: the lab gives it to nobody else, so nothing here asks again. Do not keep it."""

    def __init__(self, lab: "Lab") -> None:
        self._lab = lab

    def stop(self, run_id: str) -> None:
        """Stop anybody's run. Raises `RunError` when it has ended."""
        self._lab.dispatcher.control(self._lab.store.get(run_id), "stop")

    def delete(self, run_id: str) -> None:
        """Remove anybody's run, also one that is nobody's. Raises `RunError` when it is still active."""
        self._lab.delete(run_id, self._lab.store.get(run_id).owner)

    def move(self, run_id: str, to: Move) -> None:
        """Let a waiting run change places in the queue."""
        self._lab.dispatcher.move(run_id, to)

    def hold(self, held: bool) -> None:
        """Hold the queue, or let it go on."""
        self._lab.dispatcher.hold(held)

    def limit(self, waiting: int) -> None:
        """Let one participant have so many runs waiting, 1 to 100."""
        self._lab.dispatcher.set_limit(max(1, min(waiting, 100)))

    def code_for(self, participant_id: str) -> str:
        """A recovery code for a participant who lost theirs, to be handed over in person. Raises `RunError`."""
        return self._lab.participants.issue_code(participant_id)

    def view(self, participant_id: str) -> View:
        """What a participant sees who allows it. Raises `RunError` for everybody else."""
        return self._lab.views.of(participant_id)

    def close_pages(self, pages: Iterable[str]) -> None:
        """Close these pages for everybody who does not lead, and open all others."""
        self._lab.guide.close(tuple(pages))

    def bring(self, page: str) -> None:
        """Bring everybody to a page, named as its script."""
        self._lab.guide.bring(page)

    def show_board(self, shown: bool) -> None:
        """Show the leader board on the projector, or hide it."""
        self._lab.guide.show_board(shown)

    def show_labels(self, shown: bool) -> None:
        """Show on the projector what a classifier learns from the room's labels, or hide it."""
        self._lab.guide.show_labels(shown)

    def count_labels(self, since: float) -> None:
        """Have it learn from the labels from a time on, in seconds since 1970."""
        self._lab.guide.count_labels(since)

    def ask(self, question: str, hidden: bool) -> None:
        """Put a question of the lesson to the room. Raises `RunError` while another one is open."""
        self._lab.rounds.open(question, hidden)

    def go_on(self, number: int, phase: Phase, right: str = "", measured: str = "") -> None:
        """Move the open round on, as `Rounds.go` does."""
        self._lab.rounds.go(number, phase, right, measured)

    def deal(self, setting: Dealt, values: Iterable[float], base: TrainConfig) -> None:
        """Deal values of a setting out to the room, as `Experiments.open` does."""
        self._lab.experiments.open(setting, tuple(values), base)

    def end_deal(self, number: int) -> None:
        """End the open experiment. Raises `RunError` when it has ended already."""
        self._lab.experiments.end(number)

    def preset(self, config: TrainConfig | None) -> None:
        """Let everybody's Train page begin with these settings, or with the lesson's (None)."""
        self._lab.guide.give(config)
