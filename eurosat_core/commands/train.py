"""`train` and `evaluate`: train a model in this process, and judge a trained one."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eurosat_core.commands.request import Result, add_settings, done_here, given, named_tiles
from eurosat_core.errors import ConfigError, RunError
from eurosat_core.settings import Settings
from eurosat_core.training.config import TrainConfig, recipe_config

if TYPE_CHECKING:
    from torch import Tensor

    from eurosat_core.data.tile_cache import TileSet
    from eurosat_core.runs.record import RunRecord
    from eurosat_core.runs.store import RunStore


def register_train(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    add_settings(add("train", "Train a model; the run is stored beside the app's.", _train, _show_train))


def _train(options: argparse.Namespace, settings: Settings) -> Result:
    config = recipe_config(options.model, options.recipe, **given(options, TrainConfig))
    from eurosat_core.lab.train import Training

    return done_here(Training(config), options, settings)


def _show_train(result: dict[str, Any]) -> str:
    text = f"{result['run_id']}: {result['state']} after {result['seconds']:.1f} s"
    if result["val_accuracy"] is not None:
        text += f", validation accuracy {result['val_accuracy']:.2%}"
    return f"{text}. {result['message']}".rstrip(". ") + "."


def register_evaluate(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command. add: makes a parser of (name, about, command, show)."""
    evaluate = add("evaluate", "Judge a trained run on tiles.", _evaluate, _show_evaluation)
    evaluate.add_argument("run", help="a run's name, as `train` printed it")
    part = evaluate.add_mutually_exclusive_group()
    part.add_argument("--data", type=Path, metavar="DIR", help="tiles to judge on")
    part.add_argument("--open-test", action="store_true", help="look at the run's sealed test part; counted for ever")
    evaluate.add_argument(
        "--symmetries", action="store_true", help="ask about every tile turned and mirrored, and take the mean"
    )


def _evaluate(options: argparse.Namespace, settings: Settings) -> Result:
    from eurosat_core.runs.store import RunStore

    store = RunStore(settings.runs)
    store.get(options.run)  # a typo is told before tiles are decoded
    if options.open_test:
        if options.symmetries:
            raise ConfigError("The sealed test part was scored when the training ended. Leave --symmetries out.")
        return _open_test(store, options.run), 0
    tiles = named_tiles(options, settings)
    return _judge(store, options.run, tiles, settings.threads, symmetries=options.symmetries), 0


def _open_test(store: "RunStore", run_id: str) -> dict[str, Any]:
    """What a run's network said about its sealed test part, which is marked as opened from now on.

    Returns what `evaluate --open-test --json` prints. Raises `RunError` when the run has none.
    """
    from eurosat_core.runs.sealed import earlier_openings, open_test

    opened_before = store.get(run_id).test_opened is not None
    evaluation = open_test(store, run_id)
    looks = earlier_openings(store.all()[0], store.get(run_id))
    part = f"sealed test part, {'opened before' if opened_before else 'opened now'}; other runs scored on it: {looks}"
    return {"run_id": run_id, "part": part, "earlier_openings": looks, **evaluation.to_dict()}


def _judge(store: "RunStore", run_id: str, tiles: "TileSet", threads: int, *, symmetries: bool) -> dict[str, Any]:
    """Judge a run's network: on the validation part of its own tile set, on every tile of any other.

    symmetries: every tile is asked about in all eight symmetries of the square, and the mean counts.
    Returns what `evaluate --json` prints. Raises `RunError` without a network, `ConfigError` for other classes.
    """
    import torch

    from eurosat_core.lab.trained_weights import load_network
    from eurosat_core.training.evaluation import evaluate_predictions
    from eurosat_core.training.network import evaluation_batches, predict

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
    told = {"run_id": run_id, "part": part, "symmetries": symmetries, **evaluation.to_dict()}
    if own and not symmetries and config.device != "cpu":
        told |= _other_answers(store, record, numbers, predicted)
    return told


def _other_answers(store: "RunStore", record: "RunRecord", numbers: "Tensor", predicted: "Tensor") -> dict[str, Any]:
    """How many tiles get another answer here than on the GPU that validated the run; empty when that is not known."""
    import torch

    from eurosat_core.finding import Finding
    from eurosat_core.training.evaluation import predictions_from_bytes
    from eurosat_core.words.say import say

    try:
        there = predictions_from_bytes(store.load(record.id, "predictions.npz"))
    except RunError:
        return {}
    if not torch.equal(there.tiles, numbers):
        return {}
    other = int((there.predicted != predicted).sum())
    figures = {"other": other, "tiles": len(numbers), "device": record.config.device}
    return {"other_answers": other, "note": say(Finding(f"accuracy.elsewhere.{'other' if other else 'same'}", figures))}


def _show_evaluation(result: dict[str, Any]) -> str:
    lines = [f"{result['accuracy']:.2%} of {result['tiles']:,} tiles ({result['part']})"]
    for name, share in result["per_class"].items():
        lines.append(f"  {name:<22}" + ("no tiles" if share is None else f"{share:7.2%}"))
    return "\n".join([*lines, *filter(None, [result.get("note")])])
