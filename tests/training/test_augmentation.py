"""What chance does to a batch: views of its tiles, and dropout; the same for the same seed, whatever else draws."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from eurosat_core.data.batches import Batch
from eurosat_core.data.tile_cache import TileSet
from eurosat_core.models.catalog import CATALOG
from eurosat_core.training.augmentation import (
    Augmentation,
    DropoutState,
    in_every_symmetry,
    in_other_colours,
    in_symmetries,
    in_symmetries_at_once,
    other_colours,
    seen_lines,
    side_at,
)
from eurosat_core.training.config import TrainConfig, recipe_config
from tests.training.conftest import run

CONFIG = TrainConfig(model="tilenet", source="memory", epochs=1, seed=3)


def views_of(tile: Tensor) -> list[Tensor]:
    """The eight symmetries of a square picture [C, S, S], made by turning and mirroring."""
    turned = [torch.rot90(tile, quarter, (1, 2)) for quarter in range(4)]
    return [*turned, *(each.flip(2) for each in turned)]


def tiles_of(count: int, side: int = 12) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def lines_of(shift: int, seed: int) -> Tensor:
    return seen_lines(12, shift, torch.Generator().manual_seed(seed))


def colours_of(count: int, deviation: Tensor) -> Tensor:
    return other_colours(count, 3, 0.4, deviation, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_batch_of_one_tile_shows_each_symmetry_equally_often(memory_format: torch.memory_format) -> None:
    tile = tiles_of(1)[0]
    batch = tile.repeat(24, 1, 1, 1).contiguous(memory_format=memory_format)
    seen = in_symmetries(batch, lines_of(0, 0))
    assert seen.is_contiguous(memory_format=memory_format)
    counts = [sum(torch.equal(view, each) for each in seen) for view in views_of(tile)]
    assert counts == [3] * 8


def test_shifts_reflect_the_border() -> None:
    """Each view is a window of the tile padded by reflection, at most so many pixels away, then turned."""
    tile, shift = tiles_of(1)[0], 3
    seen = in_symmetries(tile.repeat(8, 1, 1, 1), lines_of(shift, 5))
    padded = functional.pad(tile[None], (shift,) * 4, mode="reflect")[0]
    windows = [padded[:, y : y + 12, x : x + 12] for y in range(2 * shift + 1) for x in range(2 * shift + 1)]
    possible = [view for window in windows for view in views_of(window)]
    assert all(any(torch.equal(each, view) for view in possible) for each in seen)
    assert not any(torch.equal(each, view) for each in seen[:1] for view in views_of(tile))


@pytest.mark.parametrize("count", [1, 2, 7, 9, 15])
def test_batches_of_any_size_keep_their_tiles(count: int) -> None:
    tiles = tiles_of(count)
    seen = in_symmetries(tiles, lines_of(0, 0))
    for before, after in zip(tiles, seen, strict=True):
        assert any(torch.equal(after, view) for view in views_of(before))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 15, 40])
@pytest.mark.parametrize("shift", [0, 3])
def test_all_symmetries_at_once_are_the_same(count: int, shift: int, memory_format: torch.memory_format) -> None:
    tiles = tiles_of(count).contiguous(memory_format=memory_format)
    one = in_symmetries(tiles, lines_of(shift, 7))
    other = in_symmetries_at_once(tiles, lines_of(shift, 7))
    assert torch.equal(one, other) and other.is_contiguous(memory_format=memory_format)


def test_what_is_drawn_is_still_there_while_it_is_copied() -> None:
    """Other devices than CUDA may read a source that is not pinned after a copy that nobody waits for has returned."""

    class Copies(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            if func is Tensor.to:
                waited_for.append(not (kwargs or {}).get("non_blocking", False))
            return func(*args, **(kwargs or {}))

    waited_for: list[bool] = []
    tiles = torch.empty(16, 3, 12, 12, device="meta")  # stands for a device that has no memory in common with the CPU
    with Copies():
        in_symmetries(tiles, lines_of(2, 0))
        in_symmetries_at_once(tiles, lines_of(2, 0))
        in_other_colours(tiles, colours_of(16, torch.ones(3, 1, 1)))
    assert waited_for and all(waited_for)


def test_colours_change_each_tiles_contrast_and_brightness_and_nothing_else() -> None:
    """Every channel of a tile is still a straight line of what it was; its slope and height lie in their ranges."""
    tiles = tiles_of(400, side=4).contiguous(memory_format=torch.channels_last)
    deviation = torch.tensor([1.0, 0.5, 2.0]).view(3, 1, 1)
    seen = in_other_colours(tiles, colours_of(400, deviation))
    assert seen.is_contiguous(memory_format=torch.channels_last)
    before, after = tiles.flatten(2).double(), seen.flatten(2).double()
    mean, lighter = before.mean(2, keepdim=True), (after.mean(2) - before.mean(2))
    contrast = ((after - after.mean(2, keepdim=True)) * (before - mean)).sum(2) / (before - mean).square().sum(2)
    torch.testing.assert_close(
        after, (before - mean) * contrast[..., None] + mean + lighter[..., None], atol=1e-5, rtol=0
    )
    torch.testing.assert_close(contrast, contrast[:, :1].expand(-1, 3), atol=1e-5, rtol=0)  # one for all channels
    assert 0.6 <= contrast.min() < 0.62 and 1.38 < contrast.max() <= 1.4
    lighter = lighter / deviation.flatten()
    assert 0.8 < lighter.abs().max() <= 0.4 * (1.5 + 0.75)
    # Even draws of ±a have a variance of a²/3; channels share that of their tile.
    assert lighter.var() == pytest.approx((0.4 * 1.5) ** 2 / 3 + (0.4 * 0.75) ** 2 / 3, rel=0.15)
    between = lighter - lighter.mean(1, keepdim=True)
    assert between.square().sum(1).mean() / 2 == pytest.approx((0.4 * 0.75) ** 2 / 3, rel=0.15)


def test_colours_change_after_the_symmetries_which_stay_the_same() -> None:
    batch = Batch(tiles_of(8), torch.arange(8))
    turned = Augmentation(replace(CONFIG, symmetries=True), steps=10).view(batch, 3).tiles
    both = Augmentation(replace(CONFIG, symmetries=True, colour_jitter=1e-6), steps=10).view(batch, 3).tiles
    torch.testing.assert_close(both, turned, atol=1e-5, rtol=0)
    assert not torch.equal(both, turned)


@pytest.mark.parametrize("model", ["baseline", "efficientnet_lite0"])
def test_colours_change_by_as_much_whatever_the_models_preprocessing(model: str) -> None:
    """The same change of the pixels themselves, so the same lesson with every network."""
    config, entry = replace(CONFIG, colour_jitter=0.4), CATALOG[model]
    pixels = tiles_of(16)

    def changed(model: str) -> Tensor:
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (CATALOG[model].mean, CATALOG[model].std))
        batch = Batch((pixels - mean) / std, torch.zeros(16, dtype=torch.long))
        return Augmentation(replace(config, model=model), steps=10).view(batch, 0).tiles * std + mean

    assert entry.std != CATALOG["tilenet"].std
    torch.testing.assert_close(changed(model), changed("tilenet"), atol=1e-5, rtol=1e-5)


def test_views_depend_on_seed_and_step_only() -> None:
    batch = Batch(tiles_of(8), torch.arange(8))
    augmentation = Augmentation(replace(CONFIG, symmetries=True, shift=4, colour_jitter=0.2), steps=100)
    before = torch.get_rng_state()
    one, again, later = (augmentation.view(batch, step).tiles for step in (7, 7, 8))
    other = Augmentation(replace(CONFIG, symmetries=True, shift=4, seed=4), steps=100).view(batch, 7).tiles
    assert torch.equal(one, again)
    assert not torch.equal(one, later)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_any_the_batch_is_the_same() -> None:
    batch = Batch(tiles_of(4), torch.arange(4))
    seen = Augmentation(CONFIG, steps=10).view(batch, 0)
    assert seen.tiles is batch.tiles
    assert seen.labels is batch.labels


def test_sizes_grow_with_the_steps() -> None:
    assert [side_at(share) for share in (0, 0.49, 0.5, 0.74, 0.75, 1)] == [32, 32, 48, 48, None, None]
    batch = Batch(tiles_of(2, side=64), torch.arange(2))
    augmentation = Augmentation(replace(CONFIG, progressive_resizing=True), steps=4)
    small, middle, whole = (augmentation.view(batch, step).tiles for step in (0, 2, 3))
    torch.testing.assert_close(small, functional.avg_pool2d(batch.tiles, 2))
    assert middle.shape == (2, 3, 48, 48)
    assert torch.equal(whole, batch.tiles)


def test_smaller_tiles_are_shifted_by_as_much_less() -> None:
    tiles = torch.zeros(16, 3, 64, 64)
    tiles[:, :, 32:34, 32:34] = 1  # one bright pixel at half the size, at 16 or (mirrored) 15
    augmentation = Augmentation(replace(CONFIG, progressive_resizing=True, symmetries=True, shift=4), steps=1000)
    places = [
        augmentation.view(Batch(tiles, torch.arange(16)), step).tiles[:, 0].nonzero()[:, 1:] for step in range(20)
    ]
    found = torch.cat(places)
    assert found.min() == 13 and found.max() == 18


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_symmetry_is_seen_once(layout: torch.memory_format) -> None:
    tiles = tiles_of(2).contiguous(memory_format=layout)
    views = list(in_every_symmetry(tiles))
    assert len(views) == 8 and torch.equal(views[0], tiles)
    for number, tile in enumerate(tiles):
        seen = {each[number].contiguous().numpy().tobytes() for each in views}
        assert seen == {each.contiguous().numpy().tobytes() for each in views_of(tile)}
    assert all(each.is_contiguous(memory_format=layout) for each in views)


@pytest.mark.processor
def test_a_training_with_all_of_it_can_be_repeated(small_tiles: TileSet) -> None:
    fixed = {"precision": "float32", "channels_last": True}  # a trial beside other work may choose another form
    config = recipe_config("tilenet", "sprint", epochs=1, batch_size=16, seed=1, **fixed)
    (_, one), (_, again) = run(config, small_tiles), run(config, small_tiles)
    assert all(torch.equal(one[0].weights[name], again[0].weights[name]) for name in one[0].weights)


@pytest.fixture
def generators(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Generator]:
    """The global generator of each device; those of GPUs are played by others of the CPU."""
    played = {"cpu": torch.default_generator, "cuda:1": torch.Generator(), "mps": torch.Generator()}
    monkeypatch.setattr(torch.cuda, "default_generators", (torch.Generator(), played["cuda:1"]))
    monkeypatch.setattr(torch.mps, "_get_default_mps_generator", lambda: played["mps"])
    return played


@pytest.mark.parametrize("device", ["cpu", "cuda:1", "mps"])
def test_a_run_that_stood_still_goes_on_where_it_was(device: str, generators: dict[str, torch.Generator]) -> None:
    generator = generators[device]

    def step(state: DropoutState) -> torch.Tensor:
        with state.drawing():
            return torch.rand(4, generator=generator)

    before = generator.get_state()
    parked = DropoutState(3, torch.device(device))
    drawn = [step(parked)]
    assert torch.equal(generator.get_state(), before)

    other = DropoutState(9, torch.device(device))
    generator.manual_seed(9)  # as `torch.manual_seed` does on every device where the next network is made
    step(other)
    drawn.append(step(parked))
    generator.set_state(before)

    alone = torch.Generator().manual_seed(3)
    assert all(torch.equal(each, torch.rand(4, generator=alone)) for each in drawn)
