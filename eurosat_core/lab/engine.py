"""The workers: one process per device, run by Dask distributed, on this machine or on a cluster.

The only room that knows Dask. It starts what it is told to start; what comes next is the queue's business. Functions
that run in a worker import there what computes: the server would load PyTorch before its first page.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import dask.config
import psutil
from distributed import Client, Future, Nanny, Scheduler, Security, SpecCluster, get_worker
from distributed.scheduler import KilledWorker

from eurosat_core.devices import SLICE, Device, cpu_device, cublas_environment, first_kernel_problem, probe_devices
from eurosat_core.errors import RunError
from eurosat_core.folders import not_kept
from eurosat_core.lab.messages import Command, EventsTold, Job, JobEnded, JobResult, Message
from eurosat_core.machine_notes import Note, machine_notes
from eurosat_core.profiling.plan import QUIET_PROFILER
from eurosat_core.runs.history import RunEvent, encoded_event
from eurosat_core.settings import Settings, load_settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.threads import KEEPING, give_back_memory

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_TOPIC = "eurosat-events"
# A worker holds its running job, those that were paused for long, and short questions such as the probe.
_THREADS_PER_WORKER = 16
_MEASURING_SECONDS = 6.0  # a measurement takes one, after the worker's start; whoever hangs is left alone
_PROBE_SECONDS = 90.0  # a GPU's new worker loads torch first: seconds, on a busy machine many
_COMMAND_SECONDS = 5.0  # a worker takes one in milliseconds, if it is not hung
_TRIES = 3  # a worker may be killed while it starts, too, as where memory is short
_BACK_SECONDS = 60.0  # until a worker that died is back: it may die again, and Dask counts it as lost after 15
_NO_ANSWER = (
    "It did not answer in time. Other devices can be used meanwhile. Restart the app once nothing else keeps it busy; "
    "if that does not help, restart the machine."
)
_DASK_SETTINGS: dict[str, Any] = {
    "distributed.worker.daemon": False,  # else a DataLoader cannot start its own workers
    "distributed.scheduler.allowed-failures": 0,  # a job that kills its worker is not tried on the next one
    "distributed.scheduler.no-workers-timeout": "60s",  # a worker that died just before it got the job: say so
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,  # it samples every 10 ms, beside what we measure
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "500ms",  # else every process wakes up 50 times a second
    "distributed.scheduler.work-stealing": False,  # jobs are bound to their device's worker
    "distributed.comm.retry.count": 2,
    "distributed.scheduler.http.routes": [],  # no page of Dask's, not even on loopback
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.pause": False,  # training tiles are not Dask's to spill or to hold back
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
}
# Dask's HTTP servers cannot be switched off, so they get no pages and an address that nobody else can reach.
_NO_PAGES: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


def _work_in_worker(job: Job) -> JobResult:
    """Runs in the worker: do the job, report over the event topic."""
    from eurosat_core.lab import calibration, jobs

    worker = get_worker()

    def report(events: list[RunEvent]) -> None:
        worker.log_event(_TOPIC, {"run_id": job.run_id, "events": [encoded_event(each) for each in events]})

    calibration.give_way()
    try:
        return _in_own_thread(lambda: jobs.run_job(job, report))
    finally:
        give_back_memory()


def _measure_in_worker(config: TrainConfig, threads: int, cache: str | None) -> list[Note] | None:
    """Runs in the worker: how fast it trains. None beside a run, and for one that came meanwhile."""
    from eurosat_core.lab import calibration, jobs

    if jobs.at_work():
        return None
    notes = machine_notes(Path(cache) if cache else load_settings().cache, threads)
    try:
        return _in_own_thread(lambda: calibration.measure_speed(config, threads, notes, jobs.at_work))
    finally:
        give_back_memory()


def _stop_measuring() -> None:
    """Runs in the worker."""
    from eurosat_core.lab import calibration

    calibration.give_way(0.0)


def _in_own_thread(work: Callable[[], _Result]) -> _Result:
    """Compute in a thread that ends with the work, and that lets the pages go first.

    OpenMP keeps a team of threads for every thread that has ever computed, and once there are more of them than
    cores, all of them sleep instead of spinning while they wait (libgomp's throttling). Dask runs tasks on any of its
    threads, so that came soon: 75 context switches a step, 15.8 instead of 11.7 ms (baseline, batch 40, two cores,
    three repeats each). A thread that ends takes its team with it.
    """
    with ThreadPoolExecutor(max_workers=1, initializer=_let_pages_go_first) as one:
        return one.submit(work).result()


# A page gets three quarters of a core that it shares with a training then, in place of half. Other programs gain none
# by it where the system divides time between sessions first, as Linux does (its autogroups, and systemd's slices).
_NICENESS = 5


def _let_pages_go_first() -> None:
    """Compute at a lower priority than the server, whose pages everybody waits for.

    On Linux that is this thread's, and of those it starts: the worker's others still take a Stop at once.
    """
    with suppress(AttributeError, OSError):  # Windows has none; a system may forbid it
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def _prepare_worker(device: str = "cpu") -> None:
    """Runs in a new worker: load what the first run needs, so that it starts at once; and see what a profile shows.

    That is torch, the fork server of loader workers, and what PyTorch loads when a process makes its first optimizer
    (its compiler: 1.5 to 2 s on a slow processor, of the 3.2 s until a run's first point).
    """
    import torch

    from eurosat_core.data.batches import warm_loader_workers
    from eurosat_core.lab import jobs

    def prepare() -> None:
        warm_loader_workers()  # the fork server, and so every loader worker, lets pages go first, too
        torch.optim.SGD([torch.zeros(1)])
        warm_loader_workers(wait=True)
        jobs.unseen_kernels(device)

    _in_own_thread(prepare)


def _command_in_worker(run_id: str, name: Command) -> bool:
    """Runs in the worker: pass a command to its run; False when it does not have it."""
    from eurosat_core.lab import jobs

    return jobs.command(run_id, name)


class DaskEngine:
    """An embedded cluster with one worker per device, or (settings.scheduler) a running one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster: SpecCluster | None = None
        self._client: Client | None = None
        self._futures: dict[str, tuple[Future[JobResult], str]] = {}  # by run: its future, the address of its worker
        self._hosts: dict[str, str] = {}  # on a running cluster, by device: the address of the worker that has it
        self._preparing: dict[str, Future[None]] = {}  # by device: until its worker is warm
        self._lock = threading.Lock()
        self._receive: Callable[[Message], None] = lambda _message: None
        self._closing = False

    def open(self, receive: Callable[[Message], None]) -> None:
        self._receive = receive
        threads = str(self._settings.threads)
        # In place of Dask's own: one OpenMP thread, and an allocator that gives every freed block back to the system,
        # which makes training a fifth slower.
        environ = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        environ |= QUIET_PROFILER | KEEPING
        dask.config.set({**_DASK_SETTINGS, "distributed.nanny.pre-spawn-environ": environ})
        logging.getLogger("distributed").setLevel(logging.ERROR)
        if self._settings.scheduler:
            self._client = _connect(self._settings)
        else:
            # Other users of the workstation must not get in: loopback only, and TLS with keys of this process.
            security = Security.temporary()
            self._cluster = self._own_cluster(security)
            self._client = Client(self._cluster, security=security, set_as_default=False)
        self._client.subscribe_topic(_TOPIC, self._on_event)

    def _own_cluster(self, security: Security) -> SpecCluster:
        """A cluster of this process with the CPU's worker. Raises `RunError` when it cannot be had."""
        options = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
        for _ in range(_TRIES):
            try:
                return SpecCluster(
                    scheduler={"cls": Scheduler, "options": {**options, **_NO_PAGES}},
                    workers={"cpu": self._worker_spec(security)},
                    security=security,
                    silence_logs=logging.ERROR,
                )
            except OSError as error:  # their folder lies in the cache
                problem = not_kept("What they write", self._settings.cache, error)
                raise RunError(f"The worker processes cannot be started. {problem}") from error
            except RuntimeError as error:
                logger.warning("the worker process did not start: %s", error)
        raise RunError(
            "The process that trains ends as soon as it is started: it is killed, or the machine's memory is short. "
            "Close other programs and restart the app; your runs are kept."
        )

    def _worker_spec(self, security: Security, device: Device | None = None) -> dict[str, Any]:
        """How to start a device's worker; None: the CPU's."""
        own = cublas_environment() if device else {}
        if device and device.visible:
            own |= {"CUDA_VISIBLE_DEVICES": device.visible, SLICE: device.id}
        return {
            "cls": Nanny,
            "options": {
                "nthreads": _THREADS_PER_WORKER,
                "memory_limit": int(psutil.virtual_memory().total * 0.9),
                "local_directory": str(self._settings.cache / "workers"),
                "silence_logs": logging.ERROR,
                "host": "127.0.0.1",
                "protocol": "tls://",
                "security": security,
                "env": own,
                **_NO_PAGES,
            },
        }

    def _on_event(self, event: tuple[Any, Any]) -> None:
        _stamp, message = event
        self._receive(EventsTold(message["run_id"], message["events"]))

    @property
    def _open_client(self) -> Client:
        if self._client is None:
            raise RunError("The workers are not started yet. Try again in a moment.")
        return self._client

    def _address_for(self, device: str, wait_seconds: float = _BACK_SECONDS) -> str:
        """The worker for a device. A worker that has just died is back within seconds, so wait for it.

        One that died again while it started has been given up, and another is started in its place.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            workers = self._open_client.scheduler_info(n_workers=-1)["workers"]
            for address, worker in workers.items():
                if str(worker["name"]) == device:  # as embedded ones are called
                    return str(address)
            if self._cluster is None and self._hosts.get(device) in workers:
                return self._hosts[device]
            if time.monotonic() > deadline or self._closing:
                raise RunError(f"There is no worker for {device}. Restart the app; your runs are kept.")
            if self._cluster is not None and device in self._cluster.worker_spec:
                self._cluster.scale(len(self._cluster.worker_spec))  # nothing happens where all are there
            time.sleep(0.05)

    def _submit(self, function: Callable[..., Any], *arguments: Any, device: str) -> Any:
        """Have a device's worker run a short function."""
        return self._open_client.submit(
            function, *arguments, workers=[self._address_for(device)], pure=False, priority=10
        )

    def _prepare(self, device: str) -> None:
        """Have a device's new worker load what its first run needs."""
        try:
            self._preparing[device] = self._submit(_prepare_worker, device, device=device)
        except Exception as error:  # then its first run takes longer; or the lab is closed
            logger.info("the worker for %s was not prepared: %s", device, error)

    def probe(self) -> tuple[Device, ...]:
        if self._cluster is None:
            return self._probe_cluster()
        deadline = time.monotonic() + _PROBE_SECONDS
        try:
            devices = self._probed(deadline)
        except TimeoutError:  # a driver that hangs; the worker hangs with it
            with suppress(TimeoutError):
                self.restart("cpu")
            return cpu_device(), Device("gpu", "GPU", None, available=False, reason=_NO_ANSWER)
        self._prepare("cpu")  # now: pages wait for the devices, and on few cores for the loading beside them
        added = {each.id: each for each in devices if each.is_gpu and each.available}
        for device in added.values():
            self._cluster.worker_spec[device.id] = self._worker_spec(self._cluster.security, device)
        self._cluster.scale(len(self._cluster.worker_spec))
        asked = {}
        for name in added:
            self._prepare(name)
            with suppress(RunError):  # its worker did not come
                asked[name] = self._submit(first_kernel_problem, name, device=name)
        problems = self._answers(asked, deadline)
        return tuple(
            replace(each, available=False, reason=problem)
            if each.id in added and (problem := problems.get(each.id, _NO_ANSWER))
            else each
            for each in devices
        )

    def _probed(self, deadline: float) -> tuple[Device, ...]:
        """What the CPU's worker finds. Raises `TimeoutError` when it hangs, and `RunError` when it dies every time."""
        for _ in range(_TRIES):
            with suppress(KilledWorker):
                found: tuple[Device, ...] = self._submit(probe_devices, device="cpu").result(
                    timeout=max(deadline - time.monotonic(), 0.1)
                )
                return found
        raise RunError("The process that looks for devices was killed. Restart the app; your runs are kept.")

    def _answers(self, asked: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """What workers answered in time; whoever hangs, dies or fails is left out, and holds nobody else up."""
        answers = {}
        for name, future in asked.items():
            try:
                answers[name] = future.result(timeout=max(deadline - time.monotonic(), 0.1))
            except Exception:
                logger.exception("%s did not answer", name)
        return answers

    def _probe_cluster(self) -> tuple[Device, ...]:
        """The devices of a running cluster; of those with the same name the first worker's is used."""
        found: dict[str, Device] = {}
        client = self._open_client
        asked = {
            address: client.submit(probe_devices, workers=[address], pure=False, priority=10)
            for address in client.scheduler_info(n_workers=-1)["workers"]
        }
        for address, devices in self._answers(asked, time.monotonic() + _PROBE_SECONDS).items():
            for device in devices:
                if device.id not in found or (device.available and not found[device.id].available):
                    found[device.id] = device
                    self._hosts[device.id] = address
        if any(each.is_gpu and each.available for each in found.values()):
            found = {name: each for name, each in found.items() if each.available}
        for each in found.values():
            if each.available:
                self._prepare(each.id)
        return tuple(sorted(found.values(), key=lambda each: each.is_gpu))

    def measure(self, config: TrainConfig, threads: int) -> list[Note] | None:
        cache = str(self._settings.cache) if self._cluster is not None else None
        if (preparing := self._preparing.get(config.device)) is not None:
            preparing.result()  # beside the loading of torch everything seems slow
        future = self._submit(_measure_in_worker, config, threads, cache, device=config.device)
        notes: list[Note] | None = future.result(timeout=_MEASURING_SECONDS)
        return notes

    def stop_measuring(self) -> None:
        self._open_client.run(_stop_measuring)

    def start(self, job: Job) -> None:
        address = self._address_for(job.config.device)
        future = self._open_client.submit(
            _work_in_worker, job, key=f"run-{job.run_id}", workers=[address], pure=False, retries=0
        )
        with self._lock:
            self._futures[job.run_id] = (future, address)
        future.add_done_callback(partial(self._on_done, job.run_id, job.config.device))

    def _on_done(self, run_id: str, device: str, future: Future[JobResult]) -> None:
        with self._lock:
            self._futures.pop(run_id, None)
        if self._closing:
            return
        result, message = None, ""
        try:
            result = future.result()
        except KilledWorker:
            message = (
                "The process that worked on it died: it was killed, or the machine's memory ran out. A fresh one has "
                "taken its place. Try again, with a smaller batch if memory was short."
            )
            # In a thread, since the fresh one may take seconds to come, and others' results must not wait for it.
            threading.Thread(target=self._prepare, args=(device,), daemon=True).start()
        except Exception as error:
            logger.exception("run %s: its worker gave no result", run_id)
            message = f"Its worker gave no result ({type(error).__name__}). The server's log has the details."
        self._receive(JobEnded(run_id, result, message))

    def command(self, run_id: str, name: Command) -> bool:
        with self._lock:
            entry = self._futures.get(run_id)
        if entry is None:
            return False
        # Straight to the worker's process, past the scheduler's queue: obeyed within one step. As `Client.run` does it,
        # which would wait for ever for a process that hangs.
        client = self._open_client
        try:
            answers = client.sync(
                client._run, _command_in_worker, run_id, name, workers=[entry[1]], callback_timeout=_COMMAND_SECONDS
            )
        except Exception:  # the worker hangs, or died this very moment; its end arrives as a message
            logger.warning("run %s: command %s did not arrive", run_id, name, exc_info=True)
            return False
        return any(answers.values())

    def restart(self, device: str) -> None:
        if self._cluster is None:  # others may work there: its keeper decides
            logger.error("%s failed on the cluster; restart its worker at %s", device, self._hosts.get(device))
            return
        self._open_client.restart_workers([self._address_for(device)], timeout=30)
        self._prepare(device)

    def close(self) -> None:
        self._closing = True
        try:
            if self._client is not None:
                self._client.close(timeout=5)
        finally:
            if self._cluster is not None:
                self._cluster.close(timeout=10)


def _connect(settings: Settings) -> Client:
    """A client of a running cluster. Raises `RunError` with a sentence when it cannot be reached."""
    if not str(settings.scheduler).startswith("tls://"):
        raise RunError(
            f"EUROSAT_SCHEDULER is {settings.scheduler}. Only encrypted connections are made: start the scheduler with "
            "TLS and give its address as tls://host:8786."
        )
    security: Security | None = None
    if settings.scheduler_tls is not None:
        folder = settings.scheduler_tls
        security = Security(
            tls_ca_file=str(folder / "ca.pem"),
            tls_client_cert=str(folder / "cert.pem"),
            tls_client_key=str(folder / "key.pem"),
            require_encryption=True,
        )
    try:
        return Client(settings.scheduler, security=security, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, TypeError, ValueError, RuntimeError) as error:  # TypeError: no certificates
        raise RunError(
            f"The cluster at {settings.scheduler} cannot be reached: {error}. Check EUROSAT_SCHEDULER and "
            "EUROSAT_SCHEDULER_TLS, or unset them to train on this machine."
        ) from error
