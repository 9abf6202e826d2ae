"""What a room's experiment found, and its chart."""

import statistics

import pytest

from eurosat_core.analysis.experiment import outcome, result
from eurosat_core.charts.experiment import experiment_chart, experiment_frame
from eurosat_core.classroom.experiment import Deal, Dealt, Hand
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.training.config import workshop_config
from eurosat_core.words.say import say

TILES = TilesUsed("f", "eurosat", "here", 100, ("a", "b"))
CONFIG = workshop_config("baseline")


def run(run_id: str, accuracy: float, **more) -> RunRecord:
    given = {"state": "finished", "tiles": TILES, "created": 1e9, "summary": {"val_accuracy": accuracy}, **more}
    return RunRecord(run_id, "p", config=CONFIG, **given)


def room(setting: Dealt, values: tuple[float, ...], *accuracies: float):
    """A deal and its result: these accuracies in the order in which values were dealt."""
    deal = Deal(1, setting, values, CONFIG, 0)
    hands = [Hand(f"p-{at}", 1, at, f"r-{at}") for at in range(len(accuracies))]
    return deal, result(deal, hands, [run(f"r-{at}", each) for at, each in enumerate(accuracies)])


def test_mean_range_and_deviation_are_those_of_the_runs():
    _, found = room("batch_size", (16, 64), 0.70, 0.60, 0.72, 0.61, 0.74, 0.59)
    small, large = found.groups
    assert (small.value, large.value) == (16, 64)
    assert (small.low, small.high) == (0.70, 0.74)
    assert small.mean == pytest.approx(0.72) and small.deviation == pytest.approx(statistics.stdev([0.70, 0.72, 0.74]))
    assert [each.seed for each in small.dots] == [42, 43, 44]


def test_a_deviation_is_told_from_three_runs_on():
    _, found = room("batch_size", (16, 64), 0.70, 0.60, 0.72)
    assert [each.deviation for each in found.groups] == [None, None]


def test_seeds_are_one_group():
    deal, found = room("seed", (1, 2, 3), 0.72, 0.70, 0.71)
    (seeds,) = found.groups
    assert [each.seed for each in seeds.dots] == [2, 3, 1]
    finding = outcome(deal, found)
    assert finding.kind == "seeds" and finding.figures["spread"] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("accuracies", "kind"),
    [
        ((), "few"),
        ((0.7, 0.6), "few"),
        ((0.7, 0.6) * 4, "few"),
        ((0.70, 0.60, 0.72, 0.61, 0.74, 0.59, 0.71, 0.64, 0.69, 0.60), "larger"),
        (
            (0.70, 0.60, 0.78, 0.61, 0.74, 0.59, 0.71, 0.67, 0.68, 0.60),
            "larger",
        ),
        ((0.70, 0.60, 0.72, 0.61, 0.74, 0.59, 0.71, 0.64, 0.69, 0.69), "same"),
        ((0.7, 0.7) * 5, "same"),
    ],
)
def test_a_difference_counts_only_beyond_the_spread(accuracies, kind: str):
    deal, found = room("batch_size", (16, 64), *accuracies)
    finding = outcome(deal, found)
    assert finding.kind == kind and say(finding)
    if kind == "larger":
        assert (finding.figures["best"], finding.figures["worst"]) == ("16", "64")


def test_only_what_has_ended_counts_and_everybody_who_got_a_value():
    deal = Deal(1, "seed", (1, 2), CONFIG, 0)
    hands = [Hand(f"p-{at}", 1, at, run_id) for at, run_id in enumerate(("a", "b", "", "gone", "c", "d"))]
    records = [
        run("a", 0.7),
        run("b", 0.8, state="running"),
        run("c", 0.9, state="cancelled"),
        run("d", 0.9, tiles=TilesUsed("other", "eurosat", "here", 100, ("a", "b"))),
    ]
    found = result(deal, hands, records)
    assert (found.finished, found.people) == (1, 6)


@pytest.mark.parametrize("setting", ["seed", "batch_size"])
def test_the_scatter_reads_columns_that_exist_and_shows_no_names(setting: Dealt):
    _, found = room(setting, (16, 64), 0.70, 0.60, 0.72, 0.61)
    frame = experiment_frame(found, own="p-2")
    assert len(frame) == 4 and list(frame["own"]).count(True) == 1
    assert not frame.astype(str).apply(lambda column: column.str.contains("p-")).any().any()
    assert frame["at"].between(frame["left"], frame["right"]).all() and frame["at"].is_monotonic_increasing
    assert frame["at"].is_unique and (frame["left"] > frame["column"] - 0.5).all()
    for named in (True, False):
        layers = experiment_chart(found, "Batch size", named=named)["layer"]
        fields = {each["field"] for layer in layers for each in layer["encoding"].values() if "field" in each}
        assert fields <= set(frame.columns)
        assert any(layer["encoding"].get("text", {}).get("field") == "seed" for layer in layers) == named


def test_an_experiment_that_nobody_trained_has_no_dots():
    _, found = room("seed", (1, 2))
    assert experiment_frame(found).empty and experiment_chart(found, "Seed")
