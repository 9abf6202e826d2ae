"""`compare RUN RUN …` and `bundle export|import`: stored runs side by side, and from one lab to another."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eurosat_core.commands.request import Result
from eurosat_core.errors import ConfigError
from eurosat_core.settings import Settings

if TYPE_CHECKING:
    from eurosat_core.analysis.contenders import RunFigures
    from eurosat_core.finding import Finding


def register(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands. add: makes a parser of (name, about, command, show)."""
    compare = add("compare", "Accuracy, time and speed-up of runs, side by side.", _compare, _show_compare)
    compare.add_argument(
        "runs", nargs="+", metavar="RUN", help="runs by name; the first is what others are held against"
    )
    bundle = add("bundle", "Take runs from one lab to another.", _bundle, _show_bundle)
    bundle.add_argument("action", choices=("export", "import"))
    bundle.add_argument("names", nargs="+", metavar="RUN|FILE", help="runs to export, or the one file to import")
    bundle.add_argument("--to", type=Path, metavar="FILE", help="export into this file")
    bundle.add_argument("--weights", action="store_true", help="export the trained networks, too")
    bundle.add_argument(
        "--owner", help="import them for the participant with this nickname; by default they stay whose they were"
    )


def _compare(options: argparse.Namespace, settings: Settings) -> Result:
    from dataclasses import asdict

    from eurosat_core.analysis.contenders import differences, run_figures, same_tiles, stored_contenders
    from eurosat_core.analysis.verdicts import (
        accuracy_verdict,
        device_pairs,
        device_verdict,
        repeated_accuracies,
        speed_verdict,
        split_verdict,
    )
    from eurosat_core.finding import distinct
    from eurosat_core.runs.store import RunStore

    store = RunStore(settings.runs)
    runs = stored_contenders(store, options.runs)
    if len(runs) < 2:
        raise ConfigError("Name at least two different runs to compare.")
    first, others = runs[0], runs[1:]
    found = [each for other in others for each in (accuracy_verdict(other, first), speed_verdict(first, other))]
    for cpu, other in device_pairs(runs):
        found.append(device_verdict(cpu, other, repeated_accuracies(cpu.record, store.all()[0])))
    split = split_verdict(runs)
    found += [split] if split.kind == "both" else []
    return {
        "runs": [_figures(each) for each in run_figures(runs)],
        "same_tiles": _said(same_tiles(runs)),
        "differences": [asdict(each) for each in differences(runs)],
        "findings": [_said(each) for each in distinct(found)],
    }, 0


def _figures(figures: "RunFigures") -> dict[str, Any]:
    from dataclasses import asdict

    from eurosat_core.words.say import say

    reason = figures.speed_up_reason
    return {**asdict(figures), "speed_up_reason": say(reason) if reason else ""}


def _said(found: "Finding") -> dict[str, str]:
    from eurosat_core.words.say import say

    return {"kind": found.kind, "text": say(found)}


def _show_compare(result: dict[str, Any]) -> str:
    rows = [("", "accuracy", "seconds", "tiles/s", "speed-up", "measured on")]
    for each in result["runs"]:
        where = f"{each['device_name']}, {each['threads']} threads" if each["threads"] else each["device_name"]
        if each["recorded_on"]:
            where += f"; recorded on {each['recorded_on']}"
        if each["company"]:
            where += f"; {len(each['company'])} beside it"
        figures = (
            _number(each["accuracy"], ".2%"),
            _number(each["seconds"], ",.1f"),
            _number(each["tiles_per_second"], ",.0f"),
            _number(each["speed_up"], ".2f") + (" (noise)" if each["within_noise"] else ""),
        )
        rows.append((each["label"], *figures, where))
    lines = [*_table(rows), "", "What differs:"]
    lines += _table([(f"  {each['title']}", *each["values"]) for each in result["differences"]]) or ["  nothing"]
    sentences = [result["same_tiles"]["text"], *(each["text"] for each in result["findings"])]
    return "\n".join([*lines, "", *dict.fromkeys(sentences)])


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _bundle(options: argparse.Namespace, settings: Settings) -> Result:
    from eurosat_core.classroom.participants import Participants
    from eurosat_core.runs.bundles import export_bundle, import_bundle
    from eurosat_core.runs.store import RunStore

    store = RunStore(settings.runs)
    if options.action == "export":
        if options.to is None:
            raise ConfigError("Name the file to export into: bundle export RUN … --to FILE.")
        export_bundle(store, options.names, options.to, weights=options.weights)
        runs = list(dict.fromkeys(options.names))
        return {"file": str(options.to), "bytes": options.to.stat().st_size, "exported": runs}, 0
    if len(options.names) != 1 or options.to is not None or options.weights:
        raise ConfigError("Name the one file to import: bundle import FILE.")
    people = Participants(settings.runs / "participants.jsonl")
    owner = options.owner and (people.id_of(options.owner) or options.owner)
    result = import_bundle(store, Path(options.names[0]), owner=owner)
    added = [
        {"run_id": each.id, "owner": people.name(each.owner), "recorded_on": each.recorded_on} for each in result.added
    ]
    return {"text": result.text, "added": added, "known": [each.id for each in result.known]}, 0


def _show_bundle(result: dict[str, Any]) -> str:
    from eurosat_core.wording import bytes_text, count

    if "exported" in result:
        return f"{result['file']}: {count(len(result['exported']), 'run')}, {bytes_text(result['bytes'])}."
    lines = [f"  {each['run_id']}  of {each['owner']}, recorded on {each['recorded_on']}" for each in result["added"]]
    return "\n".join([result["text"], *lines])
