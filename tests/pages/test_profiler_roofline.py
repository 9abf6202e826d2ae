"""The Profiler's roof line: what is drawn, and what is said where something is missing."""

from dataclasses import replace

import pytest
from profile_makers import cpu_trace, put_profile
from streamlit.testing.v1 import AppTest
from trace_makers import Event, host, kernel, launch, step, text

from eurosat_core.lab.lab import Lab
from eurosat_core.profiling.plan import ProfilePlan, profile_config
from tests.pages.conftest import ME, App, charts, choose, says, tells
from tests.pages.test_profiler_page import PAGE, opened, upload

CARD = [{"id": 0, "name": "Tesla T4", "totalGlobalMem": 15_828_320_256}]


def shaped(at: int, side: int, name: str = "aten::mm", dims: int = 2) -> list[Event]:
    """An operator on square matrices, and its kernel of 100 µs."""
    event = host(name, at, 10, external=at)
    event["args"] |= {"Input Dims": [[side, side]] * dims, "Input type": ["float"] * dims}
    return [event, launch(at, at + 1, external=at), kernel(at, at + 20, 100, external=at)]


WHOLE = [step(0, 0, 3000), *(event for at in range(12) for event in shaped(10 + 200 * at, 64 + at))]


def test_operators_under_the_roofs_of_their_card(lab: Lab, app: App) -> None:
    events = [*WHOLE, *shaped(2500, 300, "aten::somebodys_own")]
    test = upload(app(PAGE), "x.json", text(events, deviceProperties=CARD))
    before = charts(test)
    assert charts(opened(test, "roofline")) == before + 1
    assert tells(test, "profiler/roofline", "roofline.busy", "roofline.slowest.memory", "roofline.most")
    rows = test.dataframe[0].value
    assert len(rows) == 10 and set(rows["Nearer roof"]) == {"memory"} and "10 of 12 rows" in says(test)
    assert "8.1 TFLOP/s in float32" in says(test) and "NVIDIA T4" in says(test)
    assert "somebodys" in says(test)
    choose(test, "profiler_all_roofline_0", True)
    assert len(test.dataframe[0].value) == 12


def test_without_roofs_there_are_figures_alone(lab: Lab, app: App) -> None:
    test = upload(app(PAGE), "x.json", text(WHOLE))
    before = charts(test)
    assert charts(opened(test, "roofline")) == before
    assert tells(test, "profiler/no roof") and "% of roof" not in test.dataframe[0].value


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([step(0, 0, 100), host("aten::mm", 0, 90)], "no shapes"),
        ([kernel(1, 0, 50), kernel(2, 100, 50)], "no shapes"),
        ([step(0, 0, 1000), *shaped(10, 8, "aten::somebodys_own")], "nothing counted"),
        ([step(0, 0, 100)], "no operators"),
    ],
)
def test_what_is_missing_is_said(lab: Lab, app: App, events: list[Event], said: str) -> None:
    assert tells(opened(upload(app(PAGE), "x.json", text(events)), "roofline"), f"profiler/{said}")


def test_a_profile_of_the_processor_says_how_to_get_shapes(lab: Lab, app: App) -> None:
    config = replace(profile_config("baseline"), source="memory")
    record = put_profile(lab, ME, [cpu_trace()], config=config, plan=ProfilePlan(repeat=1))
    test: AppTest = opened(app(PAGE, run=record.id), "roofline")
    assert tells(test, "profiler/no shapes") and not test.dataframe
