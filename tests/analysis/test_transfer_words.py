"""What is said of features, by kinds and figures; and what the chart and the table of them hold."""

import math
from dataclasses import replace

import pytest
from run_makers import make_record
from transfer_makers import result_of

from eurosat_core.analysis.transfer import (
    Reference,
    beats,
    by_place,
    caveats,
    few_labels,
    labels_needed,
    learners,
    reference_of,
)
from eurosat_core.charts.transfer import learning_chart, learning_frame, split_table
from eurosat_core.finding import Finding
from eurosat_core.models.recorded import recorded_baseline
from eurosat_core.training.config import recipe_config
from eurosat_core.training.transfer import TransferPlan, transfer_config
from eurosat_core.words.say import say

SOURCE = Finding("transfer.phrase.own", {"run": "a-run"})
PLAN = TransferPlan(labels=(1, 5), scratch_draws=1)
RECORD = make_record(kind="transfer", config=transfer_config(), plan=PLAN.to_dict())


@pytest.mark.parametrize(
    ("accuracy", "needed", "kind"),
    [(0.4, 1, "few"), (0.5, 1, "few"), (0.71, 16, "few"), (0.93, math.inf, "all"), (0.99, math.inf, "never")],
)
def test_how_many_labels_are_needed(accuracy: float, needed: float, kind: str) -> None:
    result = result_of(linear={1: [0.5, 0.5], 5: [0.6, 0.8], 16: [0.85, 0.85], 0: [0.95]})
    assert labels_needed(result, accuracy) == needed
    found = beats(result, Reference(accuracy, SOURCE))
    assert found is not None and found.variant == kind and say(found)
    assert found.figures.get("labels") == (needed if kind == "few" else None)


def test_without_a_reference_it_is_said_how_to_get_one() -> None:
    assert beats(result_of(), None) == Finding("transfer.unknown")


@pytest.mark.parametrize(
    ("frozen", "scratch", "first", "last"),
    [
        ({1: [0.5, 0.6], 50: [0.9, 0.92]}, {1: [0.2, 0.3], 50: [0.5, 0.6]}, "frozen", "frozen"),
        ({1: [0.2, 0.4], 50: [0.5, 0.7]}, {1: [0.3, 0.5], 50: [0.6, 0.8]}, "same", "same"),
        ({1: [0.2, 0.3], 50: [0.5, 0.6]}, {1: [0.5, 0.6], 50: [0.8, 0.9]}, "scratch", "scratch"),
    ],
)
def test_the_draws_decide_who_is_ahead(
    frozen: dict[int, list[float]], scratch: dict[int, list[float]], first: str, last: str
) -> None:
    found = few_labels(result_of(linear=frozen, scratch=scratch))
    assert found is not None and (found.kind, found.variant) == ("start", first)
    assert (found.then[0].kind, found.then[0].variant) == ("end", last)
    assert found.figures["frozen"] == pytest.approx(sum(frozen[1]) / 2) and say(found)


def test_without_networks_from_scratch_it_stands_alone() -> None:
    found = few_labels(result_of(linear={5: [0.5]}, scratch={}))
    assert found is not None and found.kind == "alone"
    assert few_labels(result_of(linear={0: [0.9]}, scratch={})) is None


@pytest.mark.parametrize(
    ("linear", "neighbours", "kind"), [(0.95, 0.90, "linear"), (0.9, 0.9, "same"), (0.8, 0.9, "neighbours")]
)
def test_the_linear_layer_beside_the_neighbours(linear: float, neighbours: float, kind: str) -> None:
    found = learners(result_of(linear={0: [linear]}, neighbours={0: [neighbours]}))
    assert found is not None and found.variant == kind


@pytest.mark.parametrize(("place", "kind"), [(0.90, "harder"), (0.951, "same"), (0.99, "easier")])
def test_at_random_beside_by_place(place: float, kind: str) -> None:
    random = result_of(linear={0: [0.95]})
    other = replace(result_of(linear={0: [place]}), split="place")
    found = by_place([other, random])
    assert found is not None and found.variant == kind and found.figures["drop"] == pytest.approx(abs(0.95 - place))
    assert by_place([random]) is None


def test_the_reference_is_measured_here_or_says_where_it_comes_from() -> None:
    known = reference_of(RECORD, [])
    assert known is not None and known.source.variant == "recorded" and known.accuracy == recorded_baseline().accuracy
    own = make_record(id="mine", config=recipe_config("baseline"), summary={"val_accuracy": 0.8})
    worse = replace(own, id="worse", summary={"val_accuracy": 0.7})
    others = [
        replace(own, config=recipe_config("tilenet")),
        replace(own, config=recipe_config("baseline", split="place")),
        replace(own, config=recipe_config("baseline", tiles=1500)),
        replace(own, state="failed"),
        replace(own, tiles=replace(own.tiles, fingerprint="another")),
    ]
    found = reference_of(RECORD, [worse, own])
    assert found is not None and found.accuracy == 0.8 and found.source.figures == {"run": "mine"}
    again = reference_of(RECORD, others)
    assert again is not None and again.source.variant == "recorded"
    synthetic = replace(RECORD, tiles=replace(RECORD.tiles, source="synthetic"))
    assert reference_of(synthetic, others) is None
    assert reference_of(replace(RECORD, config=transfer_config(split="place")), []) is None


def test_what_makes_figures_say_less() -> None:
    assert caveats(RECORD, result_of()) == [None, None]
    synthetic = replace(RECORD, tiles=replace(RECORD.tiles, source="synthetic"))
    found = caveats(synthetic, replace(result_of(), complete=False))
    assert [each and each.kind for each in found] == ["synthetic", "stopped"]
    late = caveats(RECORD, result_of(scratch={1: [0.2]}))[1]
    assert late is not None and late.kind == "short" and late.figures == {"done": 1, "planned": 2}


def test_the_chart_places_all_labels_by_their_mean_number() -> None:
    result = result_of(linear={1: [0.5, 0.7], 0: [0.95]}, neighbours={}, scratch={}, classes=10, train_tiles=4500)
    frame = learning_frame(result)
    linear = frame[frame["learner"] == "frozen, linear layer"].set_index("labels")
    assert linear.loc[1, "per class"] == 1 and linear.loc[0, "per class"] == 450
    assert (linear.loc[1, "low"], linear.loc[1, "high"]) == (0.5, 0.7)
    assert linear.loc[1, "accuracy"] == pytest.approx(0.6)
    spec = learning_chart(frame, 0.1, 0.8)
    assert spec["layer"][0]["encoding"]["y"]["datum"] == 0.1 and spec["layer"][1]["encoding"]["y"]["datum"] == 0.8
    values = next(
        each["encoding"]["x"]["axis"]["values"] for each in spec["layer"] if "axis" in each["encoding"].get("x", {})
    )
    assert values == [1, 450]
    assert len(learning_chart(frame, 0.1, None)["layer"]) == len(spec["layer"]) - 2


def test_the_table_has_both_learners_of_both_splits() -> None:
    table = split_table([result_of(), replace(result_of(), split="place")])
    assert list(table["Split"]) == ["Random", "Random", "By place", "By place"]
    assert set(table["Accuracy"]) == {90.0, 95.0}
