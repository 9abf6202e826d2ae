"""Tuning tilenet's recipes: trained on a part of the training tiles and judged on the rest of them.

`python -m bench.tuning --recipe sprint --learning-rate 0.3 --seeds 1,2,3` prints a line for every seed. What is tried
here never sees a validation tile, so a recipe's figure on those is worth what it says.
"""

import argparse
import statistics
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from eurosat_core.commands.request import add_settings, given
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import LabError
from eurosat_core.settings import load_settings
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.events import EpochDone
from eurosat_core.training.loop import Checkpoint, train
from eurosat_core.training.network import evaluation_batches, make_network, predict
from eurosat_core.training.precision import resolved
from eurosat_core.training.sources import split_for

_HELD_OUT = 2000  # tiles: their accuracy is sure to about half a point
_FIXED = ("model", "split", "train_fraction", "sealed_test", "tiles", "stratified", "seed", "keep_epochs")


@dataclass(frozen=True)
class Tuned:
    """One training: accuracy on the tiles held out, as they are and over all symmetries; seconds, judging included."""

    seed: int
    accuracy: float
    over_symmetries: float
    seconds: float


def training_part(tiles: TileSet) -> TileSet:
    """The tiles that trainings with the default split learn from; those that they are judged on are left out."""
    kept = split_for(TrainConfig(), tiles).train.sort().values
    names = tuple(tiles.names[each] for each in kept.tolist())
    return replace(
        tiles,
        array=tiles.array[kept.numpy()],
        label_array=tiles.label_array[kept.numpy()],
        names=names,
        fingerprint=f"{tiles.fingerprint}-part",
    )


def tune(config: TrainConfig, part: TileSet, say: Callable[[str], None], held_out: int = _HELD_OUT) -> Tuned:
    """Train `config` on all tiles of `part` but `held_out`, and judge it on these."""
    config, _ = resolved(replace(config, train_fraction=1 - held_out / len(part)))
    kept: deque[Checkpoint] = deque(maxlen=1)
    seconds = accuracy = 0.0
    for event in train(config, part, kept.append):
        if isinstance(event, EpochDone):
            seconds, accuracy = event.elapsed_seconds, event.val_accuracy
            say(f"  epoch {event.epoch}: {event.val_accuracy:.2%}, loss {event.val_loss:.3f}, {seconds:.0f} s")
    last = kept.pop()
    network = make_network(config, len(part.class_names))
    network.load_state_dict(last.weights)
    if config.channels_last:
        network = network.to(memory_format=torch.channels_last)
    judged = last.predictions
    predicted, _ = predict(network, evaluation_batches(config, part, judged.tiles), config, symmetries=True)
    return Tuned(config.seed, accuracy, float((predicted == judged.true).double().mean()), seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and judge once for every seed asked for. What cannot be done ends the program with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m bench.tuning", description=__doc__)
    add_settings(parser, leave_out=_FIXED, recipe="sprint")
    parser.add_argument("--seeds", default="1", help="separated by commas")
    options = parser.parse_args(arguments)
    try:
        config = recipe_config("tilenet", options.recipe or "sprint", **given(options, TrainConfig))
        settings = load_settings()
        part = training_part(open_tiles(find_place(options.data, settings), settings.cache))
    except LabError as error:
        parser.error(str(error))
    torch.set_num_threads(settings.threads)
    found = []
    for seed in options.seeds.split(","):
        one = tune(replace(config, seed=int(seed)), part, lambda line: print(line, file=sys.stderr, flush=True))
        print(
            f"seed {one.seed}: {one.accuracy:.2%}, over symmetries {one.over_symmetries:.2%}, {one.seconds:.0f} s",
            flush=True,
        )
        found.append(one)
    mean, over = (statistics.mean(getattr(each, name) for each in found) for name in ("accuracy", "over_symmetries"))
    print(f"mean of {len(found)}: {mean:.2%}, over symmetries {over:.2%}")


if __name__ == "__main__":
    main()
