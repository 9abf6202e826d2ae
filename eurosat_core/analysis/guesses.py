"""The guess book: every question of the lesson, what can be guessed, and how a guess is judged.

What answers the questions is in `answers`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eurosat_core.finding import Finding
from eurosat_core.speed.experiments import EXPERIMENTS

Measured = float | str | tuple[str, str]
"""What a guess is judged by: a figure, or one of several names."""


@dataclass(frozen=True)
class Question:
    """A question of the lesson; its words are `questions.<key>` in `assets/words`.

    Attributes:
        page: The script of the page that asks and answers it.
        label: That page's title.
        choices: What can be guessed, and what each choice covers: figures (from, below), or a name.
    """

    page: str
    label: str
    choices: Mapping[str, Measured | tuple[float, float]]


def covers(choice: Measured | tuple[float, float], measured: Measured) -> bool:
    """Whether what was measured lies in a choice."""
    if isinstance(measured, (int, float)) and isinstance(choice, tuple):
        return float(choice[0]) <= measured < float(choice[1])
    return choice == measured


def choices(key: str) -> list[str]:
    """What can be guessed."""
    return list(GUESS_BOOK[key].choices)


def judge(key: str, guess: str | None, measured: Measured | None) -> Finding | None:
    """A guess beside what was measured: `right` or `off`; None without a guess or a figure."""
    covered = GUESS_BOOK[key].choices if key in GUESS_BOOK else {}
    if guess is None or guess not in covered or measured is None:
        return None
    if covers(covered[guess], measured):
        return Finding("guesses.right", {"guess": guess})
    answer = next((each for each, choice in covered.items() if covers(choice, measured)), measured)
    return Finding("guesses.off", {"guess": guess, "answer": answer})


_SPEED_UP = {
    "slower": (0.0, 1.0),
    "about the same": (0.8, 1.4),
    "2×": (1.4, 3.2),
    "5×": (3.2, 7.1),
    "10×": (7.1, 22.0),
    "50× or more": (22.0, math.inf),
}
_FASTER = {
    "slower": (0.0, 0.95),
    "about the same": (0.95, 1.05),
    "up to twice as fast": (1.05, 2.0),
    "more than twice as fast": (2.0, math.inf),
}

GUESS_BOOK: dict[str, Question] = {
    "speedup_baseline": Question("compare.py", "Compare", _SPEED_UP),
    "speedup_vgg": Question("compare.py", "Compare", _SPEED_UP),
    "colour_alone": Question(
        "tiles.py",
        "Tiles",
        {
            "1–2 of 10": (0.0, 0.25),
            "3–4 of 10": (0.25, 0.45),
            "5–6 of 10": (0.45, 0.65),
            "7–8 of 10": (0.65, 0.85),
            "9–10 of 10": (0.85, 1.01),
        },
    ),
    "conv_multiplications": Question(
        "convolution.py",
        "Convolution",
        {f"about {10**power:,}": (10 ** (power - 0.5), 10 ** (power + 0.5)) for power in range(3, 7)},
    ),
    "model_where": Question(
        "model.py",
        "Model",
        {
            "Convolutions for both": ("convolution", "convolution"),
            "Linear layers for both": ("linear", "linear"),
            "Convolutions, then linear": ("convolution", "linear"),
            "Linear, then convolutions": ("linear", "convolution"),
        },
    ),
    "train_accuracy": Question(
        "train.py",
        "Train",
        {
            "about 10 (chance)": (0.0, 0.2),
            "about 30": (0.2, 0.4),
            "about 50": (0.4, 0.6),
            "about 70": (0.6, 0.8),
            "about 90": (0.8, 1.01),
        },
    ),
    "profile_part": Question(
        "profiler.py",
        "Profiler",
        {
            "Load (fetch a batch)": "load",
            "Copy (to the device)": "copy",
            "Forward": "forward",
            "Backward": "backward",
            "Update": "update",
        },
    ),
    "compare_race": Question(
        "compare.py",
        "Compare",
        {
            "about as long": (0.0, 1.5),
            "2 to 5 times as long": (1.5, 5.0),
            "5 to 20 times as long": (5.0, 20.0),
            "longer still": (20.0, math.inf),
        },
    ),
    "compare_winner": Question(
        "compare.py",
        "Compare",
        {
            "the small one": (-1.01, -0.02),
            "about the same": (-0.02, 0.02),
            "the other, by up to 10 points": (0.02, 0.10),
            "the other, by 10 to 30 points": (0.10, 0.30),
            "the other, by more": (0.30, 1.01),
        },
    ),
    "predict_face": Question(
        "predict.py",
        "Predict",
        {"below 30 %": (0.0, 0.3), "30 to 60 %": (0.3, 0.6), "60 to 90 %": (0.6, 0.9), "above 90 %": (0.9, 1.01)},
    ),
    **{f"speed_{name}": Question("speed.py", "Speed", _FASTER) for name in EXPERIMENTS},
    "wrapup_held": Question(
        "wrapup.py",
        "Wrap-up",
        {"fewer than half": (0.0, 0.45), "about half": (0.45, 0.55), "more than half": (0.55, 1.01)},
    ),
}


@dataclass(frozen=True)
class GuessOutcome:
    """One guess: what was asked and guessed, and what came out or would answer it.

    kind: `right`, `off`, or `open` while nothing answers it.
    """

    key: str
    question: Finding
    guess: str
    measured: Finding
    kind: Literal["right", "off", "open"]

    @property
    def page(self) -> str:
        """The script of the page that answers it."""
        return GUESS_BOOK[self.key].page

    @property
    def label(self) -> str:
        """That page's title."""
        return GUESS_BOOK[self.key].label


def asked(key: str) -> tuple[Finding, Finding]:
    """The question, and what answers it while nothing does."""
    if key.startswith("speed_"):
        question = EXPERIMENTS[key.removeprefix("speed_")].question
        return Finding("questions.speed.asked", {"question": question}), Finding("questions.speed.open")
    return Finding(f"questions.{key}.asked"), Finding(f"questions.{key}.open")


def score(outcomes: Sequence[GuessOutcome]) -> Finding:
    """How many guesses were right."""
    answered = [each for each in outcomes if each.kind != "open"]
    still = len(outcomes) - len(answered)
    if not answered:
        return Finding("guesses.unanswered" if outcomes else "guesses.none", {"guesses": still})
    right = sum(each.kind == "right" for each in answered)
    variant = "all" if right == len(answered) else "most" if right * 2 >= len(answered) else "few"
    then = (Finding("guesses.open", {"guesses": still}),) if still else ()
    return Finding(f"guesses.score.{variant}", {"right": right, "answered": len(answered)}, then)


def judge_score(guess: str | None, outcomes: Sequence[GuessOutcome]) -> Finding | None:
    """The guess about one's own guesses beside the share that was right; None where nothing says."""
    answered = [each for each in outcomes if each.kind != "open"]
    share = sum(each.kind == "right" for each in answered) / len(answered) if answered else None
    return judge("wrapup_held", guess, share)
