"""The shared memory in which loader workers hand their batches over: how much is free, and how much a feed needs.

On Linux it is a disk in memory with a size of its own, which in a container is often 64 MB. Where it ends, a worker
dies of a bus error in the middle of a run.
"""

import os
import sys
from pathlib import Path

from eurosat_core.data.decoding import TILE_SIDE

__all__ = ["SHARED_MEMORY", "free_shared_memory", "loader_bytes"]

SHARED_MEMORY = Path("/dev/shm")

_TILE_BYTES = 3 * TILE_SIDE * TILE_SIDE * 4  # float32
_BATCH_BYTES = 16 * 1024  # of each batch besides: its labels, and what its pages are rounded up to


def free_shared_memory() -> int | None:
    """Free bytes, none where nothing may be written there; None on a system that has no such limit."""
    if sys.platform != "linux":
        return None
    if not os.access(SHARED_MEMORY, os.W_OK | os.X_OK):
        return 0
    status = os.statvfs(SHARED_MEMORY)
    return status.f_bavail * status.f_frsize


def loader_bytes(batch_size: int, workers: int, prefetch: int, tiles: int) -> int:
    """Bytes that the workers of a `DataLoader` hold there at most, feeding `tiles` tiles an epoch; 0 without workers.

    Measured with 1 to 3 workers, 2 to 4 batches ahead: all batches that are ahead, and the one that is computed.
    """
    if not workers:
        return 0
    batches = min(workers * prefetch + 1, -(-tiles // batch_size))
    return min(batches * batch_size, tiles) * _TILE_BYTES + batches * _BATCH_BYTES
