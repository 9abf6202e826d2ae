"""A real lab with an engine that starts no processes, and the app as a participant sees it.

AppTest runs no lifespan, so the lab is put in place with `set_current_lab`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from eurosat_core.devices import Device
from eurosat_core.lab.calibration import Speed
from eurosat_core.lab.engine import EventsTold, JobEnded, Message
from eurosat_core.lab.jobs import Command, JobResult, TrainJob
from eurosat_core.lab.lab import Lab, set_current_lab
from eurosat_core.settings import Settings
from eurosat_core.training.events import Event

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
CPU = Device("cpu", "Test processor, 2 cores", 8 * 2**30)
NO_GPU = Device("gpu", "GPU", None, available=False, reason="No GPU was found on this machine.")
FAKE_GPU = Device("cuda:0", "Pretend GPU", 24 * 2**30)


class FakeEngine:
    """Stands in for the workers: jobs only start, and the test says what becomes of them."""

    def __init__(self, devices: Sequence[Device] = (CPU, NO_GPU)) -> None:
        self.devices = tuple(devices)
        self.jobs: dict[str, TrainJob] = {}
        self.commands: list[tuple[str, Command]] = []
        self._receive: Callable[[Message], None] = lambda _message: None

    def open(self, receive: Callable[[Message], None]) -> None:
        self._receive = receive

    def probe(self) -> tuple[Device, ...]:
        return self.devices

    def measure(self, device: str) -> list[Speed]:
        return []

    def start(self, job: TrainJob) -> None:
        self.jobs[job.run_id] = job

    def command(self, run_id: str, name: Command) -> bool:
        self.commands.append((run_id, name))
        return run_id in self.jobs

    def restart(self, device: str) -> None:
        pass

    def close(self) -> None:
        pass

    # What the worker of a run would say.

    def tell(self, run_id: str, *events: Event) -> None:
        self._receive(EventsTold(run_id, list(events)))

    def end(self, run_id: str, result: JobResult | None, message: str = "") -> None:
        self.jobs.pop(run_id, None)
        self._receive(JobEnded(run_id, result, message))


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that the lab's own threads do."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(scope="session")
def tile_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all page tests: the synthetic tiles are made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_lab(tmp_path: Path, tile_cache: Path) -> Iterator[Callable[..., Lab]]:
    """Function: an open lab (engine, data folder, wait for tiles and devices?), current until the test ends."""
    opened: list[Lab] = []

    def make(engine: FakeEngine | None = None, data: Path | None = None, *, ready: bool = True) -> Lab:
        settings = Settings(runs=tmp_path / "runs", cache=tile_cache, threads=2)
        lab = Lab(replace(settings, data=data), engine or FakeEngine()).open()
        opened.append(lab)
        set_current_lab(lab)
        if ready:
            wait_until(lambda: lab.devices_known() and lab.tiles().tile_set is not None)
        return lab

    yield make
    set_current_lab(None)
    for lab in opened:
        lab.close()


@pytest.fixture
def engine() -> FakeEngine:
    """The engine of `lab`."""
    return FakeEngine()


@pytest.fixture
def lab(make_lab: Callable[..., Lab], engine: FakeEngine) -> Lab:
    """A lab on synthetic tiles and a CPU, without a GPU."""
    return make_lab(engine)


@pytest.fixture
def app() -> Callable[..., AppTest]:
    """Function: the app, run once, on a page ("tiles.py"), with query parameters; a lab must be open."""

    def run(page: str = "start.py", **parameters: str) -> AppTest:
        test = AppTest.from_file(str(MAIN), default_timeout=60)
        test.query_params["who"] = parameters.pop("who", "test-otter-10")
        for name, value in parameters.items():
            test.query_params[name] = value
        test.run()
        assert not test.exception, test.exception[0].message
        if page != "start.py":
            test.switch_page(page)
            for name, value in parameters.items():
                test.query_params[name] = value
            test.run()
        return test

    return run


def pills(test: AppTest, at: int = 0) -> Any:
    """One of the page's pills; AppTest's types know them only as elements."""
    return test.get("pills")[at]


def shown(test: AppTest) -> str:
    """All text on the screen, for looking for words."""
    parts: list[str] = []
    for kind in ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "metric"):
        for each in test.get(kind):
            parts += [str(getattr(each, name, "") or "") for name in ("title", "label", "value")]
    return "\n".join(parts)
