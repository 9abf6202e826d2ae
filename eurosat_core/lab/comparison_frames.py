"""Runs side by side as tables: settings that differ, learning curves, what accuracy cost, seconds and speed."""

from collections.abc import Callable, Sequence

import pandas as pd

from eurosat_core import wording
from eurosat_core.lab.comparison import RunFigures, differences
from eurosat_core.lab.contenders import Contender
from eurosat_core.models.catalog import CATALOG
from eurosat_core.models.summary import ModelSummary
from eurosat_core.training.config import Architecture

__all__ = ["cost_frame", "differences_frame", "figures_note", "learning_curves", "seconds_frame"]


def differences_frame(runs: Sequence[Contender]) -> pd.DataFrame:
    """The differences as a table: setting, and a column for each run by its label."""
    rows = [(each.title, *each.values) for each in differences(runs)]
    return pd.DataFrame(rows, columns=["setting", *(each.label for each in runs)], dtype=str)


def learning_curves(runs: Sequence[Contender], figure: str) -> pd.DataFrame:
    """`loss` or `accuracy` of all runs after every epoch: run, epoch, seconds (since it began), value, series."""
    rows = [
        (each.label, done.epoch, done.elapsed_seconds, getattr(done, f"{part}_{figure}"), series)
        for each in runs
        for done in each.history.epochs
        for part, series in (("train", "training"), ("val", "validation"))
    ]
    frame = pd.DataFrame(rows, columns=["run", "epoch", "seconds", "value", "series"])
    return frame.astype({"epoch": int, "seconds": float, "value": float})


def cost_frame(runs: Sequence[Contender], summary: Callable[[Architecture], ModelSummary]) -> pd.DataFrame:
    """What each run's accuracy cost, a row per run in the columns named below.

    covers: what the seconds are of, all of the training or what an earlier run had not computed of its frozen part.
    summary: costs of a network, as `Lab.model_summary` has them. macs: multiply-accumulates of one tile going forward.
    origin: `here`, or where it was recorded. Runs without an epoch are left out.
    """
    rows = []
    for each in runs:
        config = each.record.config
        if each.accuracy is None or each.seconds is None:
            continue
        costs, entry = summary(config.architecture), CATALOG[config.model]
        started = each.history.started
        rows.append(
            (
                each.label,
                entry.title,
                wording.device_name(config.device),
                each.accuracy,
                each.seconds,
                "what no earlier run had computed" if each.record.features_taken else "the whole training",
                len(each.history.epochs),
                costs.total_params,
                started.trainable_parameters if started else costs.trainable_params,
                costs.macs,
                each.record.recorded_on or "here",
            )
        )
    costs_of_run = ["seconds", "covers", "epochs", "parameters", "trained", "macs"]
    columns = ["run", "model", "device", "accuracy", *costs_of_run, "origin"]
    return pd.DataFrame(rows, columns=columns)


def seconds_frame(figures: Sequence[RunFigures]) -> pd.DataFrame:
    """Seconds of each run for bars: run, model, device, seconds, tiles_per_second, speed_up, origin, note.

    origin: `measured here` or `recorded elsewhere`. note: on which device, with how many threads, beside what. Runs
    without a time are left out.
    """
    rows = []
    for each in figures:
        if each.seconds is None:
            continue
        entry = CATALOG.get(each.model)
        rows.append(
            (
                each.label,
                entry.title if entry else each.model,
                wording.device_name(each.device),
                each.seconds,
                each.tiles_per_second,
                each.speed_up,
                "recorded elsewhere" if each.recorded_on else "measured here",
                figures_note(each),
            )
        )
    columns = ["run", "model", "device", "seconds", "tiles_per_second", "speed_up", "origin", "note"]
    return pd.DataFrame(rows, columns=columns)


def figures_note(figures: RunFigures) -> str:
    """On what a run's speed was measured: `AMD EPYC, 2 threads, 3 epochs; recorded on …`."""
    parts = [figures.device_name or wording.device_name(figures.device)]
    if figures.threads:
        parts.append(wording.count(figures.threads, "thread"))
    parts.append(wording.count(figures.epochs, "epoch"))
    text = ", ".join(parts)
    if figures.features_taken:
        text += "; took outputs of its frozen part from an earlier run, so its time leaves that work out"
    if figures.beside:
        text += f"; beside it {wording.listed(list(figures.beside))}, so its speed says little"
    if figures.recorded_on:
        text += f"; recorded on {figures.recorded_on}"
    return text
