"""Real traces, where there are any."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_trace():
    """Function: the path of the real trace whose file name starts so."""
    folder = os.environ.get("EUROSAT_TRACES")
    if not folder:
        pytest.skip("EUROSAT_TRACES is not set: no real traces")

    def find(start: str) -> Path:
        return next(Path(folder).glob(f"{start}*"))

    return find
