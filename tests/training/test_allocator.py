"""Freed memory stays with the process until it is given back."""

import subprocess
import sys
from pathlib import Path

import pytest

from eurosat_core.training import threads
from eurosat_core.training.threads import give_back_memory, keep_freed_memory

# In a process of its own, for what it sets holds until a process ends.
CODE = """
import resource
import torch
from eurosat_core.training.threads import give_back_memory, keep_freed_memory

keep_freed_memory()
for _ in range(4):  # until the heap has found its shape: an aligned block does not fit into its like at first
    torch.ones(100 * 2**20, dtype=torch.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(80 * 2**20, dtype=torch.uint8)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
import psutil
kept = psutil.Process().memory_info().rss
give_back_memory()
print(faults, kept - psutil.Process().memory_info().rss)
"""


@pytest.mark.skipif(threads._glibc() is None, reason="the C library is not glibc")
def test_a_further_block_costs_no_pages_until_they_are_given_back() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, check=True)
    faults, returned = map(int, done.stdout.split())
    assert faults < 5000, "80 MB are 20,480 pages"
    assert returned > 80 * 2**20


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_glibc", lambda: None)
    keep_freed_memory()
    give_back_memory()
