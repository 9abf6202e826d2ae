"""A participant's report to take home: one HTML file that opens anywhere, with nothing to be fetched.

It holds the guesses beside the measurements, each run's figures, settings, machine and versions, and what was mistaken
for what. The page is `assets/report.html.j2`; here stand its figures.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

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
from eurosat_core.charts.palette import GREY, SERIES
from eurosat_core.data.pictures import class_titles
from eurosat_core.runs.record import RunRecord
from eurosat_core.training.choices import machine_table, settings_table
from eurosat_core.training.evaluation import Evaluation
from eurosat_core.words.say import say, say_each

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
    said: Iterable[tuple[str, Sequence[str]]] = (),
    measured: Iterable[tuple[str, RunRecord]] = (),
    now: float | None = None,
) -> str:
    """The whole page.

    Args:
        owner: The participant.
        runs: The participant's; the first is what the others are held against; may be none.
        guesses: Those of the lesson.
        tile_guesses: The participant's own answers to tiles.
        said: The lesson's sentences, each with what was found for it.
        measured: Names and records of experiments and profiles, for their settings and machines.
        now: Since 1970, in seconds.
    """
    figures = run_figures(runs)
    learned = [each for each in map(_curve, runs) if len(each["points"]) > 1]
    records = [*((each.label, each.record) for each in runs), *measured]
    return filled_report(
        "report.html.j2",
        now,
        owner=owner,
        runs=wording.count(len(runs), "run"),
        said=list(said),
        guesses=[astuple(each) for each in guesses],
        figures=[_figures(each) for each in figures],
        same_tiles=say(same_tiles(runs)) if len(runs) > 1 else "",
        reasons=say_each(each.speed_up_reason for each in figures),
        scored=[_bar(each, each.accuracy, wording.percent) for each in figures if each.accuracy is not None],
        timed=[_bar(each, each.seconds, wording.duration) for each in figures if each.seconds is not None],
        labels=("", *(each.label for each in runs)),
        different=[(each.title, *each.values) for each in differences(runs)],
        learned=learned,
        furthest=max((each["points"][-1][0] for each in learned), default=1),
        classifiers=[_classifier(*each) for each in classifiers(runs, tile_guesses).items()],
        made_with=[(label, list(settings_table(record.config).items()), _facts(record)) for label, record in records],
    )


def filled_report(template: str, now: float | None = None, **figures: Any) -> str:
    """A report's page, with what all of them say. now: since 1970, in seconds."""
    return wording.filled(
        template,
        width=640,
        colours=SERIES,
        grey=GREY,
        citation=CITATION,
        version=__version__,
        day=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time.time() if now is None else now)),
        **figures,
    )


def _figures(figures: RunFigures) -> tuple[str, ...]:
    speed_up = "–" if figures.speed_up is None else f"{figures.speed_up:.2f}"
    return (
        figures.label,
        "–" if figures.accuracy is None else wording.percent(figures.accuracy),
        "–" if figures.macro_f1 is None else wording.percent(figures.macro_f1),
        "–" if figures.seconds is None else wording.duration(figures.seconds),
        "–" if figures.tiles_per_second is None else wording.rate(figures.tiles_per_second),
        speed_up + (" (no difference we can measure)" if figures.within_noise else ""),
        f"{figures.state}; {figures_note(figures)}",
    )


def _bar(figures: RunFigures, value: float, words: Callable[[float], str]) -> dict[str, Any]:
    """pale: it was not measured here."""
    return {"name": figures.label, "value": value, "words": words(value), "pale": bool(figures.recorded_on)}


def _curve(run: Contender) -> dict[str, Any]:
    """Accuracy after each epoch, from chance on."""
    chance = 1 / max(len(run.record.tiles.class_names), 1)
    points = [(0, chance), *((done.epoch, done.val_accuracy) for done in run.history.epochs)]
    return {"name": run.label, "points": points}


def _classifier(label: str, evaluation: Evaluation) -> dict[str, Any]:
    titles = list(class_titles(evaluation.class_names).values())
    fits = len(titles) <= _MATRIX_CLASSES
    accuracy, tiles = wording.percent(evaluation.accuracy), wording.count(evaluation.tiles, "tile")
    return {
        "label": label,
        "sentence": f"{accuracy} of {tiles} named correctly.",
        "head": ("true class ↓ / called →", *titles),
        "matrix": [(title, *row) for title, row in zip(titles, evaluation.confusion, strict=True)] if fits else [],
        "scores": [
            (title, *(_share(figure) for figure in (each.precision, each.recall, each.f1)), each.tiles)
            for title, each in zip(titles, evaluation.scores(), strict=True)
        ],
        "remarks": say_each(score_remarks(evaluation)),
    }


def _share(figure: float | None) -> str:
    return "none" if figure is None else wording.percent(figure)


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    facts = {
        "Run": record.id,
        "State": f"{record.state}. {record.message}".strip(". "),
        "Tiles": f"{record.tiles.count:,} ({record.tiles.source}, fingerprint {record.tiles.fingerprint[:12]})",
        "Started": wording.clock(record.started),
        "Ended": wording.clock(record.ended),
        "Ran beside it": wording.listed(list(record.company)) or "nothing",
        **machine_table(record.machine),
    }
    if record.recorded_on:
        facts["Recorded on"] = record.recorded_on
    return list(facts.items())
