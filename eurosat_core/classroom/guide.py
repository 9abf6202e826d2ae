"""What the instructor has set for everybody: where the room is, closed pages, and what the Train page begins with."""

import json
import logging
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.folders import write_whole
from eurosat_core.records import Count, Figure, decoded
from eurosat_core.training.config import TrainConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Guide:
    """What holds for everybody. Pages are named as their scripts.

    Attributes:
        closed: Pages that are closed for now.
        preset: Settings of the Train page; None: the lesson's. presets: How many there were.
        page: Where the instructor brought everybody; empty where nobody was brought. moves: How often that changed.
        board: Whether the projector shows the leader board.
        labels: Whether the projector shows what a classifier learns from the room's labels. labels_since: From when on
            labels count, in seconds since 1970.
    """

    closed: tuple[str, ...] = ()
    preset: TrainConfig | None = None
    presets: Count = 0
    page: str = ""
    moves: Count = 0
    board: bool = False
    labels: bool = False
    labels_since: Figure = 0.0


class GuideFile:
    """The guide in one small file, written whole; it survives a restart. May be asked from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self.now = self._read()

    def close(self, pages: tuple[str, ...]) -> None:
        """Close these pages, and open all others."""
        self._change(closed=pages)

    def bring(self, page: str) -> None:
        """Bring everybody to a page, which is open from then on; each may leave it again. Empty: to none any more."""
        with self._lock:
            closed = tuple(each for each in self.now.closed if each != page)
            self._change(page=page, closed=closed, moves=self.now.moves + 1)

    def show_board(self, shown: bool) -> None:
        """Show the leader board on the projector, or hide it."""
        self._change(board=shown)

    def show_labels(self, shown: bool) -> None:
        """Show on the projector what a classifier learns from the room's labels, or hide it."""
        self._change(labels=shown)

    def count_labels(self, since: float) -> None:
        """Count the labels from a time on, in seconds since 1970."""
        self._change(labels_since=since)

    def give(self, preset: TrainConfig | None) -> None:
        """Let everybody's Train page begin with these settings, or with the lesson's (None)."""
        with self._lock:
            self._change(preset=preset, presets=self.now.presets + 1)

    def _change(self, **changes: Any) -> None:
        with self._lock:
            self.now = replace(self.now, **changes)
            try:
                write_whole(self._path, json.dumps(asdict(self.now)).encode())
            except OSError as error:
                logger.warning("%s cannot be written, so it holds until the server ends: %s", self._path, error)

    def _read(self) -> Guide:
        try:
            values = decoded(dict[str, Any], self._path.read_bytes(), "{problem}")
            if values.get("preset") is not None:
                values["preset"] = TrainConfig.from_dict(values["preset"])
            return decoded(Guide, values, "{problem}", known_only=True)
        except FileNotFoundError:
            return Guide()
        except (OSError, RunError, ConfigError) as error:
            logger.warning("%s cannot be used, so all pages are open: %s", self._path, error)
            return Guide()
