"""The guess book: every question of the lesson, what can be guessed, and how a guess is judged.

What answers the questions is in `answers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eurosat_core import wording
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


def _book() -> dict[str, Question]:
    book: dict[str, Question] = {}
    titles, written = wording.sentences("pages"), wording.sentences("guesses")
    for key, each in written.items():
        covered = {said: tuple(one) if isinstance(one, list) else one for said, one in each["choices"].items()}
        asked_of = [f"speed_{name}" for name in EXPERIMENTS] if key == "speed" else each.get("keys", [key])
        book |= dict.fromkeys(asked_of, Question(f"{each['page']}.py", titles[each["page"]]["title"], covered))
    return book


GUESS_BOOK = _book()
"""The questions of `assets/guesses.toml`, in the order of the lesson."""


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
