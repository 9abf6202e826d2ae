"""The contract's functions, the texts, and the glossary."""

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages.parts import lesson
from tests.pages.conftest import pills

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "assets" / "lessons").glob("*.md"))


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("note\n\n## a\none\n\ntwo\n## b \n\nthree\n", {"a": "one\n\ntwo", "b": "three"}),
        (
            "## a\n### sub\n```python\n## not a heading\n```\nend",
            {"a": "### sub\n```python\n## not a heading\n```\nend"},
        ),
        ("only a note", {}),
    ],
    ids=["by heading", "smaller headings and code", "none"],
)
def test_sections(text: str, sections: dict[str, str]) -> None:
    assert lesson.parse_sections(text) == sections


def test_a_heading_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'a'"):
        lesson.parse_sections("## a\n1\n## a\n2")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lesson_texts_are_short_and_kernel_is_never_said_alone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    sections = lesson.parse_sections(text)
    assert sections
    for heading, body in sections.items():
        assert body, heading
        read_before = path.stem == "instructor"
        assert len(body.split()) <= 150 or read_before, f"{heading} is too long to be read in a workshop"
    for line in text.lower().split("kernel")[:-1]:
        assert line.endswith(("gpu ", "call a ")), "say filter, or GPU kernel"


def test_the_glossary_explains_the_fields_terms() -> None:
    terms = {"Batch", "Step", "Epoch", "Loss", "Softmax", "Validation", "GPU kernel", "Stream", "Tile", "Split"}
    assert terms <= set(lesson.parse_sections((ROOT / "assets/lessons/glossary.md").read_text(encoding="utf-8")))


def test_code_as_a_diff() -> None:
    before = "\nmodel = Net()\nscores = model(tiles)\n"
    after = '\nmodel = Net().to("cuda")\nscores = model(tiles)\n'
    assert lesson.code_diff(before, after) == ('- model = Net()\n+ model = Net().to("cuda")\n  scores = model(tiles)')


def test_words_from_outside_are_no_markup_and_turn_no_direction_but_their_own() -> None:
    assert lesson.plain("a_b *c* $d$ :red[e]") == r"a\_b \*c\* \$d\$ \:red\[e\]"
    assert lesson.plain("&amp; x^2^") == r"\&amp; x\^2\^"
    assert lesson.plain("    code?\n===\n\n1) list") == r"code? \=\=\= 1\) list"
    assert lesson.plain("a\u202eb\u2066 c\u200f") == "ab c"
    name = "\u05e9\u05dc\u05d5\u05dd \u0627\u0628"
    assert lesson.plain(f"{name}'s 12") == f"\u2068{name}\u2069's 12"
    said = "Fetch it with `python -m eurosat_core prepare --weights vgg11_bn`, or a file with `--from FILE`."
    drawn = lesson.plain(said)
    assert "`python -m eurosat_core prepare --weights vgg11_bn`" in drawn
    assert "`--from FILE`" in drawn
    assert drawn.endswith(r"\.")


@pytest.mark.parametrize("words", ["`![x](//y)`", "a ` b", "``", "`a\n\n# b`c[`", "`$x$`", "`<b>`", "`:red[x]`"])
def test_what_stands_in_backticks_and_is_no_command_stays_words(words: str) -> None:
    assert not re.search(r"(?<!\\)[`!$<\[#]", lesson.plain(words).replace("`a # b`", ""))


def _elements() -> None:
    from pages.parts import lesson

    lesson.header("One line.", 7, "Do this.")
    answer = lesson.guess("size", "how large?", ["small", "large"])
    lesson.saw(f"answer {answer}, again {lesson.guessed('size')}")
    lesson.misconception("Bigger is better", "It is not.")
    lesson.show_pytorch("x = 1")
    lesson.show_pytorch("x = 1", "x = 2")


def test_elements_of_the_contract_and_a_guess_that_is_made_and_taken_back() -> None:
    test = AppTest.from_function(_elements, default_timeout=60).run()
    assert not test.exception
    assert test.subheader[0].value == "One line."
    assert [each.value for each in test.markdown if each.value.endswith("Do this.")]
    assert test.warning[0].value == "It is not."
    assert [each.language for each in test.code] == ["python", "python", "diff"]
    assert test.info[0].value == "answer None, again None"
    for answer in ("large", None):
        pills(test).set_value(answer).run()
        assert test.info[0].value == f"answer {answer}, again {answer}"
