"""The charts of a comparison are valid Vega-Lite, read columns that exist, and say more than by colour alone."""

import json
from typing import Any

import altair as alt
import pandas as pd
import pytest
from run_makers import TEN, compared, make_record, said, seen, through
from test_training import _contrast, _fields

from eurosat_core.analysis.contenders import classifiers, run_figures
from eurosat_core.charts import comparison, confusion, palette
from eurosat_core.charts.comparison import cost_frame, learning_curves, seconds_frame
from eurosat_core.charts.confusion import confused_pairs_frame, confusion_cells, confusion_difference, score_frame
from eurosat_core.data.pictures import class_titles
from eurosat_core.models.catalog import build_model
from eurosat_core.models.summary import summarize
from eurosat_core.training.config import recipe_config

RUNS = compared(
    (make_record(config=recipe_config("baseline")), through(0.3, 0.5), said([0, 1, 1, 2], [0, 1, 0, 0])),
    (make_record(config=recipe_config("baseline", device="mps")), seen(0.4), said([0, 1, 1, 2], [0, 1, 1, 2])),
)
JUDGED = classifiers(RUNS)
LABELS = tuple(each.label for each in RUNS)
COLOURS = comparison.run_colours(LABELS)
TITLES = tuple(class_titles(TEN).values())
COSTS = ("seconds", "parameters", "trained", "macs")
# Made by transforms inside the specs.
CALCULATED = {"words"}


def _costs() -> pd.DataFrame:
    return cost_frame(RUNS, lambda network: summarize(build_model(network.model, 10, network.network)))


@pytest.mark.parametrize(
    ("spec", "frame"),
    [
        (confusion.confusion_heat(TITLES, "tiles", 0.5, "one"), confusion_cells(JUDGED)),
        (confusion.confusion_heat(TITLES, "share", 0.0), confusion_cells(JUDGED)),
        (confusion.confusion_change(TITLES, 0.5), confusion_difference(*JUDGED.values())),
        (confusion.confused_pairs(("a called b",), COLOURS, 0.3), confused_pairs_frame(JUDGED)),
        (comparison.curve_overlay("accuracy", "epoch", COLOURS, 10, 1.0), learning_curves(RUNS, "accuracy")),
        (comparison.curve_overlay("loss", "seconds", COLOURS, 30.0, 2.6), learning_curves(RUNS, "loss")),
        *((comparison.cost_scatter(each, COLOURS, 1.0, 1e6), _costs()) for each in COSTS),
        (comparison.seconds_bars("seconds", LABELS, ("CPU", "GPU 0"), 30.0), seconds_frame(run_figures(RUNS))),
        (comparison.seconds_bars("tiles_per_second", LABELS, ("CPU",), 30.0), seconds_frame(run_figures(RUNS))),
        *(
            (comparison.class_scores(each, TITLES, COLOURS), score_frame(JUDGED))
            for each in ("f1", "precision", "recall")
        ),
    ],
)
def test_specs_are_valid_and_read_columns_that_exist(spec: dict[str, Any], frame: pd.DataFrame) -> None:
    alt.Chart.from_dict({**spec, "data": {"values": []}})  # Altair checks it against the schema
    assert _fields(spec) - CALCULATED <= set(frame.columns)
    text = json.dumps(spec)
    assert '"datasets"' not in text and '"tooltip"' in text


def test_a_click_on_a_cell_chooses_its_pair() -> None:
    for spec in (confusion.confusion_heat(TITLES, "tiles", 0.5), confusion.confusion_change(TITLES, 0.5)):
        (chosen,) = spec["params"]
        assert (chosen["name"], chosen["select"]["fields"]) == (confusion.CELL, ["true", "said"])


def test_matrices_beside_each_other_share_their_scale() -> None:
    domains = [
        [each["encoding"]["color"]["scale"]["domain"] for each in spec["layer"] if "color" in each["encoding"]]
        for spec in (confusion.confusion_heat(TITLES, "share", 0.4, title) for title in ("one", "other"))
    ]
    assert domains == [[[0, 1.0], [0, 0.4]]] * 2


def test_figures_that_were_not_measured_here_look_different() -> None:
    looks = list(comparison.ORIGINS.values())
    assert len({opacity for opacity, _ in looks}) == len({str(dash) for _, dash in looks}) == len(looks)
    assert comparison.ORIGINS["measured here"] == (1.0, [1, 0])
    spec = json.dumps(comparison.seconds_bars("seconds", LABELS, ("CPU",), 30.0))
    assert "datum.origin" in spec  # and it is said in words


def test_a_run_keeps_its_colour_and_its_shape() -> None:
    labels = [str(number) for number in range(10)]
    colours = dict(comparison.run_colours(labels))
    assert colours["0"] == colours["8"] != colours["1"]
    points = comparison.curve_overlay("loss", "epoch", COLOURS, 3, 2.0)["layer"][-1]["encoding"]["shape"]["scale"]
    assert points["domain"] == list(LABELS) and len(set(points["range"])) == len(LABELS)


def test_a_name_with_quotes_stays_text() -> None:
    spec = comparison.class_scores("f1", TITLES, (('it\'s "quoted"', "#111111"),))
    assert (
        r'datum.classifier === "it\'s'.replace(r"\'", "'")
        in json.loads(json.dumps(spec))["layer"][0]["transform"][0]["filter"]
    )


@pytest.mark.parametrize("ground", ["#FCFDFC", "#0F181B"])
@pytest.mark.parametrize("colour", palette.SERIES)
def test_run_colours_read_on_light_and_dark(colour: str, ground: str) -> None:
    assert _contrast(colour, ground) >= 3


@pytest.mark.parametrize("cell", ["#E3F1FB", "#4FA3E0", "#FDF0DF", "#E8923A", "#F7F7F4"])
def test_figures_in_cells_can_be_read(cell: str) -> None:
    assert _contrast(cell, "#10202B") >= 4.5
