"""A real lab with an engine that starts no processes, and the app as a participant sees it.

AppTest runs no lifespan, so the lab is put in place with `set_current_lab`.
"""

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_engine import CPU, GPU, FakeEngine, eventually, lab_settings, new_lab, tiles_used
from streamlit.testing.v1 import AppTest

from eurosat_core.classroom import participants
from eurosat_core.classroom.participants import Participants
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.lab.lab import Lab, current_lab, set_current_lab
from eurosat_core.models import recorded
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.training.config import workshop_config
from eurosat_core.training.events import EpochDone, Event, Finished, Started, StepDone
from eurosat_core.training.network import make_network
from tests.told import in_a_line, told_as

MAIN = Path(__file__).parents[2] / "pages" / "main.py"
App = Callable[..., AppTest]  # the fixture `app`
FolderLab = Callable[..., Lab]  # the fixture `folder_lab`
ME = "test-otter-10"


@pytest.fixture(scope="session")
def tile_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all page tests: the synthetic tiles are made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make_lab(tmp_path: Path, tile_cache: Path) -> Iterator[Callable[..., Lab]]:
    """Function: an open lab (engine, data folder, wait for tiles and devices?), current until the test ends."""
    opened: list[Lab] = []

    def make(engine: FakeEngine | None = None, data: Path | None = None, *, ready: bool = True) -> Lab:
        settings = lab_settings(tmp_path, None, cache=tile_cache, data=data, threads=2)
        lab = new_lab(settings, engine or FakeEngine(speeds=())).open()
        opened.append(lab)
        set_current_lab(lab)
        if ready:
            eventually(lambda: lab.devices_known() and lab.tiles().tile_set is not None)
        return lab

    yield make
    set_current_lab(None)
    for lab in opened:
        lab.close()


@pytest.fixture
def engine() -> FakeEngine:
    """The engine of `lab`: nothing was measured on its devices."""
    return FakeEngine(speeds=())


@pytest.fixture
def lab(make_lab: Callable[..., Lab], engine: FakeEngine) -> Lab:
    """A lab on synthetic tiles and a CPU, without a GPU."""
    return make_lab(engine)


@pytest.fixture
def gpu_lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(FakeEngine((CPU, GPU), speeds=()))


@pytest.fixture
def folder_lab(make_lab: Callable[..., Lab], small_folder: Callable[..., Path], tmp_path: Path) -> FolderLab:
    """Function: a lab on a folder of the user's with so many tiles per class, and one that cannot be read if named."""

    def make(counts: dict[str, int], damaged: str = "") -> Lab:
        folder = small_folder(tmp_path / "data", counts)
        if damaged:
            (folder / damaged).write_bytes(b"")
        return make_lab(data=folder)

    return make


@pytest.fixture
def no_recorded_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The bundled network is missing."""
    monkeypatch.setattr(recorded, "_FOLDER", tmp_path)
    recorded.recorded_baseline.cache_clear()
    yield
    recorded.recorded_baseline.cache_clear()


@pytest.fixture
def app() -> App:
    """Function: the app, opened at a page ("tiles.py") with query parameters; a lab must be open."""

    def run(page: str = "start.py", **parameters: str) -> AppTest:
        test = as_participant(AppTest.from_file(str(MAIN), default_timeout=60), parameters.pop("who", ME))
        for name, value in parameters.items():
            test.query_params[name] = value
        return checked(test.switch_page(page).run())

    return run


def as_participant(test: AppTest, who: str = ME) -> AppTest:
    """The session of somebody whose id is the nickname, too."""
    test.session_state["secret"] = f"of {who}"  # AppTest has no cookies
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(participants, "_new_id", lambda: who)
        patch.setattr(Participants, "_free_name", lambda _self, _wanted: who)
        current_lab().participants.enter(f"of {who}")
    return test


def alone(script: Callable[[], None], who: str = ME, **parameters: str) -> AppTest:
    """A part of a page, or a page by itself: nothing is drawn around it."""
    test = as_participant(AppTest.from_function(script, default_timeout=60), who)
    for name, value in parameters.items():
        test.query_params[name] = value
    return checked(test.run())


def checked(test: AppTest) -> AppTest:
    """The app after a run that raised nothing."""
    assert not test.exception, test.exception[0].message
    return test


def click(test: AppTest, key: str) -> AppTest:
    return checked(test.button(key=key).click().run())


def choose(test: AppTest, key: str, value: Any) -> AppTest:
    """Put a value into a widget of any kind."""
    return checked(test.get_by_key(key).set_value(value).run())


def pills(test: AppTest, at: int = 0) -> Any:
    """One of the page's pills; AppTest's types know them only as elements."""
    return test.get("pills")[at]


def shown(test: AppTest) -> str:
    """All text on the screen as it is read: escaped signs stand for themselves."""
    parts: list[str] = []
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "success", "warning", "error", "metric")
    for kind in kinds:
        for each in test.get(kind):
            parts += [str(getattr(each, name, "") or "") for name in ("title", "label", "value")]
    return unescaped("\n".join(parts))


def saw(test: AppTest) -> str:
    """All that stands under *What you just saw*."""
    return unescaped("\n".join(each.value for each in test.info if str(each.title) == "What you just saw"))


def alts(test: AppTest) -> list[str]:
    """What is read out of every picture, chart and table."""
    pictures = [image.alt for each in test.get("image") for image in each.proto.imgs]
    return pictures + [each.proto.alt for kind in ("vega_lite_chart", "table") for each in test.get(kind)]


def says(test: AppTest) -> str:
    """All text on the screen in one line."""
    return " ".join(shown(test).split())


def tells(where: AppTest | str, *names: str, **figures: Any) -> bool:
    """Whether each of these texts of `assets` is on the screen, or in a text; see `told_as`."""
    words = in_a_line(where if isinstance(where, str) else shown(where))
    return all(told_as(name, **figures).search(words) for name in names)


def address(test: AppTest, name: str) -> str:
    """A parameter of the page's address."""
    value = test.query_params[name]
    return value if isinstance(value, str) else value[0]


def unescaped(markdown: str) -> str:
    return re.sub(r"\\([^A-Za-z0-9\s])", r"\1", markdown)


def keys(test: AppTest) -> set[str]:
    return {each.key for each in test.button}


def metrics(test: AppTest) -> dict[str, str]:
    """The figures that stand by themselves, by their labels."""
    return {each.label: str(each.value) for each in test.metric}


def charts(test: AppTest) -> int:
    return len(test.get("vega_lite_chart"))


# Runs, as workers leave them on disk


def open_tiles(lab: Lab) -> TileSet:
    """The lab's tiles, which are there."""
    tiles = lab.tiles().tile_set
    assert tiles is not None
    return tiles


def used(lab: Lab) -> TilesUsed:
    """What a run on the lab's tiles notes about them."""
    return tiles_used(open_tiles(lab))


def epoch(number: int, val: float, train: float | None = None) -> EpochDone:
    seen = val if train is None else train
    return EpochDone(number, 1.8, seen, 1.9, val, 10.0, 8.0, 2.0, 1000.0 + number, 10.0 * number)


def begun(epochs: int = 3) -> list[Event]:
    first = StepDone("train", 1, 5, 0.6, 2.2, 0.15, 812.0, 300 * 2**20)
    return [Started(epochs, 36, 12, 1500, 500, 338_486, 338_486, "cpu", 2), first]


THREE = [*begun(), epoch(1, 0.3), epoch(2, 0.45), epoch(3, 0.62), Finished(3, 30.0, 1.2, 0.62)]


def put(lab: Lab, state: Any, events: list[Event], owner: str = ME, **changes: Any) -> RunRecord:
    """A run on disk, as if a worker had left it so."""
    config = changes.pop("config", workshop_config())
    record = lab.store.create(config, owner, used(lab))
    lab.store.append(record.id, events)
    return lab.store.update(record.id, state=state, started=record.created, **changes)


def put_network(lab: Lab, weights: bytes | None = None, **changes: Any) -> RunRecord:
    """A finished run with a network, as it was initialised."""
    record = put(lab, "finished", THREE, summary={"val_accuracy": 0.62}, **changes)
    if weights is None:
        buffer = io.BytesIO()
        torch.save(make_network(record.config, len(record.tiles.class_names)).state_dict(), buffer)
        weights = buffer.getvalue()
    lab.store.save(record.id, {"model.pt": weights})
    return record
