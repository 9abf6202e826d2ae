"""Kills at random moments over a stream of runs: of workers, of the server, and of the server in the middle of a write.

The server is a lab without pages, in a process of its own, with the real engine and its worker processes. It takes tiny
trainings of made tiles, pauses some and stops some. Whoever kills it also watches the run store all the time, and
counts what must never happen. A kill in a write is one at a random call that changes the store: the server takes half
of what it was to write there, and dies. Everything stays on 127.0.0.1, and all processes end with the benchmark.
"""

import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from bench.processes import ROOT, row
from bench.rates import computed_on
from eurosat_core.errors import LabError, RunError
from eurosat_core.lab.lab import Lab, open_lab
from eurosat_core.runs.history import RunEvent, read_event
from eurosat_core.runs.record import RunRecord, State
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import predictions_from_bytes
from eurosat_core.training.events import EpochDone, Finished, Started, StepDone

KILLS = 50
SECONDS = 1800.0  # no kill after these
SEED = 21
_KINDS = ("worker", "server", "write")
_TRAINING = TrainConfig(source="memory", tiles=200, batch_size=20, precision="float32", channels_last=False)
_OWNERS = ("ada", "bob", "cleo")
_WAITING = 3  # runs that the server keeps in its line
_MOST_CALLS = 60  # that change the store, before one at which the server dies
_AT_ONCE = 0.25  # of the kills come at once, whatever the server is at; the others once it has got on
_LOOK_SECONDS = 0.05
_STUCK_SECONDS = 400.0  # a server that gets nowhere for so long does not work any more, however busy the machine is
_ENDED: tuple[State, ...] = ("finished", "failed", "cancelled", "interrupted")
_LEFTOVERS = ("*/*.????????", ".*")  # of files that were being written, and of folders being made or removed


# -- the server


class _Death:
    """Dies at the `calls`-th call that changes the store, in the middle of it."""

    def __init__(self, runs: Path) -> None:
        self.calls: int | None = None
        self._runs = str(runs)
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.calls is None or not self._changes(event, arguments):
            return
        self.calls -= 1
        if self.calls > 0:
            return
        self.calls = None
        if event == "open" and not arguments[0].endswith("lock"):
            with suppress(OSError), open(arguments[0], "ab") as file:  # noqa: PTH123 (a text, as the call has it)
                file.write(b'{"at":1700000000.0,"ki')
        os.kill(os.getpid(), signal.SIGKILL)

    def _changes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            is_ours = isinstance(arguments[0], str) and arguments[0].startswith(self._runs)
            return is_ours and bool(flags & (os.O_WRONLY | os.O_RDWR))
        return event in ("os.rename", "os.mkdir", "os.remove") and str(arguments[0]).startswith(self._runs)


def serve(runs: Path, cache: Path, seed: int) -> None:
    """A lab with a stream of runs until the input ends; `die N` in it: at the Nth call that changes the store.

    Prints the id of every run that was submitted. `drain`: submit no more.
    """
    death, chance, orders = _Death(runs), random.Random(seed), set[str]()

    def hear() -> None:
        for line in sys.stdin:
            word, _, calls = line.strip().partition(" ")
            if word == "die":
                death.calls = int(calls)
            orders.add(word)
        orders.add("close")

    threading.Thread(target=hear, daemon=True).start()
    lab = open_lab(Settings(runs=runs, cache=cache, threads=1))
    try:
        while "close" not in orders:
            if "drain" not in orders:
                _stream(lab, chance)
            time.sleep(0.02)
    finally:
        lab.close()


def _stream(lab: Lab, chance: random.Random) -> None:
    """Keep some runs waiting, and now and then pause, resume, stop or delete one."""
    with suppress(LabError):  # the tiles are still being opened; what was chosen has just ended
        records = lab.store.all()[0]
        if sum(each.state == "queued" for each in records) < _WAITING:
            config = replace(_TRAINING, epochs=chance.choice((1, 1, 2, 4)))
            print(lab.submit(config, chance.choice(_OWNERS)).id, flush=True)
        for each in records:
            if each.state == "paused" and chance.random() < 0.05:
                lab.control(each.id, each.owner, "resume")
            elif each.state == "running" and chance.random() < 0.004:
                lab.control(each.id, each.owner, chance.choice(("pause", "stop")))


# -- who kills it


@dataclass
class Witness:
    """What is seen of a store from outside, and what must not be: `violations`, a sentence each.

    ended: by run, the digests of its files since its end was first seen.
    """

    store: RunStore
    violations: list[str] = field(default_factory=list)
    announced: set[str] = field(default_factory=set)
    known: dict[str, RunRecord] = field(default_factory=dict)
    ended: dict[str, dict[str, str]] = field(default_factory=dict)

    def look(self) -> None:
        """See all runs, and hold them against what was seen before."""
        announced = set(self.announced)  # before the list is read: what is announced has been stored
        records, _ = self.store.all()
        for lost in {*announced, *self.known} - {each.id for each in records}:
            self._found(f"{lost} is lost")
            self.announced.discard(lost)
            self.known.pop(lost, None)
        for each in records:
            before = self.known.get(each.id)
            self.known[each.id] = each
            if each.id in self.ended:
                if before != each:
                    self._found(f"{each.id} was {before and before.state}, which is an end, and became {each.state}")
            elif not each.is_active:
                self.ended[each.id] = self._digests(each.id)
            if before and each.state == "queued" != before.state:
                self._found(f"{each.id} was {before.state} and waits again")

    def judge(self) -> None:
        """Once nothing is at work: see what every run has left."""
        self.look()
        _, problems = self.store.all()
        for problem in problems:
            self._found(f"the store says: {problem}")
        for record in self.known.values():
            if record.id in self.ended:
                if self._digests(record.id) != self.ended[record.id]:
                    self._found(f"{record.id}: its files were changed after its end")
                for problem in course_problems(record, self.store):
                    self._found(f"{record.id}, {record.state}: {problem}")
            else:
                self._found(f"{record.id} never ended: it is {record.state}")
        for pattern in _LEFTOVERS:
            for left in self.store.folder.glob(pattern):
                self._found(f"{left.relative_to(self.store.folder)} was left behind")

    def _digests(self, run_id: str) -> dict[str, str]:
        files = [each for each in self.store.folder_of(run_id).iterdir() if each.name != "lock"]
        kept = [each for each in files if not any(each.match(pattern) for pattern in _LEFTOVERS)]  # they may be swept
        return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in kept}

    def _found(self, violation: str) -> None:
        self.violations.append(violation)


def course_problems(record: RunRecord, store: RunStore) -> Iterator[str]:
    """What is wrong with the events and the files of a training that has ended."""
    folder = store.folder_of(record.id)
    content = (folder / "events.jsonl").read_bytes() if (folder / "events.jsonl").exists() else b""
    *lines, torn = content.split(b"\n")
    events: list[RunEvent] = []
    for line in lines:
        try:
            events.append(read_event(line)[0])
        except RunError as error:
            if record.state != "interrupted":
                yield str(error)
    places = [place for each in events if (place := _place(each)) is not None]
    if places != sorted(set(places)):
        yield "its events are doubled, or out of order"
    if record.ended is None or record.ended < (record.started or record.created):
        yield f"it ended at {record.ended}, before it began"
    if record.state != "finished":
        if not record.message:
            yield "nothing says why"
        return
    if torn:
        yield "its last event is torn"
    epochs = [each.epoch for each in events if isinstance(each, EpochDone)]
    if not events or not isinstance(events[-1], Finished) or epochs != list(range(1, record.config.epochs + 1)):
        yield f"it has told of the epochs {epochs}, and at last of {type(events[-1]).__name__ if events else 'nothing'}"
    try:
        torch.load(io.BytesIO(store.load(record.id, "model.pt")), weights_only=True)
        predictions_from_bytes(store.load(record.id, "predictions.npz"))
        json.loads(store.load(record.id, "split.json"))
    except (LabError, ValueError, RuntimeError) as error:
        yield f"what it left cannot be used: {error}"


def _place(event: RunEvent) -> tuple[int, int, int] | None:
    """Where in a training's course an event stands."""
    match event:
        case Started():
            return 0, 0, 0
        case StepDone():
            return event.epoch, 0 if event.phase == "train" else 1, event.step
        case EpochDone():
            return event.epoch, 2, 0
        case Finished():
            return event.epochs + 1, 0, 0
    return None


@dataclass
class Server:
    """One life of the server."""

    process: subprocess.Popen[str]
    witness: Witness

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def tell(self, order: str) -> None:
        """Say something to it, which may have died."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(f"{order}\n")
            self.process.stdin.flush()

    def follow(self) -> None:
        """Note every run that it says it has."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.witness.announced.add(line.strip())

    def workers(self) -> list[psutil.Process]:
        """Its worker processes, and those that these have started."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children()
            starters = [each for each in children if "resource_tracker" not in " ".join(_command(each))]
            return [*starters, *(below for each in starters for below in each.children(recursive=True))]
        return []


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


@contextmanager
def _server(witness: Witness, cache: Path, seed: int) -> Iterator[Server]:
    command = [sys.executable, "-m", "bench.chaos", str(witness.store.folder), str(cache), str(seed)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    server = Server(process, witness)
    following = threading.Thread(target=server.follow)
    following.start()
    try:
        yield server
    finally:
        if server.lives:
            server.tell("close")
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        following.join()
        for pipe_end in (process.stdin, process.stdout):
            assert pipe_end is not None
            with suppress(OSError):
                pipe_end.close()


def _until(reached: Callable[[], bool], witness: Witness, seconds: float) -> bool:
    """Look at the store until it is so; whether it was within so many seconds."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            return False
        witness.look()
        time.sleep(_LOOK_SECONDS)
    return True


def _gets_on(server: Server, witness: Witness) -> None:
    """Wait until the server has got on: another run has ended. Raises `RunError` when it gets nowhere."""
    before = len(witness.ended)
    if not _until(lambda: len(witness.ended) > before or not server.lives, witness, _STUCK_SECONDS):
        states = Counter(each.state for each in witness.known.values())
        raise RunError(f"The server gets nowhere ({dict(states)}): the benchmark must be looked at.")


def run(
    settings: Settings, say: Callable[[str], None], kills: int = KILLS, seconds: float = SECONDS, seed: int = SEED
) -> dict[str, Any]:
    """Kill `kills` times, within so many seconds, and count what must not be."""
    settings.cache.mkdir(parents=True, exist_ok=True)
    chance, killed = random.Random(seed), Counter[str]()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        witness = Witness(RunStore(Path(folder) / "runs"))
        while killed.total() < kills and time.monotonic() - began < seconds:
            with _server(witness, settings.cache, chance.randrange(2**31)) as server:
                while server.lives and killed.total() < kills and time.monotonic() - began < seconds:
                    kind = chance.choice(_KINDS)
                    _kill(kind, server, witness, chance)
                    killed[kind] += 1
                    say(f"  {time.monotonic() - began:5.0f} s: {kind} killed; {len(witness.known)} runs so far")
        with _server(witness, settings.cache, 0) as server:
            server.tell("drain")
            over = lambda: len(witness.ended) == len(witness.known)  # noqa: E731
            _until(over, witness, _STUCK_SECONDS)
        witness.judge()
        states = Counter(each.state for each in witness.known.values())
    for violation in witness.violations:
        say(f"  {violation}")
    return {
        "about": f"{seed=}, on {computed_on(1)}",
        "rows": [
            *(row(f"kills: {kind}", [killed[kind]], "") for kind in _KINDS),
            row("runs", [states.total()], ""),
            *(row(f"runs {state}", [states[state]], "") for state in _ENDED),
            row("what must not be", [len(witness.violations)], "", promise="0"),
            row("it took", [time.monotonic() - began], "s"),
        ],
        "errors": witness.violations,
    }


def _kill(kind: str, server: Server, witness: Witness, chance: random.Random) -> None:
    """Kill the server or one of its workers, at once or at a moment after it has got on."""
    at_once = chance.random() < _AT_ONCE
    if not at_once:
        _gets_on(server, witness)
    if kind == "write":
        server.tell(f"die {chance.randint(1, _MOST_CALLS)}")
        if not _until(lambda: not server.lives, witness, _STUCK_SECONDS):
            raise RunError("The server writes nothing any more: the benchmark must be looked at.")
        return
    moment = time.monotonic() + chance.uniform(0, 3)
    _until(lambda: time.monotonic() > moment, witness, _STUCK_SECONDS)
    if kind == "server":
        server.process.kill()
        server.process.wait()
        return
    if _until(lambda: bool(server.workers()), witness, _STUCK_SECONDS):
        with suppress(psutil.NoSuchProcess):
            chance.choice(server.workers()).kill()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
