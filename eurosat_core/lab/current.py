"""The server's one lab, which pages wait for while it is opened.

Light on purpose: PyTorch takes seconds to load, and the server answers the browser meanwhile.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from eurosat_core.errors import RunError

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab

_current: "list[Future[Lab]]" = []


def open_current_lab(open_lab: "Callable[[], Lab]") -> "Future[Lab]":
    """Open the server's lab in a thread of its own; whoever asks for it meanwhile waits."""
    opening: Future[Lab] = Future()
    _current[:] = [opening]

    def run() -> None:
        try:
            opening.set_result(open_lab())
        except Exception as error:
            opening.set_exception(error)

    threading.Thread(target=run, name="eurosat-opening", daemon=True).start()
    return opening


def set_current_lab(lab: "Lab | None") -> None:
    """Make `lab` the one that pages find; None when it is closed."""
    _current.clear()
    if lab is not None:
        _current.append(Future())
        _current[0].set_result(lab)


def is_opening() -> bool:
    """Whether `current_lab` would wait."""
    return bool(_current) and not _current[0].done()


def current_lab() -> "Lab":
    """The server's lab, once it is open.

    Raises:
        RunError: There is none.
        LabError: It could not be opened, for this reason.
    """
    if not _current:
        raise RunError("The lab is not open. Start the app with: streamlit run streamlit_app.py")
    return _current[0].result()
