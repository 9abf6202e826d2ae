"""What the Convolution page finds, for each way it can come out."""

import numpy as np
import pytest
from run_makers import told

from eurosat_core.analysis import features
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.finding import Finding
from eurosat_core.lab.inspection import LayerSeen, NetworkSeen
from eurosat_core.models.convolution import FILTERS, convolve, over_channels, step_at


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
