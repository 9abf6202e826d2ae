"""The report opens offline, holds everything, and lets no text become markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
from run_makers import TEN, USED, compared, make_record, said, seen, through

from eurosat_core.runs.history import History
from eurosat_core.training.config import recipe_config
from eurosat_core.training.evaluation import evaluate_predictions
from eurosat_core.words.report import CITATION, Guessed, report_html

EVIL = "<script>alert('x')</script>\"'&<img src=http://evil>"
LOADING = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "background", "formaction", "ping"}
VOID = {"meta", "br", "img", "input", "link", "rect", "line", "polyline"}
ANSWERS = said([0, 0, 1, 2], [0, 1, 1, 0])


class Page(HTMLParser):
    """Reads a page: its tags with attributes, its text, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def run(**changes: Any) -> Any:
    machine = {"device_name": "Test CPU", "threads": 2, "torch": "2.14.1"}
    record = make_record(config=recipe_config("baseline"), machine=machine, started=100.0, ended=200.0)
    return replace(record, **changes), through(0.3, 0.5), ANSWERS


def full() -> str:
    other = run(config=recipe_config("baseline", device="cuda:0", batch_size=256), recorded_on="H100, 3 May 2026")
    return report_html(
        "ada",
        compared(run(), other, (make_record(state="failed", message="Memory is full."), History(), None)),
        guesses=[Guessed("How much faster is a GPU?", "10×", "6.0 times")],
        tile_guesses=evaluate_predictions(ANSWERS.true, ANSWERS.true, TEN),
        said=[("I measure.", ["a larger batch: 1.5 times as fast"])],
        measured=[("Experiment: A larger batch", make_record(kind="sweep", machine={"torch": "2.14.7"}))],
        now=0.0,
    )


def refers_to_nothing(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "a"})
    for _, attributes in page.tags:
        assert LOADING.isdisjoint(attributes)
        assert not any(name.startswith("on") for name in attributes)
    outside = re.sub(r">[^<]*<", "><", text)  # what is no text
    assert not re.search(r"https?:|//|url\(|@import|javascript:|data:", outside)


def test_it_refers_to_nothing_outside() -> None:
    refers_to_nothing(full())
    policy = dict(next(each for each in Page(full()).tags if each[1].get("http-equiv"))[1])
    assert policy["content"].startswith("default-src 'none'")


def test_it_holds_everything() -> None:
    text = Page(full()).text
    for words in (
        "report of ada",
        "“I measure.”",
        "a larger batch: 1.5 times as fast",
        "Experiment: A larger batch",
        "2.14.7",
        "How much faster is a GPU?",
        "10×",
        "6.0 times",
        "Baseline CNN · GPU 0, recorded",
        "batch size",
        "Test CPU, 2 threads",
        "recorded on H100, 3 May 2026",
        "2.14.1",
        "Learning rate",
        "Memory is full",
        "You",
        "Precision",
        CITATION,
        "1970-01-01 00:03:20 UTC",
    ):
        assert words in text, words


def test_the_matrix_is_a_table_of_counts() -> None:
    text = full()
    (first, *_) = re.findall(r'<table class="matrix">(.*?)</table>', text, re.DOTALL)
    rows = re.findall(r"<tr>(.*?)</tr>", first)
    assert len(rows) == 11
    assert re.findall(r"<td>(\d+)</td>", rows[1]) == ["2", *["0"] * 9]


@pytest.mark.hostile
def test_every_text_is_escaped() -> None:
    names = (EVIL, *TEN[1:])
    record, history, predictions = run(
        owner=EVIL,
        message=EVIL,
        recorded_on=EVIL,
        concurrent_runs=(EVIL,),
        machine={"device_name": EVIL, EVIL: EVIL},
        tiles=replace(USED, class_names=names, source=EVIL, fingerprint=EVIL),
    )
    text = report_html(
        EVIL,
        compared((record, history, predictions), run(tiles=replace(USED, class_names=names))),
        guesses=[Guessed(EVIL, EVIL, EVIL)],
        tile_guesses=evaluate_predictions(predictions.true, predictions.predicted, names),
        said=[(EVIL, [EVIL])],
    )
    refers_to_nothing(text)
    assert text.count("&lt;script&gt;") > 10
    assert "<script" not in text


@pytest.mark.parametrize("runs", [(), compared((make_record(), seen(), None))])
def test_it_can_be_made_before_anything_was_learned(runs: Any) -> None:
    text = report_html("ada", runs)
    refers_to_nothing(text)
    assert "EuroSAT Lab" in text
