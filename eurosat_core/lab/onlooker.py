"""A lab to look at: what others' pages are drawn from while the instructor looks on. Nothing in it can be changed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, cast

from eurosat_core.errors import RunError

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab

# What only reads, or computes for one page and keeps nothing of it. All else is refused, also what is new.
_LOOKS = frozenset(
    {
        "calm",
        "devices",
        "devices_known",
        "estimates",
        "feed_problem",
        "hand_run",
        "holds_up",
        "inspector",
        "leak_lens",
        "place",
        "predictor",
        "room",
        "room_probe",
        "runs_go_soon",
        "runs_problem",
        "seconds_left",
        "settings",
        "sweeps",
        "tiles",
        "transfers",
    }
)
_ROOMS = {
    "designs": "of",
    "dispatcher": "held limit parked returning stopping waiting",
    "experiments": "all current hands",
    "guide": "now",
    "lesson_guesses": "of",
    "library": "fetching missing_weights partly_downloaded place_parts place_problem state tile_set",
    "participants": "all name says",
    "passcode": "is_asked is_led is_set",
    "profiles": "of_run reading readings is_read trace_file uploaded",
    "results": "evaluation guessed_tiles guesses history named_by_others predictions room_guesses tiles_of",
    "rounds": "all current votes",
    "store": "all folder_of get is_kept load one_look size",
    "tensorboard": "state",
}


def onlooker(lab: "Lab") -> "Lab":
    """This lab, whose methods that change anything raise `RunError`."""
    return cast("Lab", _Looking(lab, _LOOKS, {room: frozenset(names.split()) for room, names in _ROOMS.items()}))


class _Looking:
    def __init__(self, what: object, looks: frozenset[str], rooms: dict[str, frozenset[str]] | None = None) -> None:
        self._what = what
        self._looks = looks
        self._rooms = rooms or {}

    def __getattr__(self, name: str) -> Any:
        if name in self._rooms:
            return _Looking(getattr(self._what, name), self._rooms[name])
        if name in self._looks:
            return getattr(self._what, name)
        return _refusal()


def _refusal() -> Callable[..., NoReturn]:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise RunError("You look at somebody else’s page, so nothing can be changed here.")

    return refuse
