"""Figures as people read them: durations, counts, rates and sizes, worded in one place for all pages."""

import math
import time
import tomllib
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from eurosat_core.folders import ASSETS

if TYPE_CHECKING:
    from jinja2 import Environment


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `2 min 05 s`, `1 h 03 min`; never more precise than it is useful."""
    if not math.isfinite(seconds):
        return "unknown"
    seconds = max(seconds, 0.0)
    if seconds < 9.95:
        tenths = f"{seconds:.1f}"
        return f"{tenths} s" if not tenths.endswith(".0") or seconds < 0.05 else f"{tenths[:-2]} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def clock(seconds: float | None) -> str:
    """`2026-11-29 22:05:07 UTC`, of seconds since 1970; a dash where there is no such moment."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else "–"


def count(number: int, one: str, many: str = "") -> str:
    """`1 tile`, `6,000 tiles`; `many` only where the plural is not just an s more."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def rounded(number: float, digits: int) -> str:
    """`0.31`, `12`, `5,700`: rounded to so many significant digits, and never written with an exponent."""
    return f"{Decimal(f'{number:.{digits}g}'):,f}"


def rate(tiles_per_second: float) -> str:
    """`1,234 tiles/s`; one decimal below ten."""
    number = f"{tiles_per_second:.1f}" if tiles_per_second < 9.95 else f"{tiles_per_second:,.0f}"
    return f"{number} tiles/s"


def percent(fraction: float) -> str:
    """`71.3 %`, from a fraction; the space does not break."""
    return f"{100 * fraction:.1f}\N{NO-BREAK SPACE}%"


def share(fraction: float) -> str:
    """`71 %`, `0.4 %`: no decimals where there are whole percents, from a fraction; the space does not break."""
    return f"{100 * fraction:.{1 if 0 < fraction < 0.0095 else 0}f}\N{NO-BREAK SPACE}%"


def often(number: int) -> str:
    """`once`, `twice`, `12 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def probability(value: float) -> str:
    """Whole percents but near the ends, where they would claim certainty: `87 %`, `99.7 %`, `above 99.9 %`."""
    if value > 0.9995:
        return f"above {percent(0.999)}"
    return percent(value) if value > 0.985 or value < 0.015 else share(value)


def signed(value: float) -> str:
    """`+0.341`, `−1.200`: with its sign, which is half of what a filter says."""
    text = f"{value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", "−")


def milliseconds(value: float) -> str:
    """`0.0421 ms`, `12.3 ms`, `1,234 ms`: three digits; the space does not break."""
    return f"{f'{value:,.0f}' if value >= 999.5 else f'{value:.3g}'}\N{NO-BREAK SPACE}ms"


def printable(name: str, most: int) -> str:
    """A name from outside, cut to `most` characters; what would not show, or would do something, is a question mark."""
    return "".join(each if each.isprintable() else "?" for each in name)[:most]


def points(difference: float) -> str:
    """`4.2 percentage points`, from the difference of two fractions."""
    value = f"{100 * abs(difference):.1f}"
    return f"{value} percentage point{'' if value == '1.0' else 's'}"


def times(ratio: float) -> str:
    """`1.3 times`, `24 times`: two digits are as many as a measurement here deserves."""
    return f"{ratio:.0f} times" if ratio >= 9.95 else f"{ratio:.1f} times"


def factor(ratio: float) -> str:
    """`0.87`, `1.30`, `2.4`, `24`: how many times as fast, as precise as it is told from 1."""
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.2f}" if ratio < 1.995 else f"{ratio:.1f}"


def bytes_text(number: float) -> str:
    """`412 MB`, `1.9 GB`, `20 kB`; MB = 1024² bytes, as in the table of the model."""
    megabytes = number / 1024**2
    if 0 < megabytes < 0.05:  # else it would be 0.0 MB
        return f"{max(number / 1024, 1):.0f} kB"
    if megabytes >= 1023.5:
        return f"{megabytes / 1024:.1f} GB"
    return f"{megabytes:.1f} MB" if megabytes < 9.95 else f"{megabytes:.0f} MB"


def device_name(device: str) -> str:
    """`CPU`, `GPU 0`, `Apple GPU`: torch's name of a device in words."""
    if device.startswith("cuda:"):
        return f"GPU {device[5:]}"
    return {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}.get(device, device)


def listed(words: list[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def sentences(name: str) -> dict[str, Any]:
    """The sentences that lie in `assets/NAME.toml`."""
    return tomllib.loads((ASSETS / f"{name}.toml").read_text(encoding="utf-8"))


def filled(template: str, **figures: Any) -> str:
    """A template of `assets`, such as `pytorch/train.py.j2`, with its figures; in one of HTML they are escaped."""
    return _templates().get_template(template).render(**figures)


@lru_cache(maxsize=1)
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    return Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
