"""A sentence for each way an answer can come out, and the tables behind the charts."""

import numpy as np
import pytest

from eurosat_core.analysis import prediction as words
from eurosat_core.charts import networks
from eurosat_core.data.classes import CLASS_NAMES
from eurosat_core.data.uploads import lay_out
from eurosat_core.models.saliency import Saliency


def spread(*first: float, classes: int = 10) -> np.ndarray:
    """Probabilities that begin so; the rest is shared evenly."""
    rest = (1 - sum(first)) / (classes - len(first)) if classes > len(first) else 0.0
    return np.array([*first, *[rest] * (classes - len(first))], dtype=np.float32)


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ((0.87,), "Annual crop, 87 %: it is sure."),
        ((0.9999,), "Annual crop, above 99.9 %: it is sure."),
        ((0.991,), "Annual crop, 99.1 %: it is sure."),
        ((0.6, 0.2), "leans to that; next comes Forest (20 %)"),
        ((0.45, 0.40), "torn between that and Forest (40 %)"),
        ((0.2, 0.15), "hardly better than guessing, which would be right in 10 %"),
    ],
)
def test_how_sure_it_is(first: tuple[float, ...], said: str) -> None:
    assert said in plain(words.answer_words(spread(*first), CLASS_NAMES))


def test_few_classes() -> None:
    assert "one class only" in words.answer_words(np.ones(1, np.float32), ["Forest"])
    assert "hardly better" in words.answer_words(np.array([0.55, 0.45], np.float32), ["Forest", "River"])


def test_beside_the_truth() -> None:
    right, wrong = spread(0.9), spread(0.05, 0.9)
    assert words.truth_words(right, CLASS_NAMES, "AnnualCrop", None) == "That is right: the tile is Annual crop."
    assert "to which it gives 5 %" in plain(words.truth_words(wrong, CLASS_NAMES, "AnnualCrop", None))
    assert "never told of" in words.truth_words(right, CLASS_NAMES, "Desert", "validation")
    for part, said in (("train", "this very tile"), ("validation", "validation part"), ("test", "been opened")):
        assert said in words.truth_words(right, CLASS_NAMES, "AnnualCrop", part)


@pytest.mark.parametrize(
    ("first", "said"), [(0.95, "sure all the same"), (0.6, "somewhat less sure"), (0.3, "luck, not knowledge")]
)
def test_made_up_pictures(first: float, said: str) -> None:
    text = words.made_up_words("A face", spread(first), CLASS_NAMES)
    assert text.startswith("Shown a face, it answers Annual crop (")
    assert said in text


def test_what_a_change_did() -> None:
    names = CLASS_NAMES
    assert "another answer: Annual crop" in words.changed_words(spread(0.9), spread(0.1, 0.8), names)
    assert "surer" in words.changed_words(spread(0.5), spread(0.9), names)
    assert "less sure" in words.changed_words(spread(0.9), spread(0.5), names)
    assert "The answer stays" in words.changed_words(spread(0.9), spread(0.905), names)


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
    shares = words.class_shares(np.stack([spread(0.9), spread(0.0, 0.8)]), CLASS_NAMES, layout)
    assert shares["share"].tolist() == pytest.approx([0.64, 0.36])
    assert shares["tiles"].tolist() == [1, 1]
    part = words.class_shares(spread(0.0, 0.8)[None], CLASS_NAMES, layout)  # stopped after the first
    assert part["share"].tolist() == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([spread(0.9)] * 4, "All of the 4 tiles were taken for Annual crop. It was sure of every one"),
        ([spread(0.9), spread(0, 0.9), spread(0, 0, 0.9), spread(0, 0, 0, 0.5)], ", and others. It was sure (80 % or"),
        ([spread(0.5), spread(0, 0.5)], "only 0.0 % of them, so read this map with care"),
    ],
)
def test_a_map_in_words(answers: list[np.ndarray], said: str) -> None:
    assert said in plain(words.map_words(np.stack(answers), CLASS_NAMES, lay_out(64 * len(answers), 64)))


def test_what_a_change_did_to_the_shares() -> None:
    layout = lay_out(640, 64)
    before = words.class_shares(np.stack([spread(0.9)] * 6 + [spread(0, 0.9)] * 4), CLASS_NAMES, layout)
    after = words.class_shares(np.stack([spread(0.9)] * 2 + [spread(0, 0, 0.9)] * 8), CLASS_NAMES, layout)
    text = plain(words.shares_changed_words(before, after))
    assert "Herbaceous vegetation from 0.0 % to 80 %" in text
    assert "stay the same" in words.shares_changed_words(before, before)


def heat(top: slice, left: slice, value: float = 1.0) -> Saliency:
    plane = np.zeros((64, 64), dtype=np.float32)
    plane[top, left] = value
    return Saliency(plane, "grad-cam", (8, 8))


@pytest.mark.parametrize(
    ("looked", "said"),
    [
        (heat(slice(0, 64), slice(0, 64)), "spread over the picture"),
        (heat(slice(0, 32), slice(0, 32)), "half of the heat takes 12 % of the picture, around the upper left"),
        (heat(slice(50, 60), slice(50, 60)), "a small part that speaks for Forest: half of the heat lies in 1.2 %"),
        (heat(slice(28, 36), slice(28, 36)), "around the middle."),
        (heat(slice(28, 36), slice(0, 8)), "around the middle left."),
        (heat(slice(0, 1), slice(0, 1), 0.0), "Nothing in this picture speaks for Forest"),
    ],
)
def test_where_the_heat_lies(looked: Saliency, said: str) -> None:
    assert said in plain(words.looked_words(looked, "Forest"))


def test_no_square_counts() -> None:
    nothing = Saliency(np.zeros((64, 64), np.float32), "occlusion", (8, 8))
    assert "No single square" in words.looked_words(nothing, "Forest")


def test_how_it_was_found() -> None:
    assert "the 8 × 8 cells" in words.method_words(heat(slice(0, 1), slice(0, 1)))
    assert "covered with grey" in words.method_words(Saliency(np.zeros((64, 64), np.float32), "occlusion", (8, 8)))
