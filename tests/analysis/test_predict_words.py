"""What is found for each way an answer or a step of a convolution can come out, and the tables behind the charts."""

from dataclasses import replace

import numpy as np
import pytest
from run_makers import told

from eurosat_core.analysis import features, prediction
from eurosat_core.charts import networks
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.pictures import class_titles
from eurosat_core.data.uploads import lay_out
from eurosat_core.finding import Finding
from eurosat_core.lab.inspection import LayerSeen, NetworkSeen
from eurosat_core.lab.predict import Part
from eurosat_core.models.convolution import FILTERS, convolve, over_channels, step_at
from eurosat_core.models.saliency import Saliency

TITLES = class_titles(CLASS_NAMES)


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
    assert (found.kind, found.figures["answer"], found.figures["chance"]) == (kind, TITLES["AnnualCrop"], 0.1)
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
    assert wrong.figures == {"title": TITLES["AnnualCrop"], "sure": pytest.approx(0.05)}


@pytest.mark.parametrize(("first", "variant"), [(0.95, "sure"), (0.6, "less"), (0.3, "unsure")])
def test_made_up_pictures(first: float, variant: str) -> None:
    found = prediction.made_up_finding("A face", spread(first), CLASS_NAMES)
    assert told(found) == [f"made_up.{variant}"]
    assert found.figures == {"shown": "a face", "answer": TITLES["AnnualCrop"], "sure": pytest.approx(first)}


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
        {"number": 0, "row": 1, "column": 1, "left": 0, "right": 64, "top": 0, "bottom": 64,
         "title": TITLES["AnnualCrop"], "probability": pytest.approx(0.9)},
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
        {"title": TITLES["HerbaceousVegetation"], "was": 0.0, "now": pytest.approx(0.8)},
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


def test_how_many_multiplications_a_filter_needs() -> None:
    assert features.multiplications().figures == {"side": 62, "products": 27, "multiplications": 103_788}


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ((0, 0), "cancelled", 0.0),
        ((4, 2), "match.full", 3.0),
        ((4, 5), "opposite.full", -3.0),
        ((1, 2), "match.part", 1.2),
        ((1, 5), "opposite.part", -1.2),
    ],
)
def test_what_a_step_found(place: tuple[int, int], name: str, value: float) -> None:
    values = np.zeros((1, 8, 8), dtype=np.float32)
    values[:, 4:, 3:6] = 1  # a bright bar, and a fainter one above
    values[:, :4, 3:6] = 0.4
    values[:, 0] = values[:, 3] = 0
    values[:, 1:3, 3:6] = 0.6
    weights = over_channels(FILTERS["Vertical edges"], 1)
    step = step_at(values, weights, 0.0, 0, 1, *place)
    found = features.step_finding(step, convolve(values, weights))
    assert told(found) == [name, "products.inside"] and found.figures["value"] == pytest.approx(value)
    assert found.figures["share"] == pytest.approx(abs(value) / 3)
    assert found.then[0].figures == {"each": 9, "outside": 0, "rows": 6, "columns": 6, "all": 324}


def test_a_step_in_the_padding_and_a_map_of_zeros() -> None:
    values = np.zeros((3, 8, 8), dtype=np.float32)
    weights = over_channels(FILTERS["Blur"], 3)
    found = features.step_finding(step_at(values, weights, 0, 1, 1, 0, 0), convolve(values, weights, padding=1))
    assert told(found) == ["silent_map"]
    values[:] = 1
    found = features.step_finding(step_at(values, weights, 0, 1, 1, 0, 0), convolve(values, weights, padding=1))
    assert told(found) == ["brightness.match", "products.edge"]
    assert found.figures["value"] == pytest.approx(4 / 3)
    assert (found.then[0].figures["each"], found.then[0].figures["outside"]) == (27, 15)


def test_relu_and_pooling() -> None:
    some = np.array([[-1, -2], [3, -1]], dtype=np.float32)
    assert features.relu_finding(some) == Finding("features.relu.some", {"zeros": 0.75})
    silent = features.relu_finding(np.array([[-1] * 9 + [1]], dtype=np.float32))
    assert silent == Finding("features.relu.most", {"zeros": 0.9})
    assert told(features.relu_finding(np.abs(some))) == ["relu_none"]
    assert told(features.relu_finding(-np.abs(some))) == ["relu_all"]
    high = np.maximum(some, 0)
    kept, less = (features.pooled_finding(high, each) for each in (high.max(keepdims=True), high.mean(keepdims=True)))
    assert kept == Finding("features.pooled.kept", {"highest": 3.0, "left": 3.0})
    assert less == Finding("features.pooled.less", {"highest": 3.0, "left": 0.75})
    assert told(features.pooled_finding(high * 0, high * 0)) == ["pooled.nothing"]


def layer(name: str, silent: int = 0, lowest: float = -1.0, maps: int = 6, highest: float = 2.0) -> LayerSeen:
    picture = np.zeros((maps, 4, 4), dtype=np.float32)
    return LayerSeen(name, "", (maps, 4, 4), picture, None, silent, lowest, highest)


def seen(*layers: LayerSeen, answer: str = "Forest", sure: float = 0.9, classes: tuple[str, ...] = CLASS_NAMES):
    probabilities = np.full(len(classes), (1 - sure) / (len(classes) - 1), dtype=np.float32)
    probabilities[classes.index(answer)] = sure
    return NetworkSeen(layers, probabilities, classes)


@pytest.mark.parametrize(
    ("sure", "true", "trained", "name"),
    [
        (0.9, "Forest", True, "right.sure"),
        (0.4, "Forest", True, "right.unsure"),
        (0.9, "SeaLake", True, "wrong.sure"),
        (0.4, "River", True, "wrong.unsure"),
        (0.4, "Barley", True, "unknown_class"),
        (0.12, "Forest", False, "untrained"),
    ],
)
def test_the_answer(sure: float, true: str, trained: bool, name: str) -> None:
    found = features.answer_finding(seen(sure=sure), true, trained=trained)
    assert told(found) == [name]
    assert (found.figures["answer"], found.figures["sure"]) == ("Forest", pytest.approx(sure))
    if found.kind == "wrong":
        assert found.figures["own"] == pytest.approx((1 - sure) / 9)


@pytest.mark.parametrize(("silent", "variant"), [(0, "none"), (1, "some"), (2, "some"), (6, "all")])
def test_silent_filters(silent: int, variant: str) -> None:
    after = layer("MaxPool2d-2", silent, lowest=0.0)
    found = features.silent_finding(seen(layer("Conv2d-1"), layer("BatchNorm2d-9"), after))
    assert found == Finding(f"features.silent.{variant}", {"layer": "Conv2d-1", "filters": 6, "silent": silent})


def test_nothing_is_said_of_silence_where_no_activation_follows() -> None:
    assert features.silent_finding(seen(layer("Conv2d-1"), layer("Conv2d-2", lowest=0.0))) is None
    assert features.silent_finding(seen(layer("Conv2d-1"))) is None
    assert features.silent_finding(seen(layer("ReLU-1", lowest=0.0))) is None


def test_layers_that_training_left_alone() -> None:
    first, changed = layer("Conv2d-1"), layer("Linear-2", highest=3.0)
    assert told(features.unchanged_finding(seen(first), seen(first))) == ["unchanged.all"]
    assert features.unchanged_finding(seen(changed), seen(layer("Linear-2"))) is None
    some = features.unchanged_finding(seen(first, changed), seen(first, layer("Linear-2")))
    assert some == Finding("features.unchanged.some", {"same": 1, "layers": 2})
