"""Durations, counts and rates read as a person would write them."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from eurosat_core import wording

MB = 1024**2
CASES: list[tuple[Callable[..., str], tuple[Any, ...], str]] = [
    (wording.duration, (0,), "0.0 s"),
    (wording.duration, (0.42,), "0.4 s"),
    (wording.duration, (3.0,), "3 s"),
    (wording.duration, (9.97,), "10 s"),
    (wording.duration, (12.4,), "12 s"),
    (wording.duration, (59.6,), "1 min 00 s"),
    (wording.duration, (125,), "2 min 05 s"),
    (wording.duration, (3599.7,), "1 h 00 min"),
    (wording.duration, (3780,), "1 h 03 min"),
    (wording.duration, (-5,), "0.0 s"),
    (wording.duration, (float("inf"),), "unknown"),
    (wording.duration, (float("nan"),), "unknown"),
    (wording.count, (1, "tile"), "1 tile"),
    (wording.count, (6000, "tile"), "6,000 tiles"),
    (wording.count, (0, "class", "classes"), "0 classes"),
    (wording.rate, (1234.4,), "1,234 tiles/s"),
    (wording.rate, (9.96,), "10 tiles/s"),
    (wording.rate, (3.21,), "3.2 tiles/s"),
    (wording.rounded, (344, 2), "340"),
    (wording.rounded, (5678.9, 2), "5,700"),
    (wording.rounded, (1463, 3), "1,460"),
    (wording.rounded, (999.6, 3), "1,000"),
    (wording.rounded, (137.2, 2), "140"),
    (wording.rounded, (0.0314, 2), "0.031"),
    (wording.rounded, (12.0, 3), "12"),
    (wording.rounded, (0, 2), "0"),
    (wording.rounded, (0.00001, 3), "0.00001"),
    (wording.percent, (0.7134,), "71.3 %"),
    (wording.points, (-0.042,), "4.2 percentage points"),
    (wording.points, (0.01,), "1.0 percentage point"),
    (wording.times, (1.25,), "1.2 times"),
    (wording.times, (24.2,), "24 times"),
    (wording.bytes_text, (0,), "0.0 MB"),
    (wording.bytes_text, (20_276,), "20 kB"),
    (wording.bytes_text, (0.05 * MB,), "0.1 MB"),
    (wording.bytes_text, (3.21 * MB,), "3.2 MB"),
    (wording.bytes_text, (412 * MB,), "412 MB"),
    (wording.bytes_text, (1.9 * 1024 * MB,), "1.9 GB"),
    (wording.device_name, ("cpu",), "CPU"),
    (wording.device_name, ("cuda:1",), "GPU 1"),
    (wording.device_name, ("mps",), "Apple GPU"),
    (wording.device_name, ("x",), "x"),
    (wording.listed, ([],), ""),
    (wording.listed, (["a"],), "a"),
    (wording.listed, (["a", "b"],), "a and b"),
    (wording.listed, (["a", "b", "c"],), "a, b and c"),
    (wording.milliseconds, (0.04212,), "0.0421 ms"),
    (wording.milliseconds, (12.34,), "12.3 ms"),
    (wording.milliseconds, (1234.0,), "1,234 ms"),
    (wording.milliseconds, (0,), "0 ms"),
    *((wording.signed, (value,), text) for value, text in ((0.5, "+0.500"), (-1.23456, "−1.235"), (-0.0001, "0.000"))),
    (wording.probability, (0.87,), "87 %"),
    (wording.probability, (0.991,), "99.1 %"),
    (wording.probability, (0.0,), "0.0 %"),
    *((wording.probability, (sure,), "above 99.9 %") for sure in (0.9999, 1.0)),  # none claims certainty
    (wording.factor, (0.87,), "0.87"),
    (wording.factor, (1.3,), "1.30"),
    (wording.factor, (2.41,), "2.4"),
    (wording.factor, (24.2,), "24"),
]
UNBROKEN = (wording.percent, wording.milliseconds, wording.probability)  # the space before the unit does not break


@pytest.mark.parametrize(("write", "figures", "text"), CASES)
def test_figures_as_people_read_them(write: Callable[..., str], figures: tuple[Any, ...], text: str) -> None:
    wanted = re.sub(r" (?=\S+$)", "\N{NO-BREAK SPACE}", text) if write in UNBROKEN else text
    assert write(*figures) == wanted


@given(st.floats(1e-12, 1e18), st.integers(1, 6))
def test_a_rounded_number_is_plain_and_near(number: float, digits: int) -> None:
    text = wording.rounded(number, digits)
    assert set(text) <= set("0123456789,.")
    # A significant digit is worth at least a tenth of its power of ten, and half of it is what rounding may miss.
    assert float(text.replace(",", "")) == pytest.approx(number, rel=0.501 * 10 ** (1 - digits))


def test_a_template_of_code_is_not_escaped_and_lacks_nothing() -> None:
    words = {"text": "<b>", "block": "", "classes": 2, "made": [], "used": []}
    assert "\n<b>\n" in wording.filled("pytorch/network.py.j2", **words)
    with pytest.raises(UndefinedError):
        wording.filled("pytorch/network.py.j2", text="")
