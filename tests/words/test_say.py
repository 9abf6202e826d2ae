"""Every finding has its sentence, and every sentence a finding; checked by reading the code and the assets."""

import ast
import re
import string
from pathlib import Path
from typing import Any

import pytest

from eurosat_core.finding import Finding
from eurosat_core.folders import ASSETS
from eurosat_core.speed.verdict import Verdict
from eurosat_core.words.say import FILTERS, say, say_each, templates

ROOT = Path(__file__).parents[2]
TOPICS = sorted(each.stem for each in (ASSETS / "words").glob("*.toml"))
NAMES = [f"{topic}.{name}" for topic in TOPICS for name in templates(topic)]
_NUMBERS: tuple[Any, ...] = (0, 1, 2, 12_345)
_BOUNDARIES: dict[str, tuple[Any, ...]] = {
    "count": (None, *_NUMBERS),
    "device": ("cpu", "cuda:0", "mps"),
    "verdict": (Verdict("unknown"), *(Verdict(each, 1.2, 1.1, 1.3) for each in ("faster", "same", "slower"))),
    "listed": (["one"], ["one", "two"], ["one", "two", "three"]),
    "": ("text.", 0, 12_345),
}


def made_names() -> set[str]:
    """Names that findings are made with in the code, as patterns: `[^.]+` for what an f-string fills in."""
    found = set()
    for path in (*ROOT.glob("eurosat_core/**/*.py"), *ROOT.glob("pages/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Finding"), args=[ast.IfExp(body=one, orelse=other), *_]):
                    found |= {_pattern(one), _pattern(other)}
                case ast.Call(func=ast.Name(id="Finding"), args=[name, *_]):
                    found.add(_pattern(name))
    return found


def _pattern(name: ast.expr) -> str:
    parts = name.values if isinstance(name, ast.JoinedStr) else [name]
    return "".join(re.escape(str(each.value)) if isinstance(each, ast.Constant) else "[^.]+" for each in parts)


def test_every_sentence_is_made_and_every_finding_has_one() -> None:
    made = made_names()
    unused = [name for name in NAMES if not any(re.fullmatch(each, name) for each in made)]
    missing = [each for each in made if not any(re.fullmatch(each, name) for name in NAMES)]
    assert (unused, missing) == ([], [])


def boundaries(template: str) -> list[dict[str, Any]]:
    """Figures for a template: each figure at each of its boundaries, all at once."""
    filters: dict[str, set[str]] = {}
    for _, field, spec, _ in string.Formatter().parse(template):
        if field:
            filters.setdefault(field, set()).add((spec or "").partition(" ")[0])
    sides = {}
    for field, used in filters.items():
        values = next((_BOUNDARIES[each] for each in sorted(used) if each in _BOUNDARIES and each), None)
        numeric = any(each in FILTERS or each for each in used)
        sides[field] = values or (_NUMBERS if numeric else _BOUNDARIES[""])
    most = max(map(len, sides.values()), default=1)
    return [{field: values[at % len(values)] for field, values in sides.items()} for at in range(most)]


@pytest.mark.parametrize("name", NAMES)
def test_every_sentence_at_every_boundary(name: str) -> None:
    topic, _, rest = name.partition(".")
    template = templates(topic)[rest]
    for figures in boundaries(template):
        sentence = say(Finding(name, figures))
        assert not re.search(r"[{}]|  |\bNone\b|\b1 [a-z]+[^s\W]s\b", sentence), sentence
        if not template.endswith("}") and not re.search(
            r"\.(phrase\.|title$)", name
        ):  # parts of sentences, and headings
            assert sentence.endswith((".", ".)", "?")), sentence


@pytest.mark.parametrize("topic", TOPICS)
def test_an_outcome_has_three_variants_at_most(topic: str) -> None:
    kinds = [name.partition(".")[0] for name in templates(topic) if "." in name and not name.startswith("phrase.")]
    assert {kind: kinds.count(kind) for kind in kinds if kinds.count(kind) > 3} == {}


def test_findings_in_findings_and_after_them() -> None:
    chance = Finding("training.guessing", {"chance": 0.1})
    failed = Finding("training.failed.early", {"reason": Finding("training.failed.no_reason")}, (chance,))
    assert (failed.kind, failed.variant, chance.variant) == ("failed", "early", "")
    assert say(failed).endswith(f"{say(Finding('training.failed.no_reason'))} {say(chance)}")
    assert say_each([chance, None, chance]) == [say(chance)]
