"""The sentences of the Convolution page, for each way it can come out."""

import numpy as np
import pytest

from eurosat_core.analysis import features
from eurosat_core.charts import networks
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.lab.inspection import LayerSeen, NetworkSeen
from eurosat_core.models.convolution import FILTERS, convolve, over_channels, step_at

NBSP = "\N{NO-BREAK SPACE}"


def test_how_many_multiplications_a_filter_needs() -> None:
    assert features.multiplications().figures == {"side": 62, "products": 27, "multiplications": 103_788}


@pytest.mark.parametrize(("value", "text"), [(0.5, "+0.500"), (-1.23456, "−1.235"), (-0.0001, "0.000"), (0, "0.000")])
def test_numbers(value: float, text: str) -> None:
    assert features.number(value) == text


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((0, 0), "next to nothing"),
        ((4, 2), "finds what it looks for: +3.000, 100%"),
        ((4, 5), "the opposite of what it looks for: −3.000, 100%"),
        ((1, 2), "a part of what it looks for: +1.200"),
        ((1, 5), "a part of the opposite"),
    ],
)
def test_what_a_step_found(place: tuple[int, int], words: str) -> None:
    values = np.zeros((1, 8, 8), dtype=np.float32)
    values[:, 4:, 3:6] = 1  # a bright bar, and a fainter one above
    values[:, :4, 3:6] = 0.4
    values[:, 0] = values[:, 3] = 0
    values[:, 1:3, 3:6] = 0.6
    weights = over_channels(FILTERS["Vertical edges"], 1)
    step = step_at(values, weights, 0.0, 0, 1, *place)
    said = features.step_words(step, convolve(values, weights))
    assert words in said
    assert "That took 9 products; all 6 × 6 places take 324." in said


def test_a_step_in_the_padding_and_a_map_of_zeros() -> None:
    values = np.zeros((3, 8, 8), dtype=np.float32)
    weights = over_channels(FILTERS["Blur"], 3)
    said = features.step_words(step_at(values, weights, 0, 1, 1, 0, 0), convolve(values, weights, padding=1))
    assert "The whole feature map is zero" in said
    values[:] = 1
    said = features.step_words(step_at(values, weights, 0, 1, 1, 0, 0), convolve(values, weights, padding=1))
    assert "keeps brightness: +1.333, brighter than" in said
    assert "27 products, 15 of them with the zeros beyond the edge" in said


def test_relu_and_pooling() -> None:
    some = np.array([[-1, -2], [3, -1]], dtype=np.float32)
    assert f"75.0{NBSP}% of these values zero; the rest passes" in features.relu_words(some)
    assert "most of the map is silent" in features.relu_words(np.array([[-1] * 9 + [1]], dtype=np.float32))
    assert "changes nothing" in features.relu_words(np.abs(some))
    assert "only zeros" in features.relu_words(-np.abs(some))
    high = np.maximum(some, 0)
    assert "+3.000, is still there" in features.pooled_words(high, high.max(keepdims=True))
    assert "was +3.000 and is +0.750 now" in features.pooled_words(high, high.mean(keepdims=True))
    assert "nothing above zero" in features.pooled_words(high * 0, high * 0)


def layer(name: str, silent: int = 0, lowest: float = -1.0, maps: int = 6, highest: float = 2.0) -> LayerSeen:
    picture = np.zeros((maps, 4, 4), dtype=np.float32)
    return LayerSeen(name, "", (maps, 4, 4), picture, None, silent, lowest, highest)


def seen(*layers: LayerSeen, answer: str = "Forest", sure: float = 0.9, classes: tuple[str, ...] = CLASS_NAMES):
    probabilities = np.full(len(classes), (1 - sure) / (len(classes) - 1), dtype=np.float32)
    probabilities[classes.index(answer)] = sure
    return NetworkSeen(layers, probabilities, classes)


@pytest.mark.parametrize(
    ("sure", "true", "words"),
    [
        (0.9, "Forest", f"Forest (90.0{NBSP}%): right, and sure."),
        (0.4, "Forest", "right, but not sure."),
        (0.9, "SeaLake", "wrong, and sure all the same. The tile’s own class, Sea or lake, gets 1.1"),
        (0.4, "River", "wrong. The tile’s own class, River"),
        (0.4, "Barley", "no answer of it can be right"),
    ],
)
def test_the_answer(sure: float, true: str, words: str) -> None:
    assert words in features.answer_words(seen(sure=sure), true, trained=True)


def test_the_answer_before_training() -> None:
    said = features.answer_words(seen(sure=0.12), "Forest", trained=False)
    assert said == f"Before training, its surest answer is Forest (12.0{NBSP}%); chance is 10.0{NBSP}%."


@pytest.mark.parametrize(
    ("silent", "words"),
    [(0, "All 6 filters of Conv2d-1"), (1, "1 of the 6 filters of Conv2d-1 finds"), (2, "find nothing"), (6, "None")],
)
def test_silent_filters(silent: int, words: str) -> None:
    after = layer("MaxPool2d-2", silent, lowest=0.0)
    assert words in features.silent_words(seen(layer("Conv2d-1"), layer("BatchNorm2d-9"), after))


def test_nothing_is_said_of_silence_where_no_activation_follows() -> None:
    assert features.silent_words(seen(layer("Conv2d-1"), layer("Conv2d-2", lowest=0.0))) == ""
    assert features.silent_words(seen(layer("Conv2d-1"))) == ""
    assert features.silent_words(seen(layer("ReLU-1", lowest=0.0))) == ""


def test_layers_that_training_left_alone() -> None:
    first, changed = layer("Conv2d-1"), layer("Linear-2", highest=3.0)
    assert features.unchanged_words(seen(first), seen(first)).startswith("Every layer")
    assert features.unchanged_words(seen(changed), seen(layer("Linear-2"))) == ""
    assert "1 of its 2 layers" in features.unchanged_words(seen(first, changed), seen(first, layer("Linear-2")))


def test_the_surest_classes_of_many() -> None:
    classes = tuple(f"class {at}" for at in range(100))
    network = seen(answer="class 42", classes=classes)
    frame = networks.probability_frame(network.probabilities, network.class_names)
    assert len(frame) == 10
    assert frame["title"][0] == "class 42"
    assert frame["probability"].is_monotonic_decreasing
