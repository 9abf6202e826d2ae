"""Every guess of the lesson beside what was measured: by the same figures that its own page shows.

A guess that nothing measured here answers stays open, and says which page answers it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eurosat_core import wording
from eurosat_core.analysis import features, lineup, prediction, profile, training
from eurosat_core.analysis import race as race_frames
from eurosat_core.analysis.pace import SPEEDUP_GUESSES, is_same_pace, pace
from eurosat_core.analysis.race import RACE, read_race
from eurosat_core.analysis.sweep import figure_of, guess_finding, verdict_text
from eurosat_core.analysis.wrapup import Evidence
from eurosat_core.data import colour
from eurosat_core.data.pictures import FACE, MADE_UP, class_titles
from eurosat_core.errors import LabError
from eurosat_core.lab.inspection import RECORDED
from eurosat_core.models.anatomy import WHERE_GUESSES, guess_sentence, parts_of_rows, where_sentence
from eurosat_core.models.catalog import CATALOG
from eurosat_core.models.convolution import layer_work
from eurosat_core.speed.experiments import EXPERIMENTS, home_device
from eurosat_core.training.config import Architecture

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab


Answer = tuple[str, Literal["right", "off"]] | None
"""What was measured in words, and whether the guess fits it; None where nothing measured answers it."""


@dataclass(frozen=True)
class GuessOutcome:
    """One guess. page: the script of its page, label: that page's title. measured: what came out, or what is missing.

    kind: `right`, `off`, or `open` while nothing answers it.
    """

    key: str
    page: str
    label: str
    question: str
    guess: str
    measured: str
    kind: Literal["right", "off", "open"]


@dataclass(frozen=True)
class _Question:
    page: str
    label: str
    question: str
    answer: Callable[["Lab", Evidence, str], Answer]
    missing: str


def _within(guesses: dict[str, tuple[float, float]], guess: str, value: float) -> Literal["right", "off"]:
    low, below = guesses[guess]
    return "right" if low <= value < below else "off"


# -- one function per question


def _speed_up(model: str) -> Callable[["Lab", Evidence, str], Answer]:
    """How many times as fast a model trains on a GPU: by timed steps in turn, else by two trainings."""

    def answer(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
        if guess not in SPEEDUP_GUESSES:
            return None
        race, title = evidence.measured(RACE), CATALOG[model].title
        if race is not None:
            gpu = home_device(race.result.devices)
            verdict = race.result.verdict(title, gpu, against=title, on="cpu")
            if gpu != "cpu" and verdict.factor is not None:
                factor = 1.0 if verdict.outcome == "same" else verdict.factor
                words = f"{title} on the {wording.device_name(gpu)} against the CPU: {verdict_text(verdict)}."
                return words, _within(SPEEDUP_GUESSES, guess, factor)
        for cpu, other in evidence.timed_pairs():
            slow, fast = pace(cpu.history), pace(other.history)
            if other.record.config.model != model or slow is None or fast is None:
                continue
            ratio = 1.0 if is_same_pace(fast, slow) else fast.median / slow.median
            words = f"{wording.rate(fast.median)} against {wording.rate(slow.median)} on the CPU"
            words += ": no difference we can measure." if ratio == 1.0 else f": {_factor(ratio)} as fast."
            return words, _within(SPEEDUP_GUESSES, guess, ratio)
        return None

    return answer


def _factor(ratio: float) -> str:
    return wording.times(ratio) if ratio >= 0.95 else f"{ratio:.2f} times"


def _colour(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
    tiles = lab.tiles().tile_set
    if tiles is None or guess not in colour.GUESSES:
        return None
    test = colour.colour_test(tiles.statistics.means, tiles.labels.numpy(), tiles.class_names)
    if test is None:
        return None
    kind = "synthetic tiles" if tiles.source == "synthetic" else "tiles"
    words = f"{100 * test.accuracy:.0f}\N{NO-BREAK SPACE}% of {test.tiles:,} {kind}."
    return words, _within(colour.GUESSES, guess, test.accuracy)


def _multiplications(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
    power = features.GUESSES.get(guess)
    if power is None:
        return None
    work = layer_work(features.GUESSED_LAYER).layer
    return f"{work:,}, by counting.", "right" if power == round(math.log10(work)) else "off"


def _where(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
    kinds = WHERE_GUESSES.get(guess)
    if kinds is None:
        return None
    parts = parts_of_rows(lab.estimates.model_summary(Architecture("baseline")).layers)
    words = where_sentence("Baseline", parts).replace("**", "")
    return words, "right" if guess_sentence(kinds, parts) == "You guessed both." else "off"


def _accuracy(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
    run = next((each for each in evidence.runs if each.accuracy is not None), None)
    if guess not in training.ACCURACY_GUESSES or run is None:
        return None
    against = training.guess_against(training.ACCURACY_GUESSES[guess], run.history)
    if against is None or run.accuracy is None:
        return None
    epochs = wording.count(len(run.history.epochs), "epoch")
    words = f"{wording.percent(run.accuracy)} after {epochs} ({run.label}, your newest run)."
    return words, _kind(against.kind)


def _part(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
    if not evidence.profiles:
        return None
    reading = evidence.profiles[0].reading
    found = profile.guess_against(guess, reading)
    if found is None:
        return None
    means = reading.overview.parts.mean_us
    part = profile.longest_part(reading.overview)
    words = f"{part}: {wording.percent(means[part] / sum(means.values()))} of your newest profile’s step."
    return words, "right" if found.kind == "right" else "off"


def _winner(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
    found = lineup.guess_verdict(guess, evidence.runs)
    return None if found is None else (_after(found.text, "In these runs "), _kind(found.kind))


def _race(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
    race = evidence.measured(RACE)
    if race is None:
        return None
    found = race_frames.race_guess(guess, read_race(race.record, race.result))
    return None if found is None else (_after(found.text, "”. "), _kind(found.kind))


def _face(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
    if guess not in prediction.GUESSES:
        return None
    networks = lab.predictor.networks(evidence.owner)
    run_id = networks[0].id if networks else RECORDED
    try:
        probabilities = lab.predictor.answer(run_id, MADE_UP[FACE]())
        names = lab.inspector.class_names(run_id)
    except LabError:
        return None
    sure = float(probabilities.max())
    whose = "your newest network" if networks else "the recorded baseline"
    words = f"{class_titles(names)[names[int(probabilities.argmax())]]}, {wording.percent(sure)} sure ({whose})."
    return words, _within(prediction.GUESSES, guess, sure)


def _experiment(name: str) -> Callable[["Lab", Evidence, str], Answer]:
    def answer(lab: "Lab", evidence: Evidence, guess: str) -> Answer:
        found = evidence.measured(name)
        if found is None:
            return None
        device = home_device(found.result.devices)
        against = guess_finding(guess, found.result, device)
        if against is None:
            return None
        verdict = found.result.verdict(found.result.focus, device, figure=figure_of(found.result))
        words = f"{wording.device_name(device)}: {verdict_text(verdict)}."
        return words, _kind(against.kind)

    return answer


def _kind(finding: str) -> Literal["right", "off"]:
    return "right" if finding == "right" else "off"


def _after(text: str, words: str) -> str:
    """A finding without the guess that it begins with, which stands beside it."""
    rest = text.partition(words)[2] or text
    return rest[:1].upper() + rest[1:]


_NO_GPU_YET = "Train it on the CPU and on a GPU with the same settings, or run the race on both."
_QUESTIONS = {
    "speedup_baseline": _Question(
        "compare.py", "Compare", "How fast is a GPU with the small CNN?", _speed_up("baseline"), _NO_GPU_YET
    ),
    "speedup_vgg": _Question(
        "compare.py", "Compare", "How fast is a GPU with VGG11-BN?", _speed_up("vgg11_bn"), _NO_GPU_YET
    ),
    "colour_alone": _Question(
        "tiles.py",
        "Tiles",
        "By average colour alone, how many tiles are sorted rightly?",
        _colour,
        "The tiles are still being opened.",
    ),
    "conv_multiplications": _Question(
        "convolution.py",
        "Convolution",
        "How many multiplications does one 3 × 3 filter need for a tile?",
        _multiplications,
        "",
    ),
    "model_where": _Question(
        "model.py", "Model", "Which layers hold the parameters, and which do the multiplications?", _where, ""
    ),
    "train_accuracy": _Question(
        "train.py", "Train", "How many of 100 new tiles will the network name correctly?", _accuracy, "Train a network."
    ),
    "profile_part": _Question(
        "profiler.py", "Profiler", "Which part of a step takes longest?", _part, "Record a profile of your own."
    ),
    "compare_race": _Question(
        "compare.py", "Compare", "How many times as long does the large network train?", _race, "Run the race."
    ),
    "compare_winner": _Question(
        "compare.py",
        "Compare",
        "Small or pretrained: which names more tiles correctly?",
        _winner,
        "Train both networks on the same tiles.",
    ),
    "predict_face": _Question(
        "predict.py", "Predict", "How sure is a network of a drawn face?", _face, "No network could be asked."
    ),
} | {
    f"speed_{name}": _Question("speed.py", "Speed", each.question, _experiment(name), "Run this experiment.")
    for name, each in EXPERIMENTS.items()
}


def guess_outcomes(lab: "Lab", evidence: Evidence) -> list[GuessOutcome]:
    """Every guess that was made, in the order of the lesson, beside what answers it."""
    found = []
    for key, asked in _QUESTIONS.items():
        guess = evidence.guesses.get(key)
        if guess is None:
            continue
        answer = asked.answer(lab, evidence, guess)
        missing = f"Not measured yet. {asked.missing}".strip()
        measured, kind = answer if answer is not None else (missing, None)
        outcome = GuessOutcome(key, asked.page, asked.label, asked.question, guess, measured, kind or "open")
        found.append(outcome)
    return found


HELD_GUESSES = {"fewer than half": (0.0, 0.45), "about half": (0.45, 0.55), "more than half": (0.55, 1.01)}
"""What can be guessed of one's own guesses: the shares that held (from, below)."""


def held_against(guess: str | None, outcomes: list[GuessOutcome]) -> str:
    """The guess about one's own guesses beside the share that held, as a sentence; empty where nothing says."""
    answered = [each for each in outcomes if each.kind != "open"]
    if guess not in HELD_GUESSES or not answered:
        return ""
    share = sum(each.kind == "right" for each in answered) / len(answered)
    low, below = HELD_GUESSES[guess]
    how = "well judged" if low <= share < below else f"{'fewer' if share < low else 'more'} than you thought"
    return f"You guessed “{guess}”: {how}."


def score_sentence(outcomes: list[GuessOutcome]) -> str:
    """How many guesses held, as a sentence for each way that can come out."""
    answered = [each for each in outcomes if each.kind != "open"]
    still = len(outcomes) - len(answered)
    if not outcomes:
        return "You have guessed nothing yet. Every page asks for one first: only who guessed can be surprised."
    if not answered:
        return f"You made {wording.count(len(outcomes), 'guess', 'guesses')}, and nothing has answered them yet."
    right = sum(each.kind == "right" for each in answered)
    text = f"{right} of {wording.count(len(answered), 'answered guess', 'answered guesses')} held."
    if right == len(answered):
        text += " You know this machine well, or were lucky: measuring tells which."
    elif right * 2 >= len(answered):
        text += " The others are what measuring is for."
    else:
        text += " Most did not: that is usual, and the reason to measure before choosing."
    if still:
        text += f" {wording.count(still, 'guess is', 'guesses are')} still open."
    return text
