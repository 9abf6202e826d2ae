"""The C library's allocator, told to keep what a step frees: the next step needs as much again.

glibc takes blocks above 32 MB from the system each time, and gives the end of its heap back when enough of it is free;
of a thread's own heaps, always. Every page is then handed out and cleared anew. Baseline on two cores, in a thread as
the lab's workers compute, tiles per second without and with this (page faults of a step in brackets): batches of 40
2,050 and 2,110 (766, 40), of 256 1,365 and 2,461 (50,770, 822), of 1,024 1,275 and 2,774 (314,919, 1,620).
"""

import ctypes

__all__ = ["KEEPING", "give_back_memory", "keep_freed_memory"]

KEEPING = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""The same for a process that is still to be started, where threads share one heap as well."""

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)


def keep_freed_memory() -> None:
    """Have this process keep freed memory from now on. Does nothing where the C library is not glibc."""
    library = _glibc()
    if library is not None:
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_MMAP_MAX, 0)


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
