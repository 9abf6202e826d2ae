"""How the processes of a `DataLoader` start and end: without forking this one, with torch loaded, deaf to Ctrl-C, and
not outliving the process that reads from them."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.context import BaseContext

__all__ = ["begin_worker", "warm_loader_workers", "worker_context"]

_HAS_FORKSERVER = "forkserver" in multiprocessing.get_all_start_methods()


def worker_context() -> BaseContext:
    """Never fork: the process may have threads, or a CUDA context. The fork server has torch loaded."""
    return multiprocessing.get_context("forkserver" if _HAS_FORKSERVER else "spawn")


def warm_loader_workers(*, wait: bool = False) -> None:
    """Start the fork server that loader workers come from, with torch loaded: the first batch comes sooner.

    The server loads torch in the background (about 4 s); later workers are then forked in 0.15 s. wait: return when
    it has, so that nothing is measured beside it.
    """
    if _HAS_FORKSERVER:
        from multiprocessing import forkserver, resource_tracker

        multiprocessing.set_forkserver_preload(["torch", "torchvision.transforms", "eurosat_core.data.batches"])
        resource_tracker.ensure_running()  # the server would start it, and let interrupts through again
        # What starts now inherits this: a server that loads torch, and a worker that begins, would end by Ctrl-C.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if wait:
            first = multiprocessing.get_context("forkserver").Process(target=_do_nothing)
            first.start()
            first.join()


def begin_worker(_worker: int) -> None:
    """A loader worker's first work: when it ends is for the process that reads from it.

    So it ignores Ctrl-C in a terminal, which reaches it, too, and ends when that process is killed. PyTorch looks for
    that at its own parent, which is the fork server; and this one lives as long as its children.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_reader, name="eurosat-reader", daemon=True).start()


def _end_with_reader() -> None:
    reader = multiprocessing.parent_process()
    if reader is not None:
        reader.join()
        os._exit(1)


def _do_nothing() -> None:
    """The first process of a fork server, which it can only start when it has loaded what it was told to."""
