"""Words from outside are words: a nickname, a class, a file or a message is never Markdown in somebody's browser."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import streamlit as st
from experiment_makers import limits_of, measured, put_result
from fake_engine import NO_GPU, FakeEngine, raising
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from eurosat_core.devices import Device
from eurosat_core.errors import LabError, RunError
from eurosat_core.lab.doctor import TilesState
from eurosat_core.lab.lab import Lab
from eurosat_core.runs.record import State
from eurosat_core.speed.plan import Cell, SweepPlan
from eurosat_core.training.config import recipe_config
from tests.pages.conftest import ME, THREE, App, begun, choose, click, epoch, keys, put, used
from tests.pages.test_compare_page import trained
from tests.pages.test_train_results import keep_predictions

pytestmark = pytest.mark.hostile

EVIL = "![x](//y)"
PAGES = [
    f"{page}.py"
    for page in ("start", "tiles", "convolution", "model", "train", "speed", "compare", "wrapup", "predict")
]
# Fields that are no Markdown: a picture's alt text, a chart's spec (JSON), code, what stands in an input field or a
# drop-down list (they draw backslashes as they are).
_PLAIN = {"alt", "id", "query_string", "spec", "Code.code_text"}
_PLAIN |= {f"{each}.{name}" for each in ("TextInput", "TextArea") for name in ("default", "value")}
_PLAIN |= {f"{each}.{name}" for each in ("Selectbox", "MultiSelect") for name in ("options", "raw_value", "raw_values")}


def texts(message: Message) -> Iterator[str]:
    """Every text of an element that may be drawn as Markdown."""
    for field, value in message.ListFields():
        if _PLAIN & {field.name, f"{message.DESCRIPTOR.name}.{field.name}"}:
            continue
        for each in value if hasattr(value, "append") else [value]:
            if isinstance(each, Message):
                yield from texts(each)
            elif isinstance(each, str):
                yield each


def raw(test: AppTest) -> list[str]:
    """All texts as the browser gets them; a table's cells too."""
    found = [
        text for node in test._tree if isinstance(getattr(node, "proto", None), Message) for text in texts(node.proto)
    ]
    for table in test.table:
        found += [str(each) for each in (*table.value.index, *table.value.columns, *table.value.to_numpy().flatten())]
    return found


def assert_harmless(test: AppTest, *, mentions: bool = True) -> None:
    assert not test.exception, test.exception[0].message
    assert [text for text in raw(test) if EVIL in text] == []
    assert mentions == any(r"\!\[x\]\(//y\)" in text for text in raw(test))


@pytest.fixture
def evil_lab(make_lab: Callable[..., Lab], monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab whose device, classes, files and problems bear such names."""
    device = Device("cpu", f"CPU {EVIL}", 8 * 1024**3)
    lab = make_lab(FakeEngine((device, replace(NO_GPU, name=EVIL, reason=EVIL)), speeds=()))
    tiles = lab.tiles().tile_set
    assert tiles is not None
    classes = tuple(f"{EVIL} {number}" for number in range(len(tiles.class_names)))
    named = replace(
        tiles,
        class_names=classes,
        names=tuple(f"`{EVIL}`/{number}" for number in range(len(tiles))),
        source="folder",
        place=f"/{EVIL}",
        fingerprint="evil",
    )
    monkeypatch.setattr(lab.library, "_state", TilesState(named, problem=f"There is no folder {EVIL}."))
    return lab


def assert_pages_harmless(test: AppTest, pages: list[str], **parameters: str) -> None:
    """One participant goes through the pages at an address with these parameters."""
    for page in pages:
        test.switch_page(page)
        for name, value in parameters.items():
            test.query_params[name] = value
        assert_harmless(test.run())


def test_pages_without_a_run(evil_lab: Lab, app: App) -> None:
    test = app(who=EVIL)
    assert test.text_input(key="nickname_input").value == EVIL
    assert_pages_harmless(test, PAGES)


@pytest.mark.parametrize("who", [ME, EVIL])
@pytest.mark.parametrize("state", ["queued", "running", "paused", "finished", "failed", "cancelled", "interrupted"])
def test_a_run_in_every_state(evil_lab: Lab, app: App, state: State, who: str) -> None:
    events = {"queued": [], "finished": THREE}.get(state, [*begun(), epoch(1, 0.3)])
    record = put(
        evil_lab,
        state,
        events,
        owner=EVIL,
        message=f"It said {EVIL}.",
        machine={EVIL: EVIL, "device_name": EVIL},
        concurrent_runs=(EVIL,),
    )
    if state not in ("queued", "running", "paused"):
        keep_predictions(evil_lab, record.id)
    pages = PAGES if who == EVIL else ["train.py", "start.py"]
    assert_pages_harmless(app("train.py", who=who, run=record.id), pages, run=record.id)


@pytest.mark.parametrize("who", [ME, EVIL])
@pytest.mark.parametrize("state", ["queued", "running", "finished", "failed"])
def test_measurements_in_every_state(evil_lab: Lab, app: App, state: State, who: str) -> None:
    changes: dict[str, Any] = {
        "state": state,
        "message": f"It said {EVIL}.",
        "machine": {"device_name": EVIL, "cpu_name": EVIL, "threads": 2, "torch": EVIL},
        "concurrent_runs": (EVIL,),
        "recorded_on": EVIL if state == "finished" else "",
    }
    cells = (Cell(f"{EVIL} 1", {"batch_size": 8}), Cell(f"{EVIL} 2", {"batch_size": 16}))
    for name in ("free", "source", "limits"):
        plan = SweepPlan(cells, name, "batch_size", cells[0].label, cells[1].label, target_accuracy=0.4)
        config = recipe_config("baseline", source="memory")
        result = measured(config, plan).with_cell(0, problem=f"It said {EVIL}.") if state == "finished" else None
        if result is not None and name == "limits":
            result = replace(result, limits={EVIL: limits_of(EVIL)})
        record = put_result(evil_lab, EVIL, config, plan, result, **changes)
        assert_harmless(app("speed.py", who=who, run=record.id))
    assert_pages_harmless(app(who=who), ["wrapup.py", "speed.py", "start.py"])


@pytest.mark.parametrize("who", [ME, EVIL])
def test_every_part_of_a_comparison(evil_lab: Lab, app: App, who: str) -> None:
    for model in ("baseline", "tilenet"):
        record = trained(evil_lab, model, owner=EVIL, machine={"device_name": EVIL, "threads": 2}, message=EVIL)
        evil_lab.store.update(record.id, recorded_on=f"{EVIL}, 3 May 2026")
    ids = [each.id for each in evil_lab.store.all()[0]]
    test = app("compare.py", who=who, runs=",".join(ids))
    for view in ("matrices", "classes", "pairs", "apart", "surest"):
        choose(test, "compare_accuracy", view)
        assert_harmless(test)
    for part in ("curves", "cost", "split", "bundles"):
        choose(test, "compare_part", part)
        assert_harmless(test)


def test_damaged_runs_and_no_tiles(evil_lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evil_lab.store, "all", lambda: ([], [f"The run {EVIL} is damaged."]))
    monkeypatch.setattr(evil_lab.library, "_state", TilesState(problem=f"The disk {EVIL} is full."))
    assert_pages_harmless(app(), PAGES)


@pytest.mark.parametrize(
    ("state", "refuses", "button"),
    [
        ("running", "control", "run_pause"),
        ("queued", "control", "run_stop"),
        ("finished", "delete", "result_delete_sure"),
        ("finished", "submit", "train_start"),
    ],
)
def test_what_the_lab_refuses(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, state: State, refuses: str, button: str
) -> None:
    record = put(lab, state, [] if state == "queued" else THREE)
    monkeypatch.setattr(lab, refuses, raising(RunError(f"This run belongs to {EVIL}.")))
    test = app("train.py", run=record.id)
    click(test, button)
    assert_harmless(test)


def test_settings_that_cannot_be_used_and_a_run_that_is_not_there(
    lab: Lab, app: App, monkeypatch: pytest.MonkeyPatch, evil_lab: Lab
) -> None:
    monkeypatch.setattr("pages.parts.train.state.draft", raising(RunError(f"There is no {EVIL}.")))
    test = app("train.py")
    assert "train_start" in keys(test)
    assert_harmless(test)
    assert_harmless(app("train.py", run=EVIL))


def test_what_a_page_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    import streamlit_app

    said: list[Any] = []
    monkeypatch.setattr(st, "error", lambda words, **_options: said.append(words))
    assert streamlit_app.on_script_error(LabError(f"There is no {EVIL}."))
    assert said == [r"There is no \!\[x\]\(//y\)\."]


def test_the_walk_sees_markup(lab: Lab, evil_lab: Lab) -> None:
    """This file's own eyes: an unescaped name is found in every kind of element that it is looked for in."""

    def page() -> None:
        import streamlit as st

        evil = "![x](//y)"
        st.button("b", help=evil)
        st.table({"a": evil})
        st.pills("p", [evil])
        st.image("data:image/png;base64,", caption=evil)
        st.progress(0.5, text=evil)
        with st.expander(evil):
            st.caption("inside")

    test = AppTest.from_function(page, default_timeout=60).run()
    assert sum(EVIL in text for text in raw(test)) >= 6
    assert EVIL in used(evil_lab).class_names[0]
