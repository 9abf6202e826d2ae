"""What answers the questions of the guess book: taken from the same figures that each question's own page shows.

A guess that nothing measured here answers stays open.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from eurosat_core.analysis import features, lineup, pace, profile, race, sweep, transfer
from eurosat_core.analysis.guesses import GUESS_BOOK, GuessOutcome, Measured, asked, covers
from eurosat_core.analysis.wrapup import Evidence
from eurosat_core.data.pictures import FACE, MADE_UP, class_titles
from eurosat_core.data.statistics import colour_test
from eurosat_core.errors import LabError
from eurosat_core.finding import Finding
from eurosat_core.models.anatomy import parts_of_rows, where_most
from eurosat_core.models.catalog import CATALOG
from eurosat_core.models.recorded import RECORDED
from eurosat_core.speed.experiments import EXPERIMENTS, home_device
from eurosat_core.training.config import Architecture

if TYPE_CHECKING:
    from eurosat_core.lab.lab import Lab

Answer = tuple[Measured, Finding] | None
"""What was measured, as what a guess is judged by and as what is told; None where nothing measured answers it."""


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


def _labels_needed(lab: "Lab", evidence: Evidence) -> Answer:
    runs = [each.record for each in evidence.runs]
    for record in lab.transfers.runs(evidence.owner):
        known = transfer.reference_of(record, runs)
        try:
            result = lab.transfers.result(record.id)
        except LabError:  # damaged: whoever opens that run is told
            continue
        needed = transfer.labels_needed(result, known.accuracy) if known is not None else None
        found = transfer.beats(result, known)
        if needed is not None and found is not None:
            return needed, found
    return None


# In the order of the lesson. The question about the guesses themselves is judged by `guesses.judge_score`.
ANSWERS: dict[str, Callable[["Lab", Evidence], Answer]] = {
    "speedup_baseline": _speed_up("baseline"),
    "speedup_vgg": _speed_up("vgg11_bn"),
    "colour_alone": _colour,
    "conv_multiplications": _multiplications,
    "model_where": _where,
    "train_accuracy": _accuracy,
    "profile_part": _part,
    "compare_race": _race,
    "compare_winner": _winner,
    "predict_face": _face,
    "transfer_labels": _labels_needed,
    **{f"speed_{name}": _experiment(name) for name in EXPERIMENTS},
}


def confirmed(key: str, lab: "Lab", evidence: Evidence) -> tuple[str, Finding]:
    """The choice that a measurement here confirms, and what was measured; else empty, and what would answer it."""
    answer = ANSWERS[key](lab, evidence)
    if answer is None:
        return "", asked(key)[1]
    value, measured = answer
    return next((each for each, choice in GUESS_BOOK[key].choices.items() if covers(choice, value)), ""), measured


def guess_outcomes(lab: "Lab", evidence: Evidence) -> list[GuessOutcome]:
    """Every guess that was made, in the order of the lesson, beside what answers it."""
    found = []
    for key, find in ANSWERS.items():
        guess, choices = evidence.guesses.get(key), GUESS_BOOK[key].choices
        if guess is None:
            continue
        question, measured = asked(key)
        answer = find(lab, evidence) if guess in choices else None
        kind: Literal["right", "off", "open"] = "open"
        if answer is not None:
            value, measured = answer
            kind = "right" if covers(choices[guess], value) else "off"
        found.append(GuessOutcome(key, question, guess, measured, kind))
    return found
