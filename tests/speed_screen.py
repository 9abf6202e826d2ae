"""The Speed page as a participant has it: opened, read, and its pills chosen."""

from functools import partial
from typing import Any

from streamlit.testing.v1 import AppTest

from tests.pages.conftest import look_at

__all__ = ["chosen", "look"]

PAGE = "speed.py"

look = partial(look_at, page=PAGE)


def chosen(test: AppTest, key: str, value: Any) -> AppTest:
    next(each for each in test.get("pills") if each.key == key).set_value(value)
    test.run()
    assert not test.exception, test.exception[0].message
    return test
