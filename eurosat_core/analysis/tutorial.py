"""The tutorial's own figures beside those of this machine."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from eurosat_core import wording
from eurosat_core.analysis.contenders import Contender
from eurosat_core.analysis.operators import NAME, OperatorColumn, columns_of
from eurosat_core.analysis.pace import pace
from eurosat_core.analysis.profile import utilization
from eurosat_core.analysis.race import EPOCHS, RACE, TUTORIAL_RATIO
from eurosat_core.analysis.wrapup import Evidence
from eurosat_core.finding import Finding
from eurosat_core.folders import ASSETS
from eurosat_core.models.catalog import CATALOG
from eurosat_core.runs.profiles import Reading
from eurosat_core.speed.experiments import home_device
from eurosat_core.speed.verdict import verdict_text

_FILE = ASSETS / "recorded" / "tutorial_profile.json"
UNKNOWN = "–"


@dataclass(frozen=True)
class Recorded:
    """One of its two runs. steps: how many its totals cover. rows: raw figures (µs, bytes, %) in the columns' order.

    loading, copying: shares of `CPU total %`; None where the table has no such row. exec_share: what its TensorBoard
    called CPU utilization. launches: kernel launches in all steps.
    """

    device: str
    steps: int
    self_cpu_us: float
    self_cuda_us: float | None
    step_us: float
    loading: float
    copying: float | None
    launches: int | None
    utilization: float | None
    exec_share: float | None
    rows: tuple[tuple[Any, ...], ...]


@lru_cache(maxsize=1)
def tutorial_profile() -> dict[str, Recorded]:
    """Both runs, by `cpu` and `gpu`."""
    values = json.loads(_FILE.read_text(encoding="utf-8"))["runs"]
    return {name: Recorded(**{**run, "rows": tuple(tuple(row) for row in run["rows"])}) for name, run in values.items()}


def tutorial_table(name: str) -> tuple[pd.DataFrame, tuple[OperatorColumn, ...]]:
    """The operator table of `cpu` or `gpu`, as `operator_frame` gives one."""
    columns = columns_of("CUDA" if name == "gpu" else "", memory=True, device_memory=True)
    return pd.DataFrame(tutorial_profile()[name].rows, columns=[NAME, *(each.name for each in columns)]), columns


def compared_figures(name: str, reading: Reading | None) -> pd.DataFrame:
    """The tutorial's figures of `cpu` or `gpu`, and a participant's of the same kind of device (None: there is none).

    Columns: Figure, Tutorial, Yours; all in words.
    """
    told = tutorial_profile()[name]
    own = _own(reading) if reading is not None else {}
    rows = [
        ("Step on the host (ProfilerStep*)", _ms(told.step_us)),
        ("Self CPU time, a step", _ms(told.self_cpu_us / told.steps)),
        ("DataLoader, share of the CPU’s time", wording.percent(told.loading)),
    ]
    if told.copying is not None:
        rows.append(("aten::to (copying), share of the CPU’s time", wording.percent(told.copying)))
    if told.self_cuda_us is not None:
        rows.append(("Self CUDA time, a step", _ms(told.self_cuda_us / told.steps)))
    if told.launches is not None:
        rows.append(("GPU kernel launches, a step", f"{told.launches / told.steps:.0f}"))
    if told.utilization is not None:
        rows.append(("GPU utilization", f"about {100 * told.utilization:.0f}\N{NO-BREAK SPACE}%"))
    if told.exec_share is not None:
        rows.append(("“CPU utilization” (share of CPU exec)", f"about {100 * told.exec_share:.0f}\N{NO-BREAK SPACE}%"))
    return pd.DataFrame(
        [(figure, value, own.get(figure, UNKNOWN)) for figure, value in rows], columns=["Figure", "Tutorial", "Yours"]
    )


def _ms(microseconds: float) -> str:
    return wording.milliseconds(microseconds / 1000)


def _own(reading: Reading) -> dict[str, str]:
    rows = {each.name: each for each in reading.operators}
    all_us = sum(each.cpu_self_us for each in reading.operators)
    found: dict[str, str] = {}
    if "ProfilerStep*" in rows:
        step = rows["ProfilerStep*"]
        found["Step on the host (ProfilerStep*)"] = _ms(step.cpu_total_us / step.calls)
    if not all_us:
        return found
    found["Self CPU time, a step"] = _ms(all_us / reading.steps)
    loading = sum(each.cpu_total_us for name, each in rows.items() if name.startswith("enumerate(DataLoader)#"))
    found["DataLoader, share of the CPU’s time"] = wording.percent(loading / all_us)
    if "aten::to" in rows:
        found["aten::to (copying), share of the CPU’s time"] = wording.percent(rows["aten::to"].cpu_total_us / all_us)
    busy = utilization(reading.overview)
    if busy is not None:
        found["Self CUDA time, a step"] = _ms(reading.device_us / reading.steps)
        found["GPU kernel launches, a step"] = f"{reading.overview.facts.kernels:,.0f}"
        found["GPU utilization"] = wording.percent(busy)
        mean = reading.overview.mean_step_us
        found["“CPU utilization” (share of CPU exec)"] = wording.percent(mean["CPU exec"] / mean["Total"])
    return found


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


def conclusion(evidence: Evidence) -> Finding:
    """What the participant's own ratios say about the tutorial's conclusion, for each way they can come out."""
    small, large = _measured_ratio(evidence, "baseline"), _measured_ratio(evidence, "vgg11_bn")
    if small is None and large is None:
        return Finding(f"tutorial.open.{'unused' if evidence.gpus else 'no_gpu'}")
    if large is None and small is not None:
        return Finding(f"tutorial.small.{'agrees' if small[1] < _CLOSE else 'gains'}", {"ratio": small[0]})
    if small is None and large is not None:
        return Finding(f"tutorial.large.{'agrees' if large[1] >= _CLOSE else 'no_gain'}", {"ratio": large[0]})
    assert small is not None and large is not None
    agrees = "agrees" if small[1] < 2 else "order_agrees"
    variant = agrees if large[1] > small[1] * _CLOSE else "disagrees"
    return Finding(f"tutorial.both.{variant}", {"small": small[0], "large": large[0]})
