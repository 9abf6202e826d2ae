"""The workers: one process per device, run by Dask distributed, on this machine or on a cluster.

The only room that knows Dask. It starts what it is told to start; what comes next is the queue's business. A job is no
task of Dask's, which would run it again where a worker dies: `worker` keeps it, and a thread here asks for its news.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import dask.config
import psutil
from distributed import Client, Nanny, Scheduler, Security, SpecCluster
from distributed.scheduler import KilledWorker

from eurosat_core.cores import available_cores
from eurosat_core.devices import SLICE, Device, cpu_device, cublas_environment, first_kernel_problem, probe_devices
from eurosat_core.errors import LabError, RunError
from eurosat_core.folders import not_kept
from eurosat_core.lab import tiles_here, worker
from eurosat_core.lab.cluster import Member, connection, devices_of, differences, member, slots_of
from eurosat_core.lab.messages import Command, EventsTold, Job, JobEnded, Message, Slot, WorkersChanged
from eurosat_core.machine_notes import Note
from eurosat_core.profiling.plan import QUIET_PROFILER
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.threads import KEEPING

logger = logging.getLogger(__name__)

_THREADS_PER_WORKER = 4  # for short questions, such as the probe; a job has threads of its own
_NEWS_SECONDS = 0.25  # between two questions for a job's news: each takes a connection of its own, with its handshake
_PATIENCE_SECONDS = 10.0  # so long a worker that has no news keeps the question
_RETRY_SECONDS = 0.2
_STORED_SECONDS = 60.0  # a worker keeps a job that has ended until its end is stored, or so long
_LOOK_SECONDS = 2.0  # how often to look for workers of a cluster that came or went
_MEASURING_SECONDS = 6.0  # a measurement takes one, after the worker's start; whoever hangs is left alone
_PROBE_SECONDS = 90.0  # a GPU's new worker loads torch first: seconds, on a busy machine many
_TELL_SECONDS = 120.0  # a worker that has just begun to load torch may not listen for some
_COMMAND_SECONDS = 5.0  # a worker takes one in milliseconds, if it is not hung
_TRIES = 3  # a worker may be killed while it starts, too, as where memory is short
_BACK_SECONDS = 120.0  # until a worker that died is back: it may die again, and Dask counts it as lost after 15
_NO_ANSWER = (
    "It did not answer in time. Other devices can be used meanwhile. Restart the app once nothing else keeps it busy; "
    "if that does not help, restart the machine."
)
_DIED = (
    "The process that worked on it died: it was killed, or the machine's memory ran out. A fresh one has taken its "
    "place. Try again, with a smaller batch if memory was short."
)
_GONE = (
    "The worker that did it is gone from the cluster: it was killed, or its machine was lost, or its memory ran out. "
    "Start the run again, with a smaller batch if memory was short."
)
_DASK_SETTINGS: dict[str, Any] = {
    "distributed.worker.daemon": False,  # else a DataLoader cannot start its own workers
    "distributed.scheduler.allowed-failures": 0,  # a question that kills its worker is not tried on the next one
    "distributed.scheduler.no-workers-timeout": "60s",  # a worker that died just before it was asked: say so
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.worker.profile.enabled": False,  # it samples every 10 ms, beside what we measure
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "500ms",  # else every process wakes up 50 times a second
    "distributed.scheduler.work-stealing": False,  # questions are for one worker
    "distributed.scheduler.reuse-broadcast-comm": True,  # a handshake costs more than a job's news
    "distributed.comm.retry.count": 2,
    "distributed.scheduler.http.routes": [],  # no page of Dask's, not even on loopback
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.pause": False,  # training tiles are not Dask's to spill or to hold back
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
}
# Dask's HTTP servers cannot be switched off, so they get no pages and an address that nobody else can reach.
_NO_PAGES: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


@dataclass
class _Followed:
    """A job that a worker has. stored: set once its end is."""

    slot: Slot
    address: str = ""  # of its worker, once that is there
    stored: threading.Event = field(default_factory=threading.Event)


class DaskEngine:
    """An embedded cluster with one worker per device, or (settings.scheduler) a running one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._cluster: SpecCluster | None = None
        self._client: Client | None = None
        self._followed: dict[str, _Followed] = {}  # by run
        self._members: dict[str, Member] = {}  # of a running cluster, by address: who has said who it is
        self._asked: dict[str, Any] = {}  # of a running cluster, by address: who was asked for it
        self._devices: tuple[Device, ...] = ()
        self._slots: tuple[Slot, ...] = ()
        self._preparing: dict[str, Any] = {}  # by worker: until it is warm
        self._lock = threading.Lock()
        self._receive: Callable[[Message | WorkersChanged], None] = lambda _message: None
        self._closing = threading.Event()

    def open(self, receive: Callable[[Message | WorkersChanged], None]) -> None:
        self._receive = receive
        threads = str(self._settings.threads)
        # In place of Dask's own: one OpenMP thread, and an allocator that gives every freed block back to the system,
        # which makes training a fifth slower.
        environ = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        environ |= QUIET_PROFILER | KEEPING
        dask.config.set({**_DASK_SETTINGS, "distributed.nanny.pre-spawn-environ": environ})
        logging.getLogger("distributed").setLevel(logging.ERROR)
        logging.getLogger("distributed.scheduler").setLevel(logging.CRITICAL)  # that a worker died, we say ourselves
        if self._settings.scheduler:
            self._client = self._connected()
        else:
            # Other users of the workstation must not get in: loopback only, and TLS with keys of this process.
            security = Security.temporary()
            self._cluster = self._own_cluster(security)
            self._client = Client(self._cluster, security=security, set_as_default=False)

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

    @property
    def _open_client(self) -> Client:
        if self._client is None:
            raise RunError("The workers are not started yet. Try again in a moment.")
        return self._client

    def _workers(self) -> dict[str, Any]:
        """What the scheduler knows of its workers now, by address."""
        workers: dict[str, Any] = self._open_client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _address_of(self, name: str, wait_seconds: float = _BACK_SECONDS) -> str:
        """The address of a worker; of a cluster's, that is its name.

        One of ours that has just died is back within seconds, so wait for it. One that died again while it started has
        been given up, and another is started in its place.
        """
        deadline = time.monotonic() + wait_seconds
        while True:
            workers = self._workers()
            if self._cluster is None and name in workers:
                return name
            for address, found in workers.items() if self._cluster is not None else ():
                if str(found["name"]) == name:
                    return str(address)
            if self._cluster is None or time.monotonic() > deadline or self._closing.is_set():
                raise RunError(f"There is no worker for {name}. Restart the app; your runs are kept.")
            if name in self._cluster.worker_spec:
                self._cluster.scale(len(self._cluster.worker_spec))  # nothing happens where all are there
            time.sleep(0.05)

    def _submit(self, function: Callable[..., Any], *arguments: Any, worker: str) -> Any:
        """Have a worker run a short function in one of its threads."""
        return self._open_client.submit(
            function, *arguments, workers=[self._address_of(worker)], pure=False, priority=10
        )

    def _tell(
        self, address: str, function: Callable[..., Any], *arguments: Any, seconds: float | None = _TELL_SECONDS
    ) -> Any:
        """Have a worker run a function at once, in the thread that listens; it must not take long.

        Raises `TimeoutError` after so many seconds. `Client.run` would wait for ever for a process that hangs.
        """
        client = self._open_client
        answers = client.sync(client._run, function, *arguments, workers=[address], callback_timeout=seconds)
        return answers[address]

    def _prepare(self, name: str, device: str) -> None:
        """Have a new worker load what its first run on a device needs."""
        try:
            self._preparing[name] = self._submit(worker.prepare, device, worker=name)
        except Exception as error:  # then its first run takes longer; or the lab is closed
            logger.info("the worker for %s was not prepared: %s", name, error)

    def probe(self) -> tuple[Device, ...]:
        if self._cluster is None:
            return self._probe_cluster()
        self._devices = self._probe_machine(self._cluster)
        there = [each for each in self._devices if each.available]
        self._slots = tuple(Slot(each.id, each.id, cores=available_cores()) for each in there)
        return self._devices

    def _probe_machine(self, cluster: SpecCluster) -> tuple[Device, ...]:
        deadline = time.monotonic() + _PROBE_SECONDS
        try:
            devices = self._probed(deadline)
        except TimeoutError:  # a driver that hangs; the worker hangs with it
            with suppress(TimeoutError):
                self.restart(Slot("cpu", "cpu"))
            return cpu_device(), Device("gpu", "GPU", None, available=False, reason=_NO_ANSWER)
        self._prepare("cpu", "cpu")  # now: pages wait for the devices, and on few cores for the loading beside them
        added = {each.id: each for each in devices if each.is_gpu and each.available}
        for device in added.values():
            cluster.worker_spec[device.id] = self._worker_spec(cluster.security, device)
        cluster.scale(len(cluster.worker_spec))
        asked = {}
        for name in added:
            self._prepare(name, name)
            with suppress(RunError):  # its worker did not come
                asked[name] = self._submit(first_kernel_problem, name, worker=name)
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
                found: tuple[Device, ...] = self._submit(probe_devices, worker="cpu").result(
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

    # -- the workers of a running cluster

    def _connected(self) -> Client:
        """A client of the running cluster. Raises `RunError` with a sentence when it cannot be reached."""
        address, options = connection(self._settings)
        try:
            return Client(address, security=Security(**options) if options else None, timeout=10, set_as_default=False)
        except (OSError, TimeoutError, TypeError, ValueError, RuntimeError) as error:  # TypeError: no certificates
            raise RunError(
                f"The cluster at {address} cannot be reached: {error}. Check EUROSAT_SCHEDULER and "
                "EUROSAT_SCHEDULER_TLS, or unset them to train on this machine."
            ) from error

    def _probe_cluster(self) -> tuple[Device, ...]:
        deadline = time.monotonic() + _PROBE_SECONDS
        self._look_for_workers()
        while not self._closing.is_set() and time.monotonic() < deadline and self._asked.keys() - self._members.keys():
            time.sleep(0.05)
        threading.Thread(target=self._watch, name="eurosat-workers-watch", daemon=True).start()
        with self._lock:
            self._know()
            return self._devices

    def _watch(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            try:
                if self._open_client.status == "closed":  # it had given up: the scheduler was away for too long
                    self._client = self._connected()
                self._look_for_workers()
            except Exception as error:
                logger.info("the cluster cannot be asked: %s", error)

    def _look_for_workers(self) -> None:
        """Ask workers that came who they are, and forget those that went."""
        there = self._workers()
        with self._lock:
            new, gone = there.keys() - self._asked.keys(), self._asked.keys() - there.keys()
            for address in gone:
                self._asked.pop(address)
                self._members.pop(address, None)
            for address in new:
                self._asked[address] = self._open_client.submit(
                    worker.introduce, workers=[address], pure=False, priority=10
                )
            if gone:
                self._know()
        for address in new:
            threading.Thread(target=self._ask, args=(address, self._asked[address]), daemon=True).start()
        if gone:
            self._receive(WorkersChanged(self._devices))

    def _ask(self, address: str, answer: Any) -> None:
        """Wait until a worker has said who it is, for as long as that takes."""
        try:
            found = member(address, answer.result())
        except Exception as error:
            found = member(address, error)
        with self._lock:
            if self._asked.get(address) is not answer:
                return  # it went meanwhile
            self._members[address] = found
            self._know()
        if found.problem:
            logger.warning("%s", found.problem)
        for each in self._slots:
            if each.worker == address:
                self._prepare(address, each.device)
        self._receive(WorkersChanged(self._devices))

    def _know(self) -> None:
        """Take note of what the members have, under the lock."""
        usable = [each for _, each in sorted(self._members.items()) if not each.problem]
        threads = self._settings.threads if self._settings.threads_chosen else None
        self._slots = slots_of(usable, threads)
        self._devices = devices_of(usable, self._slots, self._devices, str(self._settings.scheduler))

    def slots(self) -> tuple[Slot, ...]:
        return self._slots

    def remarks(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(text for _, each in sorted(self._members.items()) for text in differences(each))

    # -- jobs

    def measure(self, config: TrainConfig, threads: int) -> list[Note] | None:
        slot = next((each for each in self._slots if each.device == config.device), None)
        if slot is None:
            raise RunError(f"There is no worker for {config.device} now. Try again later.")
        cache = str(self._settings.cache) if self._cluster is not None else None
        if (preparing := self._preparing.get(slot.worker)) is not None:
            preparing.result()  # beside the loading of torch everything seems slow
        future = self._submit(worker.measure, config, threads, cache, worker=slot.worker)
        notes: list[Note] | None = future.result(timeout=_MEASURING_SECONDS)
        return notes

    def stop_measuring(self) -> None:
        self._open_client.run(worker.stop_measuring, on_error="ignore")

    def start(self, job: Job, slot: Slot) -> None:
        self._take_up(job.run_id, _Followed(slot), 0, job)

    def found(self) -> dict[str, Slot]:
        answers = self._open_client.run(worker.known_jobs, on_error="ignore")
        slots = {each.worker: each for each in reversed(self._slots)}
        return {run_id: slots.get(address, Slot("", address)) for address, runs in answers.items() for run_id in runs}

    def follow(self, run_id: str, slot: Slot, told: int) -> None:
        self._take_up(run_id, _Followed(slot, slot.worker), told)

    def _take_up(self, run_id: str, followed: _Followed, told: int, job: Job | None = None) -> None:
        with self._lock:
            self._followed[run_id] = followed
        arguments = (run_id, followed, told, job)
        threading.Thread(target=self._accompany, args=arguments, name="eurosat-follow", daemon=True).start()

    def _accompany(self, run_id: str, followed: _Followed, told: int, job: Job | None) -> None:
        """Begin a job, if it is new, and pass on what its worker tells until its end is stored."""
        try:
            if job is not None:
                address = self._address_of(followed.slot.worker)
                self._tell(address, worker.begin, self._supplied(job, address))
                followed.address = address
        except Exception as error:
            logger.exception("run %s could not be begun", run_id)
            known = isinstance(error, LabError)
            why = str(error) if known else f"Its worker gave no answer ({type(error).__name__}). Start it again."
            end: JobEnded | None = JobEnded(run_id, None, why)
        else:
            end = self._news_until_end(run_id, followed.address, told)
        if end is None:  # the lab is being closed
            return
        self._receive(end)
        followed.stored.wait(_STORED_SECONDS)
        with self._lock:
            self._followed.pop(run_id, None)
        if end.result is not None:
            with suppress(Exception):  # it has died since
                self._tell(followed.address, worker.forget, run_id)
        elif self._cluster is not None:  # a fresh worker takes its place
            self._prepare(followed.slot.worker, followed.slot.device)

    def _supplied(self, job: Job, address: str) -> Job:
        """The job as a worker can do it: one of a cluster gets what it lacks of all that the job reads, once."""
        if self._cluster is not None:
            return job
        there = replace(job, cache="")  # our folders are not its folders
        for what in self._submit(tiles_here.lacking, there, worker=address).result():
            for message in tiles_here.parcel_of(what, job, self._settings).messages():
                self._tell(address, tiles_here.take, *message)
        return there

    def _news_until_end(self, run_id: str, address: str, told: int) -> JobEnded | None:
        """How a job ended; None when nobody wants to know any more."""
        while not self._closing.is_set():
            asked = time.monotonic()
            try:
                news = self._tell(address, worker.news, run_id, told, _PATIENCE_SECONDS, seconds=None)
            except Exception:
                # The worker has died, or nobody can be asked at the moment: then the scheduler is away.
                with suppress(Exception):
                    if address not in self._workers():
                        news = None
                        break
                self._closing.wait(_RETRY_SECONDS)
                continue
            if news is None:
                break
            events, result = news
            if events:
                told += len(events)
                self._receive(EventsTold(run_id, events))
            if result is not None:
                return JobEnded(run_id, result)
            self._closing.wait(max(0.0, _NEWS_SECONDS - (time.monotonic() - asked)))
        else:
            return None
        return JobEnded(run_id, None, _DIED if self._cluster is not None else _GONE)

    def forget(self, run_id: str) -> None:
        with self._lock:
            followed = self._followed.get(run_id)
        if followed is not None:
            followed.stored.set()
        elif self._cluster is None:  # an earlier server's
            with suppress(Exception):
                self._open_client.run(worker.forget, run_id, on_error="ignore")

    def command(self, run_id: str, name: Command) -> bool:
        with self._lock:
            followed = self._followed.get(run_id)
        if followed is None or not followed.address:
            return False
        # Straight to the worker's process, past the scheduler's queue: obeyed within one step.
        try:
            return bool(self._tell(followed.address, worker.command, run_id, name, seconds=_COMMAND_SECONDS))
        except Exception:  # the worker hangs, or died this very moment; its end arrives as a message
            logger.warning("run %s: command %s did not arrive", run_id, name, exc_info=True)
            return False

    def restart(self, slot: Slot) -> None:
        if self._cluster is None:
            self._restart_member(slot)
            return
        self._open_client.restart_workers([self._address_of(slot.worker)], timeout=30)
        self._prepare(slot.worker, slot.device)

    def _restart_member(self, slot: Slot) -> None:
        """Replace a cluster's worker, where it has a nanny and does nothing else; it comes back as a new one."""
        try:
            nanny, idle = self._workers().get(slot.worker, {}).get("nanny"), True
            with suppress(TimeoutError):  # it hangs, then
                idle = self._tell(slot.worker, worker.is_idle, seconds=_COMMAND_SECONDS)
            if nanny and idle:
                self._open_client.restart_workers([slot.worker], timeout=30)
                return
        except Exception:
            logger.exception("the worker at %s was not restarted", slot.worker)
        logger.error("%s failed on the cluster; restart its worker at %s", slot.device, slot.worker)

    def close(self) -> None:
        self._closing.set()
        try:
            if self._client is not None:
                self._client.close(timeout=5)
        finally:
            if self._cluster is not None:
                self._cluster.close(timeout=10)
