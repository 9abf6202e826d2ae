"""How many CPU threads a training takes beside other work, and the memory that its process keeps."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from eurosat_core.cores import Load
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.training import threads
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import Finished, Started, StepDone, ThreadsChanged
from eurosat_core.training.loop import train
from eurosat_core.training.threads import ThreadGovernor, give_back_memory, keep_freed_memory, share_heaps


class Machine:
    """Other processes that keep so many cores busy, and a clock that goes on by two seconds at each look."""

    def __init__(self, *busy: float | None) -> None:
        self.busy = list(busy)
        self.now = 0.0

    def look(self) -> Load | None:
        self.now += 2.0
        busy = self.busy.pop(0) if self.busy else 0.0
        return None if busy is None else Load(2.0, 1.0, busy)


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of two cores; the threads of this process are as they were afterwards."""
    monkeypatch.setattr(threads, "usable_cores", lambda: {0, 1})
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("most", "busy", "threads"),
    [
        pytest.param(2, (0.0, 0.05, 0.3), [2, 2, 2], id="an idle machine"),
        # Beside two threads a process that wants a whole core gets two thirds of one; beside one thread all of it.
        pytest.param(2, (0.67, 1.0, 1.0, 0.1, 0.05), [1, 1, 1, 2, 2], id="a busy process until it is gone"),
        pytest.param(2, (1.3, 1.33, 2.0), [1, 1, 1], id="one is the least"),
        pytest.param(1, (0.9, 0.0), [1, 1], id="one is all there is"),
        pytest.param(2, (0.4, 0.4), [2, 2], id="half a core changes nothing"),
        pytest.param(2, (1.0, 0.4, 0.4), [1, 1, 1], id="nor does it the other way"),
        pytest.param(2, (None, 0.9), [2, 1], id="a moment tells nothing"),
    ],
)
def test_threads_beside_other_work(most: int, busy: tuple[float | None, ...], threads: list[int]) -> None:
    machine = Machine(*busy)
    governor = ThreadGovernor(most, machine.look, lambda: machine.now)
    found = []
    for _ in busy:
        governor.look()
        assert torch.get_num_threads() == governor.threads
        found.append(governor.threads)
    assert found == threads


def test_on_many_cores_each_busy_one_costs_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: set(range(16)))
    monkeypatch.setattr(torch, "set_num_threads", lambda _count: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: found[-1])
    found: list[int] = []
    machine = Machine(0.5, 1.0, 3.2, 3.2, 1.0, 0.0)
    governor = ThreadGovernor(16, machine.look, lambda: machine.now)
    for _ in range(6):
        governor.look()
        found.append(governor.threads)
    assert found == [15, 15, 13, 13, 15, 16]


def test_cores_that_a_training_leaves_free_anyway_are_others_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: set(range(16)))
    machine = Machine(8.0, 14.9)
    governor = ThreadGovernor(2, machine.look, lambda: machine.now)
    assert not governor.look() and governor.threads == 2
    assert governor.look() and governor.threads == 1


def test_it_is_looked_at_once_a_second() -> None:
    now, looks = [0.0], [0]

    def look() -> Load:
        looks[0] += 1
        return Load(1.0, 1.0, 0.0)

    governor = ThreadGovernor(2, look, lambda: now[0])
    for _ in range(100):
        governor.look()
        now[0] += 0.05
    assert looks[0] == 5


def test_settling_waits_for_the_first_look_only() -> None:
    machine = Machine(None, None, 0.9)
    governor = ThreadGovernor(2, machine.look, lambda: machine.now)
    governor.settle()
    assert governor.threads == 1 and governor.busy_cores == 0.9
    idle = Machine(0.0)
    governor = ThreadGovernor(2, idle.look, lambda: idle.now)
    governor.settle()
    assert governor.threads == 2 and not idle.busy


def test_a_training_tells_every_change(small_tiles: TileSet) -> None:
    machine = Machine(0.0, 0.0, 0.9, 1.0, 0.0)
    config = TrainConfig(source="memory", epochs=2, batch_size=20)
    governor = ThreadGovernor(2, machine.look, lambda: machine.now)
    events = list(train(config, small_tiles, governor=governor))
    assert [each.threads for each in events if isinstance(each, Started)] == [2]
    changes = [each for each in events if isinstance(each, ThreadsChanged)]
    assert [(each.threads, each.busy_cores) for each in changes] == [(1, 0.9), (2, 0.0)]
    assert 0 < changes[0].seconds < changes[1].seconds < next(e for e in events if isinstance(e, Finished)).seconds
    # A change stands between two steps.
    at = events.index(changes[0])
    assert isinstance(events[at - 1], StepDone) and isinstance(events[at + 1], StepDone)


@pytest.mark.processor
def test_fewer_threads_do_the_same_training(small_tiles: TileSet) -> None:
    config = TrainConfig(source="memory", epochs=1, batch_size=20)
    machine = Machine(0.0, 0.9, 0.0, 0.9, 0.0)
    governed = list(train(config, small_tiles, governor=ThreadGovernor(2, machine.look, lambda: machine.now)))
    plain = list(train(config, small_tiles))
    assert sum(isinstance(each, ThreadsChanged) for each in governed) == 4
    last = [next(e for e in events if isinstance(e, Finished)) for events in (governed, plain)]
    assert last[0].val_loss == pytest.approx(last[1].val_loss, rel=1e-3)
    assert sum(isinstance(each, StepDone) for each in governed) == sum(isinstance(each, StepDone) for each in plain)


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


# malloc_stats(3) writes a line for each heap to stderr.
HEAPS = """
import ctypes, sys, threading
from eurosat_core.training.threads import share_heaps

if sys.argv[1] == "shared":
    share_heaps()
together, library = threading.Barrier(8), ctypes.CDLL(None)

def work():
    kept = [bytes(50_000) for _ in range(20)] + [library.malloc(1000)]
    together.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
library.malloc_stats()
"""


@pytest.mark.skipif(threads._glibc() is None, reason="the C library is not glibc")
def test_many_threads_share_two_heaps() -> None:
    root = Path(__file__).parents[2]

    def heaps(how: str) -> int:
        command = [sys.executable, "-c", HEAPS, how]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=True)
        return done.stderr.count("Arena ")

    assert heaps("shared") <= 2 < heaps("their own")


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_glibc", lambda: None)
    keep_freed_memory()
    share_heaps()
    give_back_memory()
