"""The training charts are valid Vega-Lite, bind to the tables' columns, keep their axes, and name their units."""

import json
from typing import Any

import altair as alt
import pandas as pd
import pytest

from eurosat_core.charts import training as charts
from eurosat_core.charts.training import class_frame, curve_frame, speed_frame
from eurosat_core.data.classes import CLASS_NAMES, colours_for
from eurosat_core.runs.history import History
from eurosat_core.training.evaluation import Evaluation

EVALUATION = Evaluation(("A", "B"), 4, 0.5, {"A": 0.5, "B": 0.5}, ((1, 1), (1, 1)))


def _fields(spec: Any) -> set[str]:
    """Every field that the spec reads."""
    if isinstance(spec, dict):
        own = {spec["field"]} if isinstance(spec.get("field"), str) else set()
        return own.union(*(_fields(each) for each in spec.values()))
    return set().union(*(_fields(each) for each in spec)) if isinstance(spec, list) else set()


def _domains(spec: Any, channel: str) -> list[Any]:
    layers = spec.get("layer", [spec])
    found = [each["encoding"].get(channel, {}).get("scale", {}).get("domain") for each in layers]
    return [each for each in found if each is not None]


@pytest.mark.parametrize(
    ("spec", "frame"),
    [
        (charts.curves("loss", 3, 10, 2.6), curve_frame(History(), "loss", 10)),
        (charts.curves("accuracy", 3, 4, 1.0), curve_frame(History(), "accuracy", 4)),
        (charts.over_time("tiles_per_second", 20.0, 3000.0), speed_frame(History())),
        (charts.over_time("memory_mb", 20.0, 1000.0), speed_frame(History())),
        (charts.class_bars((("A", "#111111"), ("B", "#222222"))), class_frame(EVALUATION)),
    ],
)
def test_specs_are_valid_and_read_columns_that_exist(spec: dict[str, Any], frame: pd.DataFrame) -> None:
    alt.Chart.from_dict({**spec, "data": {"values": []}})  # Altair checks it against the schema
    assert _fields(spec) <= set(frame.columns)
    assert "data" not in spec
    assert "datasets" not in spec
    text = json.dumps(spec)
    assert '"title": "' in text
    assert '"tooltip"' in text


def test_axes_are_fixed_and_the_chance_line_is_named() -> None:
    loss = charts.curves("loss", 5, 10, 2.6)
    assert all(each == [0, 5] for each in _domains(loss, "x"))
    assert all(each == [0, 2.6] for each in _domains(loss, "y"))
    assert "chance: ln 10 = 2.30" in json.dumps(loss)
    assert "chance: 10 %" in json.dumps(charts.curves("accuracy", 5, 10, 1.0))


def test_the_same_chart_is_made_once() -> None:
    assert charts.curves("loss", 3, 10, 2.6) is charts.curves("loss", 3, 10, 2.6)


def test_phases_differ_in_more_than_colour() -> None:
    marks = [each["mark"] for each in charts.curves("loss", 3, 10, 2.6)["layer"]]
    assert {each["shape"] for each in marks if "shape" in each} == {"circle", "diamond"}
    assert [1, 0] in [each.get("strokeDash") for each in marks]
    assert [6, 3] in [each.get("strokeDash") for each in marks]


def test_bars_have_the_class_colours() -> None:
    spec = charts.class_bars(tuple(colours_for(CLASS_NAMES).items()))
    scale = spec["layer"][0]["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == colours_for(CLASS_NAMES)


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ground", ["#FCFDFC", "#0F181B"])
@pytest.mark.parametrize("colour", [*charts.PHASE_COLOURS.values()])
def test_phase_colours_read_on_light_and_dark(colour: str, ground: str) -> None:
    assert _contrast(colour, ground) >= 3
