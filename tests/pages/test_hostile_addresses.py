"""Addresses that somebody made: whatever stands in one, each page is drawn, and says it in a sentence or not at all."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.lab.lab import Lab
from tests.pages.conftest import App, checked
from tests.pages.test_markup import raw

pytestmark = pytest.mark.hostile

FOLDER = Path(__file__).parents[2] / "pages"
PAGES = [path.name for path in sorted(FOLDER.glob("*.py")) if path.stem not in ("__init__", "main")]
LOOKS_ON = "see"  # then another's page is asked for, in place of one's own
PARAMETERS = {LOOKS_ON, "run", "runs", "trace", "net", "network", "experiment", "who"}
VALUES = {
    "a way out": "../../../../etc/passwd",
    "a way out of Windows": "..\\..\\..\\windows\\win.ini",
    "another machine": "//evil.example/share",
    "a script": "<script>alert(1)</script>",
    "a picture from elsewhere": "![x](//evil.example/x.png)",
    "an address that is a script": "javascript:alert(1)",
    "signs that turn the line": "20200101\u202e-000000\u2066-baseline-abcd",
    "a zero": "20200101-000000-baseline-abcd\x00.json",
    "no characters": "\ufffd\ufffe\uffff",
    "lines": "20200101-000000-baseline-abcd\n\n# Heading",
    "very long": "a" * 60_000,
    "very many": ",".join(["20200101-000000-baseline-abcd"] * 5_000),
    "nested": "(" * 50_000,
    "a format": "{0.__class__.__init__.__globals__}%s%n",
    "a template": "{{ 31337 * 31337 }}${31337 * 31337}",
    "a pickle": "gASVHgAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg==",
    "a database": "' OR 1=1; DROP TABLE runs; --",
    "a huge number": "9" * 5_000,
    "no number": "NaN",
    "JSON": '{"run": {"$ne": null}}',
    "a network without end": "conv 64 5, " * 5_000,
    "a huge network": "conv 999999999 999999, linear 999999999",
}


def test_these_are_all_parameters_that_a_page_reads() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.py"))
    read = re.findall(r"""query_params(?:\.get\(|\.pop\(|\[)"(\w+)\"""", code)
    named = re.findall(r"""^(?:_IN_URL|_NET) = "(\w+)\"""", code, re.MULTILINE)
    assert {*read, *named} == PARAMETERS
    assert set(re.findall(r"(?:asked|query_params\.get)\((_\w+)", code)) == {"_IN_URL", "_NET"}


@pytest.mark.parametrize("name", VALUES)
def test_each_page_is_drawn(lab: Lab, app: App, name: str) -> None:
    test = app()
    before = sorted(lab.settings.runs.rglob("*"))
    for page in PAGES:
        test.switch_page(page)
        for parameter in PARAMETERS - {LOOKS_ON}:
            test.query_params[parameter] = VALUES[name]
        checked(test.run())
        assert_only_words(test, VALUES[name])
    assert sorted(lab.settings.runs.rglob("*")) == before


@pytest.mark.parametrize("name", VALUES)
def test_nobodys_page_is_shown_for_what_is_no_participant(lab: Lab, app: App, name: str) -> None:
    test = app()
    test.query_params[LOOKS_ON] = VALUES[name]
    test.run()
    assert not test.exception and not test.error and len(test.info) == 1 and not test.title
    assert_only_words(test, VALUES[name])


def assert_only_words(test: AppTest, value: str) -> None:
    texts = raw(test)
    told = "\n".join(texts)
    for each in ("<script>", "![x]", "\u202e", "\u2066", "Traceback", "982007569", "root:x:", "__globals__': "):
        assert each not in told, [text for text in texts if each in text]
    assert len(value) < 3000 or value[:3000] not in told
