"""A lab without worker processes, for tests of the lab and of pages: the test says what the workers report.

lab, engine = fake_lab(tmp_path, small_tiles)
run = lab.submit(CONFIG, "ada")
engine.wait_for(run.id)                      # a worker has it now
engine.tell(run.id, started(), step(1), epoch_done(1))
engine.end(run.id)                           # or engine.work(run.id): do the training for real, right here
wait_for_state(lab, run.id, "finished")
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.devices import Device
from eurosat_core.errors import RunError
from eurosat_core.lab import jobs
from eurosat_core.lab.lab import Lab
from eurosat_core.lab.messages import Command, EventsTold, Job, JobEnded, JobResult, Message, Slot, WorkersChanged
from eurosat_core.lab.speeds import Speed, speed_note
from eurosat_core.machine_notes import Note
from eurosat_core.runs.history import encoded_event
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone
from eurosat_core.training.forms import FORMS, form_key

ROOT = Path(__file__).parent.parent
CPU = Device("cpu", "Test CPU, 2 cores", 8 * 1024**3)
NO_GPU = Device("gpu", "GPU", None, available=False, reason="No GPU was found on this machine.")
GPU = Device("cuda:0", "Test GPU", 16 * 1024**3)
tiles_used = TilesUsed.of
SPEEDS = (
    Speed("cpu", "baseline", 40, "float32", False, 0.0004, 0.0006, cores=2.0),
    Speed("cpu", "baseline", 128, "bfloat16", True, 0.0002, 0.0006, cores=2.0),
)
# Of a step in each form, as trials note it: bfloat16 is twice as fast, channels-last a little.
FORM_SECONDS = [
    ["float32", True, 0.0010],
    ["bfloat16", True, 0.0005],
    ["float32", False, 0.0012],
    ["bfloat16", False, 0.0006],
]
# A training of a second on the small tile set.
CONFIG = TrainConfig(source="memory", epochs=2, batch_size=20, channels_last=True)
ON_GPU = replace(CONFIG, device=GPU.id)


def eventually(condition: Callable[[], Any], timeout: float = 20.0) -> Any:
    """Wait until `condition` answers something true, and return that."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout:g} s"
        time.sleep(0.01)


def started(epochs: int = 2, train_tiles: int = 150, validation_tiles: int = 50, batch_size: int = 20) -> Started:
    steps, validation_steps = -(-train_tiles // batch_size), -(-validation_tiles // 256)
    return Started(epochs, steps, validation_steps, train_tiles, validation_tiles, 338_486, 338_486, "cpu", 2)


def step(number: int, epoch: int = 1, seconds: float | None = None, phase: Any = "train") -> StepDone:
    at = 0.1 * number if seconds is None else seconds
    return StepDone(phase, epoch, number, at, 2.3 / (1 + 0.1 * number), 0.5, 2000.0, 500_000_000)


def epoch_done(epoch: int, seconds: float = 1.0) -> EpochDone:
    """Every epoch is a little better than the one before."""
    loss, accuracy = 2.0 / (epoch + 1), 1 - 0.5 / epoch
    return EpochDone(
        epoch, loss, accuracy, loss, accuracy, seconds, 0.8 * seconds, 0.2 * seconds, 2000.0, seconds * epoch
    )


def finished(epochs: int = 2, seconds: float = 2.0) -> Finished:
    return Finished(epochs, seconds, 2.0 / (epochs + 1), 1 - 0.5 / epochs)


class FakeEngine:
    """Takes jobs and does nothing with them until a test says so.

    speeds: what was measured; () leaves every estimate open. obeys: whether Stop ends a run by itself, as a worker
    would. probe_error: what looking for devices raises.
    """

    def __init__(
        self,
        devices: tuple[Device, ...] = (CPU, NO_GPU),
        *,
        speeds: tuple[Speed, ...] = SPEEDS,
        obeys: bool = True,
        probe_error: Exception | None = None,
    ) -> None:
        self.devices = devices
        self.speeds = speeds
        self.obeys = obeys
        self.probe_error = probe_error
        self.jobs: dict[str, Job] = {}  # what workers have now, by run
        self.order: list[str] = []  # runs as they were started
        self.commands: list[tuple[str, Command]] = []
        self.measured_with: dict[str, int] = {}  # by device: CPU threads
        self.restarted: list[str] = []
        self.closed = False
        self.places: tuple[Slot, ...] = ()  # in place of one for each device
        self.taken: dict[str, Slot] = {}  # by run
        self.had: dict[str, Slot] = {}  # what workers have from before, by run
        self.followed: dict[str, tuple[Slot, int]] = {}
        self.forgotten: list[str] = []
        self.measured: list[TrainConfig] = []
        self.stopped_measuring = 0
        self.start_error: Exception | None = None  # raised by the next start
        self.deaf = False  # commands do not arrive, as in the moment before a job has begun
        self._receive: Callable[[Message | WorkersChanged], None] = lambda _message: None
        self._lock = threading.Lock()

    # -- what the lab asks

    def open(self, receive: Callable[[Message | WorkersChanged], None]) -> None:
        self._receive = receive

    def probe(self) -> tuple[Device, ...]:
        if self.probe_error is not None:
            raise self.probe_error
        return self.devices

    def measure(self, config: TrainConfig, threads: int) -> list[Note] | None:
        self.measured.append(config)
        self.measured_with[config.device] = threads
        if not self.speeds:
            return []
        form = Note(FORMS, config.device, form_key(config), {"seconds": FORM_SECONDS, "why_not": None})
        return [form, *(speed_note(each) for each in self.speeds if each.device == config.device)]

    def stop_measuring(self) -> None:
        self.stopped_measuring += 1

    def slots(self) -> tuple[Slot, ...]:
        return self.places or tuple(Slot(each.id, each.id) for each in self.devices if each.available)

    def remarks(self) -> tuple[str, ...]:
        return ()

    def found(self) -> dict[str, Slot]:
        return self.had

    def follow(self, run_id: str, slot: Slot, told: int) -> None:
        self.followed[run_id] = (slot, told)

    def forget(self, run_id: str) -> None:
        self.forgotten.append(run_id)

    def start(self, job: Job, slot: Slot) -> None:
        error, self.start_error = self.start_error, None
        if error is not None:
            raise error
        with self._lock:
            self.jobs[job.run_id] = job
            self.taken[job.run_id] = slot
            self.order.append(job.run_id)

    def command(self, run_id: str, name: Command) -> bool:
        if run_id not in self.jobs or self.deaf:
            return False
        self.commands.append((run_id, name))
        if name == "stop" and self.obeys:
            self.end(run_id, "cancelled", "It was stopped before its last epoch. The last complete epoch is kept.")
        return True

    def restart(self, slot: Slot) -> None:
        self.restarted.append(slot.worker)

    def close(self) -> None:
        self.closed = True

    # -- what a test says

    def wait_for(self, run_id: str) -> Job:
        """Wait until a worker has this run."""
        job: Job = eventually(lambda: self.jobs.get(run_id))
        return job

    def tell(self, run_id: str, *events: Event) -> None:
        """The worker reports these events."""
        self._receive(EventsTold(run_id, [encoded_event(each) for each in events]))

    def end(self, run_id: str, state: Any = "finished", message: str = "", **fields: Any) -> None:
        """The job comes back; fields: those of `JobResult` (files, summary, machine, restart_worker)."""
        self.jobs.pop(run_id)
        self._receive(JobEnded(run_id, JobResult(state, message, **fields)))

    def die(self, run_id: str, message: str = "The process that trained it died. Try again.") -> None:
        """The worker dies."""
        self.jobs.pop(run_id)
        self._receive(JobEnded(run_id, None, message))

    def work(self, run_id: str) -> JobResult:
        """Do the job for real, in this thread."""
        job = self.wait_for(run_id)
        result = jobs.run_job(job, lambda events: self.tell(run_id, *events))
        self.jobs.pop(run_id)
        self._receive(JobEnded(run_id, result))
        return result


OpenFake = Callable[..., tuple[Lab, FakeEngine]]  # the fixture `open_fake`
Closing = Callable[[Lab], Lab]  # the fixture `closing`


def lab_settings(folder: Path, tiles: TileSet | None, **changes: Any) -> Settings:
    """Runs below `folder`; tiles None: synthetic ones, made below `folder` when the lab opens."""
    values: dict[str, Any] = {"runs": folder / "runs", "cache": folder / "cache", "threads": 1}
    if tiles is not None:
        values |= {"cache": tiles.cache.parent, "data": Path(tiles.place)}
    return Settings(**{**values, **changes})


def fake_lab(
    folder: Path, tiles: TileSet | None, engine: FakeEngine | None = None, **settings: Any
) -> tuple[Lab, FakeEngine]:
    """An open lab whose tiles and devices are known and measured. Close it at the end of the test."""
    engine = engine or FakeEngine()
    lab = new_lab(lab_settings(folder, tiles, **settings), engine).open()
    eventually(lambda: lab.tiles().tile_set is not None and lab.devices_known())
    if engine.speeds and engine.probe_error is None:
        eventually(lambda: lab.estimates.training(CONFIG) or engine.order)  # a run that waited may come first
    return lab, engine


def new_lab(settings: Settings, engine: FakeEngine) -> Lab:
    """A lab that is not open yet, on a machine that nothing keeps busy and of which nothing is known."""
    (settings.cache / "machine.json").unlink(missing_ok=True)  # many tests share that folder
    return calm(Lab(settings, engine))


def calm(lab: Lab) -> Lab:
    """A lab whose estimates do not depend on what keeps this machine busy."""
    lab.estimates._load.free_cores = lambda: 64.0  # type: ignore[method-assign]
    return lab


def running(lab: Lab, engine: FakeEngine, owner: str = "ada", config: TrainConfig = CONFIG) -> RunRecord:
    """A run that a worker has."""
    run = lab.submit(config, owner)
    engine.wait_for(run.id)
    return wait_for_state(lab, run.id, "running")


def trained(lab: Lab, engine: FakeEngine, config: TrainConfig = CONFIG, owner: str = "ada") -> RunRecord:
    """A training that was done for real."""
    run = lab.submit(config, owner)
    engine.work(run.id)
    return wait_for_state(lab, run.id, "finished")


def told(lab: Lab, engine: FakeEngine, run: RunRecord, *events: Event) -> None:
    """The worker reports these events, and the lab has noted them."""
    before = lab.results.history(run.id).events
    engine.tell(run.id, *events)
    eventually(lambda: lab.results.history(run.id).events == before + len(events))


def wait_for_state(lab: Lab, run_id: str, *states: str, timeout: float = 20.0) -> RunRecord:
    """Wait until a run is in one of `states`."""
    try:
        eventually(lambda: lab.store.get(run_id).state in states, timeout)
    except AssertionError:
        now = lab.store.get(run_id)
        raise AssertionError(f"still {now.state} ({now.message}), not {' or '.join(states)}") from None
    return lab.store.get(run_id)


def refused(action: Callable[[], Any]) -> str:
    """The sentence with which `action` is refused."""
    try:
        action()
    except RunError as error:
        return str(error)
    raise AssertionError("was not refused")


def raising(error: Exception) -> Callable[..., NoReturn]:
    """Function that takes anything and raises `error`, to stand in for one that fails."""

    def fail(*_arguments: Any, **_options: Any) -> NoReturn:
        raise error

    return fail


@contextmanager
def locked_elsewhere(store: RunStore, run_id: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that works on a run, as the command line's does."""
    code = (
        "import sys; from pathlib import Path; from eurosat_core.runs.store import RunStore\n"
        f"lock = RunStore(Path({str(store.folder)!r})).lock({run_id!r}); print('locked', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()
