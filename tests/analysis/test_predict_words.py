"""What is found for each way an answer can come out, and the tables behind the charts."""

from dataclasses import replace

import numpy as np
import pytest
from run_makers import told

from eurosat_core.analysis import prediction
from eurosat_core.charts import networks
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.uploads import lay_out
from eurosat_core.lab.predict import Part
from eurosat_core.models.saliency import Saliency


def spread(*first: float, classes: int = 10) -> np.ndarray:
    """Probabilities that begin so; the rest is shared evenly."""
    rest = (1 - sum(first)) / (classes - len(first)) if classes > len(first) else 0.0
    return np.array([*first, *[rest] * (classes - len(first))], dtype=np.float32)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ((0.87,), "sure"),
        ((0.9999,), "sure"),
        ((0.6, 0.2), "leaning"),
        ((0.45, 0.40), "two"),
        ((0.2, 0.15), "guessing"),
    ],
)
def test_how_sure_it_is(first: tuple[float, ...], kind: str) -> None:
    found = prediction.answer_finding(spread(*first), CLASS_NAMES)
    assert (found.kind, found.figures["answer"], found.figures["chance"]) == (kind, "Annual crop", 0.1)
    assert found.figures["sure"] == pytest.approx(first[0])


def test_few_classes() -> None:
    assert prediction.answer_finding(np.ones(1, np.float32), ["Forest"]).kind == "one_class"
    assert prediction.answer_finding(np.array([0.55, 0.45], np.float32), ["Forest", "River"]).kind == "guessing"


@pytest.mark.parametrize("part", [None, "train", "validation", "test"])
def test_against_the_truth(part: Part | None) -> None:
    def truth(true_class: str) -> list[str]:
        return told(prediction.truth_finding(spread(0.9), CLASS_NAMES, true_class, part))

    after = [f"part.{part}"] if part else []
    assert truth("AnnualCrop") == ["truth.right", *after]
    assert truth("Forest") == ["truth.wrong", *after]
    assert truth("Desert") == ["truth.unknown"]
    wrong = prediction.truth_finding(spread(0.05, 0.9), CLASS_NAMES, "AnnualCrop", part)
    assert wrong.figures == {"title": "Annual crop", "sure": pytest.approx(0.05)}


@pytest.mark.parametrize(("first", "variant"), [(0.95, "sure"), (0.6, "less"), (0.3, "unsure")])
def test_made_up_pictures(first: float, variant: str) -> None:
    found = prediction.made_up_finding("A face", spread(first), CLASS_NAMES)
    assert told(found) == [f"made_up.{variant}"]
    assert found.figures == {"shown": "a face", "answer": "Annual crop", "sure": pytest.approx(first)}


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ((0.9,), (0.1, 0.8), "changed_class"),
        ((0.5,), (0.9,), "changed.surer"),
        ((0.9,), (0.5,), "changed.less_sure"),
        ((0.9,), (0.905,), "changed.same"),
    ],
)
def test_what_a_change_did(before: tuple[float, ...], after: tuple[float, ...], name: str) -> None:
    assert told(prediction.changed_finding(spread(*before), spread(*after), CLASS_NAMES)) == [name]


def test_the_surest_classes_come_first() -> None:
    frame = networks.probability_frame(spread(0.1, 0.5, 0.2), CLASS_NAMES, most=3)
    assert frame["name"].tolist() == ["Forest", "HerbaceousVegetation", "AnnualCrop"]
    assert frame["probability"].tolist() == pytest.approx([0.5, 0.2, 0.1])


def test_a_map_is_a_row_for_each_tile() -> None:
    layout = lay_out(100, 64)
    frame = networks.map_frame(np.stack([spread(0.9), spread(0.0, 0.8)]), CLASS_NAMES, layout)
    assert frame.drop(columns=["name"]).to_dict("records") == [
        {"number": 0, "row": 1, "column": 1, "left": 0, "right": 64, "top": 0, "bottom": 64, "title": "Annual crop",
         "probability": pytest.approx(0.9)},
        {"number": 1, "row": 1, "column": 2, "left": 64, "right": 100, "top": 0, "bottom": 64, "title": "Forest",
         "probability": pytest.approx(0.8)},
    ]  # fmt: skip
    shares = prediction.class_shares(np.stack([spread(0.9), spread(0.0, 0.8)]), CLASS_NAMES, layout)
    assert shares["share"].tolist() == pytest.approx([0.64, 0.36])
    assert shares["tiles"].tolist() == [1, 1]
    part = prediction.class_shares(spread(0.0, 0.8)[None], CLASS_NAMES, layout)  # stopped after the first
    assert part["share"].tolist() == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("answers", "names", "sure"),
    [
        ([spread(0.9)] * 4, ["map.one", "sure_of.all"], 1.0),
        ([spread(0.9), spread(0, 0.9), spread(0, 0, 0.9), spread(0, 0, 0, 0.5)], ["map.many", "sure_of.most"], 0.75),
        ([spread(0.5), spread(0, 0.5)], ["map.several", "sure_of.few"], 0.0),
    ],
)
def test_a_map(answers: list[np.ndarray], names: list[str], sure: float) -> None:
    found = prediction.map_finding(np.stack(answers), CLASS_NAMES, lay_out(64 * len(answers), 64))
    assert (told(found), found.figures["tiles"], found.then[0].figures["share"]) == (names, len(answers), sure)


def test_what_a_change_did_to_the_shares() -> None:
    layout = lay_out(640, 64)
    before = prediction.class_shares(np.stack([spread(0.9)] * 6 + [spread(0, 0.9)] * 4), CLASS_NAMES, layout)
    after = prediction.class_shares(np.stack([spread(0.9)] * 2 + [spread(0, 0, 0.9)] * 8), CLASS_NAMES, layout)
    found = prediction.shares_changed_finding(before, after)
    assert [each.figures for each in found.figures["classes"]] == [
        {"title": "Herbaceous vegetation", "was": 0.0, "now": pytest.approx(0.8)},
        {"title": "Forest", "was": pytest.approx(0.4), "now": 0.0},
    ]
    assert told(prediction.shares_changed_finding(before, before)) == ["shares.same"]


def heat(top: slice, left: slice, value: float = 1.0) -> Saliency:
    plane = np.zeros((64, 64), dtype=np.float32)
    plane[top, left] = value
    return Saliency(plane, "grad-cam", (8, 8))


@pytest.mark.parametrize(
    ("looked", "variant", "half", "place"),
    [
        (heat(slice(0, 64), slice(0, 64)), "spread", 0.5, "middle_centre"),
        (heat(slice(0, 32), slice(0, 32)), "places", 0.125, "upper_left"),
        (heat(slice(50, 60), slice(50, 60)), "small", 0.0122, "lower_right"),
        (heat(slice(28, 36), slice(28, 36)), "small", 0.0078, "middle_centre"),
        (heat(slice(28, 36), slice(0, 8)), "small", 0.0078, "middle_left"),
    ],
)
def test_where_the_heat_lies(looked: Saliency, variant: str, half: float, place: str) -> None:
    found = prediction.looked_finding(looked, "Forest")
    assert (told(found), found.figures["place"].variant) == ([f"heat.{variant}"], place)
    assert found.figures["half"] == pytest.approx(half, abs=0.001)


def test_nothing_counts_and_how_that_was_found() -> None:
    maps = heat(slice(0, 1), slice(0, 1), 0.0)
    for looked, method in ((maps, "maps"), (replace(maps, method="occlusion"), "occlusion")):
        assert told(prediction.looked_finding(looked, "Forest")) == [f"nothing.{method}"]
        found = prediction.method_finding(looked)
        assert (told(found), found.figures["rows"]) == ([f"method.{method}"], 8)
