"""The guess book: what can be guessed, how it is judged, and what answers it."""

from typing import Any

import pytest

from eurosat_core.analysis.answers import ANSWERS
from eurosat_core.analysis.guesses import GuessOutcome, choices, judge, judge_score, score
from eurosat_core.finding import Finding
from eurosat_core.words.say import templates

RANGES = {
    "colour_alone": (0, 0.25, 0.4, 0.5, 0.849, 1),
    "conv_multiplications": (1_000, 9_999, 103_788, 1_000_000),
    "train_accuracy": (0, 0.1, 0.399, 0.6, 0.9, 1),
    "speedup_baseline": (0.1, 0.95, 1.0, 1.39, 1.4, 3.2, 7.1, 22, 500),
    "compare_race": (0.01, 1.5, 5, 20, 1e6),
    "compare_winner": (-1, -0.02, 0, 0.02, 0.1, 0.3, 1),
    "predict_face": (0, 0.3, 0.6, 0.9, 1),
    "speed_batch_size": (0, 0.95, 1.05, 2, 100),
    "wrapup_held": (0, 0.45, 0.5, 0.55, 1),
}


@pytest.mark.parametrize("key", RANGES)
def test_the_choices_leave_no_gap(key: str) -> None:
    for measured in RANGES[key]:
        judged = [judge(key, guess, measured) for guess in choices(key)]
        assert any(each is not None and each.kind == "right" for each in judged), measured


@pytest.mark.parametrize(
    ("key", "guess", "measured", "answer"),
    [
        ("colour_alone", "5–6 of 10", 0.5, None),
        ("colour_alone", "9–10 of 10", 0.5, "5–6 of 10"),
        ("conv_multiplications", "about 100,000", 103_788, None),
        ("conv_multiplications", "about 1,000", 103_788, "about 100,000"),
        ("train_accuracy", "about 50", 0.55, None),
        ("train_accuracy", "about 90", 0.55, "about 50"),
        ("speedup_vgg", "10×", 5.0, "5×"),
        ("speedup_baseline", "about the same", 0.9, None),
        ("model_where", "Linear, then convolutions", ("linear", "convolution"), None),
        ("model_where", "Linear layers for both", ("linear", "convolution"), "Linear, then convolutions"),
        ("profile_part", "Backward", "backward", None),
        ("profile_part", "Load (fetch a batch)", "backward", "Backward"),
        ("profile_part", "Forward", "other", "other"),
        ("compare_winner", "the small one", 0.25, "the other, by 10 to 30 points"),
        ("predict_face", "above 90 %", 1.0, None),
        ("speed_batch_size", "slower", 5.0, "more than twice as fast"),
    ],
)
def test_a_guess_is_judged(key: str, guess: str, measured: Any, answer: str | None) -> None:
    found = judge(key, guess, measured)
    assert found is not None and found.figures["guess"] == guess
    assert (found.kind, found.figures.get("answer")) == ("right" if answer is None else "off", answer)


def test_nothing_is_judged_without_a_guess_or_a_figure() -> None:
    assert judge("train_accuracy", None, 0.5) is None and judge("train_accuracy", "nonsense", 0.5) is None
    assert judge("train_accuracy", "about 50", None) is None and judge("no such question", "slower", 0.5) is None


def test_every_question_has_its_words() -> None:
    asked = {key for key in ANSWERS if not key.startswith("speed_")}
    words = {name.partition(".")[0] for name in templates("questions")}
    assert words == asked | {"speed"}


def outcomes(*kinds: Any) -> list[GuessOutcome]:
    words = Finding("questions.speed.open")
    return [GuessOutcome("train_accuracy", words, "about 50", words, kind) for kind in kinds]


@pytest.mark.parametrize(
    ("kinds", "name", "still"),
    [
        ((), "guesses.none", 0),
        (("open", "open"), "guesses.unanswered", 2),
        (("right", "right"), "guesses.score.all", 0),
        (("right", "off", "open"), "guesses.score.most", 1),
        (("off", "off", "right"), "guesses.score.few", 0),
    ],
)
def test_the_score(kinds: Any, name: str, still: int) -> None:
    found = score(outcomes(*kinds))
    assert found.name == name
    assert [each.figures["guesses"] for each in found.then] == ([still] if still and found.kind == "score" else [])


@pytest.mark.parametrize(
    ("guess", "kind"), [("fewer than half", "off"), ("about half", "right"), (None, None), ("never heard of", None)]
)
def test_the_guess_about_guesses(guess: str | None, kind: str | None) -> None:
    found = judge_score(guess, outcomes("right", "off", "open"))
    assert (found.kind if found else None) == kind
    assert judge_score("about half", outcomes("open")) is None
