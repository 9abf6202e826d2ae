"""The server's one lab: asked for before it is open, after it could not be opened, and when there is none."""

import threading
from collections.abc import Iterator
from typing import cast

import pytest

from eurosat_core.errors import ConfigError, RunError
from eurosat_core.lab.current import current_lab, is_opening, open_current_lab, set_current_lab
from eurosat_core.lab.lab import Lab


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    yield
    set_current_lab(None)


def test_whoever_asks_while_it_is_opened_waits_for_it() -> None:
    lab, go = cast(Lab, object()), threading.Event()

    def open_lab() -> Lab:
        go.wait(20)
        return lab

    opening = open_current_lab(open_lab)
    assert is_opening() and not opening.done()
    found: list[Lab] = []
    asking = threading.Thread(target=lambda: found.append(current_lab()))
    asking.start()
    go.set()
    asking.join(20)
    assert found == [lab] and not is_opening() and current_lab() is lab


def test_a_lab_that_could_not_be_opened_says_why_to_everybody() -> None:
    def open_lab() -> Lab:
        raise ConfigError("There is no disk.")

    assert isinstance(open_current_lab(open_lab).exception(20), ConfigError)
    for _ in range(2):
        with pytest.raises(ConfigError, match="no disk"):
            current_lab()


def test_there_may_be_none() -> None:
    set_current_lab(None)
    assert not is_opening()
    with pytest.raises(RunError):
        current_lab()
