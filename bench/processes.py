"""Measurements that run in processes of their own, on real tiles where it matters, and the rows that come of them."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eurosat_core.errors import DataError, RunError
from eurosat_core.settings import Settings

ROOT = Path(__file__).parent.parent


def answer_of(module: str, *arguments: object, runs: str | None = None) -> dict[str, Any]:
    """Run a module and return the JSON object it prints. Raises `RunError` with its last words when it fails.

    runs: where it stores runs; by default where this process does.
    """
    answer = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | ({} if runs is None else {"EUROSAT_RUNS": runs}),
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        said = answer.stderr.strip().splitlines() or ["it said nothing"]
        raise RunError(f"A side of the benchmark failed: {said[-1]}")
    result: dict[str, Any] = json.loads(answer.stdout)
    return result


def lab_answer(command: str, *options: object) -> dict[str, Any]:
    """What a command of the lab's command line prints with --json; its runs are not kept."""
    with tempfile.TemporaryDirectory() as runs:
        return answer_of("eurosat_core", command, "--json", *options, runs=runs)


def real_place(settings: Settings, bench: str) -> Path:
    """Where the real tiles are. Raises `DataError` without any."""
    from eurosat_core.data.tiles import find_place  # brings torch, whose memory `bench trace` must not count

    place = find_place(None, settings)
    if place is None:
        raise DataError(f"bench {bench} needs real tiles: name them with --data or EUROSAT_DATA.")
    return place


def row(
    name: str, values: Sequence[float], unit: str, *, ratio: float | None = None, promise: str = ""
) -> dict[str, Any]:
    """One line of a benchmark's table: all measured values, their median, the ratio, and what was promised."""
    median = statistics.median(values)
    return {"name": name, "values": list(values), "median": median, "unit": unit, "ratio": ratio, "promise": promise}
