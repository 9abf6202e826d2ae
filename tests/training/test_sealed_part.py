"""The split by place and the sealed test part, seen from the training loop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eurosat_core.data import splits
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.data.tiles import open_tiles
from eurosat_core.errors import DataError
from eurosat_core.training.config import TrainConfig
from eurosat_core.training.events import EpochDone, Finished
from eurosat_core.training.loop import train
from eurosat_core.training.network import evaluation_batches, make_network, predict
from eurosat_core.training.sources import split_for
from tests.training.conftest import CONFIG, LOADER, HandClock, of_kind, run

SEALED = replace(CONFIG, sealed_test=True)


@pytest.mark.parametrize("config", [SEALED, replace(LOADER, sealed_test=True)], ids=["memory", "loader"])
def test_the_last_checkpoint_alone_scores_the_sealed_part(config: TrainConfig, small_tiles: TileSet) -> None:
    _, (first, last) = run(config, small_tiles)
    assert first.test is None
    assert last.test is not None
    sealed = split_for(config, small_tiles).test
    assert torch.equal(last.test.tiles, sealed) and len(sealed) == 40
    assert torch.equal(last.test.true, small_tiles.labels[sealed])
    # The oracle: the network of the last epoch, asked about these tiles.
    network = make_network(config, 4)
    network.load_state_dict(last.weights)
    predicted, _ = predict(network, evaluation_batches(config, small_tiles, sealed), config)
    assert torch.equal(last.test.predicted, predicted)


def test_the_sealed_part_changes_nothing_else_and_is_not_timed(
    small_tiles: TileSet, monkeypatch: pytest.MonkeyPatch, hand_clock: HandClock
) -> None:
    from eurosat_core.training import loop

    score = loop._Loop.test_predictions

    def slowly(self: loop._Loop) -> object:
        hand_clock.now += 100
        return score(self)

    monkeypatch.setattr(loop._Loop, "test_predictions", slowly)
    hand_clock.tick = 0.001
    events = list(train(SEALED, small_tiles, lambda _checkpoint: None))
    assert of_kind(Finished, events)[0].seconds < 50
    assert of_kind(EpochDone, events)[-1].elapsed_seconds < 50


def test_no_sealed_part_no_score(small_tiles: TileSet) -> None:
    assert [each.test for each in run(CONFIG, small_tiles)[1]] == [None, None]


@pytest.fixture
def placed(small_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TileSet:
    """Forty tiles with lists that put the first of each class into training, the next ones elsewhere."""
    tiles = open_tiles(small_folder(tmp_path / "tiles", {"Forest": 20, "River": 20}), tmp_path / "cache")
    lists = tmp_path / "cache" / "spatial"
    lists.mkdir()
    for part, numbers in (("train", range(1, 12)), ("val", range(12, 16)), ("test", range(16, 20))):
        names = [f"{name}_{number}.jpg" for name in ("Forest", "River") for number in numbers]
        (lists / splits.PLACE_LISTS[part].name).write_text("\n".join(names))
    return tiles


def test_by_place_trains_and_judges_on_the_published_parts(placed: TileSet) -> None:
    config = replace(SEALED, split="place", epochs=1)
    _, (checkpoint,) = run(config, placed)
    split = split_for(config, placed)
    names = [placed.names[at] for at in split.validation.tolist()]
    assert sorted(names) == sorted(f"{name}/{name}_{n}.jpg" for name in ("Forest", "River") for n in range(12, 16))
    assert torch.equal(checkpoint.predictions.tiles, split.validation)
    assert checkpoint.test is not None and len(checkpoint.test) == 8
    assert len(split.train) == 22  # Forest_20 and River_20 stand in no list


def test_by_place_says_what_is_missing(small_tiles: TileSet) -> None:
    with pytest.raises(DataError, match=r"lists of the split by place are not on this machine.*random split"):
        list(train(replace(CONFIG, split="place"), small_tiles))
