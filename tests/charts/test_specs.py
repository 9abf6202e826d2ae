"""Charts are valid Vega-Lite, read columns that exist, keep their axes, and say more than by colour alone."""

import json
from typing import Any

import altair as alt
import pandas as pd
import pytest
from run_makers import TEN, compared, make_record, said, seen, through

from eurosat_core.analysis.contenders import classifiers, run_figures
from eurosat_core.charts import comparison, confusion, palette, training
from eurosat_core.charts.comparison import cost_frame, learning_curves, seconds_frame
from eurosat_core.charts.confusion import confused_pairs_frame, confusion_cells, confusion_difference, score_frame
from eurosat_core.charts.marks import series_colours
from eurosat_core.charts.training import class_frame, curve_frame, speed_frame
from eurosat_core.data.classes import CLASS_NAMES, colours_for
from eurosat_core.data.pictures import class_titles
from eurosat_core.models.catalog import build_model
from eurosat_core.models.summary import summarize
from eurosat_core.runs.history import History
from eurosat_core.training.config import recipe_config
from eurosat_core.training.evaluation import Evaluation

RUNS = compared(
    (make_record(config=recipe_config("baseline")), through(0.3, 0.5), said([0, 1, 1, 2], [0, 1, 0, 0])),
    (make_record(config=recipe_config("baseline", device="mps")), seen(0.4), said([0, 1, 1, 2], [0, 1, 1, 2])),
)
JUDGED = classifiers(RUNS)
LABELS = tuple(each.label for each in RUNS)
COLOURS = series_colours(LABELS)
TITLES = tuple(class_titles(TEN).values())
TWO = Evaluation(("A", "B"), 4, 0.5, {"A": 0.5, "B": 0.5}, ((1, 1), (1, 1)))
LOSS = training.curves("loss", 5, 10, 2.6)
COSTS = cost_frame(RUNS, lambda network: summarize(build_model(network.model, 10, network.network)))
SECONDS = seconds_frame(run_figures(RUNS))
# Made by transforms inside the specs.
CALCULATED = {"words"}


def fields(spec: Any) -> set[str]:
    """Every field that the spec reads."""
    if isinstance(spec, dict):
        own = {spec["field"]} if isinstance(spec.get("field"), str) else set()
        return own.union(*(fields(each) for each in spec.values()))
    return set().union(*(fields(each) for each in spec)) if isinstance(spec, list) else set()


def domains(spec: dict[str, Any], channel: str) -> list[Any]:
    """Where each layer's axis or colours begin and end."""
    found = [each["encoding"].get(channel, {}).get("scale", {}).get("domain") for each in spec["layer"]]
    return [each for each in found if each is not None]


@pytest.mark.parametrize(
    ("spec", "frame"),
    [
        (LOSS, curve_frame(History(), "loss", 10)),
        (training.curves("accuracy", 3, 4, 1.0), curve_frame(History(), "accuracy", 4)),
        (training.over_time("tiles_per_second", 20.0, 3000.0), speed_frame(History())),
        (training.over_time("memory_mb", 20.0, 1000.0), speed_frame(History())),
        (training.class_bars((("A", "#111111"), ("B", "#222222"))), class_frame(TWO)),
        (confusion.confusion_heat(TITLES, "tiles", 0.5, "one"), confusion_cells(JUDGED)),
        (confusion.confusion_heat(TITLES, "share", 0.0), confusion_cells(JUDGED)),
        (confusion.confusion_change(TITLES, 0.5), confusion_difference(*JUDGED.values())),
        (confusion.confused_pairs(("a called b",), COLOURS, 0.3), confused_pairs_frame(JUDGED)),
        (comparison.curve_overlay("accuracy", "epoch", LABELS, 10, 1.0), learning_curves(RUNS, "accuracy")),
        (comparison.curve_overlay("loss", "seconds", LABELS, 30.0, 2.6), learning_curves(RUNS, "loss")),
        *((comparison.cost_scatter(each, LABELS, 1.0, 1e6), COSTS) for each in comparison.COSTS),
        (comparison.seconds_bars("seconds", LABELS, ("CPU", "GPU 0"), 30.0), SECONDS),
        (comparison.seconds_bars("tiles_per_second", LABELS, ("CPU",), 30.0), SECONDS),
        *((comparison.class_scores(each, TITLES, COLOURS), score_frame(JUDGED)) for each in comparison.SCORES),
    ],
)
def test_specs_are_valid_and_read_columns_that_exist(spec: dict[str, Any], frame: pd.DataFrame) -> None:
    alt.Chart.from_dict({**spec, "data": {"values": []}})  # Altair checks it against the schema
    assert fields(spec) - CALCULATED <= set(frame.columns)
    assert not {"data", "datasets", "config"} & set(spec)
    text = json.dumps(spec)
    assert '"datasets"' not in text and '"tooltip"' in text and '"title": "' in text


def test_axes_are_fixed_and_the_chance_line_is_named() -> None:
    assert all(each == [0, 5] for each in domains(LOSS, "x"))
    assert all(each == [0, 2.6] for each in domains(LOSS, "y"))
    assert "chance: ln 10 = 2.30" in json.dumps(LOSS)
    assert "chance: 10 %" in json.dumps(training.curves("accuracy", 5, 10, 1.0))
    assert training.curves("loss", 5, 10, 2.6) is LOSS, "made once"


def test_phases_differ_in_more_than_colour() -> None:
    marks = [each["mark"] for each in LOSS["layer"]]
    assert {each["shape"] for each in marks if "shape" in each} == {"circle", "diamond"}
    dashes = [each.get("strokeDash") for each in marks]
    assert [1, 0] in dashes and [6, 3] in dashes


def test_bars_have_the_class_colours() -> None:
    scale = training.class_bars(tuple(colours_for(CLASS_NAMES).items()))["layer"][0]["encoding"]["color"]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == colours_for(CLASS_NAMES)


def test_a_click_on_a_cell_chooses_its_pair() -> None:
    for spec in (confusion.confusion_heat(TITLES, "tiles", 0.5), confusion.confusion_change(TITLES, 0.5)):
        (chosen,) = spec["params"]
        assert (chosen["name"], chosen["select"]["fields"]) == (confusion.CELL, ["true", "said"])


def test_matrices_beside_each_other_share_their_scale() -> None:
    for title in ("one", "other"):
        assert domains(confusion.confusion_heat(TITLES, "share", 0.4, title), "color") == [[0, 1.0], [0, 0.4]]


def test_figures_that_were_not_measured_here_look_different() -> None:
    looks = list(comparison.ORIGINS.values())
    assert len({opacity for opacity, _ in looks}) == len({str(dash) for _, dash in looks}) == len(looks)
    assert looks[0] == (1.0, [1, 0]), "what was measured here stands first"
    spec = json.dumps(comparison.seconds_bars("seconds", LABELS, ("CPU",), 30.0))
    assert "datum.origin" in spec  # and it is said in words


def test_a_run_keeps_its_colour_and_its_shape() -> None:
    colours = dict(series_colours([str(number) for number in range(10)]))
    assert colours["0"] == colours["8"] != colours["1"]
    points = comparison.curve_overlay("loss", "epoch", LABELS, 3, 2.0)["layer"][-1]["encoding"]["shape"]["scale"]
    assert points["domain"] == list(LABELS) and len(set(points["range"])) == len(LABELS)


def test_a_name_with_quotes_stays_text() -> None:
    spec = comparison.class_scores("f1", TITLES, (('it\'s "quoted"', "#111111"),))
    assert spec["layer"][0]["transform"][0]["filter"] == r'datum.classifier === "it' + r"'s \"quoted\"" + '"'


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", [*palette.SERIES, *training.PHASE_COLOURS.values()])
def test_colours_read_on_light_and_dark(colour: str) -> None:
    assert min(contrast(colour, ground) for ground in ("#FCFDFC", "#0F181B")) >= 3


@pytest.mark.parametrize("cell", ["#E3F1FB", "#4FA3E0", "#FDF0DF", "#E8923A", "#F7F7F4"])
def test_figures_in_cells_can_be_read(cell: str) -> None:
    assert contrast(cell, "#10202B") >= 4.5
