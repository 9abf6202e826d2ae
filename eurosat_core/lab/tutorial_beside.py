"""The tutorial's own figures beside the participant's: each says where it was measured."""

import pandas as pd

from eurosat_core import wording
from eurosat_core.lab.contenders import Contender
from eurosat_core.lab.evidence import Evidence
from eurosat_core.lab.pace import pace
from eurosat_core.lab.profiles import Reading
from eurosat_core.lab.race import EPOCHS, RACE, TUTORIAL_RATIO
from eurosat_core.lab.sweep_words import verdict_text
from eurosat_core.lab.tutorial_profile import UNKNOWN, compared_figures
from eurosat_core.models.catalog import CATALOG
from eurosat_core.speed.experiment_terms import home_device

__all__ = ["KNOWN_RESULTS", "TUTORIAL_ACCURACY", "beside_tutorial", "conclusion"]

TUTORIAL_ACCURACY = 0.71
"""What the tutorial reports for the baseline after ten epochs, on all tiles."""

KNOWN_RESULTS = (
    ("ResNet-50, pretrained on ImageNet, fine-tuned", "98.57 %", "Helber et al., 2019"),
    ("Wide ResNet, fine-tuned", "99.17 %", "Naushad et al., 2021"),
    ("12-layer attention network, from scratch", "97.23 %", "arXiv 2510.15527"),
    ("Small CNNs from scratch, RGB", "about 95.6 %", "journal paper, 2024"),
    ("The tutorial’s baseline, 10 epochs, run again with its settings", "73.6 %", "re-run on all tiles"),
)
"""Accuracies that others reached on EuroSAT RGB, with their source; each on its own split."""

_SHOWN = ("Step on the host (ProfilerStep*)", "GPU utilization", "DataLoader, share of the CPU’s time")
_NO_GPU = "nothing was measured on a GPU here"
_CLOSE = 1.25  # a GPU that is less than this many times as fast “gains little”


Row = tuple[str, str, str]
"""One figure: what it is, what the tutorial recorded, what the participant measured (or why that is missing)."""


def beside_tutorial(evidence: Evidence) -> pd.DataFrame:
    """Accuracy of the baseline, the GPU against the CPU, and where a step's time went: Figure, Tutorial, You."""
    rows: list[Row] = [
        (
            f"Accuracy of the baseline after {EPOCHS} epochs on all tiles",
            f"{100 * TUTORIAL_ACCURACY:.0f}\N{NO-BREAK SPACE}%",
            _accuracy(evidence.best_of("baseline")),
        ),
        ("VGG11-BN: GPU against CPU", f"about {TUTORIAL_RATIO:g} times as fast", _ratio(evidence, "vgg11_bn")),
        ("Baseline: GPU against CPU", "gains little", _ratio(evidence, "baseline")),
    ]
    for name, device in (("gpu", "GPU run"), ("cpu", "CPU run")):
        profiled = evidence.profile_on(name == "gpu")
        fits = profiled is not None and (profiled.record.config.model, profiled.record.config.batch_size) == (
            "baseline",
            40,
        )
        reading = profiled.reading if profiled is not None and fits else None
        rows += _profile_rows(name, device, reading, "no profile of the baseline with batch 40")
    return pd.DataFrame(rows, columns=["Figure", "Tutorial", "You"])


def _profile_rows(name: str, device: str, reading: Reading | None, missing: str) -> list[Row]:
    frame = compared_figures(name, reading)
    return [
        (f"{figure}, {device}", told, missing if own == UNKNOWN else own)
        for figure, told, own in frame.itertuples(index=False)
        if figure in _SHOWN
    ]


def _accuracy(run: Contender | None) -> str:
    if run is None or run.accuracy is None:
        return "the baseline was not trained"
    tiles = (
        f"{run.history.started.train_tiles:,} {run.record.tiles.source} tiles" if run.history.started else "its tiles"
    )
    epochs = wording.count(len(run.history.epochs), "epoch")
    return f"{wording.percent(run.accuracy)} ({epochs}, {tiles} to learn from)"


def _ratio(evidence: Evidence, model: str) -> str:
    ratio = _measured_ratio(evidence, model)
    if ratio is not None:
        return ratio[0]
    return "not measured on both yet" if evidence.gpus else _NO_GPU


def _measured_ratio(evidence: Evidence, model: str) -> tuple[str, float] | None:
    """In words, and how many times as fast the GPU is; by timed steps, else by two trainings."""
    race, title = evidence.measured(RACE), CATALOG[model].title
    if race is not None:
        gpu = home_device(race.result.devices)
        verdict = race.result.verdict(title, gpu, against=title, on="cpu")
        if gpu != "cpu" and verdict.factor is not None:
            return verdict_text(verdict), verdict.factor
    for cpu, other in evidence.timed_pairs():
        slow, fast = pace(cpu.history), pace(other.history)
        if other.record.config.model == model and slow is not None and fast is not None:
            ratio = fast.median / slow.median
            return f"{wording.rounded(ratio, 2)} times as fast while training", ratio
    return None


def conclusion(evidence: Evidence) -> str:
    """What the participant's own ratios say about the tutorial's conclusion, for each way they can come out."""
    small, large = _measured_ratio(evidence, "baseline"), _measured_ratio(evidence, "vgg11_bn")
    if small is None and large is None:
        return (
            "Whether that holds on your machine is open: you have not measured the same work on a CPU and a GPU."
            if evidence.gpus
            else "Whether that holds on another machine is open here: this one has no GPU to measure."
        )
    if large is None and small is not None:
        gains = "gained little, as it says" if small[1] < _CLOSE else "gained, although it is small"
        return f"On your machine the small network {gains}: {small[0]}. The large one was not measured on both."
    if small is None and large is not None:
        pays = "paid, as it says" if large[1] >= _CLOSE else "gained little, against what it says"
        return f"On your machine the large network {pays}: {large[0]}. The small one was not measured on both."
    assert small is not None and large is not None
    if large[1] > small[1] * _CLOSE:
        agrees = "That agrees" if small[1] < 2 else "The order agrees, but here even the small network gains"
    else:
        agrees = "That does not agree: the large network gains no more than the small one here"
    return f"On your machine: small network {small[0]}; large network {large[0]}. {agrees}. So measure before choosing."
