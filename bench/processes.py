"""Measurements that run in a process of their own and print what they found as JSON."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eurosat_core.errors import RunError

ROOT = Path(__file__).parent.parent


def answer_of(command: Sequence[str], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run `command` and return the JSON object it prints. Raises `RunError` with its last words when it fails."""
    answer = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **(environ or {})}, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        said = answer.stderr.strip().splitlines() or ["it said nothing"]
        raise RunError(f"A side of the benchmark failed: {said[-1]}")
    result: dict[str, Any] = json.loads(answer.stdout)
    return result
