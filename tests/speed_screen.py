"""The Speed page as a participant has it: opened, read, and its pills chosen."""

from typing import Any

from streamlit.testing.v1 import AppTest

from tests.pages.conftest import App, shown

__all__ = ["address", "chosen", "look", "says"]

PAGE = "speed.py"


def look(app: App, **parameters: str) -> AppTest:
    test = app(PAGE, **parameters)
    assert not test.exception, test.exception[0].message
    return test


def says(test: AppTest) -> str:
    return " ".join(shown(test).split())


def chosen(test: AppTest, key: str, value: Any) -> AppTest:
    next(each for each in test.get("pills") if each.key == key).set_value(value)
    test.run()
    assert not test.exception, test.exception[0].message
    return test


def address(test: AppTest, name: str) -> str:
    value = test.query_params[name]
    return value if isinstance(value, str) else value[0]
