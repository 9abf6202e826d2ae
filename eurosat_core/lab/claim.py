"""Taking a waiting run for this server: its lock, its state on disk, and the job for its worker."""

import time
from contextlib import suppress

from filelock import FileLock

from eurosat_core.data.tiles import TileSet
from eurosat_core.errors import DataError, LabError
from eurosat_core.lab.jobs import Job
from eurosat_core.lab.queue import Waiting
from eurosat_core.lab.runs import RunStore

__all__ = ["claim"]


def claim(store: RunStore, waiting: Waiting, tiles: TileSet, threads: int) -> tuple[Job, FileLock] | None:
    """Note a stored run as running: its job on `threads` CPU threads, and its lock, which is held from now on.

    None when it cannot start: then its record says why, unless it is another server's or its folder is gone.
    """
    run_id = waiting.run_id
    try:
        held = store.lock(run_id)
    except LabError:
        return None
    except OSError as error:
        reason = error.strerror or error
        _fail(store, run_id, f"Its folder cannot be locked ({reason}). Set EUROSAT_RUNS to a local one.")
        return None
    try:
        record = store.get(run_id)
        if record.state == "queued":
            if tiles.fingerprint != record.tiles.fingerprint:
                raise DataError("The lab's tiles have changed since this run was asked for. Start it again.")
            store.update(run_id, state="running", started=time.time())
            job = Job(run_id, record.config, tiles.fingerprint, str(tiles.cache), threads, record.kind, record.plan)
            return job, held
    except (LabError, OSError) as error:
        _fail(store, run_id, str(error))
    held.release()
    return None


def _fail(store: RunStore, run_id: str, message: str) -> None:
    with suppress(LabError, OSError):
        store.end(run_id, "failed", message)
