"""Looking over somebody's shoulder: with consent the instructor sees what a participant sees, for a while.

Consent is given with the hand up. It ends when the hand goes down, when it is taken back, or after a quarter of an
hour, and with it what was shown. All of it is in memory alone.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from eurosat_core.classroom.participants import Progress
from eurosat_core.errors import RunError

LASTS_SECONDS = 15 * 60.0


@dataclass(frozen=True)
class View:
    """What somebody sees.

    Attributes:
        page: The name of its script; empty before anything was shown.
        query: The parameters of its address.
        chosen: What is chosen on it that stands in no address, by key.
        version: How often that has changed.
    """

    page: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0


class Views:
    """Who lets the instructor see their page. says: what a participant says at the moment. From any thread."""

    def __init__(self, says: Callable[[str], Progress | None], clock: Callable[[], float] = time.monotonic) -> None:
        self._says = says
        self._clock = clock
        self._shown: dict[str, tuple[float, View]] = {}  # by id of the participant: until when, and what
        self._lock = threading.Lock()

    def allow(self, participant_id: str) -> None:
        """Let the instructor see this participant's page from now on. Raises `RunError` while the hand is down."""
        if self._says(participant_id) != "hand":
            raise RunError("Put your hand up first; then the instructor can look at your page.")
        with self._lock:
            self._shown[participant_id] = self._clock() + LASTS_SECONDS, View()

    def withdraw(self, participant_id: str) -> None:
        """Take that back."""
        with self._lock:
            self._shown.pop(participant_id, None)

    def allowed(self, participant_id: str) -> bool:
        """Whether the consent holds. One that has ended does not come back by itself."""
        with self._lock:
            return self._view(participant_id) is not None

    def show(self, participant_id: str, page: str, query: Mapping[str, str], chosen: Mapping[str, Any]) -> None:
        """What this participant sees now; forgotten at once without consent."""
        with self._lock:
            seen = self._view(participant_id)
            if seen is not None and (seen.page, seen.query, seen.chosen) != (page, query, chosen):
                until, _ = self._shown[participant_id]
                view = replace(seen, page=page, query=query, chosen=chosen, version=seen.version + 1)
                self._shown[participant_id] = until, view

    def of(self, participant_id: str) -> View:
        """What somebody sees. Raises `RunError` without consent, or when nothing was shown yet."""
        with self._lock:
            view = self._view(participant_id)
        if view is None:
            raise RunError("This page is not shown to you any more: the hand went down, or the time was over.")
        if not view.page:
            raise RunError("This page will be shown to you in a moment. Open it again in a few seconds.")
        return view

    def _view(self, participant_id: str) -> View | None:
        until, view = self._shown.get(participant_id, (0.0, None))
        if view is None or until <= self._clock() or self._says(participant_id) != "hand":
            self._shown.pop(participant_id, None)
            return None
        return view
