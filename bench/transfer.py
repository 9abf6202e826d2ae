"""What frozen features are worth: nearest neighbours and a linear layer on them, without a training loop.

`python -m bench.transfer --seeds 1,2,3` prints a line for every seed of both splits, and their means; --input-side,
--views and --no-stages try other features. Features that are known already are taken from the cache, and cost nothing.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import find_place, open_tiles
from eurosat_core.errors import LabError
from eurosat_core.settings import load_settings
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.few_labels import Transfer
from eurosat_core.training.transfer import ALL, TransferPlan, TransferResult, transfer_config
from eurosat_core.wording import percent


def judge(config: TrainConfig, plan: TransferPlan, tiles: TileSet) -> TransferResult:
    """A transfer with all labels, and those few that the plan names."""
    work = Transfer(config, plan, tiles)
    for _ in work.events():
        pass
    assert work.result is not None
    return work.result


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge once for every split and seed asked for. What cannot be done ends the program with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m bench.transfer", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--seeds", default="1,2,3", help="separated by commas")
    parser.add_argument("--splits", default="random,place", help="separated by commas")
    parser.add_argument("--tiles", type=int, help="drawn evenly from the classes; all by default")
    parser.add_argument("--input-side", type=int, default=transfer_config().input_side)
    parser.add_argument("--views", type=int, default=TransferPlan.views)
    parser.add_argument("--stages", action=argparse.BooleanOptionalAction, default=TransferPlan.stages)
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        tiles = open_tiles(find_place(options.data, settings), settings.cache)
        config = transfer_config(input_side=options.input_side, tiles=options.tiles)
        plan = TransferPlan(labels=(), scratch_draws=0, stages=options.stages, views=options.views).checked()
        torch.set_num_threads(settings.threads)
        for split in options.splits.split(","):
            found = []
            for seed in options.seeds.split(","):
                result = judge(replace(config, split=split, seed=int(seed)).checked(), plan, tiles)
                neighbours, linear = (result.of(each, ALL)[0] for each in ("neighbours", "linear"))
                print(
                    f"{split}, seed {seed}: neighbours {percent(neighbours.accuracy)} in {neighbours.fit_seconds:.1f} "
                    f"s, linear {percent(linear.accuracy)} in {linear.fit_seconds:.1f} s, {result.computed:,} features "
                    f"in {result.feature_seconds:.0f} s",
                    flush=True,
                )
                found.append((neighbours.accuracy, linear.accuracy))
            means = [percent(statistics.fmean(each)) for each in zip(*found, strict=True)]
            print(f"{split}, mean of {len(found)}: neighbours {means[0]}, linear {means[1]}", flush=True)
    except LabError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
