"""A room full of participants: each opens the app by Streamlit's protocol, looks round, guesses, trains, and measures.

They follow pages as a browser does, but draw nothing: browsers belong to the participants' machines. First one
participant alone sees every page, which fills what is kept for all and says what a page costs the server; then the
whole room comes, and at its end all go to one page after another at the same moment, as when an instructor says so.
Two of them have real browsers, where the machine has one. Everything stays on 127.0.0.1, and the server ends with the
benchmark.
"""

import asyncio
import random
import statistics
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from bench.browsers import Onlooker, onlookers
from bench.processes import row
from bench.rates import computed_on
from bench.server import Page, app_process, connection, following, wait_for_tiles
from eurosat_core.data.tiles import find_place
from eurosat_core.errors import RunError
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings

PARTICIPANTS = 30
SECONDS = 300.0
LOOKS = (4.0, 12.0)  # seconds that somebody looks at a page before going on
BROWSERS = 2
TOGETHER = ("train", "convolution", "speed", "profiler")  # where all go at once
_COMING_SECONDS = 6.0  # within these all have come
_HUNG_SECONDS = 120.0  # a page run that takes longer counts as one that never ends
_WAIT_FACTOR = 1.5  # what a first run may wait, against participants × mean run ÷ places
_MOST_DRAINING = 3600.0
_SAMPLE_SECONDS = 10.0  # between two looks at the server's memory
_MB = 1e6


@dataclass
class Room:
    """What all participants have met.

    page_runs: seconds of each, by page. hung: what never ended. pressed: kinds of runs asked for. refreshes: how often
    a part of a page was asked for again.
    """

    page_runs: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    pressed: Counter[str] = field(default_factory=Counter)
    refreshes: int = 0


class Participant(Page):
    """Somebody in the room. buttons: ids of those on the page that can be pressed, by their key."""

    def __init__(self, socket: Any, query: str, room: Room) -> None:
        super().__init__(socket, query)
        self.pages: dict[str, str] = {}  # by name, as in the address
        self.buttons: dict[str, str] = {}
        self._guesses: dict[str, str] = {}  # by the widget's id: its first option
        self._room = room
        self._wanted: str | None = None  # the page asked for; empty: whichever comes
        self._comes: str | None = None  # the page whose whole run has begun
        self._done = asyncio.Event()

    async def open(self) -> None:
        """Until the first page stands, which is asked for when the connection is followed."""
        await self._stands("start", time.perf_counter())

    async def go(self, name: str, called: str = "") -> None:
        """Go to another page by the navigation. called: how that is counted."""
        began = time.perf_counter()
        self._page, self.query = self.pages[name], ""
        await self._run(called or name or "start", began)

    async def guess(self) -> None:
        """Choose the first answer of the page's first guess, if it has one."""
        for widget, option in list(self._guesses.items())[:1]:
            state = WidgetState(id=widget)
            state.string_array_value.data.append(option)
            await self._run("a guess", time.perf_counter(), state)

    async def press(self, key: str, kind: str) -> bool:
        """Press a button that asks for a run of this kind; whether it was there to be pressed."""
        widget = self.buttons.get(key)
        if widget is None:
            return False
        self._room.pressed[kind] += 1
        await self._run(f"asking for a {kind} run", time.perf_counter(), WidgetState(id=widget, trigger_value=True))
        return True

    async def _run(self, name: str, began: float, *widgets: WidgetState) -> None:
        self._wanted, self._comes = self._page, None
        self._done.clear()
        await self.ask(*widgets)
        await self._stands(name, began)

    async def _stands(self, name: str, began: float) -> None:
        """Note how long it took until the page that was asked for stood. Raises `RunError` when the server is gone."""
        try:
            await asyncio.wait_for(self._done.wait(), _HUNG_SECONDS)
        except TimeoutError:
            self._room.hung.append(f"{name}: asked for {self._wanted}, came {self._comes}")
        if self._ended:
            raise RunError(f"The connection ended while {name} was drawn: the benchmark must be looked at.")
        self._room.page_runs[name].append(time.perf_counter() - began)

    async def follow(self) -> None:
        """As of any page; who waits for it hears of its end, too."""
        try:
            await super().follow()
        finally:
            self._done.set()

    def _take(self, message: ForwardMsg) -> None:
        super()._take(message)
        whole = not message.metadata.run.fragment_ids
        match message.WhichOneof("type"):
            case "new_session" if whole:
                self._comes = message.new_session.page_script_hash
                self.buttons, self._guesses = {}, {}
            case "navigation":
                self.pages = {each.url_pathname: each.page_script_hash for each in message.navigation.app_pages}
                self._comes = message.navigation.page_script_hash
            case "script_finished" if message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
                if self._comes is not None and self._wanted in (None, self._comes):
                    self._done.set()
            case "script_finished" if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                self._room.errors.append("a page's script could not be read")

    def _draw(self, delta: Delta) -> None:
        element = delta.new_element
        match element.WhichOneof("type"):
            case "exception":
                self._room.errors.append(element.exception.message)
            case "alert" if element.alert.format == Alert.ERROR:
                self._room.errors.append(element.alert.body)
            case "button" if not element.button.disabled:
                self.buttons[element.button.id.rsplit("-", 1)[-1]] = element.button.id
            case "button_group" if "-guess_" in element.button_group.id:
                self._guesses[element.button_group.id] = element.button_group.options[0].content


@dataclass
class Watch:
    """Memory and CPU time of the server's process, and memory of those it has started."""

    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Of the server alone, since it started."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> tuple[float, float]:
        """Megabytes that only the server has, and those that only its workers have."""
        workers = 0.0
        for each in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                workers += each.memory_full_info().uss / _MB
        return self.own_memory(), workers

    def own_memory(self) -> float:
        """Megabytes that only the server has."""
        return float(self.process.memory_full_info().uss / _MB)

    async def course(self, into: list[tuple[float, float]]) -> None:
        """Note the minute and the server's memory every ten seconds, until this is cancelled."""
        began = time.monotonic()
        while True:
            into.append(((time.monotonic() - began) / 60, self.own_memory()))
            await asyncio.sleep(_SAMPLE_SECONDS)


def run(
    settings: Settings, say: Callable[[str], None], participants: int = PARTICIPANTS, seconds: float = SECONDS
) -> dict[str, Any]:
    """Page runs of `participants` who browse for `seconds`, what became of their runs, and the server's memory."""
    settings.cache.mkdir(parents=True, exist_ok=True)
    place = find_place(None, settings)
    served = settings if place is None else Settings(**{**vars(settings), "data": place})
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+b") as log:
        store = RunStore(Path(folder) / "runs")
        with app_process(served, store.folder, log) as (address, process):
            wait_for_tiles(address, 300)
            watch = Watch(psutil.Process(process.pid))
            try:
                found = asyncio.run(_measure(address, store, watch, participants, seconds, say))
            except ExceptionGroup as errors:
                known = errors.subgroup(RunError)
                raise known.exceptions[0] if known is not None else errors from None
        log.seek(0)
        traces = log.read().count(b"Traceback (most recent call last)")
    about = f"{participants} participants for {seconds:.0f} s, {LOOKS[0]:.0f}–{LOOKS[1]:.0f} s a page, on "
    return {
        "about": f"{about}{computed_on(settings.threads)}; page runs as p50, p95, longest",
        "rows": [*found.rows(), row("tracebacks in the server's log", [traces], "", promise="0")],
        "errors": sorted({*found.room.errors, *found.room.hung}),
    }


@dataclass
class Found:
    """All that was measured.

    alone: CPU seconds of the server by page. memory: server's and workers' at each moment. course: the server's while
    all were there, with the minute of each look. onlookers: those who had real browsers.
    """

    participants: int
    room: Room
    alone: dict[str, float]
    cpu_seconds: float
    seconds: float
    memory: dict[str, tuple[float, float]]
    records: list[RunRecord]
    course: list[tuple[float, float]] = field(default_factory=list)
    onlookers: list[Onlooker] = field(default_factory=list)

    def rows(self) -> list[dict[str, Any]]:
        """The table."""
        runs = dict(self.room.page_runs)
        together = {name: runs.pop(name) for name in map(_at_once, TOGETHER) if name in runs}
        every = [each for values in runs.values() for each in values]
        rows = [_times(f"page runs ({len(every)})", every, "p95 ≤ 2 s")]
        rows += [_times(f"{name} ({len(values)})", values) for name, values in sorted(runs.items())]
        rows += [_times(f"{name} ({len(values)})", values) for name, values in together.items()]
        if seen := [each for one in self.onlookers for each in one.switches]:
            rows.append(_times(f"until drawn in {len(self.onlookers)} real browsers ({len(seen)})", seen))
        rows += [row(f"server’s CPU time alone: {name}", [value], "s") for name, value in self.alone.items()]
        rows += [
            row("server’s CPU time per page run, refreshes with it", [self.cpu_seconds / max(len(every), 1)], "s"),
            row("server’s CPU time", [self.cpu_seconds / self.seconds], "cores"),
            row("parts that refreshed themselves", [self.room.refreshes / self.seconds], "a second"),
            row("errors shown", [len(self.room.errors)], "", promise="0"),
            row("page runs that never ended", [len(self.room.hung)], "", promise="0"),
        ]
        return rows + self._runs() + self._memory()

    def _runs(self) -> list[dict[str, Any]]:
        """What became of the runs that were asked for."""
        by_kind = Counter(each.kind for each in self.records)
        asked = self.room.pressed
        each_ones = Counter((each.owner, each.kind) for each in self.records)
        rows = [
            row("runs asked for", [sum(asked.values())], ""),
            row("runs lost", [sum(max(0, asked[kind] - by_kind[kind]) for kind in asked)], "", promise="0"),
            row("runs doubled", [sum(count - 1 for count in each_ones.values())], "", promise="0"),
            row("runs that did not finish", [sum(each.state != "finished" for each in self.records)], "", promise="0"),
        ]
        if bound := longest_wait(self.records, self.participants):
            waits = first_waits(self.records)
            rows.append(row("longest wait of a first run", [max(waits)], "s", ratio=max(waits) / bound, promise="≤ 1"))
            rows.append(row("mean of a run", [bound / _WAIT_FACTOR / self.participants], "s"))
        return rows

    def _memory(self) -> list[dict[str, Any]]:
        rows = [row(f"server’s own memory {name}", [server], "MB") for name, (server, _) in self.memory.items()]
        rows += [row(f"workers’ own memory {name}", [workers], "MB") for name, (_, workers) in self.memory.items()]
        (_, before), (_, after) = list(self.memory.items())[-2:]
        rows.append(row("server grew by", [after[0] - before[0]], "MB", promise="< 100 MB"))
        if len(self.course) > 2:  # the promise is of half an hour: before, what is kept for all is still being filled
            half = self.course[len(self.course) // 2 :]
            for when, course in (("", self.course), (", second half", half)):
                if len(course) > 2:
                    slope = statistics.linear_regression(*zip(*course, strict=True)).slope
                    name = f"server grew, by least squares{when}"
                    rows.append(row(name, [slope], "MB a minute", promise="< 1 in a soak of 30 min"))
        return rows


def _times(name: str, values: Sequence[float], promise: str = "") -> dict[str, Any]:
    """Median, p95 and longest of many; the one in the middle of these is p95."""
    p95 = statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
    return row(name, [statistics.median(values), p95, max(values)], "s", promise=promise)


def longest_wait(records: Iterable[RunRecord], participants: int) -> float | None:
    """Seconds that no first run may wait longer than, on one device; None when none has ended yet."""
    took = [each.ended - each.started for each in records if each.started and each.ended]
    return _WAIT_FACTOR * participants * statistics.mean(took) if took else None


def first_waits(records: Iterable[RunRecord], now: float | None = None) -> list[float]:
    """Seconds that each owner's first run waited; of one that has not started, until `now`."""
    firsts: dict[str, RunRecord] = {}
    for each in sorted(records, key=lambda each: each.created):
        firsts.setdefault(each.owner, each)
    now = time.time() if now is None else now
    return [(each.started or each.ended or now) - each.created for each in firsts.values()]


async def _measure(
    address: str, store: RunStore, watch: Watch, participants: int, seconds: float, say: Callable[[str], None]
) -> Found:
    memory = {"at start": watch.memory()}
    alone = await _see_every_page(address, watch)
    memory["once one has seen every page"] = watch.memory()
    costs = ", ".join(f"{name} {value:.2f}" for name, value in alone.items())
    say(f"  alone, the server's CPU seconds a page: {costs}")
    room, over, together = Room(), asyncio.Event(), asyncio.Barrier(participants + 1)
    began, cpu = time.monotonic(), watch.cpu_seconds()
    course: list[tuple[float, float]] = []
    async with onlookers(BROWSERS) as looking, asyncio.TaskGroup() as everybody:
        for number in range(participants):
            everybody.create_task(_take_part(address, number, room, began + seconds, together, over))
        for number, onlooker in enumerate(looking):
            everybody.create_task(onlooker.browse(address, began + seconds, random.Random(-number), LOOKS))
        await asyncio.sleep(min(_COMING_SECONDS, seconds))
        sampling = everybody.create_task(watch.course(course))
        await asyncio.sleep(began + seconds - time.monotonic())
        sampling.cancel()
        took, used = time.monotonic() - began, watch.cpu_seconds() - cpu
        every = [each for values in room.page_runs.values() for each in values]
        say(f"  {len(every)} page runs, the longest {max(every, default=0.0):.1f} s; now all at once")
        for each in room.hung:
            say(f"  never ended: {each}")
        for _ in (*TOGETHER, "all are there"):
            await together.wait()
        memory["after the room"] = watch.memory()
        say("  waiting for the runs to end")
        await _runs_ended(store, participants)
        over.set()
    for onlooker in looking:
        room.pressed["train"] += onlooker.trains
        room.errors += onlooker.errors
    return Found(participants, room, alone, used, took, memory, store.all()[0], course, looking)


async def _see_every_page(address: str, watch: Watch) -> dict[str, float]:
    """One participant alone, who sees every page twice: the server's CPU seconds for the second time, by page."""
    costs = {}
    async with connection(address, time.monotonic() + 60) as socket:
        visitor = Participant(socket, "", Room())
        async with following(visitor):
            await visitor.open()
            for name in (*visitor.pages, *visitor.pages):
                before = watch.cpu_seconds()
                await visitor.go(name)
                costs[name or "start"] = watch.cpu_seconds() - before
    return costs


def _at_once(name: str) -> str:
    return f"all at once: {name}"


async def _take_part(
    address: str, number: int, room: Room, until: float, together: asyncio.Barrier, over: asyncio.Event
) -> None:
    """One participant's course: start, a guess, a training, then pages in any order; every second one profiles once.

    Then all go `together`. What is open at the end stays open until it is `over`.
    """
    chance = random.Random(number)  # which page somebody looks at, and for how long
    await asyncio.sleep(chance.uniform(0, _COMING_SECONDS))

    async def look() -> None:
        await asyncio.sleep(max(0.0, min(chance.uniform(*LOOKS), until - time.monotonic())))

    async with connection(address, time.monotonic() + 60) as socket:
        me = Participant(socket, "", room)
        async with following(me):
            await me.open()
            await look()
            await me.guess()
            await look()
            await me.go("train")
            await look()
            trains, profiles = not await me.press("train_start", "train"), number % 2 == 1
            while True:
                await look()
                if time.monotonic() >= until:
                    break
                await me.go(chance.choice(list(me.pages)))
                if trains:  # the button was not there yet
                    trains = not await me.press("train_start", "train")
                if profiles:
                    profiles = not await me.press("profiler_start", "profile")
            room.refreshes += me.refreshes
            for name in TOGETHER:
                await together.wait()
                await me.go(name, _at_once(name))
            await together.wait()
            await over.wait()


async def _runs_ended(store: RunStore, participants: int) -> None:
    """Wait until every run has ended, or the longest wait that is allowed is over."""
    since = time.monotonic()
    while True:
        records = store.all()[0]
        allowed = longest_wait(records, participants) or _MOST_DRAINING
        if not any(each.is_active for each in records) or time.monotonic() - since > allowed:
            return
        await asyncio.sleep(1.0)
