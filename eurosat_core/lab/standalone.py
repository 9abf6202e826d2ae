"""Runs without a server: the command line trains and judges in its own process, in the same run store."""

import io
import json
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.errors import ConfigError, DataError, LabError, RunError
from eurosat_core.lab.jobs import Control, Job, JobResult, run_job
from eurosat_core.lab.train import kept_problem
from eurosat_core.runs.history import RunEvent
from eurosat_core.runs.record import RunRecord, TilesUsed
from eurosat_core.runs.sealed import earlier_openings, open_test
from eurosat_core.runs.store import RunStore
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.evaluation import evaluate_predictions
from eurosat_core.training.events import EpochDone
from eurosat_core.training.network import evaluation_batches, kept_tensors, make_network, missing_weights, predict
from eurosat_core.training.problems import shared_memory_problem
from eurosat_core.training.sources import split_for

OWNER = "command line"
_EPOCH_FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "seconds", "tiles_per_second")


def train_here(config: TrainConfig, tiles: TileSet, settings: Settings, say: Callable[[str], None]) -> dict[str, Any]:
    """Train in this process and keep the run in the store; the app shows it and leaves it alone.

    Returns what `train --json` prints. Ctrl-C stops after the current step and keeps the last complete epoch. Raises
    `DataError` when the tiles cannot be split as asked, or pretrained weights are missing; `ConfigError` when the
    weights of all its epochs would take too much room, or its loader workers too much shared memory.
    """
    split_for(config, tiles)  # what cannot be split makes no run
    if problem := missing_weights(config, settings.cache):
        raise DataError(problem)
    if problem := kept_problem(config) or shared_memory_problem(config, len(tiles)):
        raise ConfigError(problem)
    epochs: list[dict[str, float]] = []

    def tell(event: RunEvent) -> None:
        if isinstance(event, EpochDone):
            epochs.append({name: getattr(event, name) for name in _EPOCH_FIGURES})
            say(
                f"epoch {event.epoch} of {config.epochs}: validation accuracy {event.val_accuracy:.2%}, "
                f"{event.seconds:.1f} s, {event.tiles_per_second:,.0f} tiles/s"
            )

    record, result = work_here(config, tiles, settings, say, tell)
    return {
        "run_id": record.id,
        "state": result.state,
        "message": result.message,
        "device": config.device,
        "epochs": epochs,
        "seconds": result.summary.get("seconds", 0.0),
        "val_accuracy": result.summary.get("val_accuracy"),
    }


def work_here(
    config: TrainConfig,
    tiles: TileSet,
    settings: Settings,
    say: Callable[[str], None],
    tell: Callable[[RunEvent], None],
    kind: str = "train",
    plan: dict[str, Any] | None = None,
) -> tuple[RunRecord, JobResult]:
    """Do a run of any kind in this process, from beginning to end, and keep it in the store.

    tell: gets every event that is kept. Ctrl-C stops the run. Raises `RunError` when the store cannot be written.
    """
    store = RunStore(settings.runs)
    used = TilesUsed(tiles.fingerprint, tiles.source, tiles.place, len(tiles), tiles.class_names)
    record, held = store.create_held(config, OWNER, used, kind, plan)

    def report(events: list[RunEvent]) -> None:
        store.append(record.id, events)
        for event in events:
            tell(event)

    say(f"run {record.id}")
    job = Job(record.id, config, tiles.fingerprint, str(tiles.cache), settings.threads, kind, plan or {})
    control = Control()
    try:
        with _stopped_by_interrupt(control):
            result = run_job(job, report, control)
        store.save(record.id, result.files)
        store.end(record.id, result.state, result.message, summary=result.summary, machine=result.machine)
    except OSError as error:
        message = f"Its result could not be stored: {error.strerror or error}. Free some disk space."
        with suppress(LabError, OSError):
            store.end(record.id, "failed", message)
        raise RunError(message) from error
    finally:
        held.release()
    return store.get(record.id), result


@contextmanager
def _stopped_by_interrupt(control: Control) -> Iterator[None]:
    """While open, Ctrl-C means: stop after this step. Only the main thread can be told so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda _number, _frame: control.command("stop"))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def load_network(store: RunStore, run_id: str, file: str = "model.pt") -> torch.nn.Module:
    """The trained network of a run, on the CPU, in evaluation mode. Raises `RunError` when it has none.

    file: which of the run's weights; those of its end by default.
    """
    record = store.get(run_id)
    network = make_network(record.config, len(record.tiles.class_names))
    try:
        weights = torch.load(io.BytesIO(store.load(run_id, file)), weights_only=True, map_location="cpu")
        if set(weights) != set(kept_tensors(network, record.config)):
            raise ValueError("other tensors than this model's")
        network.load_state_dict(weights, strict=False)  # of a pretrained network the rest is the published part
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise RunError(f"The weights of run {run_id} are damaged or not this model's. Train it again.") from error
    if record.config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    return network.eval()


def open_test_of(store: RunStore, run_id: str) -> dict[str, Any]:
    """What a run's network said about its sealed test part, which is marked as opened from now on.

    Returns what `evaluate --open-test --json` prints. Raises `RunError` when the run has none.
    """
    opened_before = store.get(run_id).test_opened is not None
    evaluation = open_test(store, run_id)
    looks = earlier_openings(store.all()[0], store.get(run_id))
    part = f"sealed test part, {'opened before' if opened_before else 'opened now'}; other runs scored on it: {looks}"
    return {"run_id": run_id, "part": part, "earlier_openings": looks, **evaluation.to_dict()}


def evaluate_run(
    store: RunStore, run_id: str, tiles: TileSet, threads: int, *, symmetries: bool = False
) -> dict[str, Any]:
    """Judge a run's network: on the validation part of its own tile set, on every tile of any other.

    symmetries: every tile is asked about in all eight symmetries of the square, and the mean counts.
    Returns what `evaluate --json` prints. Raises `RunError` without a network, `ConfigError` for other classes.
    """
    torch.set_num_threads(threads)
    record = store.get(run_id)
    if tiles.class_names != record.tiles.class_names:
        raise ConfigError(
            f"The run knows the classes {', '.join(record.tiles.class_names)}; these tiles have "
            f"{', '.join(tiles.class_names)}. Name tiles with the same class folders."
        )
    network = load_network(store, run_id)
    own = tiles.fingerprint == record.tiles.fingerprint
    if own:
        try:
            numbers = torch.tensor(json.loads(store.load(run_id, "split.json"))["validation"], dtype=torch.int64)
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"The split of run {run_id} is damaged. Train it again.") from error
    else:
        numbers = torch.arange(len(tiles))
    config = record.judging_config
    batches = evaluation_batches(config, tiles, numbers)
    predicted, _confidence = predict(network, batches, config, symmetries=symmetries)
    evaluation = evaluate_predictions(tiles.labels[numbers], predicted, tiles.class_names)
    part = "validation part" if own else "every tile"
    return {"run_id": run_id, "part": part, "symmetries": symmetries, **evaluation.to_dict()}
