"""Findings as sentences: the templates of `assets/words`, filled in with figures.

A figure is shown through a filter: `{accuracy:percent}`, `{epochs:count epoch}`, `{guesses:count guess|guesses}`.
What a topic has under `phrase` is no sentence but stands within one, as a figure of its finding.
"""

import string
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from eurosat_core import wording
from eurosat_core.finding import Finding, distinct
from eurosat_core.speed.verdict import verdict_text


def _count(number: int | None, nouns: str) -> str:
    """`1 tile`, `6,000 tiles`; just `tiles` where the number is not known."""
    one, _, many = nouns.partition("|")
    return (many or f"{one}s") if number is None else wording.count(number, one, many)


def _listed(items: Sequence[Any], last: str) -> str:
    return wording.listed([_plain(each) for each in items], last or "and")


FILTERS: dict[str, Callable[[Any, str], str]] = {
    "bytes": lambda value, _: wording.bytes_text(value),
    "count": _count,
    "device": lambda value, _: wording.device_name(value),
    "duration": lambda value, _: wording.duration(value),
    "factor": lambda value, _: wording.factor(value),
    "listed": _listed,
    "ms": lambda value, _: wording.milliseconds(value),
    "often": lambda value, _: wording.often(value),
    "percent": lambda value, _: wording.percent(value),
    "points": lambda value, _: wording.points(value),
    "probability": lambda value, _: wording.probability(value),
    "rate": lambda value, _: wording.rate(value),
    "share": lambda value, _: wording.share(value),
    "signed": lambda value, _: wording.signed(value),
    "times": lambda value, _: wording.times(value),
    "verdict": lambda value, _: verdict_text(value),
}


class _Template(string.Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        name, _, argument = format_spec.partition(" ")
        if name in FILTERS:
            return FILTERS[name](value, argument)
        return format(_plain(value), format_spec)


def _plain(value: Any) -> Any:
    return say(value) if isinstance(value, Finding) else value


@lru_cache
def templates(topic: str) -> dict[str, str]:
    """The sentences of a topic by `kind` or `kind.variant`."""
    found: dict[str, str] = {}
    for kind, words in wording.sentences(f"words/{topic}").items():
        found |= {kind: words} if isinstance(words, str) else {f"{kind}.{name}": each for name, each in words.items()}
    return found


def say(finding: Finding) -> str:
    """The sentence of a finding, and of those that are told after it."""
    topic, _, name = finding.name.partition(".")
    sentence = _Template().vformat(templates(topic)[name], (), finding.figures)
    return " ".join([sentence, *map(say, finding.then)])


def say_each(findings: Iterable[Finding | None]) -> list[str]:
    """A sentence for each; what comes twice is said once."""
    return [say(each) for each in distinct(findings)]
