"""Texts of `assets` as patterns: tests ask for what a screen tells by its kind and figures, whatever its wording."""

import re
import string
from typing import Any

from eurosat_core.words.say import FILTERS, templates
from pages.parts import lesson


def in_a_line(text: str) -> str:
    """Without what is only for the eye: emphasis, and where its lines end."""
    return re.sub(r"\s+", " ", re.sub(r"[*`]", "", text))


def told_as(name: str, **figures: Any) -> re.Pattern[str]:
    """What a text looks like in a line: of a finding, in whatever variant (`profile.step`), or with one
    (`profile.step.one`); or of a section of a lesson (`profiler/uploaded`).

    figures: what must stand at the places of these names, as it is written there. At all others anything may.
    """
    return re.compile("|".join(_pattern(each, figures).replace(r"\ ", r"\s+") for each in _texts(name)))


def _texts(name: str) -> list[str]:
    page, is_lesson, section = name.partition("/")
    if is_lesson:
        return [lesson.text(page)[section]]
    topic, _, kind = name.partition(".")
    found = [each for key, each in templates(topic).items() if key == kind or key.startswith(f"{kind}.")]
    assert found, f"no such finding: {name}"
    return found


def _pattern(template: str, figures: dict[str, Any]) -> str:
    pattern = ""
    for literal, field, form, _ in string.Formatter().parse(template):
        pattern += re.escape(in_a_line(literal))
        if field is not None:
            pattern += re.escape(in_a_line(_written(figures[field], form or ""))) if field in figures else ".+?"
    return pattern


def _written(value: Any, form: str) -> str:
    name, _, argument = form.partition(" ")
    return FILTERS[name](value, argument) if name in FILTERS else format(value, form)
