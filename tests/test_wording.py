"""Durations, counts and rates read as a person would write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eurosat_core import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.42, "0.4 s"),
        (3.0, "3 s"),
        (9.97, "10 s"),
        (12.4, "12 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3780, "1 h 03 min"),
        (-5, "0.0 s"),
        (float("inf"), "unknown"),
        (float("nan"), "unknown"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert wording.duration(seconds) == text


def test_count_has_a_plural_and_thousands() -> None:
    assert wording.count(1, "tile") == "1 tile"
    assert wording.count(6000, "tile") == "6,000 tiles"
    assert wording.count(0, "class", "classes") == "0 classes"


@pytest.mark.parametrize(("value", "text"), [(1234.4, "1,234 tiles/s"), (9.96, "10 tiles/s"), (3.21, "3.2 tiles/s")])
def test_rate(value: float, text: str) -> None:
    assert wording.rate(value) == text


@pytest.mark.parametrize(
    ("number", "digits", "text"),
    [
        (344, 2, "340"),
        (5678.9, 2, "5,700"),
        (1463, 3, "1,460"),
        (999.6, 3, "1,000"),
        (137.2, 2, "140"),
        (0.0314, 2, "0.031"),
        (12.0, 3, "12"),
        (0, 2, "0"),
        (0.00001, 3, "0.00001"),
    ],
)
def test_rounded(number: float, digits: int, text: str) -> None:
    assert wording.rounded(number, digits) == text


@given(st.floats(1e-12, 1e18), st.integers(1, 6))
def test_a_rounded_number_is_plain_and_near(number: float, digits: int) -> None:
    text = wording.rounded(number, digits)
    assert set(text) <= set("0123456789,.")
    # A significant digit is worth at least a tenth of its power of ten, and half of it is what rounding may miss.
    assert float(text.replace(",", "")) == pytest.approx(number, rel=0.501 * 10 ** (1 - digits))


def test_shares_and_ratios() -> None:
    assert wording.percent(0.7134) == "71.3\N{NO-BREAK SPACE}%"
    assert wording.points(-0.042) == "4.2 percentage points"
    assert wording.points(0.01) == "1.0 percentage point"
    assert wording.times(1.25) == "1.2 times"
    assert wording.times(24.2) == "24 times"


@pytest.mark.parametrize(
    ("number", "text"), [(1024**2 * 3.21, "3.2 MB"), (1024**2 * 412, "412 MB"), (1024**3 * 1.9, "1.9 GB")]
)
def test_bytes(number: float, text: str) -> None:
    assert wording.bytes_text(number) == text


@pytest.mark.parametrize(("device", "name"), [("cpu", "CPU"), ("cuda:1", "GPU 1"), ("mps", "Apple GPU"), ("x", "x")])
def test_device_name(device: str, name: str) -> None:
    assert wording.device_name(device) == name


@pytest.mark.parametrize(
    ("words", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_listed(words: list[str], text: str) -> None:
    assert wording.listed(words) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.04212, "0.0421 ms"), (12.34, "12.3 ms"), (1234.0, "1,234 ms"), (0, "0 ms")]
)
def test_milliseconds(value: float, text: str) -> None:
    assert wording.milliseconds(value) == text.replace(" ", "\N{NO-BREAK SPACE}")


@pytest.mark.parametrize(("value", "text"), [(0.87, "0.87"), (1.3, "1.30"), (2.41, "2.4"), (24.2, "24")])
def test_factor(value: float, text: str) -> None:
    assert wording.factor(value) == text
