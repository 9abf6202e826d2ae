"""Tuning: validation tiles stay unseen, and what is printed is what the network names correctly."""

import pytest
import torch

from bench.tuning import main, training_part, tune
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.training.config import TrainConfig, recipe_config
from eurosat_core.training.sources import split_for


def test_the_training_part_leaves_out_what_trainings_are_validated_on(small_tiles: TileSet) -> None:
    part, split = training_part(small_tiles), split_for(TrainConfig(), small_tiles)
    assert len(part) == len(split.train) == 150
    validation = {small_tiles.names[each] for each in split.validation.tolist()}
    assert not validation & set(part.names)
    at = small_tiles.names.index(part.names[7])
    assert torch.equal(part.pixels[7], small_tiles.pixels[at]) and part.labels[7] == small_tiles.labels[at]


def test_a_recipe_is_tuned_on_the_rest(small_tiles: TileSet) -> None:
    said: list[str] = []
    config = recipe_config("baseline", "fast", epochs=2, seed=5, precision="float32", channels_last=False)
    found = tune(config, training_part(small_tiles), said.append, held_out=30)
    assert [each.split(":")[0] for each in said] == ["  epoch 1", "  epoch 2"]
    assert f"{found.accuracy:.2%}" in said[-1]
    assert round(found.accuracy * 30, 6) == round(found.accuracy * 30)
    assert 0 <= found.over_symmetries <= 1 and found.seconds > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--no-symmetries"], "symmetries"),
        (["--data", "no/such/folder"], "no/such/folder"),
    ],
)
def test_what_cannot_be_tuned_is_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--recipe", "sprint", *arguments])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
