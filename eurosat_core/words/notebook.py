"""A run as a notebook to take home: plain PyTorch with the participant's own settings, and what the run said beside it.

The code is `assets/pytorch/notebook.py.j2`. It draws from chance as the lab does (split, first weights, order, views,
dropout), so that the same tiles give the same numbers up to rounding. What it does not do like the run, it says.
"""

import hashlib
import inspect
import json
import re
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from eurosat_core import wording
from eurosat_core.data.download import PLACE_LISTS
from eurosat_core.data.splits import TEST_FRACTION
from eurosat_core.data.weights import WEIGHTS, Weights
from eurosat_core.errors import RunError
from eurosat_core.finding import Finding
from eurosat_core.models.build import class_source
from eurosat_core.models.catalog import CATALOG, model_entry
from eurosat_core.models.layers import parse_network
from eurosat_core.runs.history import History, HistoryReader
from eurosat_core.runs.record import RunRecord
from eurosat_core.runs.store import RunStore
from eurosat_core.training.config import RISING, SETTINGS, TrainConfig
from eurosat_core.training.evaluation import Evaluation, evaluate_predictions, predictions_from_bytes
from eurosat_core.words.report import CITATION
from eurosat_core.words.say import say, say_each

_CELL = re.compile(r"^%% (markdown|code)\n", re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """What a run left behind: its history, its split (`split.json`), and what it said of its validation tiles."""

    history: History
    split: Mapping[str, Sequence[int]] | None = None
    evaluation: Evaluation | None = None


def told_by(store: RunStore, run_id: str) -> Told:
    """What lies in a run's folder. Raises `RunError` for a run without events."""
    path = store.folder_of(run_id) / "events.jsonl"
    split: Any = None
    evaluation = None
    with suppress(RunError, ValueError, KeyError, TypeError):  # without it the notebook cannot say whether it has it
        split = json.loads(store.load(run_id, "split.json"))
        split_digest(split)
    with suppress(RunError):
        said = predictions_from_bytes(store.load(run_id, "predictions.npz"))
        evaluation = evaluate_predictions(said.true, said.predicted, store.get(run_id).tiles.class_names)
    return Told(HistoryReader(path).read(), split, evaluation)


def notebook(record: RunRecord, told: Told, owner: str) -> bytes:
    """A run as an `.ipynb` file. owner: the participant's name. Raises `RunError` for one that trained no epoch."""
    if record.kind != "train" or not told.history.epochs or told.history.started is None:
        raise RunError(f"The run {record.id} trained no epoch, so there is nothing to repeat. Choose another one.")
    cells: list[dict[str, Any]] = [
        {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
        | ({"execution_count": None, "outputs": []} if kind == "code" else {})
        for number, (kind, text) in enumerate(notebook_cells(record, told, owner), 1)
    ]
    about = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1).encode()


def notebook_cells(record: RunRecord, told: Told, owner: str) -> list[tuple[str, str]]:
    """Kind (`markdown`, `code`) and text of each cell."""
    config = _settled(record.config)
    text = wording.filled(
        "pytorch/notebook.py.j2", c=config, entry=model_entry(config.model), run=_figures(record, config, told, owner)
    )
    kinds = _CELL.split(text)[1:]
    return [(kind, _tidy(part)) for kind, part in zip(kinds[::2], kinds[1::2], strict=True)]


def _tidy(cell: str) -> str:
    """Without what templates leave: blank lines at both ends, and more than two in a row."""
    return re.sub(r"\n{4,}", "\n\n\n", cell).strip("\n")


def _settled(config: TrainConfig) -> TrainConfig:
    """What the run left to its device; where it does not say what was chosen, the usual form."""
    return replace(config, precision="float32", channels_last=False) if config.is_open else config


def _figures(record: RunRecord, config: TrainConfig, told: Told, owner: str) -> dict[str, Any]:
    history, entry, classes = told.history, model_entry(config.model), record.tiles.class_names
    assert history.started is not None
    machine = record.machine
    evaluation, test = told.evaluation, record.summary.get("test_accuracy")
    return {
        "title": _plain(entry.title),
        "owner": _plain(owner),
        "day": wording.clock(record.started or record.created)[:10],
        "recipe": SETTINGS["recipe"].in_words(config.recipe),
        "device": _plain(record.name_of(config.device)),
        "torch": _plain(str(machine.get("torch", ""))),
        "notes": say_each(_notes(record, history)),
        "weights": WEIGHTS.get(entry.weights, Weights("", "", 0)),
        "folder": '"pictures"' if record.tiles.source == "folder" else '""',
        "classes": repr(list(classes)),
        "class_count": len(classes),
        "tiles": f"{record.tiles.count:,}",
        "synthetic": record.tiles.source == "synthetic",
        "split_text": " ".join(say_each(_split(config))),
        "split_digest": split_digest(told.split) if told.split else "",
        "lists": {part: (each.url, each.checksum) for part, each in PLACE_LISTS.items()},
        "test_fraction": TEST_FRACTION,
        "train_tiles": f"{history.started.train_tiles:,}",
        "validation_tiles": f"{history.started.validation_tiles:,}",
        "network_source": class_source(config.model, config.network, len(classes)),
        "norms_learn": _norms_learn(config),
        "parameters": f"{history.started.parameters:,}",
        "trainable": f"{history.started.trainable_parameters:,}",
        "source_text": say(Finding(f"notebook.source.{config.source}")),
        "augmentation_text": " ".join(say_each(_views(config))),
        "rising": RISING,
        "epochs": history.epochs,
        "rounding_text": " ".join(
            say_each([Finding(f"notebook.rounding.{'cpu' if config.device == 'cpu' else 'gpu'}")])
        ),
        "per_class": _per_class(evaluation) if evaluation is not None else [],
        "test_accuracy": wording.percent(test) if test is not None and record.test_opened else "",
        "citation": CITATION,
        **_augmentation(config),
    }


def _notes(record: RunRecord, history: History) -> list[Finding]:
    """How the notebook differs from the run, and what its figures do not say by themselves."""
    config, started = record.config, history.started
    assert started is not None
    done = len(history.epochs)
    known = {
        "stopped": done < config.epochs,
        "recorded": bool(record.recorded_on),
        record.tiles.source: record.tiles.source in ("synthetic", "folder"),
        "deep": record.tiles.source == "folder",
        "form": config.is_open,
        "graph": config.execution == "graph",
        "threads": config.device == "cpu",
        "gpu": config.device != "cpu",
        "tied": config.source == "loader",
        "features_taken": record.features_taken,
        "company": bool(record.company),
    }
    figures = {
        "threads": started.threads,
        "asked": config.epochs,
        "done": done,
        "where": _plain(record.recorded_on),
    }
    return [Finding(f"notebook.{name}", figures) for name, holds in known.items() if holds]


def _split(config: TrainConfig) -> list[Finding]:
    kind = "place" if config.split == "place" else "stratified" if config.stratified else "random"
    found = [Finding(f"notebook.split.{kind}", {"fraction": config.train_fraction})]
    if config.tiles is not None:
        found.append(Finding("notebook.some", {"tiles": config.tiles}))
    if config.sealed_test:
        found.append(Finding("notebook.sealed"))
    return found


def _views(config: TrainConfig) -> list[Finding]:
    names = ("symmetries", "shift", "colour_jitter", "progressive_resizing")
    return [Finding(f"notebook.{each}", {"pixels": config.shift}) for each in names if getattr(config, each)]


def _augmentation(config: TrainConfig) -> dict[str, Any]:
    """The lab's own functions, word for word."""
    from eurosat_core.training import augmentation

    chosen: list[Any] = [augmentation.brought] if config.symmetries or config.colour_jitter else []
    chosen += [augmentation.seen_lines, augmentation.in_symmetries] if config.symmetries else []
    chosen += [augmentation.other_colours, augmentation.in_other_colours] if config.colour_jitter else []
    source = "\n\n\n".join(inspect.getsource(each).rstrip() for each in chosen)
    if config.symmetries:
        source = f"SYMMETRIES = {augmentation.SYMMETRIES}\n\n\n{source}"
    return {
        "augmentation_source": source,
        "smaller_sides": augmentation.SMALLER_SIDES,
        "deviation": CATALOG["tilenet"].std,
    }


def _norms_learn(config: TrainConfig) -> bool:
    """Whether a BatchNorm layer of it compares the tiles of a batch while it trains."""
    if config.model == "custom":
        return any(each.kind in ("batchnorm", "residual") for each in parse_network(config.network))
    return config.model == "tilenet" or (config.is_pretrained and not config.frozen_norms)


def split_digest(split: Mapping[str, Sequence[int]]) -> str:
    """Names one split: of its training and validation tiles' numbers, as the notebook computes it from tensors."""
    numbers = array("q", [*split["train"], *split["validation"]])
    return hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


def _per_class(evaluation: Evaluation) -> list[tuple[str, str]]:
    shares = evaluation.to_dict()["per_class"]
    return [(_plain(name), "–" if share is None else wording.percent(share)) for name, share in shares.items()]


def _plain(words: str) -> str:
    """Words from outside in one line, with all escaped that is markup to a notebook."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~$&:%])", r"\\\1", " ".join(words.split()))
