"""The instructor's report: every round with its votes and gain, what was run, and nobody's name."""

import re

from run_makers import make_record

from eurosat_core.analysis.leaders import Board, Entry
from eurosat_core.analysis.rounds import Bar
from eurosat_core.wording import percent
from eurosat_core.words.room_report import AskedRound, room_report_html
from tests.words.test_report import EVIL, Page, refers_to_nothing

BARS = (Bar("about 30", 7, 2, False), Bar("about 70", 3, 9, True))
ROUND = AskedRound(1, "How many are right?", BARS, "71 % after 3 epochs.", "3 were right at first.", 6 / 7)
OPEN = AskedRound(2, "And now?", (Bar("yes", 4, 0, False), Bar("no", 1, 0, False)), "", "Nobody knows.", None)
BOARD = Board(
    (
        Entry("ada", "r1", "Baseline CNN", 0.8125, 61.0, 338_486),
        Entry("ada", "r2", "Baseline CNN", 0.7, 30.0, 338_486),
        Entry("bob", "r3", "Own network", 0.75, 12.0, 922),
    ),
    others=2,
)
RUNS = [make_record(owner="ada"), make_record(owner="bob", state="failed"), make_record(kind="sweep", owner="ada")]


def cells(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_each_round_with_its_votes_before_and_after_what_was_measured_and_the_gain() -> None:
    page = room_report_html(12, [ROUND, OPEN], RUNS, BOARD, [("Random seed", "The spread is 3 points.")], now=0.0)
    refers_to_nothing(page)
    rows = cells(page)
    assert ["How many are right?", "3 of 10 right", "9 of 11 right", percent(6 / 7)] in rows
    assert ["And now?", "5 votes", "–", "–"] in rows
    assert re.findall(r">(\d+)</text>", page) == ["7", "2", "3", "9", "4", "0", "1", "0"]
    text = Page(page).text
    for words in ("12 participants", "3 runs", ROUND.measured, ROUND.outcome, "The spread is 3 points.", "1970-01-01"):
        assert words in text, words


def test_runs_are_counted_and_each_participants_best_is_there_without_a_name() -> None:
    page = room_report_html(2, [], RUNS, BOARD)
    rows = cells(page)
    assert ["Trainings", "1", "1", "0"] in rows and ["Measurements", "1", "0", "0"] in rows
    leaders = [row for row in rows if len(row) == 5 and row[0] in ("1", "2")]
    assert [(row[0], row[3], row[4]) for row in leaders] == [
        ("1", "338,486", "Baseline CNN"),
        ("2", "922", "Own network"),
    ]
    assert "ada" not in page and "bob" not in page


def test_it_can_be_made_before_anything_happened() -> None:
    page = room_report_html(0, [], [], Board())
    refers_to_nothing(page)
    assert "<td>" not in page


def test_words_from_outside_are_words() -> None:
    evil = AskedRound(1, EVIL, (Bar(EVIL, 1, 1, True),), EVIL, EVIL, 1.0)
    board = Board((Entry(EVIL, EVIL, EVIL, 0.5, 1.0, 1),))
    page = room_report_html(1, [evil], [make_record(owner=EVIL, message=EVIL)], board, [(EVIL, EVIL)])
    refers_to_nothing(page)
    assert "<script" not in page and page.count("&lt;script&gt;") >= 6
