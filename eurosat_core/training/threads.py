"""How many CPU threads a training takes while it runs, and the memory that its allocator keeps.

The threads of a training wait for each other in every layer. Where one of them has to share its core with another
process, all of them wait for the scheduler's next time slice: on two cores beside one busy process two threads of the
baseline were half to a third as fast as one (batch 40, float32: 460 to 625 tiles a second against 1,200 to 1,300; alone
2,050 to 2,450), beside two busy ones 220 to 720 against 840 to 890, and with two loader workers 970 against 1,430.

What did not help as much: threads that sleep while they wait (`OMP_WAIT_POLICY=passive`: a fifth slower alone, 925
beside one process), and threads that spin for less long (`GOMP_SPINCOUNT=1000`: the same).

The C library's allocator is told to keep what a step frees, for the next step needs as much again. glibc takes blocks
above 32 MB from the system each time, and gives the end of its heap back when enough of it is free; of a thread's own
heaps, always. Every page is then handed out and cleared anew. Baseline on two cores, in a thread as the lab's workers
compute, tiles per second without and with this (page faults of a step in brackets): batches of 40 2,050 and 2,110
(766, 40), of 256 1,365 and 2,461 (50,770, 822), of 1,024 1,275 and 2,774 (314,919, 1,620). All on AVX-512 cores.
"""

import ctypes
import math
import time
from collections.abc import Callable

from eurosat_core.cores import CoreMeter, Load, usable_cores

_LOOK_SECONDS = 1.0
_MOMENT_SECONDS = 0.05
# Another process that is busy half of the time takes less from two threads than giving up one of them does, so there is
# a band in which nothing changes. A process that wants all of a core gets at least 0.65 of it beside two threads.
_LOWER_FROM, _RAISE_BELOW = 0.45, 0.35


class ThreadGovernor:
    """Sets torch's CPU threads for the calling thread, which computes: `most` on an idle machine, at least one.

    look: the load of the machine since it was last asked, None when that was a moment ago.
    """

    def __init__(
        self,
        most: int,
        look: Callable[[], Load | None] | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.most = most
        self.threads = most
        self.busy_cores = 0.0
        self._spare = max(len(usable_cores()) - most, 0)  # cores that it would leave to others anyway
        self._look = look or CoreMeter().look
        self._clock = clock
        self._next_look = 0.0
        self._tell_torch()

    def look(self) -> bool:
        """Look at the machine when that is due; whether the number of threads has changed."""
        now = self._clock()
        if now < self._next_look:
            return False
        load = self._look()
        if load is None:
            return False
        self._next_look = now + _LOOK_SECONDS
        self.busy_cores = load.others
        threads = self._fitting(load.others)
        if threads == self.threads:
            return False
        self.threads = threads
        self._tell_torch()
        return True

    def _tell_torch(self) -> None:
        import torch

        torch.set_num_threads(self.threads)

    def settle(self) -> None:
        """Look at the machine now, if it takes a moment."""
        while not self.look() and self._next_look == 0.0:
            time.sleep(_MOMENT_SECONDS)

    def _fitting(self, busy: float) -> int:
        given_up = self.most - self.threads
        busy = max(busy - self._spare, 0.0)
        if busy >= given_up + _LOWER_FROM:
            given_up = math.ceil(busy - _LOWER_FROM)
        elif busy < given_up - 1 + _RAISE_BELOW:
            given_up = math.ceil(max(busy - _RAISE_BELOW, 0.0))
        return max(1, self.most - given_up)


KEEPING = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""The same for a process that is still to be started, where threads share one heap as well."""

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of mallopt(3)


def keep_freed_memory() -> None:
    """Have this process keep freed memory from now on. Does nothing where the C library is not glibc."""
    library = _glibc()
    if library is not None:
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_MMAP_MAX, 0)


def share_heaps() -> None:
    """Have the threads of this process share two heaps from now on. Does nothing where the C library is not glibc.

    The server draws every page in a thread of its own, and glibc gives threads heaps until there are eight a core, each
    with holes that only its own threads fill: on two cores the server grew by 20 to 50 MB in 1,900 page runs, and with
    two heaps not at all (545 MB after 160 page runs, 545 MB after 1,640).
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_ARENA_MAX, 2)


def give_back_memory() -> None:
    """Give the system what is free now, so that it does not stay with a process that computes nothing."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
        return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
    except (OSError, TypeError):  # Windows
        return None
