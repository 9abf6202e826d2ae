"""Small charts as inline SVG, for the report that opens without a server: bars and lines, every word escaped.

A participant's report to take home: one HTML file that opens anywhere, with nothing to be fetched.

It holds the guesses beside the measurements, each run's figures, settings, machine and versions, and what was mistaken
for what. Every text is escaped; charts are SVG inside the page, and a policy in its head forbids all requests.
"""

import html
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eurosat_core import __version__, wording
from eurosat_core.analysis.confusion import score_remarks
from eurosat_core.analysis.contenders import (
    Contender,
    RunFigures,
    classifiers,
    differences,
    figures_note,
    run_figures,
    same_tiles,
)
from eurosat_core.data.pictures import class_titles
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.choices import machine_table, settings_table
from eurosat_core.training.evaluation import Evaluation

_COLOURS = ("#2A8CD6", "#DB7B0B", "#2F9E8F", "#B5559F", "#8F8F2E", "#CC6677", "#7A8490", "#6C74D6")
_DASHES = ("", "7 4", "2 3", "9 3 2 3")
_WIDTH = 640


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its length, the figure in words. pale: it was not measured here."""

    name: str
    value: float
    words: str
    pale: bool = False


@dataclass(frozen=True)
class Line:
    """One line: its name, and its points (x, y)."""

    name: str
    points: tuple[tuple[float, float], ...]


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Bars below each other, the name above each and its figure beside it; lengths from 0 to the longest."""
    longest = max((each.value for each in rows), default=0.0) or 1.0
    parts = []
    for at, each in enumerate(rows):
        top = 44 * at
        width = max(1.0, (_WIDTH - 150) * max(each.value, 0.0) / longest)
        look = 'fill-opacity=".3" stroke-dasharray="4 3"' if each.pale else ""
        parts.append(
            f'<text x="0" y="{top + 14}">{html.escape(each.name)}</text>'
            f'<rect x="1" y="{top + 20}" width="{width:.1f}" height="16" rx="3" fill="{_COLOURS[0]}" '
            f'stroke="{_COLOURS[0]}" {look}/>'
            f'<text x="{width + 8:.1f}" y="{top + 33}">{html.escape(each.words)}</text>'
        )
    return _svg(title, "".join(parts), 44 * len(rows) + 4)


def lines(title: str, rows: Sequence[Line], x_name: str, *, highest: float = 1.0) -> str:
    """Lines over a common axis that begins at 0, with a legend above; y is a share, drawn up to `highest`."""
    furthest = max((x for each in rows for x, _ in each.points), default=0.0) or 1.0
    legend = 22 * len(rows)
    left, right, top, bottom = 52, _WIDTH - 12, legend + 16, legend + 256

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (right - left) * x / furthest, bottom - (bottom - top) * min(y / highest, 1.0)

    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, y = place(0, share * highest)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#8A8F98" stroke-opacity=".4"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 5:.1f}" text-anchor="end">{100 * share * highest:.0f} %</text>')
    for at, each in enumerate(rows):
        look = f'stroke="{_COLOURS[at % len(_COLOURS)]}" stroke-dasharray="{_DASHES[at % len(_DASHES)]}"'
        parts.append(f'<line x1="0" y1="{22 * at + 10}" x2="34" y2="{22 * at + 10}" stroke-width="3" {look}/>')
        parts.append(f'<text x="42" y="{22 * at + 15}">{html.escape(each.name)}</text>')
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in each.points))
        parts.append(f'<polyline points="{drawn}" fill="none" stroke-width="2.5" {look}/>')
    axis = f'<text x="{right}" y="{bottom + 24}" text-anchor="end">{html.escape(x_name)}: 0 to {furthest:g}</text>'
    return _svg(title, "".join(parts) + axis, bottom + 32)


def _svg(title: str, body: str, height: float) -> str:
    return (
        f'<figure><figcaption>{html.escape(title)}</figcaption><svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        f'aria-label="{html.escape(title)}">{body}</svg></figure>'
    )


CITATION = (
    "EuroSAT: P. Helber, B. Bischke, A. Dengel, D. Borth, “EuroSAT: A Novel Dataset and Deep Learning Benchmark for "
    "Land Use and Land Cover Classification”, 2019; contains modified Copernicus Sentinel data."
)
_MATRIX_CLASSES = 30  # a larger table cannot be read any more


@dataclass(frozen=True)
class Guessed:
    """One guess of the lesson: what was asked, what the participant said, and what the measurement came to."""

    question: str
    guess: str
    measured: str


def report_html(
    owner: str,
    runs: Sequence[Contender],
    *,
    guesses: Iterable[Guessed] = (),
    tile_guesses: Evaluation | None = None,
    findings: Iterable[str] = (),
    said: Iterable[tuple[str, Sequence[str]]] = (),
    measured: Iterable[tuple[str, RunRecord]] = (),
    now: float | None = None,
) -> str:
    """The whole page. runs: the participant's, the first is what the others are held against; may be none.

    tile_guesses: the participant's own answers to tiles. findings: sentences that pages computed. said: the lesson's
    sentences, each with what was found for it. measured: names and records of experiments and profiles, for their
    settings and machines. now: since 1970, in seconds.
    """
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time.time() if now is None else now))
    trained = [(each.label, each.record) for each in runs]
    parts = [
        f"<h1>EuroSAT Lab: report of {_text(owner)}</h1>",
        f"<p>{_text(day)} · EuroSAT Lab {_text(__version__)} · {wording.count(len(runs), 'run')}</p>",
        _section("What I found", _list(findings) + "".join(_said(text, found) for text, found in said)),
        _section("Guessed and measured", _guesses(list(guesses))),
        _section("My runs", _runs(runs)),
        _section("Learning curves", _curves(runs)),
        _section("What was mistaken for what", _confusions(runs, tile_guesses)),
        _section("Settings and machines", "".join(_made_with(*each) for each in [*trained, *measured])),
        f"<footer><p>{_text(CITATION)}</p></footer>",
    ]
    return f'<!DOCTYPE html>\n<html lang="en">\n{_HEAD}\n<body>\n<main>{"".join(parts)}</main>\n</body>\n</html>\n'


def _text(value: object) -> str:
    return html.escape(str(value))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{body}</section>" if body else ""


def _list(sentences: Iterable[str]) -> str:
    rows = "".join(f"<li>{_text(each)}</li>" for each in sentences)
    return f"<ul>{rows}</ul>" if rows else ""


def _said(text: str, found: Sequence[str]) -> str:
    return f"<h3>“{_text(text)}”</h3>{_list(found)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """A table whose first column names the rows; all cells are escaped."""
    top = "".join(f'<th scope="col">{_text(each)}</th>' for each in head)
    body = "".join(
        f'<tr><th scope="row">{_text(first)}</th>{"".join(f"<td>{_text(each)}</td>" for each in rest)}</tr>'
        for first, *rest in rows
    )
    heading = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="wide"><table class="{kind}">{heading}<tbody>{body}</tbody></table></div>' if body else ""


def _guesses(guesses: Sequence[Guessed]) -> str:
    rows = [(each.question, each.guess, each.measured) for each in guesses]
    return _table(("Question", "My guess", "Measured"), rows)


def _runs(runs: Sequence[Contender]) -> str:
    if not runs:
        return "<p>No run yet. Train one, and its figures stand here.</p>"
    figures = run_figures(runs)
    rows = [
        (
            each.label,
            "–" if each.accuracy is None else wording.percent(each.accuracy),
            "–" if each.macro_f1 is None else wording.percent(each.macro_f1),
            "–" if each.seconds is None else wording.duration(each.seconds),
            "–" if each.tiles_per_second is None else wording.rate(each.tiles_per_second),
            _speed_up(each),
            f"{each.state}; {figures_note(each)}",
        )
        for each in figures
    ]
    head = ("Run", "Accuracy", "F1 (mean)", "Time", "Speed", "Speed-up", "Measured on")
    reasons = dict.fromkeys(each.speed_up_reason for each in figures if each.speed_up_reason)
    timed = [
        Bar(each.label, each.seconds, wording.duration(each.seconds), pale=bool(each.recorded_on))
        for each in figures
        if each.seconds is not None
    ]
    scored = [
        Bar(each.label, each.accuracy, wording.percent(each.accuracy), pale=bool(each.recorded_on))
        for each in figures
        if each.accuracy is not None
    ]
    parts = [_table(head, rows), f"<p>{_text(same_tiles(runs).text)}</p>" if len(runs) > 1 else "", _list(reasons)]
    parts += [bars("Validation accuracy", scored)] if scored else []
    parts += [bars("Time of the whole training (pale: recorded elsewhere)", timed)] if timed else []
    different = [(each.title, *each.values) for each in differences(runs)]
    if different:
        parts.append("<h3>In what they differ</h3>" + _table(("", *(each.label for each in runs)), different))
    return "".join(parts)


def _speed_up(figures: RunFigures) -> str:
    if figures.speed_up is None:
        return "–"
    return f"{figures.speed_up:.2f}" + (" (no difference we can measure)" if figures.within_noise else "")


def _curves(runs: Sequence[Contender]) -> str:
    rows = [
        Line(each.label, ((0.0, 1 / max(len(each.record.tiles.class_names), 1)), *points))
        for each in runs
        if (points := tuple((float(done.epoch), done.val_accuracy) for done in each.history.epochs))
    ]
    return lines("Validation accuracy after each epoch; each line begins at chance", rows, "Epochs") if rows else ""


def _confusions(runs: Sequence[Contender], tile_guesses: Evaluation | None) -> str:
    parts = []
    for label, evaluation in classifiers(runs, tile_guesses).items():
        titles = class_titles(evaluation.class_names)
        said = f"{wording.percent(evaluation.accuracy)} of {wording.count(evaluation.tiles, 'tile')} named correctly."
        parts.append(f"<h3>{_text(label)}</h3><p>{_text(said)}</p>")
        if len(titles) <= _MATRIX_CLASSES:
            head = ("true class ↓ / called →", *titles.values())
            counts = zip(titles.values(), evaluation.confusion, strict=True)
            parts.append(_table(head, ((title, *row) for title, row in counts), "matrix"))
        scores = [
            (titles[each.name], *(_share(figure) for figure in (each.precision, each.recall, each.f1)), each.tiles)
            for each in evaluation.scores()
        ]
        parts.append(_table(("Class", "Precision", "Recall", "F1", "Tiles"), scores))
        parts.append(_list(score_remarks(evaluation)))
    return "".join(parts)


def _share(figure: float | None) -> str:
    return "none" if figure is None else wording.percent(figure)


def _made_with(label: str, record: RunRecord) -> str:
    facts = {
        "Run": record.id,
        "Participant": record.owner,
        "State": f"{record.state}. {record.message}".strip(". "),
        "Tiles": f"{record.tiles.count:,} ({record.tiles.source}, fingerprint {record.tiles.fingerprint[:12]})",
        "Started": _clock(record.started),
        "Ended": _clock(record.ended),
        "Ran beside it": wording.listed(list(record.company)) or "nothing",
        **machine_table(record.machine),
    }
    if record.recorded_on:
        facts["Recorded on"] = record.recorded_on
    settings = _table((), settings_table(record.config).items())
    return (
        f"<details><summary>{_text(label)}</summary><h4>Settings</h4>{settings}"
        f"<h4>Machine, versions and times</h4>{_table((), facts.items())}</details>"
    )


def _clock(seconds: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else "–"


# The policy forbids the browser to load anything from anywhere; only styles that stand in this page are used.
_HEAD = """<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>EuroSAT Lab: report</title>
<style>
:root { color-scheme: light dark; --line: #8a8f9866; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.3rem; border-bottom: 1px solid var(--line); } h3 { font-size: 1.1rem; }
.wide { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { border: 1px solid var(--line); padding: .25rem .5rem; text-align: left; vertical-align: top; }
.matrix td { text-align: right; }
figure { margin: 1.2rem 0; } figcaption { font-weight: 600; } svg { width: 100%; max-width: 640px; height: auto; }
svg text { fill: currentColor; font: 14px system-ui, sans-serif; }
summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
footer { font-size: .85rem; border-top: 1px solid var(--line); margin-top: 2rem; }
</style>
</head>"""
