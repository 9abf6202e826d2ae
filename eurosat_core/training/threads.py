"""How many CPU threads a training computes with: as many as it can really have, looked at again while it runs.

The threads of a training wait for each other in every layer. Where one of them has to share its core with another
process, all of them wait for the scheduler's next time slice: on two cores beside one busy process two threads of the
baseline were half to a third as fast as one (batch 40, float32: 460 to 625 tiles a second against 1,200 to 1,300; alone
2,050 to 2,450), beside two busy ones 220 to 720 against 840 to 890, and with two loader workers 970 against 1,430.

What did not help as much: threads that sleep while they wait (`OMP_WAIT_POLICY=passive`: a fifth slower alone, 925
beside one process), and threads that spin for less long (`GOMP_SPINCOUNT=1000`: the same).
"""

import math
import time
from collections.abc import Callable

import torch

from eurosat_core.cores import CoreMeter, Load, usable_cores

__all__ = ["ThreadGovernor"]

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
        torch.set_num_threads(most)

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
        torch.set_num_threads(threads)
        return True

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
