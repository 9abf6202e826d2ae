"""Measurements that run in a process of their own and print their seconds as JSON."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from eurosat_core.errors import RunError

__all__ = ["ROOT", "seconds_of"]

ROOT = Path(__file__).parent.parent


def seconds_of(command: Sequence[str], environ: Mapping[str, str] | None = None) -> float:
    """Run `command` and return the `seconds` it prints. Raises `RunError` with its last words when it fails."""
    answer = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environ or {})}, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        said = answer.stderr.strip().splitlines() or ["it said nothing"]
        raise RunError(f"A side of the benchmark failed: {said[-1]}")
    return float(json.loads(answer.stdout)["seconds"])
