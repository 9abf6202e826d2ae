"""A participant's report to take home: one HTML file that opens anywhere, with nothing to be fetched.

It holds the guesses beside the measurements, each run's figures, settings, machine and versions, and what was mistaken
for what. Every text is escaped; charts are SVG inside the page, and a policy in its head forbids all requests.
"""

import html
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eurosat_core import __version__, wording
from eurosat_core.charts import svg
from eurosat_core.data.pictures import class_titles
from eurosat_core.lab.choices import settings_table
from eurosat_core.lab.comparison import RunFigures, differences, run_figures, same_tiles
from eurosat_core.lab.comparison_frames import figures_note
from eurosat_core.lab.confusion import score_remarks
from eurosat_core.lab.contenders import Contender, classifiers
from eurosat_core.lab.form_words import machine_table
from eurosat_core.lab.run_record import RunRecord
from eurosat_core.training.evaluation import Evaluation

__all__ = ["CITATION", "Guessed", "report_html"]

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
        svg.Bar(each.label, each.seconds, wording.duration(each.seconds), pale=bool(each.recorded_on))
        for each in figures
        if each.seconds is not None
    ]
    scored = [
        svg.Bar(each.label, each.accuracy, wording.percent(each.accuracy), pale=bool(each.recorded_on))
        for each in figures
        if each.accuracy is not None
    ]
    parts = [_table(head, rows), f"<p>{_text(same_tiles(runs).text)}</p>" if len(runs) > 1 else "", _list(reasons)]
    parts += [svg.bars("Validation accuracy", scored)] if scored else []
    parts += [svg.bars("Time of the whole training (pale: recorded elsewhere)", timed)] if timed else []
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
        svg.Line(each.label, ((0.0, 1 / max(len(each.record.tiles.class_names), 1)), *points))
        for each in runs
        if (points := tuple((float(done.epoch), done.val_accuracy) for done in each.history.epochs))
    ]
    return svg.lines("Validation accuracy after each epoch; each line begins at chance", rows, "Epochs") if rows else ""


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
