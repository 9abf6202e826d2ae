"""The guess book: every question of the lesson, what can be guessed, how a guess is judged, and what answered it.

What answers a question is taken from the same figures that its own page shows. A guess that nothing measured here
answers stays open.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eurosat_core.analysis import features, lineup, pace, profile, race, sweep
from eurosat_core.analysis.wrapup import Evidence
from eurosat_core.data.pictures import FACE, MADE_UP, class_titles
from eurosat_core.data.statistics import colour_test
from eurosat_core.errors import LabError
from eurosat_core.finding import Finding
from eurosat_core.lab.inspection import RECORDED
from eurosat_core.models.anatomy import parts_of_rows, where_most
from eurosat_core.models.catalog import CATALOG
from eurosat_core.speed.experiments import EXPERIMENTS, home_device
from eurosat_core.training.config import Architecture

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab

Measured = float | str | tuple[str, str]
"""What a guess is judged by: a figure, or one of several names."""

Answer = tuple[Measured, Finding] | None
"""What was measured, as what a guess is judged by and as what is told; None where nothing measured answers it."""


@dataclass(frozen=True)
class Question:
    """A question of the lesson; its words are `questions.<key>` in `assets/words`.

    Attributes:
        page: The script of the page that asks and answers it.
        label: That page's title.
        choices: What can be guessed, and what each choice covers: figures (from, below), or a name.
        answer: What was measured; None for a question about the guesses themselves.
    """

    page: str
    label: str
    choices: Mapping[str, Measured | tuple[float, float]]
    answer: Callable[["Lab", Evidence], Answer] | None


def _covers(choice: Measured | tuple[float, float], measured: Measured) -> bool:
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
    if _covers(covered[guess], measured):
        return Finding("guesses.right", {"guess": guess})
    answer = next((each for each, choice in covered.items() if _covers(choice, measured)), measured)
    return Finding("guesses.off", {"guess": guess, "answer": answer})


# -- what answers each question


def _speed_up(model: str) -> Callable[["Lab", Evidence], Answer]:
    """How many times as fast a model trains on a GPU: by timed steps in turn, else by two trainings."""

    def answer(lab: "Lab", evidence: Evidence) -> Answer:
        raced, title = evidence.measured(race.RACE), CATALOG[model].title
        if raced is not None:
            gpu = home_device(raced.result.devices)
            verdict = raced.result.verdict(title, gpu, against=title, on="cpu")
            if gpu != "cpu" and verdict.factor is not None:
                figures = {"title": title, "device": gpu, "verdict": verdict}
                return verdict.factor if verdict.outcome != "same" else 1.0, Finding("race.devices", figures)
        for cpu, other in evidence.timed_pairs():
            slow, fast = pace.pace(cpu.history), pace.pace(other.history)
            if other.record.config.model != model or slow is None or fast is None:
                continue
            same = pace.is_same_pace(fast, slow)
            ratio = 1.0 if same else fast.median / slow.median
            paced = {"fast": fast.median, "slow": slow.median, "ratio": ratio}
            return ratio, Finding(f"guesses.paced.{'same' if same else 'apart'}", paced)
        return None

    return answer


def _colour(lab: "Lab", evidence: Evidence) -> Answer:
    tiles = lab.tiles().tile_set
    test = tiles and colour_test(tiles.statistics.means, tiles.labels.numpy(), tiles.class_names)
    if not tiles or not test:
        return None
    kind = "synthetic" if tiles.source == "synthetic" else "real"
    return test.accuracy, Finding(f"guesses.colour.{kind}", {"accuracy": test.accuracy, "tiles": test.tiles})


def _multiplications(lab: "Lab", evidence: Evidence) -> Answer:
    found = features.multiplications()
    return found.figures["multiplications"], found


def _where(lab: "Lab", evidence: Evidence) -> Answer:
    most = where_most(parts_of_rows(lab.estimates.model_summary(Architecture("baseline")).layers))
    kinds = most["params"][0], most["macs"][0]
    figures = {"params_in": kinds[0], "params": most["params"][1], "macs_in": kinds[1], "macs": most["macs"][1]}
    return kinds, Finding("guesses.where", figures)


def _accuracy(lab: "Lab", evidence: Evidence) -> Answer:
    run = next((each for each in evidence.runs if each.accuracy is not None), None)
    if run is None or run.accuracy is None:
        return None
    figures = {"accuracy": run.accuracy, "epochs": len(run.history.epochs), "run": run.label}
    return run.accuracy, Finding("guesses.trained", figures)


def _part(lab: "Lab", evidence: Evidence) -> Answer:
    if not evidence.profiles:
        return None
    overview = evidence.profiles[0].reading.overview
    part, means = profile.longest_part(overview), overview.parts.mean_us
    if not part:
        return None
    return part, Finding("guesses.profiled", {"part": part, "share": means[part] / sum(means.values())})


def _winner(lab: "Lab", evidence: Evidence) -> Answer:
    found = lineup.strong_against_small(evidence.runs)
    return None if found is None else (found.figures["gap"], found)


def _race(lab: "Lab", evidence: Evidence) -> Answer:
    raced = evidence.measured(race.RACE)
    found = raced and race.as_long(race.read_race(raced.record, raced.result))
    return (found.figures["ratio"], found) if found else None


def _face(lab: "Lab", evidence: Evidence) -> Answer:
    networks = lab.predictor.networks(evidence.owner)
    run_id = networks[0].id if networks else RECORDED
    try:
        probabilities = lab.predictor.answer(run_id, MADE_UP[FACE]())
        names = lab.inspector.class_names(run_id)
    except LabError:
        return None
    sure = float(probabilities.max())
    figures = {"answer": class_titles(names)[names[int(probabilities.argmax())]], "sure": sure}
    return sure, Finding(f"guesses.face.{'own' if networks else 'recorded'}", figures)


def _experiment(name: str) -> Callable[["Lab", Evidence], Answer]:
    def answer(lab: "Lab", evidence: Evidence) -> Answer:
        found = evidence.measured(name)
        if found is None:
            return None
        device = home_device(found.result.devices)
        verdict = found.result.verdict(found.result.focus, device, figure=sweep.figure_of(found.result))
        factor = sweep.guessed_factor(found.result, device)
        figures = {"device": device, "verdict": verdict}
        return None if factor is None else (factor, Finding("guesses.experiment", figures))

    return answer


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
    "speedup_baseline": Question("compare.py", "Compare", _SPEED_UP, _speed_up("baseline")),
    "speedup_vgg": Question("compare.py", "Compare", _SPEED_UP, _speed_up("vgg11_bn")),
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
        _colour,
    ),
    "conv_multiplications": Question(
        "convolution.py",
        "Convolution",
        {f"about {10**power:,}": (10 ** (power - 0.5), 10 ** (power + 0.5)) for power in range(3, 7)},
        _multiplications,
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
        _where,
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
        _accuracy,
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
        _part,
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
        _race,
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
        _winner,
    ),
    "predict_face": Question(
        "predict.py",
        "Predict",
        {"below 30 %": (0.0, 0.3), "30 to 60 %": (0.3, 0.6), "60 to 90 %": (0.6, 0.9), "above 90 %": (0.9, 1.01)},
        _face,
    ),
    **{f"speed_{name}": Question("speed.py", "Speed", _FASTER, _experiment(name)) for name in EXPERIMENTS},
    "wrapup_held": Question(
        "wrapup.py",
        "Wrap-up",
        {"fewer than half": (0.0, 0.45), "about half": (0.45, 0.55), "more than half": (0.55, 1.01)},
        None,
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


def _asked(key: str) -> tuple[Finding, Finding]:
    """The question, and what answers it while nothing does."""
    if key.startswith("speed_"):
        question = EXPERIMENTS[key.removeprefix("speed_")].question
        return Finding("questions.speed.asked", {"question": question}), Finding("questions.speed.open")
    return Finding(f"questions.{key}.asked"), Finding(f"questions.{key}.open")


def guess_outcomes(lab: "Lab", evidence: Evidence) -> list[GuessOutcome]:
    """Every guess that was made, in the order of the lesson, beside what answers it."""
    found = []
    for key, asked in GUESS_BOOK.items():
        guess = evidence.guesses.get(key)
        if guess is None or asked.answer is None:
            continue
        question, measured = _asked(key)
        answer = asked.answer(lab, evidence) if guess in asked.choices else None
        kind: Literal["right", "off", "open"] = "open"
        if answer is not None:
            value, measured = answer
            kind = "right" if _covers(asked.choices[guess], value) else "off"
        found.append(GuessOutcome(key, question, guess, measured, kind))
    return found


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
