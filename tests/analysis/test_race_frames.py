"""What a race showed, as tables and sentences; nothing is invented for a device that did not race."""

from dataclasses import replace
from typing import Any

import pytest
from run_makers import make_record

from eurosat_core.analysis import race
from eurosat_core.analysis.race import Race
from eurosat_core.charts import comparison
from eurosat_core.speed.result import CellResult, SweepResult
from eurosat_core.speed.verdict import Turn

MODELS = ("baseline", "efficientnet_lite0")
HERE, _, ELSEWHERE, TUTORIALS = comparison.ORIGINS


def raced(steps: dict[tuple[str, str], float], **changes: Any) -> Race:
    """A race with these seconds per step, by model and device; a cell without any could not be measured."""
    devices = tuple(dict.fromkeys(device for _, device in steps))
    config, plan = race.plan_race(MODELS, devices)
    cells = []
    for cell, settings in zip(plan.cells, plan.configs(config), strict=True):
        seconds = steps.get((settings.model, settings.device), 0.0)
        turns = tuple(Turn(5, 40, 5 * seconds * (1 + number / 100)) for number in range(6) if seconds)
        problem = "" if seconds else "Full."
        cells.append(CellResult(cell.label, settings, 1.0, 0.0, turns, turns, problem=problem))
    result = SweepResult(plan.name, plan.setting, plan.reference, plan.focus, tuple(cells))
    record = make_record(kind="sweep", config=config, machine={"device_name": "A CPU", "threads": 2}, **changes)
    return race.read_race(record, result)


CPU_ONLY = {("baseline", "cpu"): 0.004, ("efficientnet_lite0", "cpu"): 0.04}
BOTH = CPU_ONLY | {("baseline", "cuda:0"): 0.004, ("efficientnet_lite0", "cuda:0"): 0.005}


def test_bars_are_projections_and_say_what_they_rest_on() -> None:
    frame = comparison.race_frame(raced(CPU_ONLY))
    assert list(frame["run"]) == ["Baseline CNN · CPU", "EfficientNet-Lite0 · CPU"]
    assert set(frame["origin"]) == {"projected"}
    # 6,000 tiles, 4,500 of them for training: ten epochs of both phases at the median step, and the start.
    assert frame["seconds"].iloc[0] == pytest.approx(1.0 + 10 * 6000 / 40 * 0.004 * 1.025, rel=0.01)
    note = frame["note"].iloc[0]
    assert all(each in note for each in ("A CPU", "2", "30", "6 rounds"))


def test_what_was_not_measured_has_no_bar() -> None:
    found = raced({("baseline", "cpu"): 0.004})
    assert list(comparison.race_frame(found)["run"]) == ["Baseline CNN · CPU"]
    assert race.race_findings(found)[0].figures["problem"] == "Full."
    assert list(comparison.ratio_frame(found)["origin"]) == [TUTORIALS]


def test_ratios_stand_beside_the_reported_one_and_look_different() -> None:
    frame = comparison.ratio_frame(raced(BOTH))
    assert list(frame["origin"]) == [HERE, HERE, TUTORIALS]
    assert frame["speed_up"].tolist() == pytest.approx([1.0, 8.0, race.TUTORIAL_RATIO], rel=0.01)
    assert set(frame["origin"]) <= set(comparison.ORIGINS)
    assert len(set(frame["run"])) == 3
    assert list(comparison.ratio_frame(None)["origin"]) == [TUTORIALS]


def test_a_recorded_race_is_marked() -> None:
    found = raced(BOTH, recorded_on="A GPU, 1 May 2026")
    assert set(comparison.race_frame(found)["origin"]) == {ELSEWHERE}
    assert set(comparison.ratio_frame(found)["origin"]) == {ELSEWHERE, TUTORIALS}


@pytest.mark.parametrize(
    ("on_gpu", "outcome", "factor"), [(0.005, "faster", 8.0), (0.04, "same", 1.0), (0.08, "slower", 0.5)]
)
def test_each_outcome(on_gpu: float, outcome: str, factor: float) -> None:
    found = race.race_findings(raced(BOTH | {("efficientnet_lite0", "cuda:0"): on_gpu}))
    assert [each.kind for each in found] == ["devices", "devices", "models", "models"]
    figures = found[1].figures
    assert (figures["title"], figures["device"]) == ("EfficientNet-Lite0", "cuda:0")
    assert (figures["verdict"].outcome, figures["verdict"].factor) == (outcome, pytest.approx(factor))


def test_models_are_compared_on_each_device() -> None:
    found = [each for each in race.race_findings(raced(BOTH)) if each.kind == "models"]
    figures = [each.figures for each in found]
    assert [(each["title"], each["first"], each["device"]) for each in figures] == [
        ("EfficientNet-Lite0", "Baseline CNN", device) for device in ("cpu", "cuda:0")
    ]
    assert figures[0]["verdict"].factor == pytest.approx(0.1)
    assert [each.then[0].figures["epochs"] for each in found] == [10, 10]


def test_how_many_times_as_long_the_large_network_trains() -> None:
    found = race.as_long(raced(CPU_ONLY))
    assert found is not None and found.figures["device"] == "cpu" and 5 <= found.figures["ratio"] < 20
    alone = raced({("baseline", "cpu"): 0.004})
    assert race.as_long(alone) is None and race.as_long(replace(alone, bars=())) is None
