"""Measuring steps: do the experiments keep their time, and do they come to the same verdict every time?

Each experiment is made several times over, each in a process of its own, since where a network happens to lie in
memory is part of what differs from one try to the next. Two copies of one setting are an experiment too: what they
differ by is what `speed.verdict` must not call a difference. Then a race's projection against the training itself,
and predicted steps against measured ones.
"""

import statistics
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.processes import lab_answer, real_place, row
from eurosat_core.data.tiles import open_tiles
from eurosat_core.settings import Settings
from eurosat_core.speed.experiments import EXPERIMENTS

TRIES = 10
_WITHIN = 1.3  # of the stated time
_MODEL = "baseline"
_EPOCHS = 10


def run(settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Make every experiment `TRIES` times. Raises `DataError` without real tiles."""
    place = real_place(settings, "sweep")
    tiles = open_tiles(place, settings.cache)
    rows = [_same_twice(place, say)]
    for name, one in EXPERIMENTS.items():
        if not one.needs_gpu:
            rows += _experiment(name, place, say)
    rows += _projection(place, say)
    rows += _predictions(place, say)
    return {"about": f"{TRIES} tries each on {tiles.description}, {settings.threads} CPU threads", "rows": rows}


def _same_twice(place: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Two cells that differ in a setting without effect: how far apart they are found to be."""
    factors, outcomes = [], Counter[str]()
    for _ in range(TRIES):
        # Tiles that lie in memory are not prefetched, so this changes nothing.
        options = ("--setting", "prefetch", "--values", "2,3", "--source", "memory", "--seconds", "12")
        cells = lab_answer("sweep", "--data", place, *options)["cells"]
        factors.append(cells[1]["factor"])
        outcomes[cells[1]["outcome"]] += 1
        say(f"  the same twice: {factors[-1]:.3f} ({cells[1]['outcome']})")
    name = f"the same setting twice, called no difference in {outcomes['same']} of {TRIES}"
    return row(name, factors, "× as fast", ratio=outcomes["same"] / TRIES, promise="≥ 0.9")


def _experiment(name: str, place: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """How long an experiment takes next to what was said, and how often its verdict is the usual one."""
    one, seconds, factors, outcomes = EXPERIMENTS[name], [], [], []
    stated = 0.0
    for _ in range(TRIES):
        result = lab_answer("sweep", "--data", place, "--experiment", name)
        verdict = result["verdicts"][0]
        stated = result["planned_seconds"]
        seconds.append(result["seconds"])
        factors.append(verdict["factor"] or float("nan"))
        outcomes.append(verdict["outcome"])
        say(f"  {name}: {seconds[-1]:.1f} of {stated:.0f} s, {factors[-1]:.2f} ({outcomes[-1]})")
    usual, times = Counter(outcomes).most_common(1)[0]
    return [
        row(f"{name}: seconds, {stated:.0f} stated", seconds, "s", ratio=max(seconds) / stated, promise=f"≤ {_WITHIN}"),
        row(f"{name}: “{one.focus}”, {usual} in {times}", factors, "×", ratio=times / TRIES, promise="≥ 0.9"),
    ]


def _projection(place: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Ten epochs of the baseline as the race projects them, and as they are."""
    projected = []
    for _ in range(3):
        projected.append(lab_answer("sweep", "--data", place, "--race")["cells"][0]["projected_seconds"])
        say(f"  {_MODEL}, {_EPOCHS} epochs projected: {projected[-1]:.1f} s")
    measured = lab_answer("train", "--model", _MODEL, "--epochs", _EPOCHS, "--data", place)["seconds"]
    say(f"  {_MODEL}, {_EPOCHS} epochs measured: {measured:.1f} s")
    ratio = statistics.median(projected) / measured
    name = f"{_MODEL}, {_EPOCHS} epochs projected by the race ({measured:.0f} s measured)"
    return [row(name, projected, "s", ratio=ratio, promise="0.85 to 1.15")]


def _predictions(place: Path, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Steps as predicted from the limits of the CPU, against those measured beside that, three times over."""
    errors: dict[str, list[float]] = {}
    for _ in range(3):
        for cell in lab_answer("sweep", "--data", place, "--limits")["cells"]:
            if cell["step_ms"] is not None:
                errors.setdefault(cell["label"], []).append(1000 * cell["prediction"]["seconds"] / cell["step_ms"])
        say(f"  predicted / measured: {', '.join(f'{name} {each[-1]:.2f}' for name, each in errors.items())}")
    return [
        row(f"step of {name}: predicted / measured", values, "×", promise="0.5 to 2, most 0.67 to 1.5")
        for name, values in errors.items()
    ]
